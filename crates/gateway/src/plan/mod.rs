//! What the command line, the environment and the file mean together: typed, checked, complete.
//!
//! After a [`Plan`] exists, nothing fails because of what a person wrote. Nothing here opens, binds or starts.

mod admin;
mod auth;
mod cache;
mod interceptors;
mod listen;
mod overrides;
mod pause;
mod problems;
mod record;
mod resolve;
mod rules;
mod telemetry;
mod upstream;
mod webhook;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};
use shadowcat_playback::Speed;
use shadowcat_playback::player::Player;
use shadowcat_tape::{Keep, Key, Rotate, Scope, Secrets};

pub use crate::config::{Keys, Level, LogFormat, Secret, Variables};
pub use auth::{Auth, Issuer};
pub use interceptors::{Interceptor, InterceptorServer, InterceptorTarget};
pub use overrides::{Overrides, Target};
pub use pause::{Approver, Pause};
pub use problems::{PlanError, PlanErrors};
pub use record::{KeyError, tape_key};
pub use resolve::{Face, SESSION_FILE, TAPES_DIR};
pub use rules::rules;
pub use telemetry::Telemetry;
pub use webhook::{HookSecret, HookSecretError, Webhook};

/// Everything the program does, decided.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where clients come in.
    pub listen: Listen,
    /// Who may come in there over HTTP; everybody if it is not said.
    pub auth: Option<Auth>,
    /// The server behind the proxy.
    pub upstream: Upstream,
    /// What is remembered of clients.
    pub sessions: Sessions,
    /// Where every message is recorded, if it is.
    pub record: Option<Record>,
    /// What is done with which messages.
    pub rules: Rules,
    /// Who else is asked what is done with messages, in this order.
    pub interceptors: Vec<Interceptor>,
    /// Where those who run the proxy reach it, if they do.
    pub admin: Option<Admin>,
    /// What is held until somebody decides.
    pub pause: Pause,
    /// How the eras of MCP are joined, if they are.
    pub bridge: Option<Bridge>,
    /// How much is kept of what a modern server says may be kept, if anything is.
    pub cache: Option<shadowcat_cache::Settings>,
    /// How long anything may take.
    pub timeouts: Timeouts,
    /// How much of anything there may be.
    pub limits: Limits,
    /// Where spans of requests go, if they are wanted.
    pub telemetry: Option<Telemetry>,
    /// The program's own log.
    pub log: Log,
}

/// Where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One client on standard input and output.
    Stdio,
    /// Any number of clients over HTTP.
    Http {
        /// Where to bind; port 0 takes a free one.
        address: SocketAddr,
        /// Values of `Host` served besides the loopback names.
        allowed_hosts: Vec<String>,
        /// Values of `Origin` served besides those of the loopback.
        allowed_origins: Vec<String>,
        /// How often a silent stream shows that it lives.
        keep_alive: Duration,
        /// Clients on other machines reach this address and nobody asks who they are: to be said in `/health`.
        unauthenticated_remote: bool,
    },
}

/// The server behind the proxy.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// What logs, errors and metrics call it.
    pub name: Arc<str>,
    /// How it is reached.
    pub target: UpstreamTarget,
}

/// How the server behind the proxy is reached.
#[derive(Clone, Debug)]
pub enum UpstreamTarget {
    /// A program that is started as a child.
    Stdio(Program),
    /// Streamable HTTP.
    Http(Remote),
    /// The two endpoints of 2024-11-05.
    Sse(Remote),
    /// No server, but what one did on tapes.
    Tape(Playing),
}

/// Tapes that stand in for a server.
#[derive(Clone, Debug)]
pub struct Playing {
    /// What is on them.
    pub player: Arc<Player>,
    /// How fast they are played.
    pub speed: Speed,
    /// The server that is asked for what is not on them; what it answers is recorded, if anything is.
    pub beyond: Option<Box<Upstream>>,
}

/// A program that speaks MCP on its standard input and output.
#[derive(Clone)]
pub struct Program {
    /// The program; looked for in `PATH` when it has no slash.
    pub program: OsString,
    /// Its arguments, handed over without a shell.
    pub args: Vec<OsString>,
    /// Its working directory; that of the proxy if there is none.
    pub cwd: Option<PathBuf>,
    /// Names passed on from the proxy's environment, as patterns; `None` is the transport's own list.
    pub inherit: Option<Vec<String>>,
    /// Variables set for it.
    pub set: Vec<(String, Secret)>,
    /// Children kept started and unused.
    pub warm: usize,
    /// Children at most at one time.
    pub children_max: usize,
    /// Callers at most that wait for a child.
    pub children_queue: usize,
}

/// A server reached by HTTP.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its endpoint, `http` or `https` with a host.
    pub url: Uri,
    /// Headers sent with each request; values are marked sensitive and do not show in `Debug`.
    pub headers: HeaderMap,
    /// Certificates (PEM) trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// What is remembered of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Where.
    pub store: Store,
    /// Unused for this long, a session ends.
    pub idle: Duration,
    /// After this long, a session ends in any case.
    pub life: Duration,
    /// Sessions at most at one time.
    pub max: usize,
}

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In this process only.
    Memory,
    /// In this SQLite file.
    Sqlite(PathBuf),
}

/// Where and how messages are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The directory of the tapes.
    pub dir: PathBuf,
    /// Whether credentials are blanked before they reach the disk.
    pub redact: bool,
    /// What is blanked besides what is known to be secret.
    pub secrets: Secrets,
    /// Which exchanges are recorded, if not all.
    pub scope: Scope,
    /// When the next tape is begun.
    pub rotate: Rotate,
    /// What becomes of closed tapes.
    pub keep: Keep,
    /// What they are encrypted with.
    pub key: Option<TapeKey>,
}

/// Where the key of encrypted tapes comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapeKey {
    /// It was given.
    Given(Key),
    /// It is in this file.
    File(PathBuf),
}

/// What is done with which messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// What is written in the configuration itself.
    pub written: Vec<shadowcat_rules::written::Rule>,
    /// The file of the configuration, of which these may change while the program runs.
    pub main: Option<MainFile>,
    /// The files of the others, which may change while the program runs.
    pub files: Vec<PathBuf>,
}

/// A configuration file as it was at the start.
#[derive(Clone, Debug, PartialEq)]
pub struct MainFile {
    /// Where it is.
    pub path: PathBuf,
    /// What was written in it.
    pub keys: Keys,
}

impl Rules {
    /// Whether there are any, or a place in which there could be some later.
    pub(crate) fn are_possible(&self) -> bool {
        let main = self.main.as_ref();
        !self.written.is_empty() || !self.files.is_empty() || main.is_some_and(|main| main.keys.has("rules"))
    }
}

/// Where those who run the proxy reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where to bind; port 0 takes a free one.
    pub address: SocketAddr,
    /// Values of `Host` served besides the address itself and the loopback names.
    pub allowed_hosts: Vec<String>,
    /// The file with the token; without one a token is made.
    pub token_file: Option<PathBuf>,
    /// The file in which address and token are put down.
    pub notice: Option<PathBuf>,
}

/// How a client of one era of MCP is joined to a server of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// A session with a legacy server for each request of a modern client, instead of one that is kept.
    pub per_request: bool,
    /// Unused for this long, a kept session ends.
    pub session_idle: Duration,
    /// Kept sessions at most at one time.
    pub sessions_max: usize,
    /// Kept sessions at most for one client.
    pub sessions_per_client: usize,
    /// How long a call waits for its client to come back with what the server asked for.
    pub parked_for: Duration,
    /// Calls that wait for their client at most at one time.
    pub parked_max: usize,
}

/// How long anything may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Silence of the upstream that ends a request.
    pub request: Duration,
    /// The longest a request may take.
    pub request_max: Duration,
    /// Connecting to the upstream, TLS included.
    pub connect: Duration,
    /// From the signal to the end of the process.
    pub shutdown: Duration,
    /// Reading the header of a client's HTTP request.
    pub header_read: Duration,
    /// Reading the body of a client's HTTP request.
    pub body_read: Duration,
    /// A peer that takes no bytes for this long is gone.
    pub write_stall: Duration,
}

/// How much of anything there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Body of a client's HTTP request.
    pub body_bytes_max: usize,
    /// One message, line or event.
    pub message_bytes_max: usize,
    /// Nesting of a message's JSON.
    pub depth_max: usize,
    /// Header section of an HTTP message.
    pub header_bytes_max: usize,
    /// Connections of clients.
    pub connections_max: usize,
    /// Unanswered requests of one session.
    pub in_flight_per_session_max: usize,
    /// Bytes waiting for a slow client, for each stream.
    pub stream_buffer_bytes_max: usize,
    /// Events kept for a client that comes back, for each stream.
    pub resume_events_max: usize,
    /// Bytes kept for a client that comes back, for each stream.
    pub resume_bytes_max: usize,
    /// How long a client may stay away and still get what it missed.
    pub resume_window: Duration,
}

/// The program's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important kind of line that is written.
    pub level: Level,
    /// How a line is written.
    pub format: LogFormat,
}

impl std::fmt::Debug for Program {
    /// Arguments are counted, not shown: many servers take their token as one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("cwd", &self.cwd)
            .field("inherit", &self.inherit)
            .field("set", &self.set)
            .field("warm", &self.warm)
            .field("children_max", &self.children_max)
            .field("children_queue", &self.children_queue)
            .finish()
    }
}

#[cfg(test)]
mod tests;
