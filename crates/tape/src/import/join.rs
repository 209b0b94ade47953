//! Messages with a time and a direction, made frames: which exchange each belongs to, in which session, by which
//! revision.

use std::collections::HashMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use shadowcat_pipeline::Direction;
use shadowcat_protocol::{Id, Message, Revision, json, method};
use time::OffsetDateTime;

use super::{At, HELD_BYTES_MAX, ImportError, Sink};
use crate::record::{Action, ClientSide, Frame, Kind, UpstreamSide, message_limits};

/// So many requests wait for their answers; the answers to others belong to nothing.
const OPEN_MAX: usize = 65_536;
/// So many sessions are told apart by their revisions.
const SESSIONS_MAX: usize = 65_536;
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// A message as a recording tells of it.
#[derive(Debug)]
pub(super) struct Said {
    /// For errors: where it is from.
    pub(super) at: At,
    pub(super) time: OffsetDateTime,
    pub(super) direction: Direction,
    pub(super) text: String,
    pub(super) session: Option<String>,
    /// What it came in, which joins it to what was asked there.
    pub(super) group: Option<Group>,
    pub(super) transport: String,
    /// What HTTP says of the revision.
    pub(super) revision: Option<Revision>,
    pub(super) upstream: Option<UpstreamSide>,
    pub(super) refused: Option<String>,
}

/// An entry that holds several messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Group {
    /// An HTTP exchange: replies, and what the server asks meanwhile.
    Http(u64),
    /// A call, and nothing else.
    Call(u64),
}

/// Collects messages of formats that tell of them in another order than they were said in.
#[derive(Default)]
pub(super) struct Held {
    all: Vec<Said>,
    bytes: usize,
}

impl Held {
    pub(super) fn push(&mut self, said: Said) -> Result<(), ImportError> {
        self.bytes += said.text.len() + size_of::<Said>();
        if self.bytes > HELD_BYTES_MAX {
            return Err(ImportError::TooLarge);
        }
        self.all.push(said);
        Ok(())
    }

    pub(super) fn all(&mut self) -> &mut [Said] {
        &mut self.all
    }

    /// Gives them out in order.
    pub(super) fn join(mut self, sink: &mut Sink<'_>) -> Result<(), ImportError> {
        self.all.sort_by_key(|said| said.time);
        let mut join = Join::default();
        for said in self.all {
            let at = said.at;
            match join.frame(said) {
                Ok(frame) => sink.frame(frame)?,
                Err(detail) => sink.bad(at, detail)?,
            }
        }
        Ok(())
    }
}

/// What is known of the messages so far.
#[derive(Default)]
pub(super) struct Join {
    begun: Option<OffsetDateTime>,
    at_us: u64,
    seq: u64,
    exchanges: u64,
    open: HashMap<Key, Open>,
    tokens: HashMap<Key, u64>,
    /// What was begun in a group, and when.
    groups: HashMap<Group, (u64, u64)>,
    revisions: HashMap<Option<String>, Revision>,
}

/// An id or a token in the scope in which it is meant: a session, and the side that chose it.
type Key = (Option<String>, bool, String);

struct Open {
    exchange: u64,
    at_us: u64,
    is_handshake: bool,
}

impl Join {
    /// The frame of the next message, or why it is none.
    pub(super) fn frame(&mut self, said: Said) -> Result<Frame, String> {
        let message = Message::parse(Bytes::from(said.text), &message_limits())
            .map_err(|fault| format!("no JSON-RPC message: {fault}"))?;
        let line = message.to_line();
        let text = String::from_utf8(line.to_vec()).map_err(|_| "the message is no UTF-8".to_owned())?;
        let begun = *self.begun.get_or_insert(said.time);
        let us = u64::try_from((said.time - begun).whole_microseconds()).unwrap_or(0);
        self.at_us = self.at_us.max(us);
        self.seq += 1;
        let mut frame = Frame {
            seq: self.seq,
            at_us: self.at_us,
            time: said.time,
            hop: "edge".to_owned(),
            direction: said.direction,
            exchange: 0,
            related: None,
            session: said.session,
            client: ClientSide { transport: said.transport, revision: String::new(), era: String::new() },
            upstream: said.upstream,
            kind: Kind::Notification,
            method: message.method().map(str::to_owned),
            action: said.refused.map_or(Action::Passed, |reason| Action::Refused { reason }),
            took_us: None,
            rules: Vec::new(),
            redactions: 0,
            unfolded: line.len() != message.text().len(),
            message: text,
        };
        self.place(&message, said.group, &mut frame);
        let revision = self.revision(said.revision, &frame);
        revision.as_str().clone_into(&mut frame.client.revision);
        revision.era().as_str().clone_into(&mut frame.client.era);
        Ok(frame)
    }

    /// The exchange: that of the request which a response answers and a notification travels with, else its own.
    fn place(&mut self, message: &Message, group: Option<Group>, frame: &mut Frame) {
        frame.kind = match message {
            Message::Request(_) => Kind::Request,
            Message::Notification(_) => Kind::Notification,
            Message::Response(_) => Kind::Response,
        };
        if let Some(group @ Group::Call(_)) = group {
            let fresh = self.exchanges + 1;
            let (exchange, begun) = *self.groups.entry(group).or_insert((fresh, frame.at_us));
            self.exchanges = self.exchanges.max(exchange);
            frame.exchange = exchange;
            frame.took_us = (frame.kind == Kind::Response).then(|| frame.at_us.saturating_sub(begun));
            return;
        }
        let of_group = group.and_then(|group| self.groups.get(&group)).map(|(exchange, _)| *exchange);
        match message {
            Message::Request(request) => {
                frame.exchange = self.next();
                let own = frame.direction == Direction::ToServer;
                frame.related = of_group.filter(|_| !own);
                if let Some(group) = group.filter(|_| own) {
                    self.groups.entry(group).or_insert((frame.exchange, frame.at_us));
                }
                self.open(request.id().as_json(), request.progress_token(), frame);
            }
            Message::Response(response) => self.answer(response.id(), of_group, frame),
            Message::Notification(notification) => {
                let key = notification.progress_token().map(|token| other(frame, token));
                let asked = key.and_then(|key| self.tokens.get(&key)).copied();
                let of_group = of_group.filter(|_| frame.direction == Direction::ToClient);
                frame.exchange = asked.or(of_group).unwrap_or_else(|| self.next());
            }
        }
    }

    /// An error without an id answers what its HTTP exchange asked.
    fn answer(&mut self, id: Option<&Id>, of_group: Option<u64>, frame: &mut Frame) {
        let open = id.and_then(|id| self.open.remove(&other(frame, id.as_json())));
        frame.took_us = open.as_ref().map(|open| frame.at_us.saturating_sub(open.at_us));
        if open.as_ref().is_some_and(|open| open.is_handshake) {
            self.agreed(frame);
        }
        let asked = open.map(|open| open.exchange).or(of_group);
        frame.exchange = asked.unwrap_or_else(|| self.next());
    }

    fn next(&mut self) -> u64 {
        self.exchanges += 1;
        self.exchanges
    }

    fn open(&mut self, id: &str, token: Option<&str>, frame: &Frame) {
        let own = frame.direction == Direction::ToServer;
        let is_handshake = frame.method.as_deref() == Some(method::INITIALIZE);
        if self.open.len() < OPEN_MAX {
            let open = Open { exchange: frame.exchange, at_us: frame.at_us, is_handshake };
            self.open.insert((frame.session.clone(), own, id.to_owned()), open);
        }
        if let Some(token) = token.filter(|_| self.tokens.len() < OPEN_MAX) {
            self.tokens.insert((frame.session.clone(), own, token.to_owned()), frame.exchange);
        }
        let asked = is_handshake.then_some(["params", "protocolVersion"]);
        if let Some(revision) = asked.and_then(|path| named(&frame.message, &path)) {
            self.note(frame, revision);
        }
    }

    /// The answer to a handshake says what both speak from now on.
    fn agreed(&mut self, frame: &Frame) {
        if let Some(revision) = named(&frame.message, &["result", "protocolVersion"]) {
            self.note(frame, revision);
        }
    }

    fn note(&mut self, frame: &Frame, revision: Revision) {
        if self.revisions.len() < SESSIONS_MAX || self.revisions.contains_key(&frame.session) {
            self.revisions.insert(frame.session.clone(), revision);
        }
    }

    /// What the body says comes first, as it does in the proxy.
    fn revision(&mut self, told: Option<Revision>, frame: &Frame) -> Revision {
        let own = named(&frame.message, &["params", "_meta", VERSION_KEY]);
        if let Some(revision) = own.or(told) {
            self.note(frame, revision);
            return revision;
        }
        self.revisions.get(&frame.session).copied().unwrap_or(Revision::NEWEST_LEGACY)
    }
}

/// The key of what the other side chose.
fn other(frame: &Frame, text: &str) -> Key {
    (frame.session.clone(), frame.direction != Direction::ToServer, text.to_owned())
}

fn named(message: &str, path: &[&str]) -> Option<Revision> {
    json::get(message, path).and_then(json::string).and_then(|name| Revision::parse(&name))
}

/// What stands for a session's id on a tape: the first 8 hex digits of its SHA-256, as the proxy writes it.
pub(super) fn session_tag(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    let first = digest.iter().take(4).fold(0_u32, |tag, byte| tag << 8 | u32::from(*byte));
    format!("{first:08x}")
}
