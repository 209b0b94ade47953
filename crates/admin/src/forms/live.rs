//! What comes on `/v1/messages` besides the messages themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An event `lost`: the reader was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostEvent {
    /// How many are missing here.
    pub count: u64,
    /// Of what.
    pub of: LostOf,
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LostOf {
    /// Frames.
    Messages,
    /// Events `held` and `released`; `/v1/held` has what waits now.
    Held,
}

/// An event `released`: a message that was held waits no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleasedEvent {
    /// Its number.
    pub id: String,
    /// What became of it: `resume`, `edit`, `answer`, `drop` or `block`.
    pub verdict: String,
    /// Who said so: `api`, or why nobody did: `deadline`, `bound`, `shutdown`, `gone`.
    pub by: String,
    /// Why, if they said.
    pub reason: Option<String>,
}
