//! Programs outside the proxy that are asked about messages, as they are written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use shadowcat_rules::written::{ByteSize, Fail, Span, When};

use super::{Secret, UpstreamEnvironment};

/// A program outside the proxy that is asked what is to become of messages: either `webhook` or `mcp`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interceptor {
    /// What logs, tapes and figures call it; no other interceptor has the same name.
    pub name: String,
    /// An HTTP endpoint.
    pub webhook: Option<Webhook>,
    /// A server that offers the interceptors extension of MCP.
    pub mcp: Option<InterceptorServer>,
    /// The messages it is asked about, as in rules; for `mcp` requests and answers unless `on` names others.
    #[serde(default)]
    pub when: When,
    /// What becomes of a message for which it gives no verdict: refused unless this is `open`. Without it, `mcp` goes by what
    /// each interceptor says of itself.
    pub fail: Option<Fail>,
    /// How long each question may take.
    pub timeout: Option<Span>,
    /// It is told, and nobody waits for what it says.
    #[serde(default)]
    pub audit: bool,
    /// Questions at most at one time.
    pub concurrency: Option<usize>,
    /// When it is left alone.
    #[serde(default)]
    pub breaker: Breaker,
}

/// An HTTP endpoint that is asked about messages.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it is: `http(s)://…`. `${VAR}` is replaced.
    pub url: String,
    /// Headers sent with each question. `${VAR}` is replaced in values.
    pub headers: Option<BTreeMap<String, Secret>>,
    /// Certificates (PEM) trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The secret that questions are signed with, which `${VAR}` takes from a variable.
    pub secret: Option<Secret>,
    /// A file with the secret that questions are signed with.
    pub secret_file: Option<PathBuf>,
    /// The largest question and the largest answer.
    pub body: Option<ByteSize>,
}

/// A server that offers the interceptors extension of MCP: either `url` or `command`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterceptorServer {
    /// `http(s)://…` for Streamable HTTP, `sse+http(s)://…` for the older HTTP+SSE. `${VAR}` is replaced.
    pub url: Option<String>,
    /// Program and arguments of a stdio server, one word an entry; no shell sees them.
    pub command: Option<Vec<String>>,
    /// Environment of the command, which is otherwise empty.
    pub env: Option<UpstreamEnvironment>,
    /// Working directory of the command.
    pub cwd: Option<PathBuf>,
    /// Headers sent with each request to `url`. `${VAR}` is replaced in values.
    pub headers: Option<BTreeMap<String, Secret>>,
    /// Certificates (PEM) trusted for `url` besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The configuration that each of its interceptors is given with every message, by its name.
    #[serde(default)]
    pub config: BTreeMap<String, serde_json::Value>,
}

/// When somebody who fails is left alone.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// So many failures in a row.
    pub failures: Option<u32>,
    /// How long, before one question is tried.
    pub pause: Option<Span>,
}
