//! The messages that wait, and the breakpoints, as far as they are known here.

use crate::event::{Breakpoint, Held};

/// More are not listed; a proxy holds fewer.
const HELD_MAX: usize = 10_000;

/// A line of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting<'a> {
    Held(&'a Held),
    Breakpoint(&'a Breakpoint),
}

impl Waiting<'_> {
    fn id(&self) -> &str {
        match self {
            Self::Held(held) => &held.id,
            Self::Breakpoint(breakpoint) => &breakpoint.id,
        }
    }
}

/// All that waits, the oldest first, and then the breakpoints.
#[derive(Debug, Default)]
pub(crate) struct Lot {
    held: Vec<Held>,
    breakpoints: Vec<Breakpoint>,
}

impl Lot {
    pub(crate) fn len(&self) -> usize {
        self.held.len() + self.breakpoints.len()
    }

    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    pub(crate) fn get(&self, place: usize) -> Option<Waiting<'_>> {
        let breakpoint =
            || self.breakpoints.get(place.checked_sub(self.held.len())?).map(Waiting::Breakpoint);
        self.held.get(place).map(Waiting::Held).or_else(breakpoint)
    }

    /// The number of what is there.
    pub(crate) fn id_at(&self, place: usize) -> Option<String> {
        self.get(place).map(|waiting| waiting.id().to_owned())
    }

    /// Where what has this number is by now.
    pub(crate) fn place_of(&self, id: &str) -> Option<usize> {
        (0..self.len()).find(|place| self.get(*place).is_some_and(|waiting| waiting.id() == id))
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Held> {
        self.held.iter().find(|held| held.id == id)
    }

    /// Whether it was not there yet.
    pub(crate) fn add(&mut self, held: Held) -> bool {
        let is_new = self.find(&held.id).is_none() && self.held.len() < HELD_MAX;
        if is_new {
            self.held.push(held);
        }
        is_new
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let before = self.held.len();
        self.held.retain(|held| held.id != id);
        self.held.len() < before
    }

    pub(crate) fn set_held(&mut self, held: Vec<Held>) {
        self.held = held;
    }

    pub(crate) fn set_breakpoints(&mut self, breakpoints: Vec<Breakpoint>) {
        self.breakpoints = breakpoints;
    }

    /// What is held of an exchange: what opened it, or something on the way back.
    pub(crate) fn of(&self, exchange: u64) -> Option<&Held> {
        self.held.iter().find(|held| held.exchange == exchange)
    }
}
