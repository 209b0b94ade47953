//! Calls in the order in which they were asked, though they are known only when they end.

use std::collections::{BTreeMap, BTreeSet};

use crate::calls::{Call, Calls};
use crate::record::{Frame, Kind};

/// So many finished calls wait for an earlier one that is still open; a subscription may be open to the end.
const WAITING_MAX: usize = 4096;
/// So many bytes of them.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Joins frames of the hop `edge` to calls and puts these in order, as far as bounded memory allows: beyond that a call
/// is given out before an earlier one that is still open.
pub(super) struct Ordered {
    calls: Calls,
    /// Where the open calls began.
    open: BTreeSet<u64>,
    /// Calls that ended, by where they began.
    waiting: BTreeMap<u64, Call>,
    bytes: usize,
}

impl Default for Ordered {
    fn default() -> Self {
        Self { calls: Calls::at("edge"), open: BTreeSet::new(), waiting: BTreeMap::new(), bytes: 0 }
    }
}

impl Ordered {
    /// Takes the next frame of the tape.
    pub(super) fn take(&mut self, frame: Frame) {
        if frame.hop == "edge" && frame.kind == Kind::Request {
            self.open.insert(frame.seq);
        }
        if let Some(call) = self.calls.take(frame) {
            self.open.remove(&call.asked.seq);
            self.bytes += call.bytes();
            self.waiting.insert(call.asked.seq, call);
        }
    }

    /// The calls that nothing earlier is in the way of.
    pub(super) fn ready(&mut self) -> impl Iterator<Item = Call> {
        std::iter::from_fn(|| {
            let (first, _) = self.waiting.first_key_value()?;
            let is_next = self.open.first().is_none_or(|open| first < open);
            let is_full = self.waiting.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX;
            if !is_next && !is_full {
                return None;
            }
            let (_, call) = self.waiting.pop_first()?;
            self.bytes = self.bytes.saturating_sub(call.bytes());
            Some(call)
        })
    }

    /// At the end of the tape: all that is left.
    pub(super) fn rest(mut self) -> impl Iterator<Item = Call> {
        self.waiting.extend(self.calls.rest().map(|call| (call.asked.seq, call)));
        self.waiting.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::frame;
    use shadowcat_pipeline::Direction;

    fn of(seq: u64, exchange: u64, kind: Kind) -> Frame {
        let direction = if kind == Kind::Response { Direction::ToClient } else { Direction::ToServer };
        Frame { seq, exchange, ..frame(direction, kind, None, "{}") }
    }

    fn ready(calls: &mut Ordered) -> Vec<u64> {
        calls.ready().map(|call| call.asked.seq).collect()
    }

    #[test]
    fn a_call_waits_for_those_that_began_before_it() {
        let mut calls = Ordered::default();
        for (seq, exchange) in [(1, 1), (2, 2), (3, 3)] {
            calls.take(of(seq, exchange, Kind::Request));
        }
        calls.take(of(4, 2, Kind::Response));
        assert!(ready(&mut calls).is_empty());
        calls.take(of(5, 1, Kind::Response));
        assert_eq!(ready(&mut calls), [1, 2]);
        calls.take(of(6, 6, Kind::Notification));
        assert!(ready(&mut calls).is_empty());
        let rest: Vec<u64> = calls.rest().map(|call| call.asked.seq).collect();
        assert_eq!(rest, [3, 6]);
    }

    #[test]
    fn one_that_never_ends_holds_up_a_bounded_number() {
        let mut calls = Ordered::default();
        calls.take(of(1, 1, Kind::Request));
        for seq in 2..=2 + WAITING_MAX as u64 {
            calls.take(of(seq, seq, Kind::Notification));
        }
        assert_eq!(ready(&mut calls), [2]);
    }
}
