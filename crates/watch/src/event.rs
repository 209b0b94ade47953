//! What a source tells the view.

use shadowcat_tape::Frame;

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
