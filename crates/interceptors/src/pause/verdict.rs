//! What is to become of a held message, who says so, and what cannot be said.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use shadowcat_protocol::{Limits, Message, Response, json};
use shadowcat_rules::{Outcome, Then};

use super::held::{HeldId, Stopped};

/// What somebody wants to become of a held message.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// It goes on as it is.
    Resume,
    /// It goes on with this text, which is a message of the same kind with the same id.
    Edit(Bytes),
    /// This answers the request, or stands in the place of the answer.
    Answer(Outcome),
    /// It vanishes.
    Drop,
    /// It is refused.
    Block,
}

/// What somebody has decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What is to become of the message.
    pub wanted: Wanted,
    /// Why. Who is refused is told.
    pub reason: Option<String>,
    /// Who says so, for the log and the tape: `api`, `webhook HOST`.
    pub by: Arc<str>,
}

/// What becomes of a message that was held.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It goes on as it is.
    Resume,
    /// It goes on as this.
    Edit(Message),
    /// This answers the request, or stands in the place of the answer.
    Answer(Response),
    /// It vanishes.
    Drop,
    /// It is refused, with this sentence.
    Block(String),
}

impl Verdict {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Edit(_) => "edit",
            Self::Answer(_) => "answer",
            Self::Drop => "drop",
            Self::Block(_) => "block",
        }
    }

    /// What was said beforehand for when nobody decides.
    pub(super) fn of(then: Then, sentence: &str) -> Self {
        match then {
            Then::Continue => Self::Resume,
            Then::Block => Self::Block(sentence.to_owned()),
        }
    }
}

/// Who let a message go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// Somebody decided; this is what they are called.
    Decision(Arc<str>),
    /// Nobody, in time.
    Deadline,
    /// The lot was full.
    Bound,
    /// The proxy ends.
    Shutdown,
    /// Its sender waits no more: it withdrew the message or is gone.
    Gone,
}

impl By {
    /// The word for it.
    pub fn word(&self) -> &str {
        match self {
            Self::Decision(by) => by,
            Self::Deadline => "deadline",
            Self::Bound => "bound",
            Self::Shutdown => "shutdown",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a message was let go.
#[derive(Clone, Debug)]
pub struct Released {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Who says so.
    pub by: By,
    /// Why, if they said.
    pub reason: Option<Arc<str>>,
}

/// Why a decision has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// It was let go before, or there never was one.
    #[error("{0} is not held: it was let go before, or never was")]
    Gone(HeldId),
    /// What was given in its place cannot stand there.
    #[error("{0}")]
    Bad(String),
    /// Such a message cannot be answered.
    #[error("a notification has no answer; resume, edit, drop or block it")]
    NoAnswer,
}

/// What a decision means for this message.
pub(super) fn verdict(
    decision: &Decision,
    stopped: &Stopped,
    limits: &Limits,
) -> Result<Verdict, DecideError> {
    Ok(match &decision.wanted {
        Wanted::Resume => Verdict::Resume,
        Wanted::Edit(text) => Verdict::Edit(edited(text, stopped, limits)?),
        Wanted::Answer(outcome) => Verdict::Answer(answer(outcome, stopped, limits)?),
        Wanted::Drop => Verdict::Drop,
        Wanted::Block => {
            let sentence = "refused by those who run the proxy";
            Verdict::Block(decision.reason.clone().unwrap_or_else(|| sentence.to_owned()))
        }
    })
}

/// Who waits for a message looks for its kind and its id.
fn edited(text: &Bytes, stopped: &Stopped, limits: &Limits) -> Result<Message, DecideError> {
    let edited = Message::parse(text.clone(), limits).map_err(|error| DecideError::Bad(error.to_string()))?;
    let is_same = match (&edited, &stopped.message) {
        (Message::Request(edited), Message::Request(held)) => edited.id() == held.id(),
        (Message::Response(edited), Message::Response(held)) => edited.id() == held.id(),
        (Message::Notification(_), Message::Notification(_)) => true,
        _ => false,
    };
    if is_same {
        return Ok(edited);
    }
    let wanted = match (&stopped.message, stopped.message.id()) {
        (Message::Request(_), Some(id)) => format!("a request with the id {}", id.as_json()),
        (Message::Response(_), Some(id)) => format!("an answer with the id {}", id.as_json()),
        (Message::Response(_), None) => "an answer with the id null".to_owned(),
        _ => "a notification, which has no id".to_owned(),
    };
    Err(DecideError::Bad(format!("the edited message must stay {wanted}")))
}

fn answer(outcome: &Outcome, stopped: &Stopped, limits: &Limits) -> Result<Response, DecideError> {
    let id = stopped.message.id().ok_or(DecideError::NoAnswer)?;
    match outcome {
        Outcome::Result(result) => checked(result, "result")?,
        Outcome::Error(error) => error.data.as_deref().map_or(Ok(()), |data| checked(data, "data"))?,
    }
    match Message::parse(outcome.response(id).text().clone(), limits) {
        Ok(Message::Response(response)) => Ok(response),
        Ok(_) => Err(DecideError::Bad("this is no answer".to_owned())),
        Err(error) => Err(DecideError::Bad(error.to_string())),
    }
}

/// By itself first: a text with a brace too many could end the answer early and write members of its own.
fn checked(text: &str, what: &str) -> Result<(), DecideError> {
    json::is_value(text).then_some(()).ok_or_else(|| DecideError::Bad(format!("`{what}` is not JSON")))
}
