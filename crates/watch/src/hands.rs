//! What a person can do to a running proxy.

use crate::event::Breakpoint;

/// What is to become of a message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Resume,
    /// It goes on as this text.
    Edit(String),
    /// This object with `result` or `error` answers it.
    Answer(String),
    /// It vanishes.
    Drop,
    /// It is refused, for this reason if there is one.
    Block(Option<String>),
}

/// The text of a message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldText {
    /// The message itself, as its sender wrote it.
    pub message: String,
    /// For an answer: the request that it answers.
    pub asked: Option<String>,
}

/// The way into a running proxy. Each call is answered within seconds; what goes wrong is a sentence for the person.
pub trait Hands: Send {
    /// The text of a message that waits.
    ///
    /// # Errors
    /// When it waits no more, or the proxy cannot be reached.
    fn text(&self, id: &str) -> Result<HeldText, String>;

    /// Lets a message go.
    ///
    /// # Errors
    /// The same, and when the text of the verdict is not right.
    fn decide(&self, id: &str, verdict: &Verdict) -> Result<(), String>;

    /// Holds what fits this expression from now on. Gives all breakpoints there are.
    ///
    /// # Errors
    /// When the proxy takes it not, or cannot be reached.
    fn add_breakpoint(&self, filter: &str) -> Result<Vec<Breakpoint>, String>;

    /// Holds it no more. Gives those that are left.
    ///
    /// # Errors
    /// The same.
    fn remove_breakpoint(&self, id: &str) -> Result<Vec<Breakpoint>, String>;
}
