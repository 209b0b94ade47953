//! What the tests of this crate share: a full record, and a store that can be made to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use shadowcat_protocol::Revision;
use tokio::sync::Notify;

use crate::record::{Handshake, Key, Namespace, Record, SessionId, UpstreamToken};
use crate::state::State;
use crate::store::{Page, SessionStore, StoreError};

/// The key of the session `name`.
pub(crate) fn key(name: &str) -> Key {
    Key::new(Namespace::reverse("test"), SessionId::parse(&format!("id-of-{name}")).unwrap())
}

/// A record with every field filled in.
pub(crate) fn record(name: &str) -> Record {
    let mut record = Record::new(key(name), Revision::V2025_11_25, "everything", 1_000);
    record.principal = Some("someone".to_owned());
    record.handshake = Some(Arc::new(Handshake::new("{\"a\": 1.0}", "{}").unwrap()));
    record.upstream_token = Some(UpstreamToken::new("upstream-secret"));
    record.log_level = Some("warning".to_owned());
    record.subscribe("file:///a").unwrap();
    record.step(State::Initializing).unwrap();
    record.step(State::Active).unwrap();
    record
}

/// What a [`Flaky`] store does with a call that changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Unreachable,
    /// Refuses any batch that has the session `poison` in it.
    RefusesPoison,
    /// Never answers.
    Hangs,
}

/// A store in memory that fails as told and remembers what it was asked.
pub(crate) struct Flaky {
    state: Mutex<Inside>,
    asked: Notify,
}

struct Inside {
    mood: Mood,
    records: BTreeMap<Key, Record>,
    batches: Vec<usize>,
    loads: usize,
}

impl Flaky {
    pub(crate) fn new() -> Arc<Self> {
        let inside = Inside { mood: Mood::Well, records: BTreeMap::new(), batches: Vec::new(), loads: 0 };
        Arc::new(Self { state: Mutex::new(inside), asked: Notify::new() })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inside) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.with(|inside| inside.mood = mood);
    }

    pub(crate) fn stored(&self, key: &Key) -> Option<Record> {
        self.with(|inside| inside.records.get(key).cloned())
    }

    pub(crate) fn len(&self) -> usize {
        self.with(|inside| inside.records.len())
    }

    /// The sizes of the batches it was given to save, failed ones included.
    pub(crate) fn batches(&self) -> Vec<usize> {
        self.with(|inside| inside.batches.clone())
    }

    pub(crate) fn loads(&self) -> usize {
        self.with(|inside| inside.loads)
    }

    /// Waits until it was asked for a change.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    async fn answer(&self, keys: &[&Key]) -> Result<(), StoreError> {
        self.asked.notify_one();
        match self.with(|inside| inside.mood) {
            Mood::Unreachable => Err(StoreError::Unreachable("told to".into())),
            Mood::RefusesPoison if keys.contains(&&key("poison")) => {
                Err(StoreError::Failed("told to".into()))
            }
            Mood::Well | Mood::RefusesPoison => Ok(()),
            Mood::Hangs => std::future::pending().await,
        }
    }
}

#[async_trait]
impl SessionStore for Flaky {
    async fn load(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.with(|inside| inside.loads += 1);
        self.answer(&[key]).await?;
        Ok(self.stored(key))
    }

    async fn save(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        self.with(|inside| inside.batches.push(records.len()));
        self.answer(&records.iter().map(|record| record.key()).collect::<Vec<_>>()).await?;
        for record in records {
            self.with(|inside| {
                let newest = inside.records.get(record.key()).is_none_or(|old| old.version < record.version);
                newest.then(|| inside.records.insert(record.key().clone(), Record::clone(record)));
            });
        }
        Ok(())
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        self.answer(&keys.iter().collect::<Vec<_>>()).await?;
        self.with(|inside| inside.records.retain(|key, _| !keys.contains(key)));
        Ok(())
    }

    async fn ended_elsewhere(&self, namespace: &Namespace) -> Result<Vec<Key>, StoreError> {
        let records: Vec<Record> = self.with(|inside| inside.records.values().cloned().collect());
        let ended = records.iter().filter(|record| record.namespace() == namespace);
        let ended = ended.filter(|record| record.state() == State::Closing);
        Ok(ended.map(|record| record.key().clone()).collect())
    }

    async fn expire(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.with(|inside| {
            let before = inside.records.len();
            inside.records.retain(|_, record| record.last_used_ms >= before_ms);
            Ok((before - inside.records.len()) as u64)
        })
    }

    async fn list(
        &self,
        namespace: Option<&Namespace>,
        limit: usize,
        after: Option<&Key>,
    ) -> Result<Page, StoreError> {
        let mut records: Vec<Record> = self.with(|inside| inside.records.values().cloned().collect());
        records.retain(|record| namespace.is_none_or(|wanted| wanted == record.namespace()));
        records.retain(|record| after.is_none_or(|after| record.key() > after));
        let more = records.len() > limit;
        records.truncate(limit);
        let next = records.last().filter(|_| more).map(|record| record.key().clone());
        Ok(Page { records, next })
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.len() as u64)
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
