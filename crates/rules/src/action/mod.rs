//! What rules do, compiled.

use std::time::Duration;

use shadowcat_protocol::ErrorObject;

use crate::fault::{Faults, Place};
use crate::view::View;
use crate::world::{fraction, random_bits};
use crate::written::{self, Broken, Mock, Then};

/// What a rule asks of the caller, or has done already.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The message was changed; it is the judgement's.
    Edited,
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
            Self::Edited | Self::Headers | Self::Tag(_) | Self::Log(_) | Self::Delay(_) | Self::Pause(_) => {
                false
            }
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

/// How a message is held. What is not said is for the caller to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// No longer than this.
    pub held_for: Option<Duration>,
    /// What becomes of it when nobody has let it go by then.
    pub then: Option<Then>,
}

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Action {
    Tag(Vec<String>),
    Log(String),
    Delay { from: Duration, to: Duration },
    Pause(Pause),
    Block(String),
    Mock(Outcome),
    Drop,
    Fault(Broken),
}

impl Action {
    pub(crate) fn compile(written: &written::Action, place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let place = &place.key(written.word());
        Some(match written {
            written::Action::Block(reason) => Self::Block(reason.clone()),
            written::Action::Mock(Mock::Result(result)) => Self::Mock(Outcome::Result(result.to_string())),
            written::Action::Mock(Mock::Error(error)) => Self::Mock(Outcome::Error(ErrorObject {
                code: error.code,
                message: error.message.clone(),
                data: error.data.as_ref().map(ToString::to_string),
            })),
            written::Action::Delay(delay) => {
                let (from, to) = (delay.from.get(), delay.to.get());
                if from > to {
                    faults.add(place, "`from` is longer than `to`");
                }
                Self::Delay { from, to }
            }
            written::Action::Drop(true) => Self::Drop,
            written::Action::Drop(false) => {
                faults.add(place, "does nothing; write `drop: true`, or leave it out");
                return None;
            }
            written::Action::Fault(broken) => Self::Fault(*broken),
            written::Action::Pause(written::Pause { held_for, then }) => {
                Self::Pause(Pause { held_for: held_for.map(written::Span::get), then: *then })
            }
            written::Action::Tag(words) => Self::Tag(words.0.clone()),
            written::Action::Log(line) => Self::Log(line.clone()),
        })
    }

    pub(crate) fn carry_out(&self, view: &View<'_>) -> Step {
        match self {
            Self::Tag(words) => Step::Tag(words.clone()),
            Self::Log(line) => Step::Log(line.clone()),
            Self::Delay { from, to } => {
                let more = to.saturating_sub(*from).mul_f64(fraction(random_bits(view.world)));
                Step::Delay(*from + more)
            }
            Self::Pause(pause) => Step::Pause(*pause),
            Self::Block(reason) => Step::Block(reason.clone()),
            Self::Mock(outcome) => Step::Mock(outcome.clone()),
            Self::Drop => Step::Drop,
            Self::Fault(broken) => Step::Fault(*broken),
        }
    }
}
