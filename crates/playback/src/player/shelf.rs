//! The recorded calls of one era, by what they ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use shadowcat_protocol::json;

use super::asked::{Asked, fits};
use super::cursor::Cursor;
use super::scene::{Scene, Step, asks_for_input};
use super::track::{Draft, Role};
use crate::tapes::Place;

/// A call on a tape.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) place: Place,
    pub(super) asked: Asked,
    pub(super) scene: Arc<Scene>,
    /// The tape tells how it ended.
    pub(super) has_end: bool,
    /// Its answer is the proxy's own refusal.
    is_refused: bool,
    /// The calls with which the client came back to it.
    rounds: Vec<usize>,
    used: AtomicBool,
}

/// The calls of one era.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    calls: Vec<Recorded>,
    /// For each thing that was asked, the calls that ask it, in their order.
    turns: Vec<Vec<usize>>,
    keys: HashMap<String, usize>,
    /// The turns whose question holds marks of redaction, by method and name; the last tape's first.
    marked: HashMap<String, Vec<usize>>,
    /// Handshakes, or answers to `server/discover`.
    greetings: Vec<usize>,
    /// What the server did for each notification, by its method.
    words: HashMap<String, Vec<Arc<[Step]>>>,
    /// Calls that bring back a state that no answer on the tapes has given, by their key.
    strays: HashMap<String, Vec<usize>>,
}

/// What is found for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) call: usize,
    /// All recorded answers were given before.
    pub(super) is_repeated: bool,
    /// The client brings other answers than the recorded one did.
    pub(super) is_surprising: bool,
}

impl Shelf {
    /// Puts the calls of one more run on the shelf. What it has answers for, earlier tapes have no more.
    pub(super) fn add(&mut self, drafts: Vec<Draft>) {
        let first = self.calls.len();
        let (mut own, mut greetings, mut strays) = (HashMap::new(), Vec::new(), HashMap::new());
        let mut words: HashMap<String, Vec<Arc<[Step]>>> = HashMap::new();
        for (place, draft) in drafts.into_iter().enumerate() {
            let index = first + place;
            let has_end = draft.has_end();
            match draft.role {
                _ if !draft.is_request => {
                    let after = Arc::clone(&draft.scene.after);
                    words.entry(draft.asked.method().to_owned()).or_default().push(after);
                }
                _ if draft.is_greeting() => greetings.extend(has_end.then_some(index)),
                Role::Opening if has_end => self.take_turn(&draft.asked, index, &mut own),
                Role::Stray if has_end => {
                    strays.entry(draft.asked.key.clone()).or_insert_with(Vec::new).push(index);
                }
                _ => {}
            }
            self.calls.push(Recorded {
                place: draft.place,
                asked: draft.asked,
                scene: Arc::new(draft.scene),
                has_end,
                is_refused: draft.is_refused,
                rounds: draft.rounds.into_iter().map(|round| first + round).collect(),
                used: AtomicBool::new(false),
            });
        }
        if !greetings.is_empty() {
            self.greetings = greetings;
        }
        self.words.extend(words);
        self.strays.extend(strays);
    }

    fn take_turn(&mut self, asked: &Asked, index: usize, own: &mut HashMap<String, usize>) {
        if let Some(calls) = own.get(&asked.key).and_then(|turn| self.turns.get_mut(*turn)) {
            calls.push(index);
            return;
        }
        let turn = self.turns.len();
        self.turns.push(vec![index]);
        own.insert(asked.key.clone(), turn);
        let earlier = self.keys.insert(asked.key.clone(), turn);
        if asked.has_marks() {
            let marked = self.marked.entry(asked.subject()).or_default();
            marked.retain(|known| Some(*known) != earlier);
            marked.insert(0, turn);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.greetings.is_empty()
    }

    pub(super) fn call(&self, index: usize) -> Option<&Recorded> {
        self.calls.get(index)
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = &Recorded> {
        self.calls.iter()
    }

    /// Changes the answers to greetings.
    pub(super) fn change_greetings(&mut self, change: impl Fn(&Scene) -> Scene) {
        for index in &self.greetings {
            if let Some(call) = self.calls.get_mut(*index) {
                call.scene = Arc::new(change(&call.scene));
            }
        }
    }

    pub(super) fn greetings(&self) -> impl Iterator<Item = (usize, &Recorded)> {
        self.greetings.iter().filter_map(|index| Some((*index, self.calls.get(*index)?)))
    }

    /// The recorded call whose answer is this client's next for what it asks.
    pub(super) fn find(&self, asked: &Asked, cursor: &mut Cursor) -> Option<Found> {
        let turn = self.turn(asked)?;
        let calls = self.turns.get(turn)?;
        if asked.responses.is_some()
            && let Some(found) = cursor.last(turn).and_then(|last| self.round(last, asked))
        {
            cursor.note(turn, found.call);
            return Some(found);
        }
        let (number, is_repeated) = match cursor.next(turn) {
            next if next < calls.len() => (next, false),
            // A refusal of the proxy says nothing of the server, and is not what repeats.
            _ => (calls.iter().rposition(|call| !self.is_refusal(*call)).unwrap_or(calls.len() - 1), true),
        };
        let call = *calls.get(number)?;
        cursor.advance(turn, call);
        Some(Found { call, is_repeated, is_surprising: false })
    }

    fn is_refusal(&self, call: usize) -> bool {
        self.call(call).is_some_and(|call| call.is_refused)
    }

    fn turn(&self, asked: &Asked) -> Option<usize> {
        self.keys.get(&asked.key).copied().or_else(|| {
            // Only for what was redacted, and among calls of one name: there is no text to find them by.
            let marked = self.marked.get(&asked.subject())?;
            marked.iter().copied().find(|turn| {
                let recorded = self.turns.get(*turn).and_then(|calls| self.call(*calls.first()?));
                recorded.is_some_and(|recorded| fits(&recorded.asked.value, &asked.value))
            })
        })
    }

    /// The call that goes on with this one, as this client does: the one with the same answers, else the first.
    pub(super) fn round(&self, opener: usize, asked: &Asked) -> Option<Found> {
        let rounds = self.call(opener)?.rounds.iter();
        let open = rounds.filter(|round| {
            self.call(**round).is_some_and(|call| call.has_end && fits(&call.asked.value, &asked.value))
        });
        let null = Value::Null;
        let live = asked.responses.as_ref().unwrap_or(&null);
        let is_expected = |round: &usize| {
            let recorded = self.call(*round).and_then(|call| call.asked.responses.as_ref());
            fits(recorded.unwrap_or(&null), live)
        };
        let open: Vec<usize> = open.copied().collect();
        let expected = open.iter().copied().find(is_expected);
        let call = expected.or_else(|| open.first().copied())?;
        Some(Found { call, is_repeated: false, is_surprising: expected.is_none() })
    }

    /// The recorded answer to a state that nobody has given.
    pub(super) fn stray(&self, asked: &Asked) -> Option<Found> {
        let call = *self.strays.get(&asked.key)?.first()?;
        Some(Found { call, is_repeated: false, is_surprising: false })
    }

    /// What the server did when its client notified it this time.
    pub(super) fn word(&self, method: &str, cursor: &mut Cursor) -> Option<Arc<[Step]>> {
        let words = self.words.get(method)?;
        words.get(cursor.next_word(method)).cloned()
    }

    pub(super) fn note_used(&self, call: usize) {
        self.call(call).into_iter().for_each(|call| call.used.store(true, Ordering::Relaxed));
    }

    /// The calls that could have been asked for and were not, in the order of the tapes.
    pub(super) fn unused(&self) -> impl Iterator<Item = &Recorded> {
        let mut open: Vec<usize> = self.turns_in_use().flatten().copied().collect();
        let mut at = 0;
        while let Some(call) = open.get(at).and_then(|index| self.call(*index)) {
            open.extend(
                call.rounds.iter().filter(|round| self.call(**round).is_some_and(|call| call.has_end)),
            );
            at += 1;
        }
        open.sort_unstable();
        open.dedup();
        open.into_iter()
            .filter_map(|index| self.call(index))
            .filter(|call| !call.used.load(Ordering::Relaxed))
    }

    fn turns_in_use(&self) -> impl Iterator<Item = &Vec<usize>> {
        self.keys.values().filter_map(|turn| self.turns.get(*turn))
    }

    /// The methods that were called.
    pub(super) fn methods(&self) -> Vec<&str> {
        let mut methods: Vec<&str> = self.calls.iter().map(|call| call.asked.method()).collect();
        methods.sort_unstable();
        methods.dedup();
        methods
    }
}

impl Recorded {
    /// Whether its answer gives the client a state to bring back.
    pub(super) fn gives_state(&self) -> bool {
        let answer = self.scene.answer().filter(|answer| asks_for_input(answer));
        answer.and_then(super::scene::state_of).is_some()
    }

    /// A member of its result.
    pub(super) fn result(&self, path: &[&str]) -> Option<&str> {
        json::get(self.scene.answer()?.result_json()?, path)
    }
}
