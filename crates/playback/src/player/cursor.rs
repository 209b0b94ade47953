//! How far one client is in the recorded answers.

use std::collections::HashMap;

/// How far one client is. It grows with what the client has asked of what is on the tapes.
#[derive(Debug, Default)]
pub struct Cursor {
    turns: HashMap<usize, Place>,
    words: HashMap<String, usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    next: usize,
    last: usize,
}

impl Cursor {
    /// Which of the answers to the same question comes next.
    pub(super) fn next(&self, turn: usize) -> usize {
        self.turns.get(&turn).map_or(0, |place| place.next)
    }

    /// The call whose answer was the last to this question.
    pub(super) fn last(&self, turn: usize) -> Option<usize> {
        self.turns.get(&turn).map(|place| place.last)
    }

    pub(super) fn advance(&mut self, turn: usize, call: usize) {
        let place = self.turns.entry(turn).or_default();
        place.next += 1;
        place.last = call;
    }

    pub(super) fn note(&mut self, turn: usize, call: usize) {
        self.turns.entry(turn).or_default().last = call;
    }

    pub(super) fn next_word(&mut self, method: &str) -> usize {
        let count = match self.words.get_mut(method) {
            Some(count) => count,
            None => self.words.entry(method.to_owned()).or_default(),
        };
        let next = *count;
        *count += 1;
        next
    }
}
