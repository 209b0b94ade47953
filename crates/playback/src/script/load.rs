//! From the records of tapes to a script.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use shadowcat_pipeline::Direction;
use shadowcat_protocol::{Limits, Message, method};
use shadowcat_tape::{Action, Call as Taken, Calls, Frame, Kind, Record};

use super::{Call, Client, Heard, Note, Outcome, Question, Says, Script, Step, rounds};
use crate::run_values::meaning;

/// Messages of one script; what is played is in memory as a whole.
const MESSAGES_MAX: usize = 1_000_000;
/// Their bytes.
const BYTES_MAX: usize = 512 * 1024 * 1024;
/// Where client and proxy meet: what is played is what clients said, not what a bridge made of it.
const HOP: &str = "edge";

/// Why tapes cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nobody said anything.
    #[error("nothing on the tape was said by a client: there is nothing to play")]
    Nothing,
    /// More than memory should hold.
    #[error(
        "the tape holds more than {MESSAGES_MAX} messages or {} MiB: play a part of it, which `shadowcat tape cut` makes",
        BYTES_MAX / (1024 * 1024)
    )]
    TooLong,
}

/// Takes the records of one tape after the other.
#[derive(Debug)]
pub struct Loading {
    calls: Calls,
    clients: BTreeMap<(Option<String>, bool), Client>,
    lost: u64,
    messages: usize,
    bytes: usize,
    /// Where the present tape begins.
    base: Duration,
    /// When the first and the last message passed.
    span: Option<(Duration, Duration)>,
}

impl Default for Loading {
    fn default() -> Self {
        Self {
            calls: Calls::at(HOP),
            clients: BTreeMap::new(),
            lost: 0,
            messages: 0,
            bytes: 0,
            base: Duration::ZERO,
            span: None,
        }
    }
}

impl Loading {
    /// Takes the next record.
    ///
    /// # Errors
    /// What is on the tapes is more than can be played at once.
    pub fn take(&mut self, record: Record) -> Result<(), LoadError> {
        match record {
            Record::Frame(frame) if frame.hop == HOP => {
                self.messages += 1;
                self.bytes += frame.message.len();
                if self.messages > MESSAGES_MAX || self.bytes > BYTES_MAX {
                    return Err(LoadError::TooLong);
                }
                let at = self.at(&frame);
                let (first, last) = self.span.unwrap_or((at, at));
                self.span = Some((first.min(at), last.max(at)));
                if let Some(call) = self.calls.take(*frame) {
                    self.add(call);
                }
            }
            Record::Lost(lost) => self.lost += lost.count,
            Record::Frame(_) | Record::Header(_) | Record::End(_) => (),
        }
        Ok(())
    }

    /// What comes next is another tape, which is played behind this one. Sessions may go on there.
    pub fn next_tape(&mut self) {
        self.end_tape();
        self.base = self.span.map_or(Duration::ZERO, |(_, last)| last);
    }

    fn end_tape(&mut self) {
        let open = std::mem::replace(&mut self.calls, Calls::at(HOP));
        open.rest().for_each(|call| self.add(call));
    }

    /// The script of all that was taken.
    ///
    /// # Errors
    /// Nobody said anything.
    pub fn finish(mut self) -> Result<Script, LoadError> {
        self.end_tape();
        let (first, last) = self.span.ok_or(LoadError::Nothing)?;
        let mut clients: Vec<Client> = self.clients.into_values().collect();
        clients.retain(|client| !client.steps.is_empty());
        if clients.is_empty() {
            return Err(LoadError::Nothing);
        }
        for client in &mut clients {
            client.steps.sort_by_key(|step| step.at);
            rounds::join(client);
            client.questions.sort_by_key(|question| question.seq);
            client.heard.sort_by_key(|heard| heard.at);
            client.begin_at(first);
        }
        clients.sort_by_key(Client::begins);
        Ok(Script { clients, lost: self.lost, length: last.saturating_sub(first) })
    }

    fn at(&self, frame: &Frame) -> Duration {
        self.base + Duration::from_micros(frame.at_us)
    }

    fn add(&mut self, taken: Taken) {
        let ended = taken.frames().map(|frame| self.at(frame)).max().unwrap_or_default();
        let at = self.at(&taken.asked);
        let client = self.client(&taken.asked);
        client.ends = client.ends.max(ended);
        client.bridged |= taken.frames().any(is_bridged);
        match (taken.asked.direction, taken.asked.kind) {
            (Direction::ToServer, Kind::Request) => {
                let seq = taken.asked.seq;
                if let Some(call) = call(taken, at) {
                    client.steps.push(Step { seq, at, says: Says::Call(Box::new(call)) });
                }
            }
            (Direction::ToServer, Kind::Notification) => {
                let Frame { seq, method, message, .. } = taken.asked;
                let note = Note { method: method.unwrap_or_default(), text: message.into() };
                client.steps.push(Step { seq, at, says: Says::Note(note) });
            }
            (Direction::ToClient, Kind::Request) => client.questions.extend(question(&taken)),
            (Direction::ToClient, Kind::Notification) => {
                let Frame { seq, method, message, .. } = taken.asked;
                client.heard.push(Heard {
                    seq,
                    at,
                    method: method.unwrap_or_default(),
                    text: message.into(),
                });
            }
            // An answer to what is not on the tape.
            (_, Kind::Response) => (),
        }
    }

    fn client(&mut self, frame: &Frame) -> &mut Client {
        // The modern revision has no sessions, whatever else a tape may say.
        let is_modern = frame.client.era == "modern";
        let session = frame.session.clone().filter(|_| !is_modern);
        let client = || Client {
            session: session.clone(),
            revision: frame.client.revision.clone(),
            is_modern,
            bridged: false,
            steps: Vec::new(),
            questions: Vec::new(),
            heard: Vec::new(),
            ends: Duration::ZERO,
        };
        self.clients.entry((session.clone(), is_modern)).or_insert_with(client)
    }
}

/// A call of a client; none if what stands on the tape is no request that could be sent again.
fn call(taken: Taken, at: Duration) -> Option<Call> {
    let text = Bytes::from(taken.asked.message.clone());
    let Ok(Message::Request(request)) = Message::parse(text, &Limits::default()) else { return None };
    let took = taken.answer.as_ref().and_then(|answer| answer.took_us).map(Duration::from_micros);
    let refused = taken.answer.as_ref().and_then(|answer| match &answer.action {
        Action::Refused { reason } => Some(reason.clone()),
        Action::Passed | Action::Translated | Action::Other(_) => None,
    });
    let outcome = Outcome {
        answer: taken.answer.map(|frame| frame.message.into()),
        between: taken.between.into_iter().map(|frame| frame.message.into()).collect(),
        took,
    };
    Some(Call {
        seq: taken.asked.seq,
        method: request.method().to_owned(),
        name: request.name().map(std::borrow::Cow::into_owned),
        id: request.id().as_json().into(),
        request: taken.asked.message.into(),
        rounds: Vec::new(),
        ended: took.map(|took| at + took),
        outcome,
        refused,
    })
}

/// Whether the two sides of a message speak different eras.
fn is_bridged(frame: &Frame) -> bool {
    frame.upstream.as_ref().is_some_and(|upstream| upstream.era != frame.client.era)
}

fn question(taken: &Taken) -> Option<Question> {
    let asked: Value = serde_json::from_str(&taken.asked.message).ok()?;
    if taken.asked.method.as_deref() == Some(method::PING) {
        return None;
    }
    let reply = taken.answer.as_ref().filter(|answer| answer.action == Action::Passed);
    let took = reply.and_then(|answer| answer.took_us).map_or(Duration::ZERO, Duration::from_micros);
    let reply = reply.and_then(|answer| serde_json::from_str::<Value>(&answer.message).ok());
    let reply = reply.and_then(|mut reply| {
        let members = reply.as_object_mut()?;
        members.retain(|name, _| name == "result" || name == "error");
        Some(reply)
    });
    Some(Question { seq: taken.asked.seq, asked: meaning(&asked), reply, took })
}

impl Client {
    /// Moves the beginning of time to the first message of all tapes.
    fn begin_at(&mut self, first: Duration) {
        for step in &mut self.steps {
            step.at = step.at.saturating_sub(first);
            if let Says::Call(call) = &mut step.says {
                call.ended = call.ended.map(|ended| ended.saturating_sub(first));
                call.rounds.iter_mut().for_each(|at| *at = at.saturating_sub(first));
            }
        }
        self.heard.iter_mut().for_each(|heard| heard.at = heard.at.saturating_sub(first));
        self.ends = self.ends.saturating_sub(first);
    }
}
