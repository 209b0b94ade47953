//! What is said and asked, as it is written in JSON. Each doc line is also the description in the OpenAPI document.

mod held;
mod live;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use held::{
    Approval, Breakpoint, BreakpointList, Cause, Decided, ErrorForm, Held, HeldList, NewBreakpoint, Then,
    Verdict, VerdictWord,
};
pub use live::{LostEvent, LostOf, ReleasedEvent};

/// How the proxy is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `ok`, or `degraded` for the reasons that follow.
    pub status: String,
    /// What is not as it should be, as sentences.
    pub reasons: Vec<String>,
    /// The version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs (RFC 3339).
    pub started: String,
    /// Where clients reach it; none if its client is on standard input and output.
    pub listen: Option<String>,
    /// The name of the server behind it.
    pub upstream: String,
    /// Sessions in use.
    pub sessions: usize,
    /// Messages that wait for a person.
    pub held: usize,
    /// Breakpoints that are set.
    pub breakpoints: usize,
    /// How many read `/v1/messages`.
    pub watching: usize,
    /// The tape; none if nothing is recorded.
    pub tape: Option<TapeStatus>,
}

/// A tape that is being written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TapeStatus {
    /// Messages on it.
    pub frames: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Messages that should be on it and are not.
    pub lost: u64,
}

/// The sessions in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    /// Those used last first, a thousand at most.
    pub sessions: Vec<Session>,
    /// How many there are.
    pub total: usize,
}

/// A session in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// A tag for its id, which is a credential and not told.
    pub session: String,
    /// Its state.
    pub state: String,
    /// How its client speaks: `stdio`, `sse` or `http`.
    pub transport: String,
    /// The revision of MCP agreed on.
    pub revision: String,
    /// Whose it is, if anybody was asked.
    pub principal: Option<String>,
    /// Requests being answered.
    pub in_flight: usize,
    /// How long ago it began.
    pub age_ms: u64,
    /// How long nothing was asked in it.
    pub idle_ms: u64,
}

/// The rules in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rules {
    /// In the order in which they are looked at.
    pub rules: Vec<Rule>,
    /// Why the rules files as they are now are not in force, unless they are.
    pub fault: Option<String>,
}

/// A rule in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Messages that it fitted since the start.
    pub fired: u64,
    /// Messages for which it could not be carried out.
    pub failed: u64,
}
