//! The keys of `shadowcat.yaml`. Each doc line is also the key's description in the JSON schema.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use shadowcat_rules::written::Rule;

use super::{Approval, Auth, ByteSize, Cache, Interceptor, Pause, Secret, Span, Telemetry};

/// Configuration of Shadowcat, the proxy for MCP. Every key may be left out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Address and port that `shadowcat reverse` listens on; port 0 takes a free one.
    pub listen: Option<String>,
    /// Directory for what outlives the process: sessions and tapes.
    pub data: Option<PathBuf>,
    /// The one server behind the proxy.
    pub upstream: Option<Upstream>,
    /// Who may talk to the HTTP listener, and how.
    #[serde(default)]
    pub http: Http,
    /// Who may use the HTTP listener: clients that prove who they are; everybody who reaches it unless this key is there.
    pub auth: Option<Auth>,
    /// What is remembered of clients.
    #[serde(default)]
    pub sessions: Sessions,
    /// Recording of every message; off unless this key is there.
    pub record: Option<Record>,
    /// What is done with which messages. A list of rules, as `docs/rules.md` describes them.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Files with rules, which come behind those above. A changed one is in force within a second.
    #[serde(default)]
    pub rule_files: Vec<PathBuf>,
    /// Programs outside the proxy that are asked what is to become of messages, behind the rules and in this order.
    #[serde(default)]
    pub interceptors: Vec<Interceptor>,
    /// The API for those who run the proxy; off unless this key is there.
    pub admin: Option<Admin>,
    /// How messages are held until somebody decides, and which from the start.
    #[serde(default)]
    pub pause: Pause,
    /// Calls that are held until somebody approves them.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// How a client of one era of MCP is joined to a server of the other.
    #[serde(default)]
    pub bridge: Bridge,
    /// Keeping of what modern servers say may be kept; off unless this key is there.
    pub cache: Option<Cache>,
    /// How long anything may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How much of anything there may be.
    #[serde(default)]
    pub limits: Limits,
    /// Traces: a span of each request, sent to a collector; off unless this key is there.
    pub telemetry: Option<Telemetry>,
    /// The program's own log, on stderr.
    #[serde(default)]
    pub log: Log,
}

/// A file of rules.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// What is done with which messages.
    pub rules: Vec<Rule>,
}

/// The one server behind the proxy: either `url` or `command`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// What logs and errors call it.
    pub name: Option<String>,
    /// `http(s)://…` for Streamable HTTP, `sse+http(s)://…` for the older HTTP+SSE. `${VAR}` is replaced.
    pub url: Option<String>,
    /// Program and arguments of a stdio server, one word an entry; no shell sees them.
    pub command: Option<Vec<String>>,
    /// Environment of the command, which is otherwise empty.
    pub env: Option<Environment>,
    /// Working directory of the command.
    pub cwd: Option<PathBuf>,
    /// Children kept started and unused, ready for the next session.
    pub warm: Option<usize>,
    /// Children at most at one time.
    pub children_max: Option<usize>,
    /// Headers sent with each request to `url`. `${VAR}` is replaced in values.
    pub headers: Option<BTreeMap<String, Secret>>,
    /// Certificates (PEM) trusted for `url` besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Environment of a stdio server.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Names passed on from the proxy's environment; a trailing `*` stands for any ending.
    pub inherit: Option<Vec<String>>,
    /// Variables set for the command. `${VAR}` is replaced in values.
    #[serde(default)]
    pub set: BTreeMap<String, Secret>,
}

/// Who may talk to the HTTP listener, and how.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Values of the `Host` header that are served besides the loopback names, without port.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// Values of the `Origin` header that are served besides those of the loopback, such as `https://app.example`.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// How often a silent stream shows that it lives.
    pub keep_alive: Option<Span>,
    /// Allows listening beyond the loopback although nobody is asked who they are.
    #[serde(default)]
    pub i_accept_unauthenticated_remote_clients: bool,
}

/// What is remembered of clients.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Where sessions are kept: `sqlite` survives a crash and needs `data`.
    pub store: Option<Store>,
    /// A session that is not used for this long ends.
    pub idle: Option<Span>,
    /// A session ends after this long in any case.
    pub life: Option<Span>,
    /// Sessions at most at one time.
    pub max: Option<usize>,
}

/// Where sessions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// A file in the data directory.
    Sqlite,
    /// Nowhere: sessions end with the process.
    Memory,
}

/// Recording of every message.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Directory of the tapes; `tapes` in the data directory unless it is named.
    pub dir: Option<PathBuf>,
    /// Whether credentials are blanked before they reach the disk.
    pub redact: Option<bool>,
    /// What is blanked besides what is known to be secret.
    #[serde(default)]
    pub secrets: Secrets,
    /// A filter expression; only exchanges that fit are recorded.
    pub only: Option<String>,
    /// Recording of a part of the exchanges only.
    pub sample: Option<Sample>,
    /// When a tape is closed and the next one begun.
    #[serde(default)]
    pub rotate: Rotate,
    /// When closed tapes are removed; without it they stay.
    #[serde(default)]
    pub keep: Keep,
    /// Whether closed tapes are compressed (zstd).
    #[serde(default)]
    pub compress: bool,
    /// Encryption of the tapes (AES-256-GCM); either `key_file` or `key`.
    pub encrypt: Option<Encrypt>,
}

/// What is blanked on tapes besides what is known to be secret.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Names of secrets: members of JSON, headers, variables, parameters of a URL. Case and separators do not matter.
    #[serde(default)]
    pub names: Vec<String>,
    /// Their places in a message as JSONPath, such as `$.params.arguments.card`.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Regular expressions that fit them; with a group, what fits the group.
    #[serde(default)]
    pub patterns: Vec<String>,
}

/// Recording of a part of the exchanges only. Handshakes are always recorded.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// How many of the exchanges, from 0 (none) to 1 (all).
    pub share: f64,
    /// What is recorded besides.
    #[serde(default)]
    pub always: Always,
}

/// What is recorded besides the sample.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Always {
    /// Exchanges that fail: by an error of the protocol, a tool's own error or a refusal.
    #[serde(default)]
    pub errors: bool,
    /// Exchanges that take longer than this.
    pub slower_than: Option<Span>,
}

/// When a tape is closed and the next one begun, by the next message.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// When it has this size.
    pub bytes: Option<ByteSize>,
    /// When it is this old.
    pub every: Option<Span>,
}

/// When closed tapes are removed, the oldest first. A tape that is being written is not, and nothing that is no tape.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// When they were not written to for this long.
    pub age: Option<Span>,
    /// When all in the directory together have more bytes.
    pub bytes: Option<ByteSize>,
    /// When there are more in the directory.
    pub tapes: Option<usize>,
}

/// Encryption of the tapes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encrypt {
    /// A file with a key of 32 bytes, as 64 hex digits or as base64.
    pub key_file: Option<PathBuf>,
    /// The key itself, which `${VAR}` takes from a variable.
    pub key: Option<Secret>,
}

/// The API for those who run the proxy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address and port that it listens on; port 0, the default, takes a free one.
    pub listen: Option<String>,
    /// A file with the token, which nobody else can read; without it one is made and put into `admin.json` in the data
    /// directory.
    pub token_file: Option<PathBuf>,
    /// Values of the `Host` header that are served besides the address itself and the loopback names.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// Allows listening beyond the loopback, where token and messages pass unencrypted; needs `token_file`.
    #[serde(default)]
    pub i_accept_plain_http_from_other_machines: bool,
}

/// How a client of one era of MCP is joined to a server of the other.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Whether it is; otherwise such a client gets the server's own refusal.
    pub enabled: Option<bool>,
    /// How a legacy server's sessions are shared out to modern clients, who have none.
    pub sessions: Option<BridgeSessions>,
    /// A session kept for modern clients ends when none of them has used it for this long.
    pub session_idle: Option<Span>,
    /// Sessions kept for modern clients at most at one time.
    pub sessions_max: Option<usize>,
    /// Sessions of them for clients of one principal that can be asked the same: as many of their calls may be asked
    /// something at one time. Clients without a principal are one.
    pub sessions_per_client: Option<usize>,
    /// How long a call waits for its client to come back with what the server asked for.
    pub parked_for: Option<Span>,
    /// Calls that wait for their client at most at one time.
    pub parked_max: Option<usize>,
}

/// How a legacy server's sessions are shared out to modern clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BridgeSessions {
    /// Kept for the next request of the same client, which finds the server as it left it.
    Kept,
    /// A session for each request, ended after it.
    PerRequest,
}

/// How long anything may take.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// A request ends when its upstream has been silent for this long.
    pub request: Option<Span>,
    /// A request ends after this long in any case.
    pub request_max: Option<Span>,
    /// Connecting to the upstream, TLS included.
    pub connect: Option<Span>,
    /// From the signal to the end of the process.
    pub shutdown: Option<Span>,
    /// Reading the header of a client's HTTP request.
    pub header_read: Option<Span>,
    /// Reading the body of a client's HTTP request.
    pub body_read: Option<Span>,
    /// A peer that takes no bytes for this long is gone.
    pub write_stall: Option<Span>,
}

/// How much of anything there may be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Body of a client's HTTP request.
    pub body: Option<ByteSize>,
    /// One message, line or event of an upstream.
    pub message: Option<ByteSize>,
    /// Nesting of a message's JSON.
    pub depth: Option<usize>,
    /// Header section of an HTTP request or answer.
    pub headers: Option<ByteSize>,
    /// Connections of clients at one time.
    pub connections: Option<usize>,
    /// Unanswered requests of one session at one time.
    pub in_flight_per_session: Option<usize>,
    /// Bytes waiting for a client that reads slowly, for each stream.
    pub stream_buffer: Option<ByteSize>,
    /// Events kept for a client that comes back, for each stream.
    pub resume_events: Option<usize>,
    /// Bytes kept for a client that comes back, for each stream.
    pub resume_bytes: Option<ByteSize>,
    /// How long a client may stay away and still get what it missed; then what it waited for is withdrawn.
    pub resume_window: Option<Span>,
    /// Sessions waiting for a child while `children_max` are running.
    pub children_queue: Option<usize>,
}

/// The program's own log, on stderr.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The least important kind of line that is written.
    pub level: Option<Level>,
    /// How a line is written.
    pub format: Option<LogFormat>,
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The words that [`Level::parse`] knows.
    pub const WORDS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

    /// Reads one of [`Level::WORDS`].
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The words that [`LogFormat::parse`] knows.
    pub const WORDS: [&str; 2] = ["text", "json"];

    /// Reads one of [`LogFormat::WORDS`].
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "text" => Self::Text,
            "json" => Self::Json,
            _ => return None,
        })
    }
}
