//! The newest messages, in bounded memory, joined to exchanges.

use std::collections::{HashMap, VecDeque};

use shadowcat_pipeline::Direction;
use shadowcat_tape::{Action, Frame, Kind, Seen};

/// Messages that are kept; beyond that the oldest go.
pub(crate) const FRAMES_MAX: usize = 20_000;
/// Bytes of all messages that are kept.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an entry takes besides its message, roughly.
const ENTRY_BYTES: usize = 512;
/// What rules did to one message: more is not shown.
const RULES_MAX: usize = 8;

/// The point of the path towards the server.
const WIRE: &str = "wire";

/// A line of the list.
#[derive(Debug)]
pub(crate) enum Entry {
    Message(Box<Message>),
    /// Here is something missing.
    Gap(String),
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) frame: Frame,
    tape: u32,
    /// The method; an answer has that of its request.
    pub(crate) method: String,
    /// The tool, prompt, resource or task that it is about.
    pub(crate) name: Option<String>,
    /// What rules did to it, at either hop.
    pub(crate) rules: Vec<String>,
    /// Whether it went on in the words of another era.
    pub(crate) is_translated: bool,
}

impl Message {
    /// Whether it is what passed on the server's side of the proxy.
    pub(crate) fn is_wire(&self) -> bool {
        self.frame.hop == WIRE
    }

    fn bytes(&self) -> usize {
        self.frame.message.len() + ENTRY_BYTES
    }
}

impl Entry {
    pub(crate) fn message(&self) -> Option<&Message> {
        if let Self::Message(message) = self { Some(message) } else { None }
    }

    fn is_wire(&self) -> bool {
        self.message().is_some_and(Message::is_wire)
    }

    fn bytes(&self) -> usize {
        self.message().map_or(ENTRY_BYTES, Message::bytes)
    }
}

/// The same number on two tapes is two exchanges.
type Key = (u32, u64);

/// Where the messages of an exchange are.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    asked: u64,
    direction: Direction,
    answer: Option<u64>,
}

/// Entries by their number, which never changes.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    /// The number of the first that is kept.
    first: u64,
    bytes: usize,
    /// How many are of the server's side.
    wire: usize,
    exchanges: HashMap<Key, Exchange>,
}

impl Ring {
    /// How many entries are kept, with or without the server's side.
    pub(crate) fn count(&self, with_wire: bool) -> usize {
        self.entries.len() - if with_wire { 0 } else { self.wire }
    }

    /// The number of the first entry that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(self.index(number)?)
    }

    pub(crate) fn message(&self, number: u64) -> Option<&Message> {
        self.get(number)?.message()
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        self.first..self.first + self.entries.len() as u64
    }

    /// What opened the exchange of a message, and its answer, as far as they are kept.
    pub(crate) fn exchange(&self, number: u64) -> (Option<u64>, Option<u64>) {
        let exchange = self.message(number).and_then(|message| self.exchanges.get(&key(message)));
        exchange.map_or((None, None), |exchange| (Some(exchange.asked), exchange.answer))
    }

    /// A message as a filter sees it.
    pub(crate) fn seen(&self, number: u64) -> Option<Seen<'_>> {
        let frame = &self.message(number)?.frame;
        let asked = self.exchange(number).0.filter(|asked| *asked != number);
        let asked = asked.and_then(|asked| self.message(asked)).map(|message| &message.frame);
        Some(Seen { frame, asked })
    }

    pub(crate) fn push_gap(&mut self, told: String) -> u64 {
        self.push(Entry::Gap(told))
    }

    /// Takes a message, and gives its number.
    pub(crate) fn push_frame(&mut self, tape: u32, frame: Frame) -> u64 {
        let number = self.first + self.entries.len() as u64;
        let exchange = self.exchanges.get(&(tape, frame.exchange)).copied();
        let asked = exchange.and_then(|exchange| self.message(exchange.asked));
        let method = frame.method.clone().or_else(|| asked.map(|asked| asked.method.clone()));
        let name = frame.name().map(Into::into).or_else(|| asked.and_then(|asked| asked.name.clone()));
        let message = Message {
            tape,
            method: method.unwrap_or_default(),
            name,
            rules: frame.rules.iter().take(RULES_MAX).cloned().collect(),
            is_translated: frame.action == Action::Translated,
            frame,
        };
        if message.is_wire() {
            self.mark(&message, exchange);
        } else {
            self.join(&message, number, exchange);
        }
        self.push(Entry::Message(Box::new(message)))
    }

    /// What was done to a message on its way to the server is told beside what the client wrote.
    fn mark(&mut self, wire: &Message, exchange: Option<Exchange>) {
        let Some(exchange) = exchange.filter(|exchange| exchange.direction == wire.frame.direction) else {
            return;
        };
        let Some(index) = self.index(exchange.asked) else { return };
        let Some(Entry::Message(asked)) = self.entries.get_mut(index) else { return };
        let room = RULES_MAX.saturating_sub(asked.rules.len());
        asked.rules.extend(wire.rules.iter().take(room).cloned());
        asked.is_translated |= wire.is_translated;
    }

    fn join(&mut self, message: &Message, number: u64, exchange: Option<Exchange>) {
        let Frame { kind, direction, .. } = message.frame;
        match exchange {
            Some(exchange) if kind == Kind::Response && direction != exchange.direction => {
                if let Some(known) = self.exchanges.get_mut(&key(message)) {
                    known.answer = Some(number);
                }
            }
            None if kind != Kind::Response => {
                self.exchanges.insert(key(message), Exchange { asked: number, direction, answer: None });
            }
            _ => {}
        }
    }

    fn push(&mut self, entry: Entry) -> u64 {
        self.bytes += entry.bytes();
        self.wire += usize::from(entry.is_wire());
        self.entries.push_back(entry);
        // The newest stays, however large.
        while self.entries.len() > FRAMES_MAX || (self.bytes > BYTES_MAX && self.entries.len() > 1) {
            self.drop_first();
        }
        self.first + self.entries.len() as u64 - 1
    }

    fn drop_first(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes -= entry.bytes();
        self.wire -= usize::from(entry.is_wire());
        if let Some(message) = entry.message() {
            let key = key(message);
            if self.exchanges.get(&key).is_some_and(|exchange| exchange.asked == self.first) {
                self.exchanges.remove(&key);
            }
        }
        self.first += 1;
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }
}

fn key(message: &Message) -> Key {
    (message.tape, message.frame.exchange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answer, notification, request};

    #[test]
    fn an_answer_has_the_method_and_the_name_of_its_request() {
        let mut ring = Ring::default();
        let asked = ring.push_frame(0, request(1, "tools/call", "echo"));
        let between = ring.push_frame(0, Frame { exchange: 1, ..notification("notifications/progress") });
        let answered = ring.push_frame(0, answer(1, r#"{"id":1,"result":{}}"#));
        let message = ring.message(answered).unwrap();
        assert_eq!((message.method.as_str(), message.name.as_deref()), ("tools/call", Some("echo")));
        for number in [asked, between, answered] {
            assert_eq!(ring.exchange(number), (Some(asked), Some(answered)));
        }
    }

    #[test]
    fn the_same_exchange_on_two_tapes_is_two() {
        let mut ring = Ring::default();
        let one = ring.push_frame(0, request(1, "tools/call", "one"));
        let other = ring.push_frame(1, request(1, "tools/call", "other"));
        let answered = ring.push_frame(1, answer(1, "{}"));
        assert_eq!(ring.exchange(one), (Some(one), None));
        assert_eq!(ring.exchange(other), (Some(other), Some(answered)));
    }

    #[test]
    fn what_was_done_on_the_way_to_the_server_stands_beside_the_message() {
        let mut ring = Ring::default();
        let asked = ring.push_frame(0, request(1, "tools/call", "rm"));
        let wire = Frame {
            hop: "wire".to_owned(),
            rules: vec!["careful: set $.arguments.dry_run".to_owned()],
            ..request(1, "tools/call", "rm")
        };
        ring.push_frame(0, wire);
        assert_eq!(ring.message(asked).unwrap().rules, ["careful: set $.arguments.dry_run"]);
        assert_eq!(
            ring.exchange(asked),
            (Some(asked), None),
            "the message of the other hop is no second request"
        );
    }

    #[test]
    fn beyond_its_bounds_the_oldest_go_with_their_exchanges() {
        let mut ring = Ring::default();
        for exchange in 0..FRAMES_MAX as u64 + 10 {
            ring.push_frame(0, request(exchange, "ping", "x"));
        }
        assert_eq!((ring.numbers().count(), ring.first()), (FRAMES_MAX, 10));
        assert_eq!(ring.exchanges.len(), FRAMES_MAX);
        let large = "x".repeat(BYTES_MAX / 2);
        for _ in 0..3 {
            ring.push_frame(0, answer(1, &large));
        }
        assert_eq!(ring.numbers().count(), 1);
        assert!(ring.bytes < BYTES_MAX && ring.exchanges.is_empty());
        // An answer whose request is gone is shown all the same.
        assert_eq!(ring.message(ring.first()).unwrap().method, "");
    }
}
