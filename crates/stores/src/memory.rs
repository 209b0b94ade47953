//! Records in memory. They end with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use shadowcat_session::{Key, Namespace, PAGE_MAX, Page, Record, SessionStore, StoreError};

/// The most records it keeps, unless told otherwise.
pub const RECORDS_MAX: usize = 100_000;

/// A store without a disk.
pub struct MemoryStore {
    /// None once it is closed.
    records: Mutex<Option<BTreeMap<Key, Arc<Record>>>>,
    records_max: usize,
}

impl MemoryStore {
    /// An empty store of at most so many records.
    pub fn new(records_max: usize) -> Self {
        Self { records: Mutex::new(Some(BTreeMap::new())), records_max }
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&mut BTreeMap<Key, Arc<Record>>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        act(records.as_mut().ok_or(StoreError::Closed)?)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(RECORDS_MAX)
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn load(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.with(|kept| Ok(kept.get(key).map(|record| Record::clone(record))))
    }

    async fn save(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        self.with(|kept| {
            let added = records.iter().filter(|record| !kept.contains_key(record.key())).count();
            if kept.len() + added > self.records_max {
                return Err(StoreError::Full(None));
            }
            for record in records {
                if kept.get(record.key()).is_none_or(|old| old.version() < record.version()) {
                    kept.insert(record.key().clone(), Arc::clone(record));
                }
            }
            Ok(())
        })
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.with(|kept| {
            for key in keys {
                kept.remove(key);
            }
            Ok(())
        })
    }

    async fn ended_elsewhere(&self, _: &Namespace) -> Result<Vec<Key>, StoreError> {
        // No other program reaches it.
        self.with(|_| Ok(Vec::new()))
    }

    async fn expire(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.with(|kept| {
            let before = kept.len();
            kept.retain(|_, record| record.last_used_ms >= before_ms);
            Ok((before - kept.len()) as u64)
        })
    }

    async fn list(
        &self,
        namespace: Option<&Namespace>,
        limit: usize,
        after: Option<&Key>,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.with(|kept| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let behind = kept.range::<Key, _>((from, Bound::Unbounded)).map(|(_, record)| record);
            let mut wanted = behind.filter(|record| namespace.is_none_or(|name| name == record.namespace()));
            let records: Vec<Record> =
                wanted.by_ref().take(limit).map(|record| Record::clone(record)).collect();
            let next = wanted.next().and(records.last()).map(|last| last.key().clone());
            Ok(Page { records, next })
        })
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.with(|kept| Ok(kept.len() as u64))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shadowcat_protocol::Revision;
    use shadowcat_session::{SessionId, contract};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_holds_to_the_contract() {
        contract::check(Arc::new(MemoryStore::default())).await.unwrap();
    }

    #[tokio::test]
    async fn it_refuses_more_than_its_bound_and_takes_new_states_of_what_it_has() {
        let store = MemoryStore::new(1);
        let record = || {
            let key = Key::new(Namespace::forward("a"), SessionId::generate().unwrap());
            Arc::new(Record::new(key, Revision::V2025_11_25, "a", 1))
        };
        let kept = record();
        store.save(&[Arc::clone(&kept)]).await.unwrap();
        assert!(matches!(store.save(&[record()]).await, Err(StoreError::Full(None))));
        store.save(&[Arc::clone(&kept)]).await.unwrap();
        store.delete(&[kept.key().clone()]).await.unwrap();
        store.save(&[record()]).await.unwrap();
    }
}
