//! The admin API of a running proxy: where it listens, what it sees, and its end.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use shadowcat_admin::forms::{Rule, Rules, Session, Sessions, Status, TapeStatus};
use shadowcat_admin::{AdminApi, Bounds, Notice, NoticeError, Token, TokenError, Views};
use shadowcat_auth::is_loopback;
use shadowcat_interceptors::pause::Lot;
use shadowcat_interceptors::rules::Book;
use shadowcat_pipeline::task::Tasks;
use shadowcat_session::Live;
use shadowcat_tape::{Feed, Monitor, RedactorError};
use shadowcat_transports::server::{Gate, HttpServer, ServeError, ServerSettings};
use tokio_util::sync::CancellationToken;

use crate::entry::ENDPOINT;
use crate::pages::StatusPages;
use crate::plan::{self, Plan};
use crate::rule_files::Reloads;

/// Connections of those who run it: a few people and scripts.
const CONNECTIONS_MAX: usize = 64;
/// What a body has besides the message that it may hold.
const BODY_BYTES_BESIDE: usize = 64 * 1024;
/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Sessions that are told of at one time.
const SESSIONS_MAX: usize = 1_000;

/// Why there is no admin API.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken, or not ours.
    #[error(transparent)]
    Listen(#[from] ServeError),
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The file that says where it is cannot be written.
    #[error(transparent)]
    Notice(#[from] NoticeError),
    /// The messages that it shows could not be redacted.
    #[error(transparent)]
    Redactor(#[from] RedactorError),
    /// A host is none.
    #[error(transparent)]
    Host(#[from] shadowcat_transports::server::BadOrigin),
}

/// An admin API that has its address and does not serve yet.
pub(crate) struct Desk {
    server: HttpServer,
    token: Token,
    bounds: Bounds,
    notice: Option<(PathBuf, Notice)>,
    feed: Feed,
}

/// An admin API that serves.
pub(crate) struct Admin {
    address: SocketAddr,
    tasks: Tasks,
    stop: CancellationToken,
    feed: Feed,
    notice: Option<(PathBuf, Notice)>,
}

impl Desk {
    /// Takes the address, if the plan has one.
    pub(crate) async fn open(plan: &Plan) -> Result<Option<Self>, AdminError> {
        let Some(admin) = &plan.admin else { return Ok(None) };
        let token = admin.token_file.as_deref().map_or_else(Token::make, Token::read)?;
        let server = HttpServer::bind(admin.address, settings(plan, admin)?).await?;
        let url = format!("http://{}", server.address());
        let notice = Notice { url, token: token.reveal().to_owned(), pid: std::process::id() };
        let secrets = plan.record.as_ref().map(|record| record.secrets.clone()).unwrap_or_default();
        Ok(Some(Self {
            server,
            token,
            bounds: Bounds {
                body_bytes_max: plan.limits.message_bytes_max.saturating_add(BODY_BYTES_BESIDE),
                body_read_max: plan.timeouts.body_read,
                keep_alive: KEEP_ALIVE,
            },
            notice: admin.notice.clone().map(|path| (path, notice)),
            feed: Feed::new(&secrets)?,
        }))
    }

    /// What it shows as it passes.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Serves, and says where.
    pub(crate) fn serve(self, seen: Seen, lot: Lot) -> Result<Admin, AdminError> {
        if let Some((path, notice)) = &self.notice {
            notice.put_up(path)?;
        }
        let (tasks, stop) = (Tasks::new(), CancellationToken::new());
        let address = self.server.address();
        let feed = self.feed.clone();
        tasks.spawn_blocking(move || feed.run());
        let view = View { seen, feed: self.feed.clone(), lot: lot.clone(), started: SystemTime::now() };
        let api = AdminApi::new(self.token, Arc::new(view), self.feed.clone(), lot, self.bounds);
        let server = self.server.serving_api(Arc::new(api));
        tasks.spawn(server.run(tasks.clone(), stop.clone()));
        tracing::info!(%address, "the admin API is served");
        Ok(Admin { address, tasks, stop, feed: self.feed, notice: self.notice })
    }
}

impl Admin {
    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends what is shown, lets what was asked be answered, and takes down what says where it is.
    pub(crate) async fn end(&self, deadline: Duration) {
        if let Some((path, notice)) = &self.notice {
            notice.take_down(path);
        }
        self.feed.close();
        self.stop.cancel();
        if !self.tasks.join(deadline).await {
            self.tasks.stop();
            self.tasks.join(deadline).await;
        }
    }
}

fn settings(plan: &Plan, admin: &plan::Admin) -> Result<ServerSettings, AdminError> {
    let ip = admin.address.ip();
    let mut hosts = admin.allowed_hosts.clone();
    // A name can be led to another address than it had; an address is what it is.
    hosts.push(match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    });
    Ok(ServerSettings {
        connections_max: CONNECTIONS_MAX,
        header_bytes_max: plan.limits.header_bytes_max,
        header_read_max: plan.timeouts.header_read,
        write_stall_max: plan.timeouts.write_stall,
        gate: Gate::new(&hosts, &[], is_loopback(ip))?,
    })
}

/// What the API sees of the parts.
pub(crate) struct Seen {
    pub(crate) pages: Arc<StatusPages>,
    pub(crate) book: Option<Arc<Book>>,
    /// Where clients come in, if not on standard input and output.
    pub(crate) listen: Option<SocketAddr>,
}

struct View {
    seen: Seen,
    feed: Feed,
    lot: Lot,
    started: SystemTime,
}

impl Views for View {
    fn status(&self) -> Status {
        let pages = &self.seen.pages;
        let reasons = pages.troubles();
        let status = if reasons.is_empty() { "ok" } else { "degraded" };
        Status {
            status: status.to_owned(),
            reasons,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: humantime::format_rfc3339_millis(self.started).to_string(),
            listen: self.seen.listen.map(|address| format!("http://{address}{ENDPOINT}")),
            upstream: pages.gateway.upstream_name.to_string(),
            sessions: pages.gateway.table.len(),
            held: self.lot.list().len(),
            breakpoints: self.lot.breakpoints().len(),
            watching: self.feed.watching(),
            tape: pages.tape.as_ref().map(tape),
        }
    }

    fn sessions(&self) -> Sessions {
        let mut live = self.seen.pages.gateway.table.all();
        let total = live.len();
        live.sort_by_cached_key(|live| live.idle_for());
        Sessions { sessions: live.iter().take(SESSIONS_MAX).map(|live| session(live)).collect(), total }
    }

    fn rules(&self) -> Rules {
        let rules = self.seen.book.as_ref().map(|book| book.figures()).unwrap_or_default();
        let rule = |figures: shadowcat_interceptors::rules::Figures| Rule {
            name: figures.rule,
            fired: figures.fired,
            failed: figures.failed,
        };
        let fault = self.seen.pages.rules.as_ref().and_then(Reloads::fault);
        Rules { rules: rules.into_iter().map(rule).collect(), fault }
    }
}

fn tape(monitor: &Monitor) -> TapeStatus {
    let stats = monitor.stats();
    TapeStatus { frames: stats.frames, bytes: stats.bytes, lost: stats.lost }
}

fn session(live: &Live) -> Session {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Session {
        session: live.tag.0.to_string(),
        state: live.standing.state().as_str().to_owned(),
        transport: live.transport.as_str().to_owned(),
        revision: live.revision().as_str().to_owned(),
        principal: live.principal.as_ref().map(|principal| principal.name().to_owned()),
        in_flight: live.in_flight(),
        age_ms: millis(live.age()),
        idle_ms: millis(live.idle_for()),
    }
}
