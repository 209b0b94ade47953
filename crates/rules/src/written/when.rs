//! Which messages are meant, as it is written.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ByteSize, OneOrMany, Test};

/// The messages that are meant; all that is written has to hold.
///
/// A pattern is a text, a text with `*` and `?`, or a regular expression `/…/` (`/…/i`: upper and lower case alike). Of
/// a list of patterns one has to fit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// Kinds of message; requests unless any is named.
    pub on: OneOrMany<On>,
    /// The side it goes to; both unless it is named.
    pub direction: Option<Way>,
    /// The method, as a pattern; an answer has that of its request.
    pub method: OneOrMany<String>,
    /// The tool that is called, as a pattern.
    pub tool: OneOrMany<String>,
    /// The prompt that is asked for, as a pattern.
    pub prompt: OneOrMany<String>,
    /// The URI of the resource, as a pattern.
    pub resource: OneOrMany<String>,
    /// The tool, prompt, resource or task, as a pattern.
    pub name: OneOrMany<String>,
    /// The name of the server behind the proxy, as a pattern.
    pub server: OneOrMany<String>,
    /// The tag of the session, as logs and tapes show it, as a pattern.
    pub session: OneOrMany<String>,
    /// Who asks, as a pattern.
    pub principal: OneOrMany<String>,
    /// JSONPaths in what the credential of who asks says of them; of somebody unknown it says nothing.
    pub claims: BTreeMap<String, Test>,
    /// The revision that the client speaks, as a pattern.
    pub revision: OneOrMany<String>,
    /// The transport of the client: `stdio`, `sse` or `http`, as a pattern.
    pub transport: OneOrMany<String>,
    /// The era of MCP that the client speaks.
    pub era: Option<Era>,
    /// Headers that travel with the message (`Mcp-Param-…`), each with a pattern for its value.
    pub header: BTreeMap<String, OneOrMany<String>>,
    /// JSONPaths in the params of the request or notification; an answer has those of its request.
    pub params: BTreeMap<String, Test>,
    /// JSONPaths in the result of an answer.
    pub result: BTreeMap<String, Test>,
    /// JSONPaths in the error of an answer that is one.
    pub error: BTreeMap<String, Test>,
    /// The bytes of the message.
    pub size: Option<Size>,
    /// Each so many-th message that fits all else.
    pub every: Option<NonZeroU64>,
    /// Only when so many messages that fit all else have passed.
    pub after: Option<u64>,
    /// The part of the messages that fit all else, from 0 to 1, taken at random.
    pub share: Option<f64>,
    /// Makes `share` take the same messages each time.
    pub seed: Option<u64>,
    /// An expression of the language in which tapes are searched, such as `~m tools/call & ~t echo`.
    pub filter: Option<String>,
    /// All of these hold.
    pub all: Vec<When>,
    /// One of these holds.
    pub any: Vec<When>,
    /// This does not hold.
    pub not: Option<Box<When>>,
}

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// What asks for an answer.
    Request,
    /// The answer to a request.
    Answer,
    /// What asks for no answer.
    Notification,
}

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// An era of MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// By the `initialize` handshake: up to 2025-11-25.
    Legacy,
    /// By metadata of each request: from 2026-07-28 on.
    Modern,
}

/// Bounds of a size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// More than this.
    pub above: Option<ByteSize>,
    /// Less than this.
    pub below: Option<ByteSize>,
}
