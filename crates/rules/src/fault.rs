//! What is wrong with rules as they are written: all of it at once, each with its place and the way out.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, such as `rules[3].when.tool`.
    pub place: String,
    /// What is wrong there and what would be right.
    pub sentence: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.sentence)
    }
}

impl std::error::Error for Fault {}

/// Collects faults, so that one run tells them all.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, place: &Place<'_>, sentence: impl Into<String>) {
        self.0.push(Fault { place: place.to_string(), sentence: sentence.into() });
    }

    /// The value, or none and a note of what is wrong with it.
    pub(crate) fn take<T>(&mut self, place: &Place<'_>, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|sentence| self.add(place, sentence)).ok()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn or<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// A key within the keys that lead to it; written out only for a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    Root(&'a str),
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl<'a> Place<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root) => f.write_str(root),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
