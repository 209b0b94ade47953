//! Tapes read into a player.

use std::path::{Path, PathBuf};

use shadowcat_protocol::Era;
use shadowcat_tape::{Call, Calls, Keys, OpenError, ReadError, Record};

use super::score::Score;
use super::shelf::Shelf;
use super::states::States;
use super::{Player, Settings, track};

/// Bytes of the messages of all tapes together.
const BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Why tapes cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A tape cannot be opened.
    #[error("{path}: cannot be opened")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// A tape is damaged.
    #[error("{path}: is damaged; `shadowcat tape validate --repair` takes out what is not whole")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where and how.
        source: ReadError,
    },
    /// There is more than fits into memory.
    #[error("the tapes hold more than {} MiB of messages; cut them to what is to be played", BYTES_MAX / 1024 / 1024)]
    TooMuch,
    /// There is nothing to play.
    #[error("{path}: holds no call that a client made")]
    Empty {
        /// Which.
        path: PathBuf,
    },
}

impl Player {
    /// Reads tapes, encrypted ones with `keys`; what a later one has answers for is not taken from the earlier ones.
    pub fn load(paths: &[PathBuf], keys: &Keys, settings: Settings) -> Result<Self, LoadError> {
        let mut bytes = 0;
        let mut player = Self::empty(settings);
        for path in paths {
            let calls = read(path, keys, &mut bytes)?;
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            if !player.add(name, &calls) {
                return Err(LoadError::Empty { path: path.clone() });
            }
        }
        player.be_honest();
        Ok(player)
    }

    pub(super) fn empty(settings: Settings) -> Self {
        Self {
            tapes: Vec::new(),
            legacy: Shelf::default(),
            modern: Shelf::default(),
            settings,
            states: States::default(),
            score: Score::default(),
        }
    }

    /// Adds the calls of one tape; says whether there is one to be played.
    pub(super) fn add(&mut self, name: String, calls: &[Call]) -> bool {
        let tape = self.tapes.len();
        self.tapes.push(name);
        let mut drafts =
            [Era::Legacy, Era::Modern].map(|era| track::drafts(calls, era, &self.settings.ignored));
        let [legacy, modern] = &mut drafts;
        // A question that was only a probe for the other era is no sign that the server spoke it.
        if !legacy.is_empty() && modern.iter().all(track::Draft::is_greeting) {
            modern.clear();
        }
        let has_calls = |drafts: &Vec<track::Draft>| drafts.iter().any(track::Draft::has_end);
        let is_playable = drafts.iter().any(has_calls);
        let [legacy, modern] = drafts;
        self.legacy.add(tape, legacy);
        self.modern.add(tape, modern);
        is_playable
    }
}

/// The calls of a tape as clients saw them, in the order of their beginning.
fn read(path: &Path, keys: &Keys, bytes: &mut usize) -> Result<Vec<Call>, LoadError> {
    let reader = shadowcat_tape::open(path, keys)
        .map_err(|source| LoadError::Open { path: path.to_owned(), source })?;
    let (mut calls, mut open) = (Vec::new(), Calls::at("edge"));
    for record in reader {
        match record {
            Ok(Record::Frame(frame)) => {
                *bytes += frame.message.len();
                if *bytes > BYTES_MAX {
                    return Err(LoadError::TooMuch);
                }
                calls.extend(open.take(*frame));
            }
            Ok(_) => {}
            Err(torn @ ReadError::Torn { .. }) => {
                tracing::warn!(tape = %path.display(), %torn, "what is whole is played");
            }
            Err(source) => return Err(LoadError::Damaged { path: path.to_owned(), source }),
        }
    }
    calls.extend(open.rest());
    calls.sort_by_key(|call| call.asked.seq);
    Ok(calls)
}
