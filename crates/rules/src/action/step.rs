//! What a rule asks of the caller, or has done already.

use std::time::Duration;

use shadowcat_protocol::{ErrorObject, Id, Response};

use crate::written::{Broken, Then};

/// What a rule asks of the caller, or has done already.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The message was changed; it is the judgement's.
    Edited,
    /// The message should have been changed, but nothing in it was to be.
    Unchanged,
    /// The headers were changed; they are the judgement's.
    Headers,
    /// The exchange is marked with these words.
    Tag(Vec<String>),
    /// This is a line for the log.
    Log(String),
    /// The message waits.
    Delay(Duration),
    /// The message is held.
    Pause(Pause),
    /// No later rule is looked at; the message goes on. The last.
    Stop,
    /// The message is refused, for this reason. The last.
    Block(String),
    /// This answers the request, or stands in place of the answer. The last.
    Mock(Outcome),
    /// The message vanishes. The last.
    Drop,
    /// The answer is broken. The last.
    Fault(Broken),
    /// The rule could not be carried out. If it fails open the judgement goes on with the next rule; else the message is
    /// refused, and this is the last.
    Failed {
        /// Why, for the log.
        sentence: String,
        /// Whether the message goes on.
        open: bool,
    },
}

impl Step {
    /// Whether no later rule has a say.
    pub fn is_last(&self) -> bool {
        match self {
            Self::Stop | Self::Block(_) | Self::Mock(_) | Self::Drop | Self::Fault(_) => true,
            Self::Failed { open, .. } => !open,
            Self::Edited
            | Self::Unchanged
            | Self::Headers
            | Self::Tag(_)
            | Self::Log(_)
            | Self::Delay(_)
            | Self::Pause(_) => false,
        }
    }
}

/// An answer that is not the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A result, as JSON.
    Result(String),
    /// An error.
    Error(ErrorObject),
}

impl Outcome {
    /// It as the answer to the request of this id.
    pub fn response(&self, id: &Id) -> Response {
        match self {
            Self::Result(result) => Response::result(id, result),
            Self::Error(error) => Response::error(Some(id), error),
        }
    }
}

/// How a message is held. What is not said is for the caller to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// No longer than this.
    pub held_for: Option<Duration>,
    /// What becomes of it when nobody has let it go by then.
    pub then: Option<Then>,
}
