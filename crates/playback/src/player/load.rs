//! What is on tapes, made a player.

use std::sync::OnceLock;

use shadowcat_protocol::Era;

use super::score::Score;
use super::shelf::Shelf;
use super::states::States;
use super::{Player, Settings, track};
use crate::tapes::{Run, Tapes};

/// There is nothing on a tape to answer with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tape}: no call that a client made is on it, with its answer")]
pub struct Empty {
    /// Which.
    pub tape: String,
}

impl Player {
    /// The player of these tapes. What a later run has answers for is not taken from the earlier ones.
    ///
    /// # Errors
    /// There is nothing to be played on one of them.
    pub fn new(tapes: Tapes, settings: Settings) -> Result<Self, Empty> {
        let (names, runs) = tapes.finish();
        let mut player = Self {
            tapes: names,
            legacy: Shelf::default(),
            modern: Shelf::default(),
            settings,
            states: States::default(),
            score: Score::default(),
            redactor: OnceLock::new(),
        };
        for run in runs {
            if !player.add(&run) {
                let tape = player.tapes.get(run.tapes).unwrap_or_default().join(", ");
                return Err(Empty { tape });
            }
        }
        player.be_honest();
        Ok(player)
    }

    /// Adds the calls of a run; says whether there is one to be played.
    fn add(&mut self, run: &Run) -> bool {
        let [legacy, mut modern] =
            [Era::Legacy, Era::Modern].map(|era| track::drafts(&run.calls, era, &self.settings.ignored));
        // A question that was only a probe for the other era is no sign that the server spoke it.
        if !legacy.is_empty() && modern.iter().all(track::Draft::is_greeting) {
            modern.clear();
        }
        let is_playable = legacy.iter().chain(&modern).any(track::Draft::has_end);
        self.legacy.add(legacy);
        self.modern.add(modern);
        is_playable
    }
}
