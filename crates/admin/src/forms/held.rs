//! Messages that wait, what may become of them, and breakpoints.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shadowcat_interceptors::pause;
use shadowcat_rules::written;

/// The messages that wait, the oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeldList {
    /// Without their texts.
    pub held: Vec<Held>,
}

/// A message that waits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// Its number, such as `h-1`.
    pub id: String,
    /// `request`, `notification` or `answer`.
    pub kind: String,
    /// Why it is held.
    pub cause: Cause,
    /// The exchange it is part of, as frames name it.
    pub exchange: u64,
    /// `to_server` or `to_client`.
    pub direction: String,
    /// The name of the server.
    pub server: String,
    /// The tag of its session.
    pub session: Option<String>,
    /// Who asks.
    pub principal: Option<String>,
    /// The method; an answer has that of its request.
    pub method: Option<String>,
    /// The tool, prompt, resource or task that it is about.
    pub name: Option<String>,
    /// The bytes of its text.
    pub bytes: usize,
    /// Since when it waits (RFC 3339).
    pub since: String,
    /// How long it still waits for a person.
    pub left_ms: u64,
    /// What becomes of it then.
    pub then: Then,
    /// Its sender waits no more; only a call that needs an approval stays here after that.
    pub abandoned: bool,
    /// The message as its sender wrote it, secrets included; in lists and events it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub message: Option<Box<RawValue>>,
    /// For an answer: the request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub asked: Option<Box<RawValue>>,
}

/// Why a message is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// `breakpoint`, `rule` or `approval`.
    pub kind: String,
    /// The number of the breakpoint, or the name of the rule or approval.
    pub name: String,
}

/// What becomes of a message about which nobody decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// It goes on.
    Continue,
    /// It is refused.
    Block,
}

impl From<written::Then> for Then {
    fn from(then: written::Then) -> Self {
        match then {
            written::Then::Continue => Self::Continue,
            written::Then::Block => Self::Block,
        }
    }
}

impl From<Then> for written::Then {
    fn from(then: Then) -> Self {
        match then {
            Then::Continue => Self::Continue,
            Then::Block => Self::Block,
        }
    }
}

impl Held {
    /// Without its text.
    pub(crate) fn summary(held: &pause::Held) -> Self {
        let origin = &held.stopped.origin;
        let left = held.until.duration_since(SystemTime::now()).unwrap_or_default();
        let cause = &held.stopped.cause;
        Self {
            id: held.id.to_string(),
            kind: held.kind().to_owned(),
            cause: Cause { kind: cause.kind().to_owned(), name: cause.name() },
            exchange: origin.exchange.get(),
            direction: held.stopped.direction.as_str().to_owned(),
            server: held.stopped.server.to_string(),
            session: origin.session.as_ref().map(|tag| tag.0.to_string()),
            principal: origin.principal.as_ref().map(|principal| principal.name().to_owned()),
            method: held.method().map(str::to_owned),
            name: held.name(),
            bytes: held.text().len(),
            since: humantime::format_rfc3339_millis(held.since).to_string(),
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            then: held.then.into(),
            abandoned: held.is_abandoned,
            message: None,
            asked: None,
        }
    }

    /// With its text, and that of the request it answers.
    pub(crate) fn whole(held: &pause::Held) -> Self {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
        let asked = held.stopped.asked.as_ref().map(shadowcat_protocol::Request::as_str);
        Self { message: raw(held.text()), asked: asked.and_then(raw), ..Self::summary(held) }
    }
}

/// What is to become of a message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// What.
    pub verdict: VerdictWord,
    /// With `edit`: the whole message as it is to go on; its kind and its id have to stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub message: Option<Box<RawValue>>,
    /// With `answer`: the result that its sender gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub result: Option<Box<RawValue>>,
    /// With `answer`: the error that its sender gets, in place of a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorForm>,
    /// Why, for the log and the tape. Who is refused is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What may become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerdictWord {
    /// It goes on as it is.
    Resume,
    /// It goes on as `message`.
    Edit,
    /// `result` or `error` answers it, or stands in the place of the answer that it is.
    Answer,
    /// It vanishes.
    Drop,
    /// It is refused.
    Block,
}

/// A JSON-RPC error.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorForm {
    /// Its code.
    pub code: i64,
    /// What went wrong, as a sentence.
    pub message: String,
    /// More.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub data: Option<Box<RawValue>>,
}

/// A message was let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    /// Its number.
    pub id: String,
    /// What became of it.
    pub verdict: VerdictWord,
}

/// Whether a call may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Yes or no.
    pub approve: bool,
    /// Why. Who is refused is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which messages are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakpointList {
    /// The oldest first.
    pub breakpoints: Vec<Breakpoint>,
}

/// Messages that fit this are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Breakpoint {
    /// Its number, such as `b-1`.
    pub id: String,
    /// A filter expression.
    pub filter: String,
    /// How long they wait at most, such as `30s`; none: as the configuration says.
    pub r#for: Option<String>,
    /// What becomes of them then; none: as the configuration says.
    pub then: Option<Then>,
    /// How many it has held.
    pub hits: u64,
}

impl From<&pause::Breakpoint> for Breakpoint {
    fn from(breakpoint: &pause::Breakpoint) -> Self {
        let held_for = breakpoint.terms.held_for;
        Self {
            id: breakpoint.id.to_string(),
            filter: breakpoint.filter.to_string(),
            r#for: held_for.map(|held_for| humantime::format_duration(held_for).to_string()),
            then: breakpoint.terms.then.map(Into::into),
            hits: breakpoint.hits,
        }
    }
}

/// Further messages to be held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBreakpoint {
    /// A filter expression, such as `~m tools/call & ~t rm`.
    pub filter: String,
    /// How long they wait at most, such as `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<String>,
    /// What becomes of them then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
}
