//! How the server behind the proxy is reached: a child, a URL, or tapes in its place.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Chain, Interceptor};
use shadowcat_session::{Key, Namespace, SessionId, Sessions};
use shadowcat_tape::Audience;
use shadowcat_transports::http::HttpConnector;
use shadowcat_transports::http_client::{self, Client, Target};
use shadowcat_transports::sse::SseConnector;
use shadowcat_transports::stdio::{self, Command, Environment, Guard, Launcher, StdioConnector};
use shadowcat_transports::{Connector, Counters};

use crate::build::{Bridging, StartError, bridges, message_limits, wire};
use crate::plan::{self, Plan, Playing, Program, Remote, UpstreamTarget};
use crate::upstream::{Beyond, ModernFace, SharedUpstream, TapeConnector};

/// The upstream as the gateway needs it, and what health and metrics ask about it.
pub(crate) struct Upstream {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) launcher: Option<Launcher>,
    pub(crate) client: Option<Arc<http_client::Stats>>,
}

/// What it takes to reach a server.
pub(crate) struct Reach<'a> {
    pub(crate) environment: &'a [(OsString, OsString)],
    pub(crate) guard: &'a Guard,
    pub(crate) tasks: &'a Tasks,
    pub(crate) counters: &'a Arc<Counters>,
    pub(crate) records: &'a Arc<Sessions>,
    /// The tape of what is asked beyond those that stand in for a server.
    pub(crate) tape: Option<&'a Audience>,
}

impl Reach<'_> {
    /// The upstream of this plan.
    pub(crate) fn connect(&self, plan: &Plan) -> Result<Upstream, StartError> {
        let (tasks, counters) = (self.tasks.clone(), Arc::clone(self.counters));
        match &plan.upstream.target {
            UpstreamTarget::Stdio(program) => {
                let launcher = launcher(plan, program, self.environment, self.guard);
                let limits = message_limits(&plan.limits);
                let name = Arc::clone(&plan.upstream.name);
                let connector = StdioConnector::new(name, launcher.clone(), limits, tasks, counters);
                Ok(Upstream { connector: Arc::new(connector), launcher: Some(launcher), client: None })
            }
            UpstreamTarget::Http(remote) => {
                let remote = reach(plan, remote, &tasks)?;
                let client = Some(remote.client.stats());
                let connector = Arc::new(HttpConnector::new(remote, tasks, counters));
                Ok(Upstream { connector, launcher: None, client })
            }
            UpstreamTarget::Sse(remote) => {
                let remote = reach(plan, remote, &tasks)?;
                let client = Some(remote.client.stats());
                let connector = Arc::new(SseConnector::new(remote, tasks, counters));
                Ok(Upstream { connector, launcher: None, client })
            }
            UpstreamTarget::Tape(playing) => self.tapes(plan, playing),
        }
    }

    /// Tapes in the place of a server, and the one that is asked beyond them.
    fn tapes(&self, plan: &Plan, playing: &Playing) -> Result<Upstream, StartError> {
        let connector = |beyond| TapeConnector {
            name: Arc::clone(&plan.upstream.name),
            player: Arc::clone(&playing.player),
            speed: playing.speed,
            beyond,
            tasks: self.tasks.clone(),
        };
        let Some(server) = &playing.beyond else {
            return Ok(Upstream { connector: Arc::new(connector(None)), launcher: None, client: None });
        };
        let plan = Plan { upstream: plan::Upstream::clone(server), ..plan.clone() };
        let connected = self.connect(&plan)?;
        let beyond = self.beyond(&plan, &connected)?;
        Ok(Upstream { connector: Arc::new(connector(Some(Arc::new(beyond)))), ..connected })
    }

    fn beyond(&self, plan: &Plan, connected: &Upstream) -> Result<Beyond, StartError> {
        let shared = Arc::new(SharedUpstream::new(Arc::clone(&connected.connector)));
        let bridging = Bridging {
            chain: wire(self.tape),
            connector: Arc::clone(&connected.connector),
            counters: Arc::clone(self.counters),
            records: Arc::clone(self.records),
            shared: Arc::clone(&shared),
            tasks: self.tasks.child(),
        };
        let bridges = bridges(plan, bridging)?;
        let edge = self.tape.map(|tape| Arc::new(tape.recorder("edge")) as Arc<dyn Interceptor>);
        Ok(Beyond {
            chain: Chain::new(edge.into_iter().collect()),
            connector: Arc::clone(&connected.connector),
            modern: Arc::new(ModernFace::new(shared, bridges.clone())),
            bridges,
            counters: Arc::clone(self.counters),
            records: Arc::clone(self.records),
            key: Key::new(Namespace::reverse("beyond"), SessionId::generate()?),
            tasks: self.tasks.clone(),
        })
    }
}

fn launcher(plan: &Plan, program: &Program, environment: &[(OsString, OsString)], guard: &Guard) -> Launcher {
    let allowed = program.inherit.clone();
    let names = allowed.as_ref().map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
    let names = names.as_deref().unwrap_or(stdio::INHERITED);
    let inherited = Environment::inherit(environment.iter().cloned(), names.iter().copied());
    let environment = program
        .set
        .iter()
        .fold(inherited, |environment, (name, value)| environment.with(name, value.reveal()));
    let command = Command {
        name: plan.upstream.name.as_ref().into(),
        program: program.program.clone(),
        args: program.args.clone(),
        cwd: program.cwd.clone(),
        environment,
    };
    let settings = stdio::Settings {
        live_max: program.children_max,
        waiting_max: program.children_queue,
        warm: program.warm,
        limits: stdio::Limits { line_bytes_max: plan.limits.message_bytes_max, ..stdio::Limits::default() },
        ..stdio::Settings::default()
    };
    Launcher::new(command, settings, guard.clone())
}

fn reach(plan: &Plan, remote: &Remote, tasks: &Tasks) -> Result<shadowcat_transports::Remote, StartError> {
    let settings = http_client::Settings {
        connect_timeout: plan.timeouts.connect,
        ca_file: remote.ca_file.clone(),
        ..http_client::Settings::default()
    };
    Ok(shadowcat_transports::Remote {
        name: Arc::clone(&plan.upstream.name),
        target: Target::parse(&remote.url.to_string())?,
        client: Arc::new(Client::new(settings, tasks.child())?),
        headers: remote.headers.clone(),
        limits: message_limits(&plan.limits),
        first_byte_max: plan.timeouts.request_max,
        reconnect_base: Duration::from_secs(1),
    })
}
