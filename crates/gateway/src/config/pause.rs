//! The keys of `shadowcat.yaml` about messages that are held until somebody decides.

use schemars::JsonSchema;
use serde::Deserialize;
use shadowcat_rules::written::{Then, When};

use super::{Breaker, ByteSize, Span, Webhook};

/// How messages are held, and which from the start.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// A message is held no longer than this, unless a breakpoint, a rule or an approval says otherwise.
    pub deadline: Option<Span>,
    /// What becomes of a message about which nobody has decided by then, or for which there is no room.
    pub verdict: Option<Then>,
    /// Messages held at most at one time.
    pub held_max: Option<usize>,
    /// Bytes of them at most.
    pub bytes_max: Option<ByteSize>,
    /// Messages that are held, in both directions.
    #[serde(default)]
    pub breakpoints: Vec<Breakpoint>,
}

/// Messages that are held.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breakpoint {
    /// Which: an expression of the language in which tapes are searched, such as `~m tools/call & ~q`.
    pub filter: String,
    /// They are held no longer than this.
    pub deadline: Option<Span>,
    /// What becomes of them when nobody has decided by then.
    pub verdict: Option<Then>,
}

/// Calls that are held until somebody approves them. An approval is for this caller, this server, this tool and exactly these
/// arguments, and good once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// What lists, logs, tapes and counters call it; no other approval has the same name.
    pub name: String,
    /// Which requests to the server, by the conditions of rules; calls of tools unless a `method` is named.
    #[serde(default)]
    pub when: When,
    /// A call is held no longer than this; `pause.deadline` unless it is named.
    pub deadline: Option<Span>,
    /// What becomes of a call about which nobody has decided by then: it is refused unless this says otherwise.
    pub verdict: Option<Then>,
    /// How long an approval is good for a call whose caller has given up, and comes again.
    pub grant_for: Option<Span>,
    /// Who is asked besides those who look at the list.
    pub approver: Option<Approver>,
}

/// An HTTP endpoint that is asked whether held calls may go on: it approves, denies or leaves it to others.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approver {
    /// The endpoint.
    pub webhook: Webhook,
    /// How long each question may take.
    pub timeout: Option<Span>,
    /// Questions at most at one time.
    pub concurrency: Option<usize>,
    /// When it is left alone.
    #[serde(default)]
    pub breaker: Breaker,
}
