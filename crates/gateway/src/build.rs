//! The composition root: the one place that knows every part. It reads as the path of a message does, and each part
//! gets exactly what it needs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use shadowcat_interceptors::pause::{self, Approval, BreakpointError};
use shadowcat_interceptors::{CallMetrics, ExternalMetrics, Lot, PauseMetrics};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Chain, Interceptor};
use shadowcat_session::{Lost, Namespace, SessionStore, Sessions, SessionsLimits, StreamLimits, Table};
use shadowcat_stores::{MemoryStore, SqliteStore};
use shadowcat_tape::{Audience, Tap, Tape};
use shadowcat_transports::http_client;
use shadowcat_transports::server::ServeError;
use shadowcat_transports::stdio::Guard;
use shadowcat_transports::{Connector, Counters};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::DropGuard;

use crate::admin::{AdminError, Desk, Seen};
use crate::auth::{Auth, AuthError};
use crate::entry::listen;
use crate::external::{self, Externals};
use crate::faces::Faces;
use crate::gateway::{Gateway, SessionRules};
use crate::metrics::Figures;
use crate::pages::StatusPages;
use crate::path::Path;
use crate::plan::{
    HookSecretError, KeyError, Limits, Listen, Pause, Plan, PlanErrors, Record, Store, TapeKey, Timeouts,
    UpstreamTarget,
};
use crate::reach::Reach;
use crate::rule_files::RuleFiles;
use crate::running::{Running, Signals};
use crate::telemetry::Telemetry;

/// What the proxy takes from the machine it runs on, and from the program it runs in.
#[derive(Default)]
pub struct Host {
    /// The program that, called with `guard`, ends children whose proxy was killed: this one.
    pub guard_program: Option<PathBuf>,
    /// The environment children may inherit from.
    pub environment: Vec<(OsString, OsString)>,
    /// Sees every frame of the tape as it is written.
    pub tap: Option<Tap>,
    /// The client of a plan that listens on stdio, if it is not on the process's own standard input and output.
    pub pipe: Option<Pipe>,
    /// Interceptors of a program that embeds the proxy, outermost first. They stand behind the rules.
    pub interceptors: Vec<Arc<dyn Interceptor>>,
}

/// A client within this process: what it writes, and where it reads.
pub struct Pipe {
    /// Lines of the client.
    pub input: Box<dyn AsyncRead + Send + Unpin>,
    /// Lines for the client.
    pub output: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Default for Pipe {
    fn default() -> Self {
        Self { input: Box::new(tokio::io::stdin()), output: Box::new(tokio::io::stdout()) }
    }
}

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not ours.
    #[error(transparent)]
    Listen(#[from] ServeError),
    /// An origin in the configuration is none.
    #[error(transparent)]
    Origin(#[from] shadowcat_transports::server::BadOrigin),
    /// The system gives no randomness.
    #[error("no session id could be made")]
    Id(#[from] shadowcat_session::NoRandomness),
    /// The session store cannot be opened.
    #[error("the session store cannot be opened")]
    Store(#[from] shadowcat_session::StoreError),
    /// What was written cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanErrors),
    /// The secret of a webhook cannot be had.
    #[error("a webhook's questions cannot be signed; `secret_file` says with what")]
    HookSecret(#[from] HookSecretError),
    /// It cannot be told who is to be let in.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// There is no way in for those who run it.
    #[error("the admin API cannot be served")]
    Admin(#[from] AdminError),
    /// A breakpoint cannot be set.
    #[error(transparent)]
    Breakpoint(#[from] BreakpointError),
    /// The tape cannot be created.
    #[error("the tape cannot be created")]
    Tape(#[from] shadowcat_tape::CreateError),
    /// The key of the tapes cannot be had.
    #[error("the tapes cannot be encrypted; `record.encrypt` says with what")]
    TapeKey(#[from] KeyError),
    /// The upstream's URL is of no use.
    #[error("the upstream's URL is of no use")]
    Target(#[from] http_client::TargetError),
    /// The certificates to trust cannot be read.
    #[error("the certificates to trust cannot be read")]
    Tls(#[from] http_client::SetupError),
}

/// Starts what the plan says.
///
/// Boxed, so that all that carries traffic is compiled in this crate, and not in the one that waits for this future: there
/// small code counts for more than fast code (see the profile in the workspace's `Cargo.toml`).
pub fn start(plan: Plan, host: Host) -> BoxFuture<'static, Result<Running, StartError>> {
    Box::pin(assemble(plan, host))
}

async fn assemble(plan: Plan, mut host: Host) -> Result<Running, StartError> {
    let pipe = host.pipe.take();
    let ground = Ground::new(&plan)?;
    // What was begun ends with a start that fails: a program that embeds the proxy may try again and again.
    let begun = [&ground.back, &ground.storing].map(|tasks| tasks.stop_signal().drop_guard());
    let (mut running, inside) = build(&plan, host, ground).await?;
    drop(begun.map(DropGuard::disarm));
    match inside.open(&plan, pipe, &mut running).await {
        Ok(()) => Ok(running),
        Err(error) => {
            // Whoever goes on without a proxy that did not start keeps nothing of it.
            running.stop().await;
            Err(error)
        }
    }
}

/// Puts everything together that stands behind the way in.
async fn build(plan: &Plan, host: Host, ground: Ground) -> Result<(Running, Inside), StartError> {
    let mut registry = Registry::with_prefix("shadowcat");
    // Who is let in.
    let auth = Auth::open(plan, &ground.back, &mut registry).await?;

    // Who is told of what passes.
    let (telemetry, trace) = Telemetry::open(plan, &mut registry)?.unzip();
    let Told { tape, desk, audience, beyond } = Told::open(plan, host.tap).await?;

    // What operators want done with messages, and where those wait about which somebody decides.
    let rules = RuleFiles::open(&plan.rules, &mut registry)?;
    let asked = ExternalMetrics::register(&mut registry);
    let approvals = external::approvals(plan, &ground.back, &asked)?;
    let lot = lot(&plan.pause, approvals, &mut registry)?;

    // Where it goes: the one upstream. Who else is asked what is done with messages is reached as it is.
    let guard = guard(host.guard_program);
    let reach = ground.reach(plan, &host.environment, &guard, beyond.as_ref());
    let upstream = reach.connect(&plan.upstream)?;
    let externals = Externals::open(&reach, &asked).await?;
    // What passes there is on the tape a second time, as the server saw it.
    let faces = reach.faces(&plan.upstream, &upstream.connector, audience.as_ref())?;

    // What every message passes on the way.
    let path = Path {
        trace,
        calls: CallMetrics::register(&mut registry),
        audience: audience.as_ref(),
        force: &ground.signals.force,
        rules: rules.as_ref(),
        externals: externals.as_ref(),
        own: host.interceptors,
        lot: &lot,
        tasks: &ground.back,
        bridges: faces.bridges.as_deref(),
    };
    let gateway = ground.gateway(plan, path.chain(plan), upstream.connector, faces, lot);

    let Ground { signals, front, back, storing, .. } = ground;
    let inside = Inside { desk, rules, auth, registry, client: upstream.client };
    let running = Running {
        address: None,
        admin: None,
        gateway,
        launcher: upstream.launcher,
        externals,
        guard,
        tape,
        telemetry,
        signals,
        front,
        back,
        storing,
        grace: plan.timeouts.shutdown,
    };
    Ok((running, inside))
}

/// What all parts stand on.
struct Ground {
    signals: Signals,
    front: Tasks,
    back: Tasks,
    storing: Tasks,
    counters: Arc<Counters>,
    records: Arc<Sessions>,
}

impl Ground {
    fn new(plan: &Plan) -> Result<Self, StartError> {
        let storing = Tasks::new();
        let records = sessions(plan, &storing)?;
        let (signals, counters) = (Signals::default(), Arc::default());
        Ok(Self { signals, front: Tasks::new(), back: Tasks::new(), storing, counters, records })
    }

    fn reach<'a>(
        &'a self,
        plan: &'a Plan,
        environment: &'a [(OsString, OsString)],
        guard: &'a Guard,
        tape: Option<&'a Audience>,
    ) -> Reach<'a> {
        Reach {
            plan,
            environment,
            guard,
            tasks: &self.back,
            counters: &self.counters,
            records: &self.records,
            tape,
        }
    }

    fn gateway(
        &self,
        plan: &Plan,
        chain: Chain,
        connector: Arc<dyn Connector>,
        faces: Faces,
        lot: Lot,
    ) -> Arc<Gateway> {
        let gateway = Arc::new(Gateway {
            upstream_name: Arc::clone(&plan.upstream.name),
            rules: session_rules(plan),
            chain,
            modern: faces.modern,
            bridges: faces.bridges,
            cache: faces.cache,
            connector,
            counters: Arc::clone(&self.counters),
            records: Arc::clone(&self.records),
            table: Table::new(plan.sessions.max),
            lost: Lost::default(),
            lot,
            closed: Arc::default(),
            tasks: self.back.clone(),
            draining: self.signals.draining.clone(),
            unreachable: Mutex::default(),
        });
        // Not among the front's tasks, which are waited for: this one never ends by itself.
        self.back.spawn_until_stop(sweep(Arc::clone(&gateway), plan.sessions.idle));
        gateway
    }
}

/// What those who come in by another way than clients do are shown of the inside.
struct Inside {
    desk: Option<Desk>,
    rules: Option<RuleFiles>,
    /// Who is let in.
    auth: Option<Auth>,
    registry: Registry,
    client: Option<Arc<http_client::Stats>>,
}

impl Inside {
    /// Opens the ways in, last: from here on there is traffic.
    async fn open(
        mut self,
        plan: &Plan,
        pipe: Option<Pipe>,
        running: &mut Running,
    ) -> Result<(), StartError> {
        let (launcher, gateway) = (running.launcher.clone(), Arc::clone(&running.gateway));
        let tape = running.tape.as_ref().map(Tape::monitor);
        self.registry.register_collector(Box::new(Figures {
            gateway: Arc::clone(&gateway),
            front: running.front.clone(),
            launcher: launcher.clone(),
            tape: tape.clone(),
            client: self.client,
        }));
        let pages = Arc::new(StatusPages {
            gateway: Arc::clone(&gateway),
            launcher,
            tape,
            rules: self.rules.as_ref().map(RuleFiles::reloads),
            externals: running.externals.as_ref().map(Externals::step),
            registry: self.registry,
            asks: self.auth.is_some(),
            issuers: self.auth.as_ref().map(Auth::keys).unwrap_or_default(),
            unauthenticated_remote: matches!(plan.listen, Listen::Http { unauthenticated_remote: true, .. }),
        });
        let book = self.rules.as_ref().map(RuleFiles::book);
        if let Some(rules) = self.rules {
            running.back.spawn_until_stop(rules.follow());
        }
        let (front, signals) = (&running.front, &running.signals);
        let listen = listen(plan, &gateway, pipe, Arc::clone(&pages), self.auth, front, signals).await?;
        running.address = listen;
        let lot = running.lot();
        running.admin = self.desk.map(|desk| desk.serve(Seen { pages, book, listen }, lot)).transpose()?;
        Ok(())
    }
}

fn guard(program: Option<PathBuf>) -> Guard {
    program.map_or_else(Guard::none, |program| Guard::new(program, vec!["guard".into()]))
}

fn sessions(plan: &Plan, storing: &Tasks) -> Result<Arc<Sessions>, StartError> {
    let store: Arc<dyn SessionStore> = match &plan.sessions.store {
        Store::Memory => Arc::new(MemoryStore::default()),
        Store::Sqlite(path) => Arc::new(SqliteStore::open(path)?),
    };
    let (sessions, worker) = Sessions::new(store, SessionsLimits::default());
    let stop = storing.stop_signal();
    storing.spawn(worker.run(stop));
    Ok(Arc::new(sessions))
}

/// Who is told of what passes.
struct Told {
    tape: Option<Tape>,
    /// Where those who watch come in.
    desk: Option<Desk>,
    /// Who is told of what passes the chain.
    audience: Option<Audience>,
    /// Who is told of what is asked beyond the tapes that stand in for a server.
    beyond: Option<Audience>,
}

impl Told {
    async fn open(plan: &Plan, tap: Option<Tap>) -> Result<Self, StartError> {
        let tape = plan.record.as_ref().map(|record| tape(record, tap)).transpose()?;
        let desk = Desk::open(plan).await?;
        let recorded = tape.as_ref().filter(|_| !records_beyond_only(plan));
        let audience = Audience::new(recorded, desk.as_ref().map(Desk::feed));
        let beyond = Audience::new(tape.as_ref(), None);
        Ok(Self { tape, desk, audience, beyond })
    }
}

/// Where messages wait, with the breakpoints of the plan.
fn lot(plan: &Pause, approvals: Vec<Approval>, registry: &mut Registry) -> Result<Lot, BreakpointError> {
    let settings = pause::Settings { approvals, ..plan.settings.clone() };
    let lot = Lot::new(settings, PauseMetrics::register(registry));
    for (filter, terms) in &plan.breakpoints {
        lot.add_breakpoint(filter, *terms)?;
    }
    Ok(lot)
}

fn tape(record: &Record, tap: Option<Tap>) -> Result<Tape, StartError> {
    let settings = shadowcat_tape::Settings {
        redact: record.redact,
        secrets: record.secrets.clone(),
        scope: record.scope.clone(),
        rotate: record.rotate,
        keep: record.keep,
        key: record.key.as_ref().map(TapeKey::read).transpose()?,
        tap,
        ..shadowcat_tape::Settings::default()
    };
    Ok(Tape::create(&record.dir, settings)?)
}

fn session_rules(plan: &Plan) -> SessionRules {
    let name = &plan.upstream.name;
    SessionRules {
        namespace: match plan.listen {
            Listen::Stdio => Namespace::forward(name),
            Listen::Http { .. } => Namespace::reverse(name),
        },
        idle: plan.sessions.idle,
        life: plan.sessions.life,
        stream: stream_limits(&plan.limits, &plan.timeouts),
        kept_bytes_max: plan.limits.resume_bytes_max,
        resume_window: plan.limits.resume_window,
    }
}

pub(crate) fn stream_limits(limits: &Limits, timeouts: &Timeouts) -> StreamLimits {
    StreamLimits {
        lag_bytes_max: limits.stream_buffer_bytes_max,
        stall_max: timeouts.write_stall,
        kept_events_max: limits.resume_events_max,
        kept_bytes_max: limits.resume_bytes_max,
    }
}

pub(crate) fn message_limits(limits: &Limits) -> shadowcat_protocol::Limits {
    shadowcat_protocol::Limits {
        message_bytes_max: limits.message_bytes_max,
        depth_max: limits.depth_max,
        ..shadowcat_protocol::Limits::default()
    }
}

/// Whether what is on the tapes already is not recorded once more.
fn records_beyond_only(plan: &Plan) -> bool {
    matches!(&plan.upstream.target, UpstreamTarget::Tape(playing) if playing.beyond.is_some())
}

/// The store is looked through less often than the table: it is larger, and nothing in it takes memory.
const EXPIRE_EVERY_ROUNDS: u64 = 12;

/// Looks after the sessions from time to time, often enough that their idle limit means something.
async fn sweep(gateway: Arc<Gateway>, idle: Duration) {
    let every = (idle / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
    for round in 0_u64.. {
        if round.is_multiple_of(EXPIRE_EVERY_ROUNDS) {
            gateway.expire().await;
        }
        tokio::time::sleep(every).await;
        // A little more than one round, so that none falls between two looks.
        gateway.sweep(every * 2).await;
    }
}
