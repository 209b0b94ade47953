//! Rules exactly as a person wrote them. Each doc line is also the key's description in the JSON schema.
//!
//! Nothing here has a meaning yet: patterns, paths and templates are still text. [`crate::Rules::compile`] reads them.

mod action;
mod forms;
mod test;
mod units;
mod when;
mod word;

use schemars::JsonSchema;
use serde::Deserialize;

pub use action::{
    Action, Broken, Delay, Headers, Mock, MockError, Patch, PatchKind, Pause, Replacement, Then,
};
pub use forms::OneOrMany;
pub use test::{Test, Tests};
pub use units::{ByteSize, Span};
pub use when::{Era, On, Size, Way, When};

/// What is to be done with which messages.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What logs, tapes and counters call it; no other rule has the same name.
    pub name: String,
    /// Rules with a higher number are looked at first; equal ones in the order in which they are written.
    #[serde(default)]
    pub priority: i32,
    /// The messages that are meant; all that is written here has to hold. Without it, every request.
    #[serde(default)]
    pub when: When,
    /// What is done with them, in this order.
    #[serde(default, rename = "do")]
    pub actions: Vec<Action>,
    /// No later rule is looked at for a message that this one fits.
    #[serde(default)]
    pub stop: bool,
    /// What becomes of a message for which this rule fails, because an edit has no place or a template no value.
    #[serde(default)]
    pub fail: Fail,
}

/// What becomes of a message for which a rule fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fail {
    /// It is refused.
    #[default]
    Closed,
    /// It goes on, without the rest of the rule.
    Open,
}
