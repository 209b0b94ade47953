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

/// Takes the records of one tape after the other; what a later one has answers for is not taken from the earlier ones. Tapes
/// of one run, each the continuation of the last, are one.
#[derive(Debug)]
pub struct Loading {
    player: Player,
    bytes: usize,
    run: Run,
}

/// The tapes of one run of a proxy.
#[derive(Debug)]
struct Run {
    names: Vec<String>,
    /// The id of the last of them.
    last: Option<String>,
    calls: Vec<Call>,
    open: Calls,
}

impl Default for Run {
    fn default() -> Self {
        Self { names: Vec::new(), last: None, calls: Vec::new(), open: Calls::at(HOP) }
    }
}

impl Loading {
    /// Nothing is read yet.
    pub fn new(settings: Settings) -> Self {
        Self { player: Player::empty(settings), bytes: 0, run: Run::default() }
    }

    /// Reads one tape. Errors of its reader end it as they come; its name is what people are told.
    pub fn read<E>(
        &mut self,
        name: &str,
        records: impl Iterator<Item = Result<Record, E>>,
    ) -> Result<Result<(), LoadError>, E> {
        let mut is_named = false;
        for record in records {
            let record = record?;
            if let Record::Header(header) = &record {
                let goes_on = header.previous.is_some() && header.previous == self.run.last;
                if !goes_on && let Err(empty) = self.end_run() {
                    return Ok(Err(empty));
                }
                self.run.last = Some(header.tape.clone());
            }
            if !std::mem::replace(&mut is_named, true) {
                self.run.names.push(name.to_owned());
            }
            let Record::Frame(mut frame) = record else { continue };
            self.bytes += frame.message.len();
            if self.bytes > BYTES_MAX {
                return Ok(Err(LoadError::TooMuch));
            }
            frame.seq = in_run(self.run.names.len().saturating_sub(1), frame.seq);
            self.run.calls.extend(self.run.open.take(*frame));
        }
        Ok(Ok(()))
    }

    fn end_run(&mut self) -> Result<(), LoadError> {
        let Run { names, mut calls, open, .. } = std::mem::take(&mut self.run);
        if names.is_empty() {
            return Ok(());
        }
        calls.extend(open.rest());
        calls.sort_by_key(|call| call.asked.seq);
        let tape = names.join(", ");
        if self.player.add(names, &calls) { Ok(()) } else { Err(LoadError::Empty { tape }) }
    }

    /// The player of all that was read.
    pub fn finish(mut self) -> Result<Player, LoadError> {
        self.end_run()?;
        self.player.be_honest();
        Ok(self.player)
    }
}

/// The bits of a message's number within a run that are its number on its tape; each tape of a run counts anew.
const SEQ_BITS: u32 = 40;

/// The number of a message within a run, from the number of its tape there.
fn in_run(tape: usize, seq: u64) -> u64 {
    (tape as u64) << SEQ_BITS | seq
}

/// The tape of a run and the number on it, from the number within the run.
pub(super) fn on_tape(seq: u64) -> (usize, u64) {
    (usize::try_from(seq >> SEQ_BITS).unwrap_or_default(), seq & ((1 << SEQ_BITS) - 1))
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

    /// Adds the calls of the tapes of one run; says whether there is one to be played.
    pub(super) fn add(&mut self, names: Vec<String>, calls: &[Call]) -> bool {
        let tape = self.tapes.len();
        self.tapes.extend(names);
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
