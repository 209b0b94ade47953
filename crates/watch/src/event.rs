//! What a source tells the view.

use shadowcat_pipeline::Direction;
use shadowcat_tape::Frame;
use time::OffsetDateTime;

/// Something that a source has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message passed.
    Frame {
        /// Which of the source's tapes it is on: the same exchange on two of them is two.
        tape: u32,
        /// The message.
        frame: Box<Frame>,
    },
    /// Here is something missing, in words.
    Gap(String),
    /// How the source stands now.
    Standing(Standing),
    /// A message waits for a person.
    Held(Box<Held>),
    /// A message waits no more.
    Released {
        /// Its number.
        id: String,
        /// What became of it and who said so, in words.
        told: String,
    },
    /// These are all that wait.
    AllHeld(Vec<Held>),
    /// These are all breakpoints.
    Breakpoints(Vec<Breakpoint>),
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number, such as `h-1`.
    pub id: String,
    /// The exchange it is part of, as frames name it.
    pub exchange: u64,
    /// Which way it goes.
    pub direction: Direction,
    /// Whether it answers.
    pub is_answer: bool,
    /// The tag of its session.
    pub session: Option<String>,
    /// The method; an answer has that of its request.
    pub method: String,
    /// The tool, prompt, resource or task that it is about.
    pub name: Option<String>,
    /// The bytes of its text.
    pub bytes: usize,
    /// Why it is held, in words.
    pub cause: String,
    /// How long it waits.
    pub until: OffsetDateTime,
    /// What becomes of it then, in a word.
    pub then: String,
}

/// Which messages are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakpoint {
    /// Its number, such as `b-1`.
    pub id: String,
    /// A filter expression.
    pub filter: String,
}

/// How a source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// What is there already is being read.
    #[default]
    Reading,
    /// All of it is read, and more may come.
    Following,
    /// No more will come.
    Ended,
    /// It cannot go on, for this reason.
    Broken(String),
}
