//! Frames joined to calls: a message, what came back while it was open, and its answer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::record::{Frame, Kind, UpstreamSide};

/// Calls open at one time. A tape of thousands of clients has one for each of their standing subscriptions.
const OPEN_MAX: usize = 65_536;
/// Bytes of the messages of all open calls together.
const OPEN_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What is kept of the deeds of rules at other hops, for each call.
const RULES_MAX: usize = 256;

/// A message of either side, and all that its exchange brought at the same hop.
///
/// A call of the client is asked `Direction::ToServer`, a question or a word of the server `Direction::ToClient`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What opened it: a request, or a notification, which has neither replies nor an answer.
    pub asked: Frame,
    /// What came in between, in order: progress, log messages, questions that travel in its replies.
    pub between: Vec<Frame>,
    /// What ended it; none for notifications, and where the tape ends before.
    pub answer: Option<Frame>,
    /// What rules did to what went to the other side: it is noted at the hop behind them.
    pub ruled: Vec<String>,
}

impl Call {
    /// Whether an answer is due that is not on the tape.
    pub fn is_unanswered(&self) -> bool {
        self.asked.kind == Kind::Request && self.answer.is_none()
    }

    /// All that rules did to its messages.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.ruled.iter().chain(self.frames().flat_map(|frame| &frame.rules)).map(String::as_str)
    }

    /// Its frames in order.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        std::iter::once(&self.asked).chain(&self.between).chain(&self.answer)
    }

    /// The upstream's side; the request itself may be on the tape from before it was known.
    pub fn upstream(&self) -> Option<&UpstreamSide> {
        self.frames().find_map(|frame| frame.upstream.as_ref())
    }

    /// Bytes of its messages.
    pub(crate) fn bytes(&self) -> usize {
        self.frames().map(|frame| frame.message.len()).sum()
    }
}

/// Joins the frames of one hop, in the order of the tape, to calls, in the order of their ends.
///
/// It keeps open calls only, and of these a bounded number: beyond that the oldest is given out without its answer.
#[derive(Debug)]
pub struct Calls {
    hop: &'static str,
    open: BTreeMap<u64, Call>,
    bytes: usize,
}

impl Call {
    /// A message that nothing has come back for yet.
    pub fn of(asked: Frame) -> Self {
        Self { asked, between: Vec::new(), answer: None, ruled: Vec::new() }
    }
}

impl Calls {
    /// For the frames of this hop: `edge` or `wire`.
    pub fn at(hop: &'static str) -> Self {
        Self { hop, open: BTreeMap::new(), bytes: 0 }
    }

    /// Takes the next frame, and gives the call that it ends, if it ends one.
    pub fn take(&mut self, frame: Frame) -> Option<Call> {
        if frame.hop != self.hop {
            if let Some(call) = self.open.get_mut(&frame.exchange) {
                let room = RULES_MAX.saturating_sub(call.ruled.len());
                call.ruled.extend(frame.rules.into_iter().take(room));
            }
            return None;
        }
        let is_full = self.open.len() >= OPEN_MAX || self.bytes + frame.message.len() > OPEN_BYTES_MAX;
        self.bytes += frame.message.len();
        match self.open.entry(frame.exchange) {
            Entry::Occupied(mut call) if frame.direction != call.get().asked.direction => {
                if frame.kind != Kind::Response {
                    call.get_mut().between.push(frame);
                    return if is_full { self.oldest() } else { None };
                }
                let mut call = call.remove();
                call.answer = Some(frame);
                self.bytes = self.bytes.saturating_sub(call.bytes());
                Some(call)
            }
            // The same exchange twice in one direction: a tape that was put together carelessly. Nothing is lost of it.
            Entry::Occupied(mut call) => {
                let earlier = call.insert(Call::of(frame));
                self.bytes = self.bytes.saturating_sub(earlier.bytes());
                Some(earlier)
            }
            Entry::Vacant(place) => {
                let call = Call::of(frame);
                if call.asked.kind == Kind::Request {
                    place.insert(call);
                    return if is_full { self.oldest() } else { None };
                }
                self.bytes = self.bytes.saturating_sub(call.bytes());
                Some(call)
            }
        }
    }

    /// At the end of the tape: what is still open, in the order of its beginning.
    pub fn rest(self) -> impl Iterator<Item = Call> {
        self.open.into_values()
    }

    fn oldest(&mut self) -> Option<Call> {
        let (_, call) = self.open.pop_first()?;
        self.bytes = self.bytes.saturating_sub(call.bytes());
        Some(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::frame;
    use shadowcat_pipeline::Direction;

    const UP: Direction = Direction::ToServer;
    const DOWN: Direction = Direction::ToClient;

    fn of(exchange: u64, direction: Direction, kind: Kind) -> Frame {
        Frame { exchange, ..frame(direction, kind, None, "{}") }
    }

    #[test]
    fn a_call_is_what_was_asked_what_came_between_and_the_answer() {
        let mut calls = Calls::at("edge");
        let (asked, progress, answer) =
            (of(1, UP, Kind::Request), of(1, DOWN, Kind::Notification), of(1, DOWN, Kind::Response));
        assert_eq!(calls.take(asked.clone()), None);
        assert_eq!(calls.take(of(2, UP, Kind::Request)), None);
        assert_eq!(calls.take(progress.clone()), None);
        let call = calls.take(answer.clone()).unwrap();
        assert_eq!(call, Call { between: vec![progress], answer: Some(answer), ..Call::of(asked) });
        let rest: Vec<Call> = calls.rest().collect();
        assert_eq!(rest.len(), 1);
        assert!(rest[0].is_unanswered());
    }

    #[test]
    fn a_notification_is_a_call_by_itself() {
        let mut calls = Calls::at("edge");
        let call = calls.take(of(3, DOWN, Kind::Notification)).unwrap();
        assert!(!call.is_unanswered());
        assert_eq!(calls.rest().count(), 0);
    }

    #[test]
    fn a_question_of_the_server_is_answered_by_the_client() {
        let mut calls = Calls::at("edge");
        assert_eq!(calls.take(of(4, DOWN, Kind::Request)), None);
        let call = calls.take(of(4, UP, Kind::Response)).unwrap();
        assert_eq!(call.asked.direction, DOWN);
        assert!(!call.is_unanswered());
    }

    #[test]
    fn frames_of_another_hop_are_passed_over() {
        let mut calls = Calls::at("edge");
        let wire = Frame { hop: "wire".to_owned(), ..of(1, UP, Kind::Request) };
        assert_eq!(calls.take(wire), None);
        assert_eq!(calls.rest().count(), 0);
    }

    #[test]
    fn what_rules_did_behind_the_client_is_told_with_its_call() {
        let by_rule = |hop: &str, exchange, direction, kind, rule: &str| Frame {
            hop: hop.to_owned(),
            rules: vec![rule.to_owned()],
            ..of(exchange, direction, kind)
        };
        let mut calls = Calls::at("edge");
        assert_eq!(calls.take(of(1, UP, Kind::Request)), None);
        assert_eq!(calls.take(by_rule("wire", 1, UP, Kind::Request, "a: edit")), None);
        assert_eq!(calls.take(by_rule("wire", 2, UP, Kind::Notification, "none of it")), None);
        for _ in 0..RULES_MAX {
            assert_eq!(calls.take(by_rule("edge", 1, DOWN, Kind::Notification, "b: delay")), None);
            assert_eq!(calls.take(by_rule("wire", 1, UP, Kind::Response, "c: edit")), None);
        }
        let call = calls.take(by_rule("edge", 1, DOWN, Kind::Response, "d: mock")).unwrap();
        let rules: Vec<&str> = call.rules().collect();
        assert_eq!((rules[..2].to_vec(), rules[RULES_MAX]), (vec!["a: edit", "c: edit"], "b: delay"));
        assert_eq!((rules.len(), rules.last()), (RULES_MAX + RULES_MAX + 1, Some(&"d: mock")));
    }

    #[test]
    fn beyond_its_bound_the_oldest_open_call_is_given_out() {
        let mut calls = Calls::at("edge");
        for exchange in 0..OPEN_MAX as u64 {
            assert_eq!(calls.take(of(exchange, UP, Kind::Request)), None);
        }
        let call = calls.take(of(OPEN_MAX as u64, UP, Kind::Request)).unwrap();
        assert_eq!(call.asked.exchange, 0);
        assert!(call.is_unanswered());
        assert_eq!(calls.rest().count(), OPEN_MAX);
    }
}
