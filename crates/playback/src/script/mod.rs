//! What the clients on a tape said, in the order and at the times they said it, and what they were told.

mod load;
mod rounds;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::Value;
use shadowcat_protocol::{json, method};

pub use load::Silent;
pub(crate) use rounds::wanted;

use crate::tapes::Place;

/// All that is to be said again.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The names of the tapes.
    pub tapes: Vec<String>,
    /// The clients, in the order of their first words.
    pub clients: Vec<Client>,
    /// Messages that passed and are not on the tape.
    pub lost: u64,
    /// From the first message to the last.
    pub length: Duration,
}

impl Script {
    /// The calls of all clients.
    pub fn calls(&self) -> usize {
        self.clients.iter().map(|client| client.calls().count()).sum()
    }

    /// A frame, as people are told: with the name of its tape where there are several.
    pub fn frame(&self, place: Place) -> String {
        match self.tapes.get(place.tape).filter(|_| self.tapes.len() > 1) {
            Some(tape) => format!("frame {} of {tape}", place.seq),
            None => format!("frame {}", place.seq),
        }
    }
}

/// One client: a session on the tape, or all exchanges that belong to none.
#[derive(Clone, Debug)]
pub struct Client {
    /// The hash of its session's id; none for the exchanges of the modern revision.
    pub session: Option<String>,
    /// The revision it spoke.
    pub revision: String,
    /// Whether it spoke the modern one.
    pub is_modern: bool,
    /// Whether a bridge stood between it and a server of the other era.
    pub bridged: bool,
    /// What it said, by time.
    pub steps: Vec<Step>,
    /// What servers asked it, and what it answered, by time.
    pub questions: Vec<Question>,
    /// What servers told it outside of its calls, by time.
    pub heard: Vec<Heard>,
    /// When its last message passed.
    pub ends: Duration,
}

impl Client {
    /// Its calls.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.steps.iter().filter_map(|step| match &step.says {
            Says::Call(call) => Some(&**call),
            Says::Note(_) => None,
        })
    }

    /// Whether the server will tell it this again. Over HTTP nobody may be listening by the end of the handshake, so that
    /// what a server says before its first other answer comes by chance; and it logs when it likes.
    pub fn hears_again(&self, method: &str) -> bool {
        let calls = self.calls().filter(|call| call.method != method::INITIALIZE);
        let greeted = calls.filter_map(|call| call.ended).min().unwrap_or(self.ends);
        let mut heard = self.heard.iter().filter(|heard| heard.method == method).peekable();
        let is_new = heard.peek().is_none();
        method != method::LOG_MESSAGE && (is_new || heard.any(|heard| heard.at >= greeted))
    }

    /// When it said its first word.
    pub fn begins(&self) -> Duration {
        self.steps.first().map_or(self.ends, |step| step.at)
    }
}

/// Arguments in a title are cut beyond this.
const TITLE_CHARS_MAX: usize = 80;

/// A call in a few words: `tools/call echo {"message":"hi"}`.
pub(crate) fn title(method: &str, name: Option<&str>, arguments: Option<&Value>) -> String {
    let arguments = arguments.map(|arguments| cut(&arguments.to_string(), TITLE_CHARS_MAX));
    let words = [Some(method), name, arguments.as_deref()];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// So many characters of a text, with a mark where more follows.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    let mut cut: String = text.chars().take(chars_max).collect();
    if cut.len() < text.len() {
        cut.push_str("...");
    }
    cut
}

/// One thing that a client did.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where its frame stands.
    pub place: Place,
    /// When, from the beginning of the tape.
    pub at: Duration,
    /// What it said.
    pub says: Says,
}

impl Step {
    /// What it is, in a few words.
    pub fn title(&self) -> String {
        match &self.says {
            Says::Call(call) => title(&call.method, call.name.as_deref(), call.arguments().as_ref()),
            Says::Note(note) => note.method.clone(),
        }
    }
}

/// What a client says of its own accord.
#[derive(Clone, Debug)]
pub enum Says {
    /// A request.
    Call(Box<Call>),
    /// A notification.
    Note(Note),
}

/// A request, and what came of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where its frame stands.
    pub place: Place,
    /// The method.
    pub method: String,
    /// The tool, prompt, resource or task.
    pub name: Option<String>,
    /// The request as its client wrote it.
    pub request: Box<str>,
    /// The request's id as JSON.
    pub id: Box<str>,
    /// When it was asked again with what the server wanted to know, for each such round of the modern revision.
    pub rounds: Vec<Duration>,
    /// When its last answer came.
    pub ended: Option<Duration>,
    /// What came of it.
    pub outcome: Outcome,
    /// The proxy's own word for why it answered itself, if it did.
    pub refused: Option<String>,
}

impl Call {
    /// What the tool or prompt is called with.
    pub fn arguments(&self) -> Option<Value> {
        serde_json::from_str(json::get(&self.request, &["params", "arguments"])?).ok()
    }
}

/// What came of a call, on tape or live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The answer, if there was one.
    pub answer: Option<Box<str>>,
    /// What came before it, in order.
    pub between: Vec<Box<str>>,
    /// How long the server took; over all rounds.
    pub took: Option<Duration>,
}

/// A notification of a client.
#[derive(Clone, Debug)]
pub struct Note {
    /// The method.
    pub method: String,
    /// The text.
    pub text: Box<str>,
}

/// What a server asked, as a request of its own or in an answer that wants more.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where the frame that asked stands.
    pub place: Place,
    /// `method` and `params` without what belongs to one run.
    pub asked: Value,
    /// `result` or `error`; none if it was never answered.
    pub reply: Option<Value>,
    /// How long the client took to answer.
    pub took: Duration,
}

/// What a server told a client outside of its calls.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Where its frame stands.
    pub place: Place,
    /// When.
    pub at: Duration,
    /// The method.
    pub method: String,
    /// The text.
    pub text: Box<str>,
}
