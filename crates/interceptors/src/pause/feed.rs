//! What happens in the lot, for whoever watches it. One that is too slow loses the oldest and is told how many.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use super::held::Held;
use super::verdict::By;

/// What is kept for a slow reader.
const FEED_MAX: usize = 256;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Happened {
    /// A message is held.
    Held(Arc<Held>),
    /// A message was let go.
    Released {
        /// The message as it was held.
        held: Arc<Held>,
        /// The word of the verdict.
        verdict: &'static str,
        /// Who said so.
        by: By,
        /// Why, if they said.
        reason: Option<Arc<str>>,
    },
}

/// What a reader of the feed hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// This happened.
    Happened(Happened),
    /// So much happened that was not read in time.
    Lost(u64),
}

/// What happens in a lot, in order.
#[derive(Debug)]
pub struct Feed(broadcast::Receiver<Happened>);

impl Feed {
    pub(super) fn sender() -> broadcast::Sender<Happened> {
        broadcast::Sender::new(FEED_MAX)
    }

    pub(super) fn of(receiver: broadcast::Receiver<Happened>) -> Self {
        Self(receiver)
    }

    /// The next thing that happens; none when the lot is no more.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(happened) => Some(Heard::Happened(happened)),
            Err(RecvError::Lagged(lost)) => Some(Heard::Lost(lost)),
            Err(RecvError::Closed) => None,
        }
    }
}
