//! How the server behind the proxy is reached: a child, a URL, or tapes in its place.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Chain, Interceptor};
use shadowcat_session::{Key, Namespace, SessionId, Sessions};
use shadowcat_tape::Audience;
use shadowcat_transports::http::HttpConnector;
use shadowcat_transports::http_client::{self, Target};
use shadowcat_transports::sse::SseConnector;
use shadowcat_transports::stdio::{self, Command, Environment, Guard, Launcher, StdioConnector};
use shadowcat_transports::{Connector, Counters};

use crate::build::{StartError, message_limits};
use crate::endpoint;
use crate::plan::{self, Plan, Playing, Program, Remote, UpstreamTarget};
use crate::upstream::{Beyond, TapeConnector};

/// The upstream as the gateway needs it, and what health and metrics ask about it.
pub(crate) struct Upstream {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) launcher: Option<Launcher>,
    pub(crate) client: Option<Arc<http_client::Stats>>,
}

/// What it takes to reach a server.
pub(crate) struct Reach<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) environment: &'a [(OsString, OsString)],
    pub(crate) guard: &'a Guard,
    pub(crate) tasks: &'a Tasks,
    pub(crate) counters: &'a Arc<Counters>,
    pub(crate) records: &'a Arc<Sessions>,
    /// The tape of what is asked beyond those that stand in for a server.
    pub(crate) tape: Option<&'a Audience>,
}

impl Reach<'_> {
    /// This server.
    pub(crate) fn connect(&self, server: &plan::Upstream) -> Result<Upstream, StartError> {
        let (tasks, counters) = (self.tasks.clone(), Arc::clone(self.counters));
        let name = &server.name;
        match &server.target {
            UpstreamTarget::Stdio(program) => {
                let launcher = self.launcher(name, program);
                let (name, limits) = (Arc::clone(name), message_limits(&self.plan.limits));
                let connector = StdioConnector::new(name, launcher.clone(), limits, tasks, counters);
                Ok(Upstream { connector: Arc::new(connector), launcher: Some(launcher), client: None })
            }
            UpstreamTarget::Http(remote) => {
                let remote = self.remote(name, remote)?;
                let client = Some(remote.client.stats());
                let connector = Arc::new(HttpConnector::new(remote, tasks, counters));
                Ok(Upstream { connector, launcher: None, client })
            }
            UpstreamTarget::Sse(remote) => {
                let remote = self.remote(name, remote)?;
                let client = Some(remote.client.stats());
                let connector = Arc::new(SseConnector::new(remote, tasks, counters));
                Ok(Upstream { connector, launcher: None, client })
            }
            UpstreamTarget::Tape(playing) => self.tapes(name, playing),
        }
    }

    /// Tapes in the place of a server, and the one that is asked beyond them.
    fn tapes(&self, name: &Arc<str>, playing: &Playing) -> Result<Upstream, StartError> {
        let connector = |beyond| TapeConnector {
            name: Arc::clone(name),
            player: Arc::clone(&playing.player),
            speed: playing.speed,
            beyond,
            tasks: self.tasks.clone(),
        };
        let Some(server) = &playing.beyond else {
            return Ok(Upstream { connector: Arc::new(connector(None)), launcher: None, client: None });
        };
        let connected = self.connect(server)?;
        let beyond = self.beyond(server, &connected)?;
        Ok(Upstream { connector: Arc::new(connector(Some(Arc::new(beyond)))), ..connected })
    }

    fn beyond(&self, server: &plan::Upstream, connected: &Upstream) -> Result<Beyond, StartError> {
        let faces = self.faces(server, &connected.connector, self.tape)?;
        let edge = self.tape.map(|tape| Arc::new(tape.recorder("edge")) as Arc<dyn Interceptor>);
        Ok(Beyond {
            chain: Chain::new(edge.into_iter().collect()),
            connector: Arc::clone(&connected.connector),
            modern: faces.modern,
            bridges: faces.bridges,
            counters: Arc::clone(self.counters),
            records: Arc::clone(self.records),
            key: Key::new(Namespace::reverse("beyond"), SessionId::generate()?),
            tasks: self.tasks.clone(),
        })
    }

    fn launcher(&self, name: &Arc<str>, program: &Program) -> Launcher {
        let allowed = program.inherit.clone();
        let names = allowed.as_ref().map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
        let names = names.as_deref().unwrap_or(stdio::INHERITED);
        let inherited = Environment::inherit(self.environment.iter().cloned(), names.iter().copied());
        let environment = program
            .set
            .iter()
            .fold(inherited, |environment, (name, value)| environment.with(name, value.reveal()));
        let command = Command {
            name: name.as_ref().into(),
            program: program.program.clone(),
            args: program.args.clone(),
            cwd: program.cwd.clone(),
            environment,
        };
        let line_bytes_max = self.plan.limits.message_bytes_max;
        let settings = stdio::Settings {
            live_max: program.children_max,
            waiting_max: program.children_queue,
            warm: program.warm,
            limits: stdio::Limits { line_bytes_max, ..stdio::Limits::default() },
            ..stdio::Settings::default()
        };
        Launcher::new(command, settings, self.guard.clone())
    }

    fn remote(&self, name: &Arc<str>, remote: &Remote) -> Result<shadowcat_transports::Remote, StartError> {
        let connect_max = self.plan.timeouts.connect;
        let client = endpoint::client(self.plan, connect_max, remote.ca_file.as_deref(), self.tasks)?;
        Ok(shadowcat_transports::Remote {
            name: Arc::clone(name),
            target: Target::parse(&remote.url.to_string())?,
            client: Arc::new(client),
            headers: remote.headers.clone(),
            limits: message_limits(&self.plan.limits),
            first_byte_max: self.plan.timeouts.request_max,
            reconnect_base: Duration::from_secs(1),
        })
    }
}
