//! A part of the exchanges, and some that are recorded in any case.

use std::time::Duration;

use crate::recorder::Captured;

/// A part of the exchanges, and some that are recorded in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Of the numbers of 64 bits, those up to here are taken.
    up_to: u64,
    errors: bool,
    slower_than: Option<Duration>,
}

impl Sample {
    /// A share from 0 to 1; those that fail, and those that take longer than this, are taken besides. None if the share is
    /// no such number.
    pub fn new(share: f64, errors: bool, slower_than: Option<Duration>) -> Option<Self> {
        const PARTS: f64 = 1_000_000.0;
        if !(0.0..=1.0).contains(&share) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a million"
        )]
        let parts = (share * PARTS).round() as u64;
        let up_to = if parts == 1_000_000 { u64::MAX } else { u64::MAX / 1_000_000 * parts };
        Some(Self { up_to, errors, slower_than })
    }

    /// Whether the end of an exchange that is not among them may still bring it in.
    pub(super) fn waits(self) -> bool {
        self.errors || self.slower_than.is_some()
    }

    /// Whether these dice take it.
    pub(super) fn takes(self, dice: u64) -> bool {
        dice < self.up_to || self.up_to == u64::MAX
    }

    /// Whether this message brings its exchange in.
    pub(super) fn always_takes(self, captured: &Captured) -> bool {
        let took = captured.asked.map(|asked| captured.passed_at.saturating_duration_since(asked));
        let is_slow = self.slower_than.zip(took).is_some_and(|(max, took)| took > max);
        is_slow || self.errors && captured.outcome().is_some_and(|outcome| outcome.is_failure())
    }
}
