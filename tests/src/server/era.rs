//! Which eras the server speaks, and how it refuses a request of the other one, as the servers in the field do.

use super::{VERSION, member, path};
use crate::upstream::{Reply, Seen};

/// The eras a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// Every revision.
    #[default]
    Both,
    /// The revisions with a handshake, up to 2025-11-25.
    Legacy,
    /// 2026-07-28 only.
    Modern,
}

/// A JSON-RPC error, with `data` as JSON text.
pub(super) struct Refused {
    pub(super) code: i32,
    pub(super) message: &'static str,
    pub(super) data: Option<&'static str>,
}

const UNSUPPORTED: &str = r#"{"supported":["2026-07-28"],"requested":"2025-11-25"}"#;

impl Speaks {
    /// Reads a word of the command line.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "both" => Self::Both,
            "legacy" => Self::Legacy,
            "modern" => Self::Modern,
            other => panic!("unknown era {other}"),
        }
    }

    /// Why a request is not taken, if it is one of an era this server does not speak.
    pub(super) fn refuses(self, method: &str, params: &str) -> Option<Refused> {
        let refused = |code, message, data| Some(Refused { code, message, data });
        match (self, method) {
            (Self::Modern, "initialize") => {
                refused(-32022, "Unsupported protocol version", Some(UNSUPPORTED))
            }
            (Self::Legacy, "server/discover" | "subscriptions/listen")
            | (Self::Modern, "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe") => {
                refused(-32601, "Method not found", None)
            }
            (Self::Modern, _) if path(params, &["_meta", VERSION]).is_none() => {
                refused(-32602, "_meta without a protocol version", None)
            }
            _ => None,
        }
    }

    /// The answer to an HTTP request that this server turns down before it looks into the message.
    pub(super) fn turns_down(self, seen: &Seen) -> Option<Reply> {
        match self {
            Self::Both => None,
            Self::Legacy => without_session(seen),
            Self::Modern => wrong_headers(seen),
        }
    }

    /// The status that carries this response.
    pub(super) fn status(self, response: &str) -> u16 {
        let code = path(response, &["error", "code"]).and_then(|raw| raw.parse::<i32>().ok());
        match (self, code) {
            (Self::Modern, Some(-32601)) => 404,
            (Self::Modern, Some(-32602 | -32020 | -32021 | -32022)) => 400,
            _ => 200,
        }
    }
}

/// What the TypeScript SDK 1.x says to a request of no session.
fn without_session(seen: &Seen) -> Option<Reply> {
    let is_modern = seen.header("mcp-protocol-version") == Some("2026-07-28");
    let begins = seen.rpc().as_deref() == Some("initialize");
    let reason = match (is_modern, begins || seen.header("mcp-session-id").is_some()) {
        (true, _) => "Unsupported protocol version: 2026-07-28 (supported versions: 2025-11-25, 2025-06-18)",
        (false, false) => "Server not initialized",
        (false, true) => return None,
    };
    let error = format!(r#"{{"code":-32000,"message":"Bad Request: {reason}"}}"#);
    Some(Reply::json(400, format!(r#"{{"jsonrpc":"2.0","error":{error},"id":null}}"#)))
}

/// What 2026-07-28 demands of the headers of a request, all of which repeat what its body says.
fn wrong_headers(seen: &Seen) -> Option<Reply> {
    if seen.method != http::Method::POST {
        return Some(Reply::empty(405).header("allow", "POST"));
    }
    let id = seen.member("id")?;
    let Some(method) = seen.rpc() else { return Some(Reply::empty(400)) };
    let params = seen.member("params").unwrap_or_default();
    let text = |raw: Option<String>| raw.and_then(|raw| serde_json::from_str::<String>(&raw).ok());
    let version = seen.header("mcp-protocol-version");
    let name = match method.as_str() {
        "tools/call" | "prompts/get" => text(member(&params, "name")),
        "resources/read" => text(member(&params, "uri")),
        _ => None,
    };
    let reason = if version.is_none() {
        "MCP-Protocol-Version is missing"
    } else if version.map(str::to_owned) != text(path(&params, &["_meta", VERSION])) {
        "MCP-Protocol-Version is not the version of the body"
    } else if seen.header("mcp-method") != Some(&method) {
        "Mcp-Method is not the method of the body"
    } else if name.is_some_and(|name| name.is_ascii() && seen.header("mcp-name") != Some(&name)) {
        "Mcp-Name is not the name of the body"
    } else {
        return None;
    };
    let error = format!(r#"{{"code":-32020,"message":"Bad Request: {reason}"}}"#);
    Some(Reply::json(400, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)))
}
