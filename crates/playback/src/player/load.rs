//! Records of tapes read into a player.

use std::sync::OnceLock;

use shadowcat_protocol::Era;
use shadowcat_tape::{Call, Calls, Record};

use super::score::Score;
use super::shelf::Shelf;
use super::states::States;
use super::{Player, Settings, track};

/// Bytes of the messages of all tapes together.
const BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Where client and proxy meet: what is played is what clients were told, not what a bridge made it from.
const HOP: &str = "edge";

/// Why tapes cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// There is more than fits into memory.
    #[error(
        "the tapes hold more than {} MiB of messages; play a part of them, which `shadowcat tape cut` makes",
        BYTES_MAX / 1024 / 1024
    )]
    TooMuch,
    /// There is nothing to play.
    #[error("{tape}: no call that a client made is on it, with its answer")]
    Empty {
        /// Which.
        tape: String,
    },
}

/// Takes the records of one tape after the other; what a later one has answers for is not taken from the earlier ones.
#[derive(Debug)]
pub struct Loading {
    player: Player,
    bytes: usize,
}

impl Loading {
    /// Nothing is read yet.
    pub fn new(settings: Settings) -> Self {
        Self { player: Player::empty(settings), bytes: 0 }
    }

    /// Reads one tape. Errors of its reader end it as they come; its name is what people are told.
    pub fn read<E>(
        &mut self,
        name: &str,
        records: impl Iterator<Item = Result<Record, E>>,
    ) -> Result<Result<(), LoadError>, E> {
        let (mut calls, mut open) = (Vec::new(), Calls::at(HOP));
        for record in records {
            let Record::Frame(frame) = record? else { continue };
            self.bytes += frame.message.len();
            if self.bytes > BYTES_MAX {
                return Ok(Err(LoadError::TooMuch));
            }
            calls.extend(open.take(*frame));
        }
        calls.extend(open.rest());
        calls.sort_by_key(|call| call.asked.seq);
        let is_playable = self.player.add(name.to_owned(), &calls);
        Ok(if is_playable { Ok(()) } else { Err(LoadError::Empty { tape: name.to_owned() }) })
    }

    /// The player of all that was read.
    pub fn finish(mut self) -> Player {
        self.player.be_honest();
        self.player
    }
}

impl Player {
    pub(super) fn empty(settings: Settings) -> Self {
        Self {
            tapes: Vec::new(),
            legacy: Shelf::default(),
            modern: Shelf::default(),
            settings,
            states: States::default(),
            score: Score::default(),
            redactor: OnceLock::new(),
        }
    }

    /// Adds the calls of one tape; says whether there is one to be played.
    pub(super) fn add(&mut self, name: String, calls: &[Call]) -> bool {
        let tape = self.tapes.len();
        self.tapes.push(name);
        let [legacy, mut modern] =
            [Era::Legacy, Era::Modern].map(|era| track::drafts(calls, era, &self.settings.ignored));
        // A question that was only a probe for the other era is no sign that the server spoke it.
        if !legacy.is_empty() && modern.iter().all(track::Draft::is_greeting) {
            modern.clear();
        }
        let is_playable = legacy.iter().chain(&modern).any(track::Draft::has_end);
        self.legacy.add(tape, legacy);
        self.modern.add(tape, modern);
        is_playable
    }
}
