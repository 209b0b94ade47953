//! The seven states of a session and the one table of moves between them.

use std::fmt;

use serde::{Deserialize, Serialize};

use State::{Active, Closed, Closing, Error, Initializing, New, Paused};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has an id and nothing else; its upstream is being connected to, started or waited for.
    New,
    /// `initialize` is under way with the upstream, for the first time or again.
    Initializing,
    /// Messages flow.
    Active,
    /// It is in the store and in no process: put to sleep at shutdown, or for another session when the table was
    /// full. Its client's next message wakes it.
    Paused,
    /// The upstream's side is lost or out of reach; the next message sets it up again from the stored handshake.
    Error,
    /// Its end has begun: nothing new is taken, and the upstream's side is torn down.
    Closing,
    /// It is over, for good.
    Closed,
}

/// Every legal move, and what it means. What is not here is refused.
const MOVES: &[(State, State, &str)] = &[
    (New, Initializing, "the upstream is there, and `initialize` goes to it"),
    (New, Error, "no upstream could be had for it"),
    (New, Closing, "the client went before its `initialize`"),
    (Initializing, Active, "both sides agreed"),
    (Initializing, Error, "the upstream refused, or was lost on the way"),
    (Initializing, Closing, "ended while the handshake ran"),
    (Active, Paused, "put to sleep"),
    (Active, Error, "the upstream lost it or is gone"),
    (Active, Closing, "ended by the client, by its age or by a limit"),
    (Paused, Active, "its client came back"),
    (Paused, Error, "the upstream lost it in the meantime"),
    (Paused, Closing, "ended in its sleep"),
    (Error, Initializing, "set up again from the stored handshake"),
    (Error, Active, "the upstream is back in reach and still knows it"),
    (Error, Closing, "given up"),
    (Closing, Closed, "all it held is released"),
];

impl State {
    /// All of them, in the order of a life without trouble.
    pub const ALL: [Self; 7] = [New, Initializing, Active, Paused, Error, Closing, Closed];

    /// The state after a move, if the table has it.
    pub fn step(self, to: Self) -> Result<Self, IllegalMove> {
        let known = MOVES.iter().any(|(from, target, _)| (*from, *target) == (self, to));
        if known { Ok(to) } else { Err(IllegalMove { from: self, to }) }
    }

    /// Whether its end has begun: from here nothing leads back.
    pub fn is_over(self) -> bool {
        matches!(self, Closing | Closed)
    }

    /// Whether it lasts for a moment, in the course of things; nothing is lost with it in a crash.
    pub(crate) fn is_passing(self) -> bool {
        matches!(self, New | Initializing)
    }

    /// The word for it in stores, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            New => "new",
            Initializing => "initializing",
            Active => "active",
            Paused => "paused",
            Error => "error",
            Closing => "closing",
            Closed => "closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session cannot go from {from} to {to}")]
pub struct IllegalMove {
    /// Where it stands, and stays.
    pub from: State,
    /// Where it was to go.
    pub to: State,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_49_pairs_is_legal_or_refused_as_written_here() {
        // Rows are where it stands, columns where it is to go, both in the order of `ALL`.
        let legal = [".+..++.", "..+.++.", "...+++.", "..+.++.", ".++..+.", "......+", "......."];
        for (from, row) in State::ALL.into_iter().zip(legal) {
            for (to, mark) in State::ALL.into_iter().zip(row.chars()) {
                let expected = if mark == '+' { Ok(to) } else { Err(IllegalMove { from, to }) };
                assert_eq!(from.step(to), expected, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn a_scripted_life_shows_every_state() {
        let life = [Initializing, Active, Paused, Active, Error, Initializing, Active, Closing, Closed];
        let end = life.into_iter().try_fold(New, State::step).unwrap();
        assert_eq!(end, Closed);
    }

    #[test]
    fn the_stored_word_is_the_shown_word() {
        for state in State::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }
}
