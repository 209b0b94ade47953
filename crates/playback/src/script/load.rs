//! From the records of tapes to a script.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use shadowcat_pipeline::Direction;
use shadowcat_protocol::{Message, method};
use shadowcat_tape::{Action, Call as Taken, Frame, Kind, message_limits};

use super::{Call, Client, Heard, Note, Outcome, Question, Says, Script, Step, rounds};
use crate::run_values::meaning;
use crate::tapes::{Place, Run, Tapes};

/// Between the last message of a run and the first of the next one.
const PAUSE: Duration = Duration::from_millis(1);

/// Nobody said anything on the tapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing on the tape was said by a client: there is nothing to play")]
pub struct Silent;

impl Script {
    /// The script of what is on tapes: run behind run, each at the times it had. Sessions may go on in the next.
    ///
    /// # Errors
    /// Nobody said anything.
    pub fn new(tapes: Tapes) -> Result<Self, Silent> {
        let (tapes, runs) = tapes.finish();
        let lost = runs.iter().map(|run| run.lost).sum();
        let mut loading = Loading::default();
        for run in runs {
            loading.add_run(run);
        }
        let length = loading.end;
        let mut clients: Vec<Client> = loading.clients.into_values().collect();
        clients.retain(|client| !client.steps.is_empty());
        if clients.is_empty() {
            return Err(Silent);
        }
        for client in &mut clients {
            client.steps.sort_by_key(|step| step.at);
            rounds::join(client);
            client.questions.sort_by_key(|question| question.place);
            client.heard.sort_by_key(|heard| heard.at);
        }
        clients.sort_by_key(Client::begins);
        Ok(Self { tapes, clients, lost, length })
    }
}

/// The clients so far.
#[derive(Default)]
struct Loading {
    clients: BTreeMap<(Option<String>, bool), Client>,
    /// The clock of the tapes when the present run began, and when that was in the script.
    begun: (Duration, Duration),
    /// When the last message passed.
    end: Duration,
}

impl Loading {
    fn add_run(&mut self, run: Run) {
        let Some(first) = run.calls.iter().flat_map(Taken::frames).map(|frame| frame.at_us).min() else {
            return;
        };
        let pause = if self.clients.is_empty() { Duration::ZERO } else { PAUSE };
        self.begun = (Duration::from_micros(first), self.end + pause);
        for call in run.calls {
            self.add(call);
        }
    }

    fn at(&self, frame: &Frame) -> Duration {
        let (tape, script) = self.begun;
        script + Duration::from_micros(frame.at_us).saturating_sub(tape)
    }

    fn add(&mut self, taken: Taken) {
        let ended = taken.frames().map(|frame| self.at(frame)).max().unwrap_or_default();
        self.end = self.end.max(ended);
        let (at, place) = (self.at(&taken.asked), Place::of(&taken.asked));
        let client = self.client(&taken.asked);
        client.ends = client.ends.max(ended);
        client.bridged |= taken.frames().any(is_bridged);
        match (taken.asked.direction, taken.asked.kind) {
            (Direction::ToServer, Kind::Request) => {
                if let Some(call) = call(taken, at) {
                    client.steps.push(Step { place, at, says: Says::Call(Box::new(call)) });
                }
            }
            (Direction::ToServer, Kind::Notification) => {
                let Frame { method, message, .. } = taken.asked;
                let note = Note { method: method.unwrap_or_default(), text: message.into() };
                client.steps.push(Step { place, at, says: Says::Note(note) });
            }
            (Direction::ToClient, Kind::Request) => client.questions.extend(question(&taken)),
            (Direction::ToClient, Kind::Notification) => {
                let Frame { method, message, .. } = taken.asked;
                client.heard.push(Heard {
                    place,
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
    let Ok(Message::Request(request)) = Message::parse(text, &message_limits()) else { return None };
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
        place: Place::of(&taken.asked),
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
    Some(Question { place: Place::of(&taken.asked), asked: meaning(&asked), reply, took })
}
