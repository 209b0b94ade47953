//! The time for which an exchange waits because we want it to, and not because its server is slow.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Origin;

/// The waits of one exchange: its messages are held, one or several, while this is open. Limits on what a server takes do
/// not count that time, and whoever serves the client shows it that the exchange lives.
#[derive(Debug, Default)]
pub struct Waits {
    open: AtomicUsize,
    /// Since when any is open, and how long those before took.
    times: Mutex<(Option<Instant>, Duration)>,
    is_told: AtomicBool,
}

impl Waits {
    fn times(&self) -> MutexGuard<'_, (Option<Instant>, Duration)> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message of the exchange is held now. It may begin while the exchange is polled, and not between.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// How long messages of the exchange were held, until now.
    pub fn spent(&self) -> Duration {
        let (since, before) = *self.times();
        before + since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether the caller is the first to ask this: several could tell the client of the wait, and one does.
    pub fn is_mine_to_tell(&self) -> bool {
        !self.is_told.swap(true, Ordering::AcqRel)
    }
}

/// A copy is the waits of another exchange, which has not waited yet.
impl Clone for Waits {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// One wait of an exchange, until it is dropped.
#[derive(Debug)]
pub struct Wait(Arc<Origin>);

impl Wait {
    /// From now on the exchange waits.
    pub fn begin(origin: &Arc<Origin>) -> Self {
        let waits = &origin.waits;
        let mut times = waits.times();
        if waits.open.fetch_add(1, Ordering::AcqRel) == 0 {
            times.0 = Some(Instant::now());
        }
        drop(times);
        Self(Arc::clone(origin))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let waits = &self.0.waits;
        let mut times = waits.times();
        if waits.open.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(since) = times.0.take()
        {
            times.1 += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PeerId, Transport};
    use shadowcat_protocol::Revision;

    #[tokio::test(start_paused = true)]
    async fn waits_that_overlap_are_counted_once() {
        let second = Duration::from_secs(1);
        let origin = Arc::new(Origin::new(PeerId::next(), Transport::Http, Revision::V2025_11_25));
        let first = Wait::begin(&origin);
        tokio::time::sleep(second).await;
        let other = Wait::begin(&origin);
        tokio::time::sleep(second).await;
        drop(first);
        assert!(origin.waits.is_open());
        tokio::time::sleep(second).await;
        assert_eq!(origin.waits.spent(), second * 3);
        drop(other);
        tokio::time::sleep(second).await;
        assert_eq!((origin.waits.is_open(), origin.waits.spent()), (false, second * 3));
        assert_eq!(origin.waits.clone().spent(), Duration::ZERO);
    }
}
