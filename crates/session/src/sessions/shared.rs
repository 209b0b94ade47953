//! What the callers of [`Sessions`](super::Sessions) and the worker share: cache and queue under one lock, so that a
//! record is never in neither of the two while its newest state is not in the store.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::cache::Cache;
use crate::record::{Key, Record};
use crate::state::State;
use crate::store::StoreError;
use crate::write_behind::{Change, Pending};

use super::{Durability, Stats};

/// Cache, queue and the signals between callers and worker.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    changed: Notify,
}

/// What is behind the lock.
pub(crate) struct Inner {
    pub(crate) cache: Cache,
    pub(crate) pending: Pending,
    /// Cached records whose newest state found no room in the queue. They go there as soon as there is.
    memory_only: BTreeSet<Key>,
    /// Why the last write failed; none when it did not.
    trouble: Option<String>,
    /// The worker is gone: nothing that comes now will be written.
    ended: bool,
    stats: Stats,
}

/// Where a session was found.
pub(crate) enum Lookup {
    Here(Arc<Record>),
    Removed,
    AskStore,
}

impl Shared {
    pub(crate) fn new(cache: Cache, pending: Pending) -> Self {
        let inner = Inner {
            cache,
            pending,
            memory_only: BTreeSet::new(),
            trouble: None,
            ended: false,
            stats: Stats::default(),
        };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }

    /// Looks at or changes what is shared, and wakes the worker if there is something to do sooner than it knows.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        // A caller's closure may have panicked in here; it works on a copy, so what is shared is whole.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let before = inner.pending.next_due();
        let outcome = act(&mut inner);
        if inner.pending.next_due() != before {
            self.changed.notify_one();
        }
        outcome
    }

    /// Ends when there is something to do sooner. Kept until asked for, so a change between two calls is not missed.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    pub(crate) fn written(&self, batch: &[Change], now: Instant) {
        self.with(|inner| inner.written(batch, now));
    }

    pub(crate) fn postponed(&self, batch: &[Change], until: Instant, error: &StoreError) {
        self.with(|inner| {
            inner.pending.postpone(batch, until);
            inner.stats.retries += 1;
            inner.note_trouble(error);
        });
    }

    pub(crate) fn refused(&self, batch: &[Change], now: Instant, error: &StoreError) {
        self.with(|inner| {
            let given_up = inner.pending.refused(batch, now);
            inner.stats.retries += 1;
            inner.stats.failed += given_up.len() as u64;
            inner.note_trouble(error);
            for change in given_up {
                warn!(session = %change.key().id, "gave up writing a session: the store refuses it");
            }
        });
    }

    /// The worker's last word. Gives how many sessions are not written down.
    pub(crate) fn end_of_writing(&self) -> usize {
        self.with(|inner| {
            inner.ended = true;
            let waiting = inner.pending.len() + inner.memory_only.len();
            inner.stats.lost += waiting as u64;
            waiting
        })
    }
}

impl Inner {
    /// Looks everywhere but in the store. A record that only waits to be written goes back to the cache.
    pub(crate) fn lookup(&mut self, key: &Key) -> Lookup {
        if let Some(record) = self.cache.get(key) {
            self.stats.hits += 1;
            return Lookup::Here(record);
        }
        match self.pending.get(key) {
            Some(Change::Save(record)) => {
                let record = Arc::clone(record);
                self.stats.hits += 1;
                self.keep(Arc::clone(&record));
                Lookup::Here(record)
            }
            Some(Change::Delete(_)) => Lookup::Removed,
            None => Lookup::AskStore,
        }
    }

    /// Puts a record in the cache. A record that has to go for it and is nowhere else is lost, and counted.
    pub(crate) fn keep(&mut self, record: Arc<Record>) {
        for gone in self.cache.insert(record) {
            if self.memory_only.remove(gone.key()) {
                self.stats.lost += 1;
            }
        }
    }

    /// Takes the new state of a session, to be written at `at`.
    pub(crate) fn store_later(&mut self, record: Arc<Record>, at: Instant) -> Durability {
        let durability = self.queue(Change::Save(Arc::clone(&record)), at);
        match durability {
            Durability::Queued => self.memory_only.remove(record.key()),
            Durability::MemoryOnly => self.memory_only.insert(record.key().clone()),
        };
        self.keep(record);
        durability
    }

    /// Forgets a session, here now and in the store when the worker comes to it.
    pub(crate) fn forget(&mut self, key: &Key, now: Instant) -> Durability {
        self.cache.remove(key);
        self.memory_only.remove(key);
        let durability = self.queue(Change::Delete(key.clone()), now);
        if durability == Durability::MemoryOnly {
            self.stats.failed += 1;
        }
        durability
    }

    /// Forgets what was last used before this time and is not, or not only, in the store.
    pub(crate) fn expire(&mut self, before_ms: u64, now: Instant) {
        for key in self.cache.expire(before_ms) {
            self.memory_only.remove(&key);
        }
        for key in self.pending.last_used_before(before_ms) {
            self.forget(&key, now);
        }
    }

    pub(crate) fn count_miss(&mut self) {
        self.stats.misses += 1;
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            cached: self.cache.len(),
            cached_bytes: self.cache.bytes(),
            queued: self.pending.len(),
            queued_bytes: self.pending.bytes(),
            memory_only: self.memory_only.len(),
            ..self.stats
        }
    }

    /// Why sessions may not outlive the process; none when they do.
    pub(crate) fn trouble(&self) -> Option<String> {
        match (&self.trouble, self.memory_only.len()) {
            (Some(trouble), 0) => Some(trouble.clone()),
            (Some(trouble), kept) => Some(format!("{trouble}; {kept} sessions are kept in memory only")),
            (None, 0) => None,
            (None, kept) => Some(format!("{kept} sessions are kept in memory only")),
        }
    }

    fn queue(&mut self, change: Change, at: Instant) -> Durability {
        let taken = !self.ended && self.pending.push(change, at).is_ok();
        if taken { Durability::Queued } else { Durability::MemoryOnly }
    }

    fn written(&mut self, batch: &[Change], now: Instant) {
        self.pending.written(batch, now);
        for change in batch {
            match change {
                Change::Save(record) => {
                    self.stats.saved += 1;
                    self.let_go(record);
                }
                Change::Delete(_) => self.stats.deleted += 1,
            }
        }
        if self.trouble.take().is_some() {
            info!("the session store takes sessions again");
        }
        while self.pending.has_room() {
            let Some(key) = self.memory_only.pop_first() else { break };
            let Some(record) = self.cache.peek(&key).cloned() else { continue };
            if self.queue(Change::Save(record), now) == Durability::MemoryOnly {
                self.memory_only.insert(key);
                break;
            }
        }
    }

    /// Drops a written record that nobody will want: the end of a session is asked for seldom, and thousands of them, small
    /// and strewn over the memory of those that are gone, would keep that memory from being given back.
    fn let_go(&mut self, written: &Record) {
        let key = written.key();
        let is_last = self.pending.get(key).is_none() && !self.memory_only.contains(key);
        if is_last && written.state() == State::Closed {
            self.cache.remove(key);
        }
    }

    fn note_trouble(&mut self, error: &StoreError) {
        if self.trouble.is_none() {
            warn!(error = error as &(dyn Error + 'static), "the session store does not take sessions");
        }
        self.trouble = Some(error.to_string());
    }
}
