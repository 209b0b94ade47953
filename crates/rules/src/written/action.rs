//! What is done with a message, as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::forms::some;
use super::word::allow_words;
use super::{OneOrMany, Span};

/// One thing to do with a message.
///
/// Paths are JSONPaths from `$`: the params of requests and notifications, the result of answers. Texts may be
/// templates, such as `{{ request.params.arguments.path }}`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "snake_case")]
#[schemars(transform = allow_words)]
pub enum Action {
    /// Puts a value in each of these places; a member that is not there is added.
    Set(BTreeMap<String, Value>),
    /// Takes out what is in these places.
    Remove(OneOrMany<String>),
    /// Gives the members in these places another name.
    Rename(BTreeMap<String, String>),
    /// Puts other text in place of what a regular expression finds in the texts in these places.
    Replace(BTreeMap<String, Replacement>),
    /// Changes the message by JSON Patch (RFC 6902).
    Patch(Vec<Patch>),
    /// Changes headers that travel with the message.
    Headers(Headers),
    /// Refuses the message, for this reason.
    Block(String),
    /// Answers a request in place of the server, or stands in place of an answer.
    Mock(Mock),
    /// Lets the message wait: `200ms`, or a time at random: `{from: 1s, to: 2s}`.
    Delay(Delay),
    /// Lets the message vanish; written `drop: true`, or `drop` alone.
    Drop(bool),
    /// Breaks the answer.
    Fault(Broken),
    /// Holds the message until a person lets it go; `pause` alone holds it as long as usual.
    Pause(Pause),
    /// Marks the exchange with these words, in logs and on tapes.
    Tag(OneOrMany<String>),
    /// Writes a line to the log.
    Log(String),
}

impl Action {
    /// The word it is written with.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Set(_) => "set",
            Self::Remove(_) => "remove",
            Self::Rename(_) => "rename",
            Self::Replace(_) => "replace",
            Self::Patch(_) => "patch",
            Self::Headers(_) => "headers",
            Self::Block(_) => "block",
            Self::Mock(_) => "mock",
            Self::Delay(_) => "delay",
            Self::Drop(_) => "drop",
            Self::Fault(_) => "fault",
            Self::Pause(_) => "pause",
            Self::Tag(_) => "tag",
            Self::Log(_) => "log",
        }
    }
}

/// Other text for what a regular expression finds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// A regular expression.
    pub find: String,
    /// What is put in the place of each find; `$1` is what the first group found.
    pub with: String,
}

/// One operation of a JSON Patch.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// What is done.
    pub op: PatchKind,
    /// Where, as a JSON Pointer.
    pub path: String,
    /// From where, for `move` and `copy`.
    pub from: Option<String>,
    /// What, for `add`, `replace` and `test`.
    #[serde(default, deserialize_with = "some")]
    pub value: Option<Value>,
}

/// The operations of JSON Patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PatchKind {
    /// Adds a member, or an element before the one that is there.
    Add,
    /// Takes out what is there.
    Remove,
    /// Puts a value in the place of the one that is there.
    Replace,
    /// Takes out in one place, adds in another.
    Move,
    /// Adds what is in another place.
    Copy,
    /// Fails if what is there is something else.
    Test,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// Headers that get this value; it may be a template.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Headers that are taken out.
    #[serde(default)]
    pub remove: OneOrMany<String>,
}

/// An answer that is not the server's. Texts in it may be templates.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mock {
    /// A result.
    Result(Value),
    /// An error.
    Error(MockError),
}

/// An error of JSON-RPC.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MockError {
    /// What went wrong, as a number.
    pub code: i64,
    /// What went wrong, as a sentence.
    pub message: String,
    /// More.
    pub data: Option<Value>,
}

/// How an answer is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// The connection ends before the answer is whole.
    Cut,
    /// The answer is no JSON.
    Malformed,
    /// No answer comes until the time is over.
    Timeout,
}

/// How long a message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// At least this long.
    pub from: Span,
    /// And no longer than this.
    pub to: Span,
}

/// How a message is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// No longer than this.
    #[serde(rename = "for")]
    pub held_for: Option<Span>,
    /// What becomes of it when nobody has let it go by then.
    pub then: Option<Then>,
}

/// What becomes of a message that nobody has let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It goes on.
    Continue,
    /// It is refused.
    Block,
}
