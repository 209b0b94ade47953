//! The sessions of this process as one thing: look in the cache, then at what waits to be written, then in the store.
//! Changes are made here, in memory, one at a time; the store hears of them from `write_behind`. Which sessions have
//! live connections is not known here, and neither is who may use them.

mod shared;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::cache::{Cache, CacheLimits};
use crate::record::{Key, Namespace, RECORD_BYTES_MAX, Record};
use crate::state::State;
use crate::store::{SessionStore, StoreError};
use crate::write_behind::{Pending, WriteBehind, WriteLimits};

pub(crate) use shared::Shared;
use shared::{Inner, Lookup};

/// How many sessions can be fetched from the store at once; those of one place take turns.
const LOADS_MAX: usize = 64;

/// The bounds of [`Sessions`].
#[derive(Clone, Copy, Debug)]
pub struct SessionsLimits {
    /// What stays in memory after use.
    pub cache: CacheLimits,
    /// What may wait for the store.
    pub write: WriteLimits,
    /// The largest record.
    pub record_bytes_max: usize,
    /// How long a session may take to come from the store.
    pub load_deadline: Duration,
}

impl Default for SessionsLimits {
    fn default() -> Self {
        Self {
            cache: CacheLimits::default(),
            write: WriteLimits::default(),
            record_bytes_max: RECORD_BYTES_MAX,
            load_deadline: Duration::from_secs(2),
        }
    }
}

/// Whether a change will outlive the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It waits for the store and will be written.
    Queued,
    /// The queue is full, because the store has been away for long. A session goes to the store when that is back,
    /// unless it has left the cache by then; an end that was not queued may be forgotten.
    MemoryOnly,
}

/// Whether sessions outlive the process at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// They do.
    Durable,
    /// They work, but may be lost with the process.
    Degraded {
        /// A sentence for the health page.
        reason: String,
    },
}

/// Figures for the gauges and counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records in the cache.
    pub cached: usize,
    /// The memory they take.
    pub cached_bytes: usize,
    /// Sessions whose newest change waits for the store.
    pub queued: usize,
    /// The memory these take.
    pub queued_bytes: usize,
    /// Sessions whose newest state is only in memory and not even queued.
    pub memory_only: usize,
    /// Records written so far.
    pub saved: u64,
    /// Deletions written so far.
    pub deleted: u64,
    /// Writes that failed and were tried again.
    pub retries: u64,
    /// Changes that were given up, because the store refused them or the queue was full of deletions.
    pub failed: u64,
    /// Sessions whose newest state was lost, because nothing could keep it.
    pub lost: u64,
    /// Sessions found in memory.
    pub hits: u64,
    /// Sessions that the store was asked for.
    pub misses: u64,
}

/// Why a session could not be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// The record would be larger than one may be; it stays as it was.
    #[error("a session record of {bytes} bytes is more than the {max} it may have")]
    TooLarge {
        /// What it would take.
        bytes: usize,
        /// What it may.
        max: usize,
    },
    /// It is not in memory and the store does not answer.
    #[error("the session cannot be fetched")]
    Store(#[from] StoreError),
}

/// All sessions of one store.
pub struct Sessions {
    shared: Arc<Shared>,
    store: Arc<dyn SessionStore>,
    limits: SessionsLimits,
    /// Whoever fetches a session, or ends one, holds the lock of its place: without it, a slow answer of the store
    /// could bring back a state, or a whole session, that has been overtaken meanwhile.
    places: [Mutex<()>; LOADS_MAX],
    hasher: RandomState,
}

impl Sessions {
    /// The sessions of a store, and the worker that its owner has to run.
    pub fn new(store: Arc<dyn SessionStore>, limits: SessionsLimits) -> (Self, WriteBehind) {
        let shared = Arc::new(Shared::new(Cache::new(limits.cache), Pending::new(limits.write)));
        let worker = WriteBehind::new(Arc::clone(&shared), Arc::clone(&store), limits.write);
        let places = std::array::from_fn(|_| Mutex::new(()));
        (Self { shared, store, limits, places, hasher: RandomState::new() }, worker)
    }

    /// Takes a new session. While its handshake runs it is written only if that takes long.
    pub fn insert(&self, record: Record) -> Result<Durability, SessionsError> {
        self.check_size(&record)?;
        let at = self.write_at(!record.state().is_passing());
        Ok(self.shared.with(|inner| inner.store_later(Arc::new(record), at)))
    }

    /// The newest state of a session.
    pub async fn get(&self, key: &Key) -> Result<Option<Arc<Record>>, SessionsError> {
        self.find(key, |_, record| record).await
    }

    /// Changes a session and gives what the closure gives; none if there is no such session. No two changes of one
    /// session overlap. The closure runs under a lock: it must be short.
    ///
    /// A change of counters and times alone is written after a while, together with those that follow it; any other
    /// change at once.
    pub async fn update<T>(
        &self,
        key: &Key,
        change: impl FnOnce(&mut Record) -> T,
    ) -> Result<Option<T>, SessionsError> {
        self.find(key, |inner, record| self.apply(inner, &record, change)).await?.transpose()
    }

    /// Changes a session as [`Sessions::update`] does, but only if it is in memory; says whether it did.
    pub(crate) fn note(&self, key: &Key, change: impl FnOnce(&mut Record)) -> bool {
        let noted = self.try_find(key, |inner, record| self.apply(inner, &record, change));
        matches!(noted, Ok(Some(Ok(()))))
    }

    /// The sessions of a namespace whose end has begun, perhaps in another program, and is not complete.
    pub async fn ended_elsewhere(&self, namespace: &Namespace) -> Result<Vec<Key>, StoreError> {
        let mut keys = self.store.ended_elsewhere(namespace).await?;
        keys.retain(|key| {
            let is_closed = self.try_find(key, |_, record| record.state() == State::Closed);
            !matches!(is_closed, Ok(None | Some(true)))
        });
        Ok(keys)
    }

    /// Forgets a session: from now on there is none of this key. Forgetting it twice is fine.
    pub async fn remove(&self, key: &Key) -> Durability {
        // Not longer than the load deadline: everybody before us in the line gives up before we would.
        let _turn = self.place(key).lock().await;
        self.shared.with(|inner| inner.forget(key, Instant::now()))
    }

    /// Ends every session last used before this time, and says how many the store had of them.
    pub async fn expire(&self, before_ms: u64) -> Result<u64, StoreError> {
        let expired = self.store.expire(before_ms).await?;
        // After the store: a record fetched while it was at work is gone now, too.
        self.shared.with(|inner| inner.expire(before_ms, Instant::now()));
        Ok(expired)
    }

    /// Whether sessions outlive the process at the moment.
    pub fn health(&self) -> Health {
        match self.shared.with(|inner| inner.trouble()) {
            None => Health::Durable,
            Some(reason) => Health::Degraded { reason },
        }
    }

    /// Figures of this moment.
    pub fn stats(&self) -> Stats {
        self.shared.with(|inner| inner.stats())
    }

    /// The store, for listings. It does not have what still waits: see [`Stats::queued`].
    pub fn store(&self) -> &dyn SessionStore {
        &*self.store
    }

    /// Finds a session and uses it before anything else can happen to it.
    async fn find<T>(
        &self,
        key: &Key,
        act: impl FnOnce(&mut Inner, Arc<Record>) -> T,
    ) -> Result<Option<T>, SessionsError> {
        let act = match self.try_find(key, act) {
            Ok(outcome) => return Ok(outcome),
            Err(act) => act,
        };
        let fetch = async {
            let _turn = self.place(key).lock().await;
            let act = match self.try_find(key, act) {
                Ok(outcome) => return Ok(outcome),
                Err(act) => act,
            };
            let Some(record) = self.store.load(key).await? else { return Ok(None) };
            let record = Arc::new(record);
            Ok(self.shared.with(|inner| {
                inner.count_miss();
                inner.keep(Arc::clone(&record));
                Some(act(inner, record))
            }))
        };
        timeout(self.limits.load_deadline, fetch).await.unwrap_or(Err(StoreError::TimedOut.into()))
    }

    /// Uses a session that is in memory or known to be gone; gives `act` back if the store has to be asked.
    fn try_find<T, F>(&self, key: &Key, act: F) -> Result<Option<T>, F>
    where
        F: FnOnce(&mut Inner, Arc<Record>) -> T,
    {
        self.shared.with(|inner| match inner.lookup(key) {
            Lookup::Here(record) => Ok(Some(act(inner, record))),
            Lookup::Removed => Ok(None),
            Lookup::AskStore => Err(act),
        })
    }

    fn apply<T>(
        &self,
        inner: &mut Inner,
        record: &Arc<Record>,
        change: impl FnOnce(&mut Record) -> T,
    ) -> Result<T, SessionsError> {
        let mut next = Record::clone(record);
        let outcome = change(&mut next);
        next.adopt(record);
        self.check_size(&next)?;
        let at = self.write_at(next.changed_since(record));
        inner.store_later(Arc::new(next), at);
        Ok(outcome)
    }

    /// When a change is to be written: now, or when others may have joined it.
    fn write_at(&self, at_once: bool) -> Instant {
        let now = Instant::now();
        if at_once { now } else { now + self.limits.write.linger }
    }

    fn check_size(&self, record: &Record) -> Result<(), SessionsError> {
        let (bytes, max) = (record.memory_bytes(), self.limits.record_bytes_max);
        if bytes > max { Err(SessionsError::TooLarge { bytes, max }) } else { Ok(()) }
    }

    #[expect(clippy::indexing_slicing, reason = "the remainder of a division by the length is within it")]
    fn place(&self, key: &Key) -> &Mutex<()> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let hash = self.hasher.hash_one(key) as usize;
        &self.places[hash % LOADS_MAX]
    }
}
