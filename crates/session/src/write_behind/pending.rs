//! What is still to be written: the newest change of each session, in the order of its due time, within bounds.
//! No clock, no locks, no store; the time comes in as `now`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::record::{Key, Record};

use super::WriteLimits;

/// How often a change that the store refuses for its own sake is tried before it is given up.
const ATTEMPTS_MAX: u32 = 5;

/// What is to become of a session in the store.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Save(Arc<Record>),
    Delete(Key),
}

impl Change {
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Save(record) => record.key(),
            Self::Delete(key) => key,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Save(record) => record.memory_bytes(),
            Self::Delete(_) => 0,
        }
    }
}

/// There is no room for another change; the store has been away for too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PendingFull;

/// The changes to write. A session has at most one entry, and it stays until the store has taken it, so that what
/// is being written can still be read here.
#[derive(Debug)]
pub(crate) struct Pending {
    limits: WriteLimits,
    entries: HashMap<Key, Entry>,
    /// The entries that are not being written, by due time and then by age: the first is the next to go.
    due: BTreeMap<(Instant, u64), Key>,
    numbers: u64,
    saves: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    change: Change,
    /// Its place in `due`; none while it is being written.
    place: Option<(Instant, u64)>,
    /// It changed again while it was being written.
    again: bool,
    attempts: u32,
}

impl Pending {
    pub(crate) fn new(limits: WriteLimits) -> Self {
        Self { limits, entries: HashMap::new(), due: BTreeMap::new(), numbers: 0, saves: 0, bytes: 0 }
    }

    /// Takes a change to be written at `at`, or sooner if an older one of the same session was due sooner.
    pub(crate) fn push(&mut self, change: Change, at: Instant) -> Result<(), PendingFull> {
        self.check_room(&change)?;
        let number = self.next_number();
        let (saves, bytes) = weight(&change);
        (self.saves, self.bytes) = (self.saves + saves, self.bytes + bytes);
        let key = change.key().clone();
        let Some(entry) = self.entries.get_mut(&key) else {
            self.due.insert((at, number), key.clone());
            self.entries.insert(key, Entry { change, place: Some((at, number)), again: false, attempts: 0 });
            return Ok(());
        };
        let (saves, bytes) = weight(&entry.change);
        (self.saves, self.bytes) = (self.saves - saves, self.bytes - bytes);
        entry.change = change;
        match entry.place {
            Some(place) if at < place.0 => {
                self.due.remove(&place);
                entry.place = Some((at, place.1));
                self.due.insert((at, place.1), key);
            }
            Some(_sooner) => {}
            None => entry.again = true,
        }
        Ok(())
    }

    /// The newest change of a session, waiting or being written.
    pub(crate) fn get(&self, key: &Key) -> Option<&Change> {
        self.entries.get(key).map(|entry| &entry.change)
    }

    /// Takes the changes to write now. They stay readable until [`Pending::written`] or [`Pending::postpone`].
    pub(crate) fn take_batch(&mut self, now: Instant) -> Vec<Change> {
        let mut batch = Vec::new();
        while batch.len() < self.limits.batch_max {
            let Some(place) = self.due.first_entry().filter(|first| first.key().0 <= now) else { break };
            let Some(entry) = self.entries.get_mut(place.get()) else { break };
            // A change that was refused goes alone, so that it cannot hold up its neighbours again.
            let alone = entry.attempts > 0;
            if alone && !batch.is_empty() {
                break;
            }
            place.remove();
            entry.place = None;
            batch.push(entry.change.clone());
            if alone {
                break;
            }
        }
        batch
    }

    /// The store has these changes. What changed since goes to the queue again.
    pub(crate) fn written(&mut self, batch: &[Change], now: Instant) {
        for change in batch {
            self.settle(change.key(), now);
        }
    }

    /// The store is in trouble: these changes go back to where they were.
    pub(crate) fn postpone(&mut self, batch: &[Change], until: Instant) {
        for change in batch {
            let number = self.next_number();
            let Some(entry) = self.entries.get_mut(change.key()) else { continue };
            entry.again = false;
            entry.place = Some((until, number));
            self.due.insert((until, number), change.key().clone());
        }
    }

    /// The store refused these changes themselves. They are tried again, one by one; the ones that are given up
    /// come back.
    pub(crate) fn refused(&mut self, batch: &[Change], now: Instant) -> Vec<Change> {
        let mut given_up = Vec::new();
        for change in batch {
            let Some(entry) = self.entries.get_mut(change.key()) else { continue };
            entry.attempts += 1;
            if entry.attempts >= ATTEMPTS_MAX && !entry.again {
                given_up.push(change.clone());
                self.settle(change.key(), now);
                continue;
            }
            let wait = if batch.len() > 1 { Duration::ZERO } else { self.limits.backoff(entry.attempts) };
            self.postpone(std::slice::from_ref(change), now + wait);
        }
        given_up
    }

    /// When the next change is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Makes everything due now, at the end.
    pub(crate) fn hurry(&mut self, now: Instant) {
        let later = self.due.split_off(&(now, u64::MAX));
        for ((_, number), key) in later {
            // A refused change keeps its distance: hurrying it would use up its attempts.
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let at = if entry.attempts > 0 { entry.place.map_or(now, |place| place.0) } else { now };
            entry.place = Some((at, number));
            self.due.insert((at, number), key);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The sessions that wait to be saved though they were last used before this time.
    pub(crate) fn last_used_before(&self, before_ms: u64) -> Vec<Key> {
        let old = self.entries.iter().filter(|(_, entry)| match &entry.change {
            Change::Save(record) => record.last_used_ms < before_ms,
            Change::Delete(_) => false,
        });
        old.map(|(key, _)| key.clone()).collect()
    }

    /// Whether one more session could be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.saves < self.limits.pending_max && self.bytes < self.limits.pending_bytes_max
    }

    /// Deletions have a bound of their own, so that a queue full of saves cannot keep an ended session alive.
    fn check_room(&self, change: &Change) -> Result<(), PendingFull> {
        let old = self.get(change.key());
        let fits = match (change, old) {
            (Change::Delete(_), old) => {
                old.is_some() || self.entries.len() - self.saves < self.limits.pending_max
            }
            (Change::Save(_), Some(Change::Save(old))) => {
                self.bytes - old.memory_bytes() + change.bytes() <= self.limits.pending_bytes_max
            }
            (Change::Save(_), _) => {
                self.saves < self.limits.pending_max
                    && self.bytes + change.bytes() <= self.limits.pending_bytes_max
            }
        };
        fits.then_some(()).ok_or(PendingFull)
    }

    fn settle(&mut self, key: &Key, now: Instant) {
        let number = self.next_number();
        let Some(entry) = self.entries.get_mut(key) else { return };
        if std::mem::take(&mut entry.again) {
            entry.attempts = 0;
            entry.place = Some((now, number));
            self.due.insert((now, number), key.clone());
            return;
        }
        let (saves, bytes) = weight(&entry.change);
        (self.saves, self.bytes) = (self.saves - saves, self.bytes - bytes);
        self.entries.remove(key);
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

/// What a change counts for against the limits: saves and bytes.
fn weight(change: &Change) -> (usize, usize) {
    (usize::from(matches!(change, Change::Save(_))), change.bytes())
}
