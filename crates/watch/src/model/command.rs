//! What a person wants, and what the loop around the model has to do for it.

use super::Step;
use crate::hands::Verdict;

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Quit,
    /// Shows all keys.
    Help,
    /// Closes what is open.
    Back,
    Go(Step),
    Open,
    /// From one list to the next.
    NextList,
    /// Stops following what comes, or goes on.
    Pause,
    Filter,
    /// Shows what passed on the server's side too, or not.
    Wire,
    /// Opens the next message, or the one before.
    NextMessage,
    PreviousMessage,
    OtherPane,
    /// Holds what fits a filter.
    Breakpoint,
    /// Lets the held message go as it is.
    Resume,
    /// Lets it go as it is edited.
    Edit,
    /// Answers it.
    Answer,
    /// Lets it vanish; a breakpoint, too.
    Drop,
    /// Refuses it.
    Block,
}

/// What the loop around the model has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Quit,
    /// Lets a held message go.
    Decide {
        id: String,
        verdict: Verdict,
    },
    /// Lets a person write what is to become of it.
    Compose {
        id: String,
        what: Compose,
    },
    /// Opens it.
    Show {
        id: String,
    },
    AddBreakpoint {
        filter: String,
    },
    RemoveBreakpoint {
        id: String,
    },
}

/// What a person writes about a message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compose {
    /// The message as it is to go on.
    Edit,
    /// The answer to it.
    Answer,
}
