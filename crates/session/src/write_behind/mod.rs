//! The worker that brings changes to the store behind the caller's back: newest state of a session first and only,
//! in batches, again with growing pauses when the store is away. What waits is in [`pending`]; who may ask for it is
//! in [`crate::sessions`].

mod pending;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::sessions::Shared;
use crate::store::{SessionStore, StoreError};

pub(crate) use pending::{Change, Pending};

/// How much may wait for the store, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct WriteLimits {
    /// The most sessions that wait to be saved, and as many that wait to be deleted.
    pub pending_max: usize,
    /// The most memory their records take.
    pub pending_bytes_max: usize,
    /// The most changes in one write.
    pub batch_max: usize,
    /// How long a change of nothing but counters and times may wait for more of its kind.
    pub linger: Duration,
    /// How long one write may take.
    pub write_deadline: Duration,
    /// How long all that waits may take to be written at the end.
    pub flush_deadline: Duration,
    /// The first pause when the store is in trouble; it doubles from failure to failure.
    pub backoff_min: Duration,
    /// The longest pause, and so the longest time until it is noticed that the store is back.
    pub backoff_max: Duration,
}

impl Default for WriteLimits {
    fn default() -> Self {
        Self {
            pending_max: 10_000,
            pending_bytes_max: 64 * 1024 * 1024,
            batch_max: 50,
            linger: Duration::from_secs(1),
            write_deadline: Duration::from_secs(10),
            flush_deadline: Duration::from_secs(5),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
        }
    }
}

impl WriteLimits {
    /// The pause after so many failures in a row.
    fn backoff(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.backoff_min.saturating_mul(1 << doublings).min(self.backoff_max)
    }
}

/// The worker of a [`Sessions`](crate::Sessions). Nothing is written until its owner runs it.
#[must_use = "nothing is written until it runs"]
pub struct WriteBehind {
    shared: Arc<Shared>,
    store: Arc<dyn SessionStore>,
    limits: WriteLimits,
    /// Failures in a row.
    failures: u32,
    /// The store is left alone until then.
    hold_until: Option<Instant>,
}

impl WriteBehind {
    pub(crate) fn new(shared: Arc<Shared>, store: Arc<dyn SessionStore>, limits: WriteLimits) -> Self {
        Self { shared, store, limits, failures: 0, hold_until: None }
    }

    /// Writes until `stop`, then writes what still waits, for at most the flush deadline.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.next_write() {
                Some(at) if at <= Instant::now() => self.write_batch().await,
                next => {
                    let due = async {
                        match next {
                            Some(at) => sleep_until(at).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = due => {}
                        () = self.shared.changed() => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
        let deadline = self.limits.flush_deadline;
        let flushed = timeout(deadline, self.drain()).await.is_ok();
        let left = self.shared.end_of_writing();
        if !flushed || left > 0 {
            warn!(left, "sessions are not written down: the store did not take them in time");
        }
    }

    /// When to write next; none while nothing waits.
    fn next_write(&self) -> Option<Instant> {
        let due = self.shared.with(|inner| inner.pending.next_due())?;
        Some(self.hold_until.map_or(due, |hold| hold.max(due)))
    }

    async fn drain(&mut self) {
        loop {
            self.shared.with(|inner| inner.pending.hurry(Instant::now()));
            let Some(at) = self.next_write() else { return };
            sleep_until(at).await;
            self.write_batch().await;
        }
    }

    async fn write_batch(&mut self) {
        let batch = self.shared.with(|inner| inner.pending.take_batch(Instant::now()));
        let outcome = match timeout(self.limits.write_deadline, write(&*self.store, &batch)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(StoreError::TimedOut),
        };
        let now = Instant::now();
        match outcome {
            Ok(()) => {
                (self.failures, self.hold_until) = (0, None);
                self.shared.written(&batch, now);
            }
            Err(error) if error.is_passing() => {
                self.failures = self.failures.saturating_add(1);
                let until = now + self.limits.backoff(self.failures);
                self.hold_until = Some(until);
                self.shared.postponed(&batch, until, &error);
            }
            Err(error) => self.shared.refused(&batch, now, &error),
        }
    }
}

/// Writes a batch. No session is in it twice, so saves and deletions do not depend on each other's order; doing one
/// of them again after the other failed is harmless.
async fn write(store: &dyn SessionStore, batch: &[Change]) -> Result<(), StoreError> {
    let (mut saves, mut deletes) = (Vec::new(), Vec::new());
    for change in batch {
        match change {
            Change::Save(record) => saves.push(Arc::clone(record)),
            Change::Delete(key) => deletes.push(key.clone()),
        }
    }
    // Deletions first: they make room when the disk is full.
    if !deletes.is_empty() {
        store.delete(&deletes).await?;
    }
    if !saves.is_empty() {
        store.save(&saves).await?;
    }
    Ok(())
}
