//! Which exchanges are recorded, where not all are. No threads and no clock.
//!
//! It is decided by exchange, so that a call is on the tape as a whole or not at all. Where errors and slow calls are to
//! be kept in any case, the frames of a call wait in memory until its end is known. What does not fit into that memory is
//! recorded: nothing is lost because it had to wait.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use shadowcat_protocol::{Message, json};

use crate::recorder::Captured;

/// Calls whose end is waited for at one time.
const OPEN_MAX: usize = 65_536;
/// Bytes of all their messages.
const OPEN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Always recorded: without them nobody can make anything of a session.
const HANDSHAKE: [&str; 3] = ["initialize", "notifications/initialized", "server/discover"];

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

    fn waits(self) -> bool {
        self.errors || self.slower_than.is_some()
    }
}

#[derive(Debug)]
pub(crate) struct Select {
    sample: Sample,
    dice: RandomState,
    open: BTreeMap<u64, Open>,
    bytes: usize,
    skipped: u64,
}

/// An exchange whose last message has not come yet.
#[derive(Debug)]
struct Open {
    /// The hop of its first message, where it also ends.
    hop: &'static str,
    /// What waits; none if it is recorded as it comes.
    waiting: Option<Vec<Captured>>,
}

impl Select {
    pub(crate) fn new(sample: Sample) -> Self {
        Self { sample, dice: RandomState::new(), open: BTreeMap::new(), bytes: 0, skipped: 0 }
    }

    /// Messages that were left out.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes the next message; what is to be written now goes to `out`.
    pub(crate) fn take(&mut self, captured: Captured, out: &mut Vec<Captured>) {
        // A question in the middle of a call goes with the call.
        let root = captured.origin.related.unwrap_or(captured.origin.exchange).get();
        if self.dice.hash_one(root) < self.sample.up_to || self.sample.up_to == u64::MAX {
            out.push(captured);
            return;
        }
        let is_own = captured.origin.exchange.get() == root;
        let Some(open) = self.open.get_mut(&root) else {
            self.first(root, captured, is_own, out);
            return;
        };
        let is_end = is_own && captured.hop == open.hop && matches!(captured.message, Message::Response(_));
        match &mut open.waiting {
            Some(waiting) => {
                self.bytes += captured.bytes();
                waiting.push(captured);
            }
            None => out.push(captured),
        }
        if is_end {
            self.end(root, out);
        }
        self.make_room(out);
    }

    /// What still waits when the tape ends: nobody knows how it would have ended.
    pub(crate) fn rest(&mut self, out: &mut Vec<Captured>) {
        out.extend(std::mem::take(&mut self.open).into_values().filter_map(|open| open.waiting).flatten());
        self.bytes = 0;
    }

    fn first(&mut self, root: u64, captured: Captured, is_own: bool, out: &mut Vec<Captured>) {
        let is_handshake = captured.message.method().is_some_and(|method| HANDSHAKE.contains(&method));
        let opens = is_own && matches!(captured.message, Message::Request(_));
        let hop = captured.hop;
        if is_handshake {
            out.push(captured);
            if opens {
                self.open.insert(root, Open { hop, waiting: None });
            }
        } else if opens && self.sample.waits() {
            self.bytes += captured.bytes();
            self.open.insert(root, Open { hop, waiting: Some(vec![captured]) });
        } else if self.sample.errors && has_failed(&captured) {
            out.push(captured);
        } else {
            self.skipped += 1;
        }
        self.make_room(out);
    }

    fn end(&mut self, root: u64, out: &mut Vec<Captured>) {
        let Some(Open { waiting: Some(waiting), .. }) = self.open.remove(&root) else { return };
        self.bytes = self.bytes.saturating_sub(waiting.iter().map(Captured::bytes).sum());
        if waiting.iter().any(|captured| self.is_wanted(captured)) {
            out.extend(waiting);
        } else {
            self.skipped += waiting.len() as u64;
        }
    }

    fn is_wanted(&self, captured: &Captured) -> bool {
        let took = captured.asked.map(|asked| captured.moment.steady.saturating_duration_since(asked));
        let is_slow = self.sample.slower_than.zip(took).is_some_and(|(max, took)| took > max);
        is_slow || self.sample.errors && has_failed(captured)
    }

    /// Gives out what has waited longest; what follows of it is then recorded as it comes.
    fn make_room(&mut self, out: &mut Vec<Captured>) {
        while self.open.len() > OPEN_MAX {
            let Some((_, open)) = self.open.pop_first() else { return };
            self.give_out(open.waiting, out);
        }
        while self.bytes > OPEN_BYTES_MAX {
            let Some(waiting) = self.open.values_mut().find_map(|open| open.waiting.take()) else { return };
            self.give_out(Some(waiting), out);
        }
    }

    fn give_out(&mut self, waiting: Option<Vec<Captured>>, out: &mut Vec<Captured>) {
        let waiting = waiting.unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(waiting.iter().map(Captured::bytes).sum());
        out.extend(waiting);
    }
}

fn has_failed(captured: &Captured) -> bool {
    if captured.refused.is_some() {
        return true;
    }
    let Message::Response(_) = &captured.message else { return false };
    let Ok(text) = str::from_utf8(captured.message.text()) else { return false };
    json::get(text, &["error"]).is_some() || json::get(text, &["result", "isError"]) == Some("true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::recorder::testing::{CALL, captured, message, origin};
    use shadowcat_pipeline::Direction;
    use std::sync::Arc;

    const FINE: &str = r#"{"jsonrpc":"2.0","id":3,"result":{}}"#;
    const FAILED: &str = r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"no"}}"#;
    const TOOL_FAILED: &str = r#"{"jsonrpc":"2.0","id":3,"result":{"isError":true,"content":[]}}"#;
    const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;

    /// A call: its request, some progress, the answer after so many milliseconds.
    fn call(ask: &str, answer: &str, took_ms: u64) -> Vec<Captured> {
        let origin = origin();
        let asked = Moment::now();
        let later = Moment { steady: asked.steady + Duration::from_millis(took_ms), ..asked };
        let back = Direction::ToClient;
        let base = Captured { origin: Arc::clone(&origin), ..captured() };
        vec![
            Captured { message: message(ask), moment: asked, ..base.clone() },
            Captured { message: message(PROGRESS), direction: back, ..base.clone() },
            Captured {
                message: message(answer),
                moment: later,
                direction: back,
                asked: Some(asked.steady),
                ..base
            },
        ]
    }

    fn select(share: f64, errors: bool, slower_ms: Option<u64>) -> Select {
        Select::new(Sample::new(share, errors, slower_ms.map(Duration::from_millis)).unwrap())
    }

    /// How many of the messages were written.
    fn written(select: &mut Select, messages: Vec<Captured>) -> usize {
        let mut out = Vec::new();
        for message in messages {
            select.take(message, &mut out);
        }
        out.len()
    }

    #[test]
    fn a_share_is_a_number_from_nothing_to_all() {
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert_eq!(Sample::new(wrong, false, None), None);
        }
        assert_eq!(written(&mut select(0.0, false, None), call(CALL, FINE, 0)), 0);
        assert_eq!(written(&mut select(1.0, false, None), call(CALL, FINE, 0)), 3);
    }

    #[test]
    fn a_call_is_recorded_as_a_whole_or_not_at_all() {
        for waits in [false, true] {
            let mut select = select(0.5, waits, None);
            let mut calls = 0;
            for _ in 0..1_000 {
                match written(&mut select, call(CALL, FINE, 0)) {
                    0 => {}
                    3 => calls += 1,
                    other => panic!("{other} messages of a call"),
                }
            }
            assert!((350..650).contains(&calls), "{calls} of 1000");
            assert_eq!(select.skipped(), 3 * (1_000 - calls));
            assert!(select.open.is_empty() && select.bytes == 0);
        }
    }

    #[test]
    fn what_fails_or_is_slow_is_recorded_all_the_same() {
        for answer in [FAILED, TOOL_FAILED] {
            assert_eq!(written(&mut select(0.0, true, None), call(CALL, answer, 0)), 3);
            assert_eq!(written(&mut select(0.0, false, Some(100)), call(CALL, answer, 0)), 0);
        }
        let mut refused = call(CALL, FAILED, 0);
        refused[2].refused = Some("upstream_timeout");
        assert_eq!(written(&mut select(0.0, true, None), refused), 3);
        assert_eq!(written(&mut select(0.0, false, Some(100)), call(CALL, FINE, 101)), 3);
        assert_eq!(written(&mut select(0.0, true, Some(100)), call(CALL, FINE, 100)), 0);
    }

    #[test]
    fn a_handshake_is_always_recorded() {
        let ask = r#"{"jsonrpc":"2.0","id":3,"method":"initialize","params":{}}"#;
        for waits in [false, true] {
            let mut select = select(0.0, waits, None);
            assert_eq!(written(&mut select, call(ask, FINE, 0)), 3);
            assert!(select.open.is_empty());
        }
    }

    #[test]
    fn what_does_not_fit_into_memory_is_recorded_and_so_is_the_rest_of_it() {
        let mut select = select(0.0, true, None);
        let filler =
            format!(r#"{{"jsonrpc":"2.0","id":3,"method":"x","params":{{"f":"{}"}}}}"#, "x".repeat(1 << 20));
        let mut firsts = Vec::new();
        let (mut out, mut asked) = (Vec::new(), 0);
        while out.is_empty() {
            let mut messages = call(&filler, FINE, 0).into_iter();
            select.take(messages.next().unwrap(), &mut out);
            firsts.push(messages.collect::<Vec<_>>());
            asked += 1;
        }
        assert!(asked > 20 && select.bytes <= OPEN_BYTES_MAX);
        assert_eq!(written(&mut select, firsts.remove(0)), 2, "the oldest was given out");
        assert_eq!(written(&mut select, firsts.remove(0)), 0, "the next still waits, and is fine");
        out.clear();
        select.rest(&mut out);
        assert_eq!(out.len(), asked - 2, "how they end is not known");
    }
}
