//! What a client is given to bring back in the next round of a call: a fresh text each time, that says by itself which
//! recorded call it goes on with, so that nothing has to be kept for clients that never come back.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the states of one run and reads them again.
#[derive(Debug, Default)]
pub(super) struct States {
    given: AtomicU64,
    /// Tells a state that was given from one that was changed on the way; no protection from who wants to deceive.
    seal: RandomState,
}

impl States {
    /// A fresh state for the client of this call.
    pub(super) fn give(&self, opener: usize) -> String {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        format!("tape-{opener}-{number}-{:016x}", self.check(opener, number))
    }

    /// The call that a state was given for.
    pub(super) fn opener(&self, state: &str) -> Option<usize> {
        let mut parts = state.strip_prefix("tape-")?.split('-');
        let (opener, number, check) =
            (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        let is_ours = parts.next().is_none() && check == format!("{:016x}", self.check(opener, number));
        is_ours.then_some(opener)
    }

    fn check(&self, opener: usize, number: u64) -> u64 {
        self.seal.hash_one((opener, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_fresh_each_time_and_known_only_as_it_was_given() {
        let states = States::default();
        let (first, second) = (states.give(7), states.give(7));
        assert_ne!(first, second);
        assert_eq!((states.opener(&first), states.opener(&second)), (Some(7), Some(7)));
        for changed in
            [first.replacen('7', "8", 1), format!("{first}x"), format!("{first}-1"), "tape-7".into()]
        {
            assert_eq!(states.opener(&changed), None, "{changed}");
        }
        assert_eq!(States::default().opener(&first), None, "of another run");
    }
}
