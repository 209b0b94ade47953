//! How fast a script is played.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::script::Step;
use crate::speed::Speed;

/// How fast a script is played, and who is asked.
#[derive(Clone)]
pub struct Pace {
    /// The speed.
    pub speed: Speed,
    /// Is asked before each thing a client says.
    pub stepper: Option<Arc<dyn Stepper>>,
    /// Is told of each call that has ended.
    pub watch: Option<Arc<dyn Fn() + Send + Sync>>,
    /// How long an answer may take.
    pub patience: Duration,
}

/// Decides about each step.
#[async_trait]
pub trait Stepper: Send + Sync {
    /// What becomes of this one.
    async fn next(&self, step: &Step) -> Go;
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// It is said.
    Say,
    /// It is left out.
    Skip,
    /// Nothing more is said.
    Stop,
}

impl Pace {
    /// When something is due that was said at `at`; none if it need not wait.
    pub(super) fn due(&self, begun: Instant, at: Duration) -> Option<Instant> {
        match self.speed {
            Speed::Times(_) => begun.checked_add(self.speed.scaled(at)),
            Speed::Max => None,
        }
    }

    /// Waits until it is due.
    pub(super) async fn until(&self, begun: Instant, at: Duration) {
        if let Some(due) = self.due(begun, at) {
            tokio::time::sleep_until(due).await;
        }
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").field("speed", &self.speed).finish_non_exhaustive()
    }
}
