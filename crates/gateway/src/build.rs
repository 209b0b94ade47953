//! The composition root: the one place that knows every part. It reads as the path of a message does, and each part
//! gets exactly what it needs.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use shadowcat_bridge::{Eras, ModernServer, Seal, ToLegacy, ToLegacySettings, ToModernSettings};
use shadowcat_interceptors::pause::BreakpointError;
use shadowcat_interceptors::{CallMetrics, Lot, Mirror, PauseMetrics};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Chain, Interceptor, Service, Transport, UpstreamSide};
use shadowcat_protocol::Revision;
use shadowcat_session::{
    Key, Namespace, SessionId, SessionStore, Sessions, SessionsLimits, StreamLimits, Table,
};
use shadowcat_stores::{MemoryStore, SqliteStore};
use shadowcat_tape::{Audience, Tap, Tape};
use shadowcat_transports::http::{EndpointSettings, HttpListener};
use shadowcat_transports::http_client;
use shadowcat_transports::server::{Gate, HttpServer, ServeError, ServerSettings};
use shadowcat_transports::sse::{SseListener, SseSettings};
use shadowcat_transports::stdio::{Guard, StdioListener};
use shadowcat_transports::{Connector, Counters, Front};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::admin::{AdminError, Desk, Seen};
use crate::external::Externals;
use crate::gateway::{Gateway, SessionRules};
use crate::metrics::Figures;
use crate::pages::StatusPages;
use crate::path::Path;
use crate::plan::{
    self, HookSecretError, KeyError, Limits, Listen, Pause, Plan, PlanErrors, Record, Store, TapeKey,
    Timeouts, UpstreamTarget,
};
use crate::reach::Reach;
use crate::rule_files::RuleFiles;
use crate::running::{Running, Signals};
use crate::upstream::{Bridges, ModernFace, OwnSessions, SharedUpstream};

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

async fn assemble(plan: Plan, host: Host) -> Result<Running, StartError> {
    let signals = Signals::default();
    let (front, back, storing) = (Tasks::new(), Tasks::new(), Tasks::new());
    let counters = Arc::<Counters>::default();
    let mut registry = Registry::with_prefix("shadowcat");

    // What is kept of clients, and who is told of what passes.
    let records = sessions(&plan, &storing)?;
    let Told { tape, desk, audience, beyond } = Told::open(&plan, host.tap).await?;
    let monitor = tape.as_ref().map(Tape::monitor);

    // What operators want done with messages, and where those wait about which somebody decides.
    let rules = RuleFiles::open(&plan.rules, &mut registry)?;
    let (reloads, book) = (rules.as_ref().map(RuleFiles::reloads), rules.as_ref().map(RuleFiles::book));
    let lot = lot(&plan.pause, &mut registry)?;

    // Where it goes: the one upstream.
    let guard = guard(host.guard_program);
    let reach = Reach {
        plan: &plan,
        environment: &host.environment,
        guard: &guard,
        tasks: &back,
        counters: &counters,
        records: &records,
        tape: beyond.as_ref(),
    };
    let upstream = reach.connect(&plan.upstream)?;

    // Who else is asked what is done with messages.
    let externals = Externals::open(&plan, &reach, &mut registry)?;
    if let Some(externals) = &externals {
        externals.prepare().await;
    }
    let shared = Arc::new(SharedUpstream::new(Arc::clone(&upstream.connector)));

    // Between the two where their eras differ. What passes there is on the tape a second time, as the server saw it.
    let bridging = Bridging {
        chain: wire(audience.as_ref()),
        connector: Arc::clone(&upstream.connector),
        counters: Arc::clone(&counters),
        records: Arc::clone(&records),
        shared: Arc::clone(&shared),
        tasks: back.child(),
    };
    let bridges = bridges(plan.bridge.as_ref(), &plan.upstream, bridging)?;

    // What every message passes on the way.
    let path = Path {
        calls: CallMetrics::register(&mut registry),
        audience: audience.as_ref(),
        force: &signals.force,
        rules: rules.as_ref(),
        externals: externals.as_ref(),
        own: host.interceptors,
        lot: &lot,
        tasks: &back,
        bridges: bridges.as_deref(),
    };
    let chain = path.chain(&plan);
    if let Some(rules) = rules {
        back.spawn_until_stop(rules.follow());
    }

    let gateway = Arc::new(Gateway {
        upstream_name: Arc::clone(&plan.upstream.name),
        rules: session_rules(&plan),
        chain,
        modern: Arc::new(ModernFace::new(shared, bridges.clone())),
        bridges,
        connector: upstream.connector,
        counters,
        records,
        table: Table::new(plan.sessions.max),
        lot: lot.clone(),
        closed: Arc::default(),
        tasks: back.clone(),
        draining: signals.draining.clone(),
        unreachable: Mutex::default(),
    });
    // Not among the front's tasks, which are waited for: this one never ends by itself.
    back.spawn_until_stop(sweep(Arc::clone(&gateway), plan.sessions.idle));
    registry.register_collector(Box::new(Figures {
        gateway: Arc::clone(&gateway),
        front: front.clone(),
        launcher: upstream.launcher.clone(),
        tape: monitor.clone(),
        client: upstream.client,
    }));

    // Where clients come in, last: from here on there is traffic.
    let pages = Arc::new(StatusPages {
        gateway: Arc::clone(&gateway),
        launcher: upstream.launcher.clone(),
        tape: monitor,
        rules: reloads,
        externals: externals.as_ref().map(Externals::step),
        registry,
        unauthenticated_remote: matches!(plan.listen, Listen::Http { unauthenticated_remote: true, .. }),
    });
    let address = listen(&plan, &gateway, host.pipe, Arc::clone(&pages), &front, &signals).await?;
    let admin = desk.map(|desk| desk.serve(Seen { pages, book, listen: address }, lot)).transpose()?;
    Ok(Running {
        address,
        admin,
        gateway,
        launcher: upstream.launcher,
        externals,
        guard,
        tape,
        signals,
        front,
        back,
        storing,
        grace: plan.timeouts.shutdown,
    })
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
fn lot(pause: &Pause, registry: &mut Registry) -> Result<Lot, BreakpointError> {
    let lot = Lot::new(pause.settings.clone(), PauseMetrics::register(registry));
    for (filter, terms) in &pause.breakpoints {
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

fn stream_limits(limits: &Limits, timeouts: &Timeouts) -> StreamLimits {
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

/// What the bridges stand on.
pub(crate) struct Bridging {
    pub(crate) chain: Chain,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) records: Arc<Sessions>,
    pub(crate) shared: Arc<SharedUpstream>,
    pub(crate) tasks: Tasks,
}

pub(crate) fn bridges(
    rules: Option<&plan::Bridge>,
    server: &plan::Upstream,
    on: Bridging,
) -> Result<Option<Arc<Bridges>>, StartError> {
    let Some(rules) = rules else { return Ok(None) };
    let figures = Arc::<shadowcat_bridge::Counters>::default();
    let key = Key::new(Namespace::reverse("bridge"), SessionId::generate()?);
    let own = OwnSessions { connector: on.connector, counters: on.counters, records: on.records, key };
    let settings = ToLegacySettings {
        idle: rules.session_idle,
        sessions_max: rules.sessions_max,
        sessions_per_key_max: rules.sessions_per_client,
        per_request: rules.per_request,
        parked_for: rules.parked_for,
        parked_max: rules.parked_max,
        ..ToLegacySettings::default()
    };
    let seal = Arc::new(Seal::new());
    let to_legacy =
        ToLegacy::new(Arc::new(own), on.chain.clone(), seal, settings, Arc::clone(&figures), &on.tasks);
    let transport = match &server.target {
        UpstreamTarget::Stdio(_) | UpstreamTarget::Tape(_) => Transport::Stdio,
        UpstreamTarget::Http(_) => Transport::Http,
        UpstreamTarget::Sse(_) => Transport::Sse,
    };
    let side = UpstreamSide { name: Arc::clone(&server.name), transport, revision: Revision::V2026_07_28 };
    let shared: Arc<dyn Service> = Arc::clone(&on.shared) as _;
    let settings = ToModernSettings::new(side);
    let to_modern = ModernServer::new(shared, on.chain, settings, Arc::clone(&figures), on.tasks.clone());
    let eras = Eras::new(on.shared, transport, on.tasks);
    // A server that sees the headers checks them itself, and one behind the bridge sees none.
    let is_checked = transport == Transport::Stdio;
    let mirror = (!is_checked).then(|| Arc::new(Mirror::default()) as Arc<dyn Interceptor>);
    let edge = Chain::new(mirror.into_iter().collect());
    Ok(Some(Arc::new(Bridges { eras, edge, to_legacy, to_modern, figures })))
}

/// What a message passes between the eras: the recorder of what the server is told.
pub(crate) fn wire(audience: Option<&Audience>) -> Chain {
    let wire =
        audience.map(|audience| Arc::new(audience.recorder("wire").translated()) as Arc<dyn Interceptor>);
    Chain::new(wire.into_iter().collect())
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

async fn listen(
    plan: &Plan,
    gateway: &Arc<Gateway>,
    pipe: Option<Pipe>,
    pages: Arc<StatusPages>,
    tasks: &Tasks,
    signals: &Signals,
) -> Result<Option<SocketAddr>, StartError> {
    let front: Arc<dyn Front> = Arc::clone(gateway) as _;
    match &plan.listen {
        Listen::Stdio => {
            let listener = StdioListener {
                front,
                limits: message_limits(&plan.limits),
                in_flight_max: plan.limits.in_flight_per_session_max,
                stream: stream_limits(&plan.limits, &plan.timeouts),
                grace: plan.timeouts.shutdown,
            };
            let (signals, own) = (signals.clone(), tasks.child());
            tasks.spawn(async move {
                let Pipe { input, output } = pipe.unwrap_or_default();
                listener.run(input, output, own, signals.draining).await;
                signals.finished.cancel();
            });
            Ok(None)
        }
        Listen::Http { address, allowed_hosts, allowed_origins, keep_alive, .. } => {
            let gate = Gate::new(allowed_hosts, allowed_origins, address.ip().is_loopback())?;
            let server = HttpServer::bind(*address, server_settings(plan, gate)).await?;
            let bound = server.address();
            let streamable = HttpListener::new(
                endpoint_settings(plan, *keep_alive),
                Arc::clone(&front),
                tasks.clone(),
                signals.draining.clone(),
            );
            let sse = SseListener::new(
                sse_settings(plan, *keep_alive),
                front,
                tasks.clone(),
                signals.draining.clone(),
            );
            let server = server.serving(streamable, sse, pages);
            tasks.spawn(server.run(tasks.clone(), signals.draining.clone()));
            Ok(Some(bound))
        }
    }
}

fn server_settings(plan: &Plan, gate: Gate) -> ServerSettings {
    ServerSettings {
        connections_max: plan.limits.connections_max,
        header_bytes_max: plan.limits.header_bytes_max,
        header_read_max: plan.timeouts.header_read,
        write_stall_max: plan.timeouts.write_stall,
        gate,
    }
}

fn endpoint_settings(plan: &Plan, keep_alive: Duration) -> EndpointSettings {
    EndpointSettings {
        path: "/mcp".to_owned(),
        body_bytes_max: plan.limits.body_bytes_max,
        body_read_max: plan.timeouts.body_read,
        limits: message_limits(&plan.limits),
        keep_alive,
        in_flight_max: plan.limits.in_flight_per_session_max,
    }
}

fn sse_settings(plan: &Plan, keep_alive: Duration) -> SseSettings {
    SseSettings {
        stream_path: "/sse".to_owned(),
        message_path: "/messages".to_owned(),
        body_bytes_max: plan.limits.body_bytes_max,
        body_read_max: plan.timeouts.body_read,
        limits: message_limits(&plan.limits),
        keep_alive,
        in_flight_max: plan.limits.in_flight_per_session_max,
        clients_max: plan.sessions.max,
        stream: stream_limits(&plan.limits, &plan.timeouts),
    }
}
