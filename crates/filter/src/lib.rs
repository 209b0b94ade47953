//! Expressions that say which messages are meant: `~m tools/call & ~t echo & ~e`.
//!
//! A [`Filter`] is parsed once, with all its patterns compiled, and then asked about anything that is a [`Subject`]: a
//! call on a tape, a message under way. The language is described for its users in `docs/filters.md`.
//!
//! Not here: what a message is. A subject answers for itself, and what it does not know fits nothing.
//!
//! | file | holds |
//! |---|---|
//! | `operators.rs` | the operators, one table |
//! | `subject.rs` | what can be asked of a message |
//! | `expression.rs` | a filter as a tree: matching and printing |
//! | `parser/`, `cursor.rs` | from text to the tree |
//! | `pattern.rs`, `comparison.rs` | the arguments of operators |
//! | `units.rs` | units of time and size |
//! | `nearest.rs` | the word that was probably meant |

mod comparison;
mod cursor;
mod expression;
mod nearest;
mod operators;
mod parser;
mod pattern;
mod subject;
mod units;

use std::fmt;
use std::str::FromStr;

pub use nearest::nearest;
pub use operators::{OPERATORS, Operator, help};
pub use pattern::{Pattern, regex};
pub use subject::{Field, Flag, Foresight, Heard, Quantity, Subject};
pub use units::unit_bytes;

use expression::Expression;

/// Which messages are meant. Printed, it gives an expression that parses to the same filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Expression);

impl Filter {
    /// Whether this is one of those that are meant.
    pub fn matches(&self, subject: &(impl Subject + ?Sized)) -> bool {
        self.0.matches(subject)
    }

    /// Whether it is, as far as that can be said before all of it is heard; none if the rest decides.
    pub fn settled(&self, subject: &(impl Subject + ?Sized), heard: Heard) -> Option<bool> {
        self.0.settled(subject, heard)
    }

    /// Whether every message of some kind is one of those that are meant, or none is; none if each says for itself.
    pub fn foreseen(&self, of: &impl Foresight) -> Option<bool> {
        self.0.foreseen(of)
    }
}

impl FromStr for Filter {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parser::parse(text).map(Self)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wrong with an expression, where, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {sentence}")]
pub struct ParseError {
    /// The character where it is wrong, from 1.
    pub column: usize,
    /// What is wrong there and what would be right.
    pub sentence: String,
}
