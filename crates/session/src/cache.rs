//! The records in use: least recently used first out, bounded by count and by bytes. No clock, no locks, no store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::record::{Key, Record};

/// How much stays in memory after use.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// The most records.
    pub records_max: usize,
    /// The most memory, as [`Record::memory_bytes`] counts it.
    pub bytes_max: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        // Sessions in use are in the live table; this serves those that come back, and a miss costs one read of the store.
        Self { records_max: 1_000, bytes_max: 16 * 1024 * 1024 }
    }
}

/// Records by key. What was used last stays longest.
#[derive(Debug)]
pub(crate) struct Cache {
    limits: CacheLimits,
    slots: HashMap<Key, Slot>,
    /// The slots by their last use; the first is the next to go.
    order: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    record: Arc<Record>,
    bytes: usize,
    used: u64,
}

impl Cache {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        Self { limits, slots: HashMap::new(), order: BTreeMap::new(), uses: 0, bytes: 0 }
    }

    /// The record of a session, which counts as a use.
    pub(crate) fn get(&mut self, key: &Key) -> Option<Arc<Record>> {
        let slot = self.slots.get_mut(key)?;
        if let Some(key) = self.order.remove(&slot.used) {
            self.uses += 1;
            slot.used = self.uses;
            self.order.insert(slot.used, key);
        }
        Some(Arc::clone(&slot.record))
    }

    /// The record of a session, which does not count as a use.
    pub(crate) fn peek(&self, key: &Key) -> Option<&Arc<Record>> {
        self.slots.get(key).map(|slot| &slot.record)
    }

    /// Keeps a record and gives the ones that had to go for it: possibly itself, if it is larger than the cache.
    pub(crate) fn insert(&mut self, record: Arc<Record>) -> Vec<Arc<Record>> {
        let (key, bytes) = (record.key().clone(), record.memory_bytes());
        self.remove(&key);
        self.uses += 1;
        self.bytes += bytes;
        self.order.insert(self.uses, key.clone());
        self.slots.insert(key, Slot { record, bytes, used: self.uses });
        let mut gone = Vec::new();
        while self.slots.len() > self.limits.records_max || self.bytes > self.limits.bytes_max {
            let Some((_, key)) = self.order.pop_first() else { break };
            gone.extend(self.take(&key));
        }
        gone
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Record>> {
        let used = self.slots.get(key)?.used;
        self.order.remove(&used);
        self.take(key)
    }

    /// Forgets every record last used before this time.
    pub(crate) fn expire(&mut self, before_ms: u64) -> Vec<Key> {
        let old = self.slots.values().filter(|slot| slot.record.last_used_ms < before_ms);
        let keys: Vec<Key> = old.map(|slot| slot.record.key().clone()).collect();
        for key in &keys {
            self.remove(key);
        }
        keys
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a slot whose place in the order is already gone.
    fn take(&mut self, key: &Key) -> Option<Arc<Record>> {
        let slot = self.slots.remove(key)?;
        self.bytes -= slot.bytes;
        Some(slot.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    fn cache(records_max: usize, bytes_max: usize) -> Cache {
        Cache::new(CacheLimits { records_max, bytes_max })
    }

    fn names(records: &[Arc<Record>]) -> Vec<String> {
        records.iter().map(|record| record.id().as_str().to_owned()).collect()
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = cache(2, usize::MAX);
        assert!(cache.insert(record("a").into()).is_empty());
        assert!(cache.insert(record("b").into()).is_empty());
        assert!(cache.get(record("a").key()).is_some());
        assert_eq!(names(&cache.insert(record("c").into())), ["id-of-b"]);
        assert!(cache.peek(record("a").key()).is_some());
    }

    #[test]
    fn bytes_are_a_limit_too() {
        let one = record("a").memory_bytes();
        let mut cache = cache(100, one * 2);
        cache.insert(record("a").into());
        cache.insert(record("b").into());
        assert_eq!(names(&cache.insert(record("c").into())), ["id-of-a"]);
        assert_eq!(cache.bytes(), one * 2);
        let mut huge = record("d");
        huge.log_level = Some("x".repeat(one * 2));
        assert_eq!(names(&cache.insert(huge.into())), ["id-of-b", "id-of-c", "id-of-d"]);
    }

    #[test]
    fn an_empty_cache_counts_zero_whatever_happened_before() {
        let mut cache = cache(10, usize::MAX);
        for name in ["a", "b", "a", "c"] {
            cache.insert(record(name).into());
        }
        assert_eq!(cache.len(), 3);
        cache.remove(record("a").key());
        cache.remove(record("a").key());
        assert_eq!(cache.expire(record("b").last_used_ms + 1).len(), 2);
        assert_eq!((cache.len(), cache.bytes(), cache.order.len()), (0, 0, 0));
    }
}
