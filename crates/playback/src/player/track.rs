//! The calls of one tape in the order in which they are played: session after session, each with what its server said
//! around it, and the rounds of one logical call tied together.

use std::collections::HashMap;

use shadowcat_pipeline::Direction;
use shadowcat_protocol::{Era, json, method};
use shadowcat_tape::{Action, Call, Frame, Kind};

use super::asked::Asked;
use super::scene::{Act, Scene, Word, asks_for_input, state_of};
use crate::ignored::Ignored;
use crate::tapes::Place;

/// How far back a message of the server looks for the call it belongs to.
const LOOK_BACK_MAX: usize = 256;

/// A message of a client, and what followed.
pub(super) struct Draft {
    pub(super) place: Place,
    pub(super) asked: Asked,
    pub(super) is_request: bool,
    pub(super) is_refused: bool,
    pub(super) scene: Scene,
    /// The state it brings back, as JSON.
    state: Option<String>,
    pub(super) role: Role,
    /// The calls, by their number in the list, with which the client came back to it.
    pub(super) rounds: Vec<usize>,
}

/// What a call is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It begins something.
    Opening,
    /// It goes on with an earlier one.
    Round,
    /// It brings back a state that nobody has given.
    Stray,
}

impl Draft {
    pub(super) fn is_greeting(&self) -> bool {
        [method::INITIALIZE, method::DISCOVER].contains(&self.asked.method())
    }

    /// Whether the tape tells how it ended.
    pub(super) fn has_end(&self) -> bool {
        self.scene.steps.last().is_some_and(|step| matches!(step.act, Act::Answer(_) | Act::Silence))
    }
}

/// The calls of the tape that clients of this era made.
pub(super) fn drafts(calls: &[Call], era: Era, ignored: &Ignored) -> Vec<Draft> {
    let mut sessions: Vec<Session<'_>> = Vec::new();
    let mut known: HashMap<Option<&str>, usize> = HashMap::new();
    for call in calls.iter().filter(|call| era_of(&call.asked) == era) {
        let place = *known.entry(call.asked.session.as_deref()).or_insert_with(|| {
            sessions.push(Session::default());
            sessions.len() - 1
        });
        let Some(session) = sessions.get_mut(place) else { continue };
        match call.asked.direction {
            Direction::ToServer => session.asked.push(call),
            Direction::ToClient => session.said.push(call),
        }
    }
    let mut drafts: Vec<Draft> = sessions.iter().flat_map(|session| session.drafts(ignored)).collect();
    link(&mut drafts);
    drafts
}

/// A handshake is of the legacy era, whatever its client proposes.
fn era_of(asked: &Frame) -> Era {
    let is_modern = asked.client.era == "modern" && asked.method.as_deref() != Some(method::INITIALIZE);
    if is_modern { Era::Modern } else { Era::Legacy }
}

/// What one client said, and what its server said of its own accord, each in the order of the tape.
#[derive(Default)]
struct Session<'a> {
    asked: Vec<&'a Call>,
    said: Vec<&'a Call>,
}

impl Session<'_> {
    fn drafts(&self, ignored: &Ignored) -> Vec<Draft> {
        let mut words: HashMap<usize, Vec<Word>> = HashMap::new();
        for call in &self.said {
            let word = Word { asked: call.asked.clone(), answer: call.answer.clone() };
            words.entry(self.host(call)).or_default().push(word);
        }
        let cancelled = self.cancelled();
        let mut drafts = Vec::new();
        for (place, call) in self.asked.iter().enumerate() {
            let Some(asked) = Asked::read(call.asked.message.as_bytes(), ignored) else { continue };
            let words = words.remove(&place).unwrap_or_default();
            let is_cancelled = id_of(call).is_some_and(|id| cancelled.contains(&id));
            drafts.push(Draft {
                place: Place::of(&call.asked),
                asked,
                is_request: call.asked.kind == Kind::Request,
                is_refused: call
                    .answer
                    .as_ref()
                    .is_some_and(|frame| matches!(frame.action, Action::Refused { .. })),
                scene: Scene::new(call, &words, is_cancelled),
                state: json::get(&call.asked.message, &["params", "requestState"]).map(str::to_owned),
                role: Role::Opening,
                rounds: Vec::new(),
            });
        }
        drafts
    }

    /// The message of the client in whose course the server said this: the one it names, else the newest request that
    /// is open, else the newest message before it.
    fn host(&self, said: &Call) -> usize {
        let before = self.asked.partition_point(|call| call.asked.seq < said.asked.seq);
        let near = before.saturating_sub(LOOK_BACK_MAX)..before;
        let recent = || near.clone().rev().filter_map(|place| Some((place, self.asked.get(place)?)));
        let named = said.asked.related.and_then(|exchange| {
            recent().find(|(_, call)| call.asked.exchange == exchange).map(|(place, _)| place)
        });
        let is_open = |call: &Call| {
            let ends = call.answer.as_ref().map_or(u64::MAX, |answer| answer.seq);
            call.asked.kind == Kind::Request && ends > said.asked.seq
        };
        let open = || recent().find(|(_, call)| is_open(call)).map(|(place, _)| place);
        named.or_else(open).unwrap_or(before.saturating_sub(1))
    }

    /// The ids of the requests that the client has withdrawn.
    fn cancelled(&self) -> Vec<&str> {
        let notes = self.asked.iter().filter(|call| call.asked.method.as_deref() == Some(method::CANCELLED));
        notes.filter_map(|call| json::get(&call.asked.message, &["params", "requestId"])).collect()
    }
}

fn id_of(call: &Call) -> Option<&str> {
    json::get(&call.asked.message, &["id"])
}

/// Ties the rounds of one logical call together: by the state that an answer gives and a later call brings back, and
/// without one by what they ask.
fn link(drafts: &mut [Draft]) {
    let mut given: HashMap<String, usize> = HashMap::new();
    let mut waiting: HashMap<String, usize> = HashMap::new();
    let mut links: Vec<(usize, Role)> = Vec::new();
    for (place, draft) in drafts.iter().enumerate() {
        let opener = match &draft.state {
            Some(state) => given.get(state).copied(),
            None if draft.asked.responses.is_some() => waiting.remove(&draft.asked.key),
            None => None,
        };
        match (opener, &draft.state) {
            (Some(opener), _) => links.push((opener, Role::Round)),
            (None, Some(_)) => links.push((place, Role::Stray)),
            (None, None) => links.push((place, Role::Opening)),
        }
        let Some(answer) = draft.scene.answer().filter(|answer| asks_for_input(answer)) else { continue };
        match state_of(answer) {
            Some(state) => drop(given.insert(state.to_owned(), place)),
            None => drop(waiting.insert(draft.asked.key.clone(), place)),
        }
    }
    for (place, (opener, role)) in links.into_iter().enumerate() {
        drafts.get_mut(place).into_iter().for_each(|draft| draft.role = role);
        if role == Role::Round {
            drafts.get_mut(opener).into_iter().for_each(|draft| draft.rounds.push(place));
        }
    }
}
