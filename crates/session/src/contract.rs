//! What every session store must hold to, written once. A store's own tests run [`check`]; nothing else uses this.

use std::sync::Arc;
use std::time::Duration;

use shadowcat_pipeline::task::Tasks;
use shadowcat_protocol::Revision;

use crate::record::{Handshake, Key, Namespace, Record, SessionId, UpstreamToken};
use crate::sessions::{Sessions, SessionsLimits};
use crate::state::State;
use crate::store::{SessionStore, StoreError};

/// A store does not hold to a rule.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// It did something else.
    #[error("broken: {0}")]
    Broken(&'static str),
    /// It refused.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// No record could be made up to try it with.
    #[error("the test record is not valid")]
    BadRecord,
}

/// How often it is looked whether everything is written.
const PACE: Duration = Duration::from_millis(5);

type Verdict = Result<(), Violation>;

/// Tries every rule on an empty store.
pub async fn check(store: Arc<dyn SessionStore>) -> Verdict {
    ensure(store.count().await? == 0, "the suite starts on an empty store")?;
    every_field_comes_back(&*store).await?;
    namespaces_do_not_see_each_other(&*store).await?;
    deleting_twice_is_fine(&*store).await?;
    the_newest_version_wins(&*store).await?;
    what_is_old_expires(&*store).await?;
    a_listing_has_each_record_once(&*store).await?;
    no_parallel_update_is_lost(Arc::clone(&store)).await?;
    a_closed_store_says_so(&*store).await
}

/// Waits until nothing waits for the store any more, and says whether that came to be in time.
pub async fn written(sessions: &Sessions, patience: Duration) -> bool {
    let empty = async {
        while sessions.stats().queued + sessions.stats().memory_only > 0 {
            tokio::time::sleep(PACE).await;
        }
    };
    tokio::time::timeout(patience, empty).await.is_ok()
}

async fn every_field_comes_back(store: &dyn SessionStore) -> Verdict {
    let full = full_record("fields", "full")?;
    let bare = Record::new(key("fields", "bare")?, Revision::V2024_11_05, "", 0);
    save(store, &[&full, &bare]).await?;
    ensure(store.load(full.key()).await?.as_ref() == Some(&full), "every field of a full record comes back")?;
    ensure(store.load(bare.key()).await?.as_ref() == Some(&bare), "a bare record comes back")?;
    ensure(store.load(&key("fields", "other")?).await?.is_none(), "what was never saved is not there")?;
    store.delete(&[full.key().clone(), bare.key().clone()]).await?;
    ensure(store.count().await? == 0, "a deleted record is not counted")
}

async fn namespaces_do_not_see_each_other(store: &dyn SessionStore) -> Verdict {
    let (here, mut there) = (full_record("a", "one-id")?, full_record("b", "one-id")?);
    there.upstream.push_str(" elsewhere");
    save(store, &[&here, &there]).await?;
    let loaded = (store.load(here.key()).await?, store.load(there.key()).await?);
    ensure(loaded == (Some(here.clone()), Some(there.clone())), "one id in two namespaces is two sessions")?;
    let page = store.list(Some(here.namespace()), 10, None).await?;
    ensure(page.records == [here.clone()], "a listing of one namespace has nothing of another")?;
    store.delete(&[here.key().clone()]).await?;
    ensure(store.load(there.key()).await?.is_some(), "deleting in one namespace leaves the other alone")?;
    store.delete(&[there.key().clone()]).await.map_err(Violation::from)
}

async fn deleting_twice_is_fine(store: &dyn SessionStore) -> Verdict {
    let record = full_record("delete", "a")?;
    save(store, &[&record]).await?;
    let keys = [record.key().clone(), record.key().clone()];
    store.delete(&keys).await?;
    store.delete(&keys).await?;
    store.delete(&[]).await?;
    ensure(store.load(record.key()).await?.is_none(), "a deleted record is gone")?;
    save(store, &[&record]).await?;
    ensure(store.load(record.key()).await?.is_some(), "a deleted key can be used again")?;
    store.delete(&keys).await.map_err(Violation::from)
}

async fn the_newest_version_wins(store: &dyn SessionStore) -> Verdict {
    let old = full_record("versions", "a")?;
    let mut new = old.clone();
    new.requests += 1;
    new.adopt(&old);
    save(store, &[&new]).await?;
    save(store, &[&old]).await?;
    ensure(
        store.load(old.key()).await?.as_ref() == Some(&new),
        "an older version never replaces a newer one",
    )?;
    let mut newest = new.clone();
    newest.log_level = None;
    newest.adopt(&new);
    save(store, &[&newest, &old]).await?;
    ensure(
        store.load(old.key()).await?.as_ref() == Some(&newest),
        "within one batch the newest version wins",
    )?;
    ensure(store.count().await? == 1, "versions of one session are one record")?;
    store.delete(&[old.key().clone()]).await.map_err(Violation::from)
}

async fn what_is_old_expires(store: &dyn SessionStore) -> Verdict {
    let mut records = Vec::new();
    for (name, last_used_ms) in [("old", 99), ("edge", 100), ("young", 101)] {
        let mut record = Record::new(key("expiry", name)?, Revision::V2025_11_25, "", 1);
        record.last_used_ms = last_used_ms;
        records.push(record);
    }
    save(store, &records.iter().collect::<Vec<_>>()).await?;
    ensure(store.expire(100).await? == 1, "exactly what was last used before the time expires")?;
    ensure(store.expire(100).await? == 0, "nothing expires twice")?;
    ensure(store.load(&key("expiry", "edge")?).await?.is_some(), "what was used at the time stays")?;
    ensure(store.expire(i64::MAX.unsigned_abs()).await? == 2, "everything expires in the end")?;
    ensure(store.count().await? == 0, "an expired record is not counted")
}

async fn a_listing_has_each_record_once(store: &dyn SessionStore) -> Verdict {
    const RECORDS: usize = 25;
    let mut records = Vec::new();
    for number in 0..RECORDS {
        let namespace = if number % 2 == 0 { "even" } else { "odd" };
        records.push(full_record(namespace, &format!("{number:03}"))?);
    }
    save(store, &records.iter().collect::<Vec<_>>()).await?;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(None, 10, after.as_ref()).await?;
        ensure(page.records.len() <= 10, "a page has no more than was asked for")?;
        seen.extend(page.records.iter().map(|record| record.key().clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
        ensure(seen.len() <= RECORDS, "a listing ends")?;
    }
    let mut keys: Vec<Key> = records.iter().map(|record| record.key().clone()).collect();
    keys.sort();
    ensure(seen == keys, "the pages have every record once, in the order of the keys")?;
    let even = Namespace::reverse("even");
    let page = store.list(Some(&even), RECORDS, None).await?;
    ensure(page.records.len() == 13 && page.next.is_none(), "a namespace can be listed alone")?;
    let page = store.list(Some(&even), 13, None).await?;
    ensure(page.records.len() == 13 && page.next.is_none(), "a page that is just full is the last one")?;
    store.delete(&keys).await.map_err(Violation::from)
}

async fn no_parallel_update_is_lost(store: Arc<dyn SessionStore>) -> Verdict {
    const UPDATES: u64 = 1_000;
    const PATIENCE: Duration = Duration::from_secs(30);
    let (sessions, worker) = Sessions::new(Arc::clone(&store), SessionsLimits::default());
    let (sessions, owner, updates) = (Arc::new(sessions), Tasks::new(), Tasks::new());
    owner.spawn(worker.run(owner.stop_signal()));
    let mut record = full_record("updates", "a")?;
    record.requests = 0;
    // Saved past the cache, so that the first updates meet a session that has to be fetched.
    save(&*store, &[&record]).await?;
    for _ in 0..UPDATES {
        let (sessions, key) = (Arc::clone(&sessions), record.key().clone());
        updates.spawn(async move {
            // A failed update shows in the count.
            let _outcome = sessions.update(&key, |record| record.requests += 1).await;
        });
    }
    ensure(updates.join(PATIENCE).await, "updates end")?;
    ensure(written(&sessions, PATIENCE).await, "updates reach the store")?;
    let stored = store.load(record.key()).await?.map(|record| record.requests);
    ensure(stored == Some(UPDATES), "none of 1,000 parallel updates is lost")?;
    sessions.remove(record.key()).await;
    owner.stop();
    ensure(owner.join(PATIENCE).await, "the worker ends")?;
    ensure(store.load(record.key()).await?.is_none(), "what was removed before the end is removed at the end")
}

async fn a_closed_store_says_so(store: &dyn SessionStore) -> Verdict {
    store.close().await?;
    store.close().await?;
    let refused = store.load(&key("closed", "a")?).await;
    ensure(matches!(refused, Err(StoreError::Closed)), "a closed store refuses, and says why")
}

async fn save(store: &dyn SessionStore, records: &[&Record]) -> Result<(), StoreError> {
    let shared: Vec<Arc<Record>> = records.iter().map(|record| Arc::new(Record::clone(record))).collect();
    store.save(&shared).await
}

fn key(namespace: &str, name: &str) -> Result<Key, Violation> {
    let id = SessionId::parse(&format!("id-{name}")).ok_or(Violation::BadRecord)?;
    Ok(Key::new(Namespace::reverse(namespace), id))
}

fn full_record(namespace: &str, name: &str) -> Result<Record, Violation> {
    let mut record =
        Record::new(key(namespace, name)?, Revision::V2025_06_18, "everything", 1_700_000_000_000);
    let handshake = Handshake::new("{\"n\": 1.0, \"s\": \"\\u00e9 '\\\"\"}", "{\"caf\u{e9}\":[]}");
    record.handshake = Some(Arc::new(handshake.map_err(|_| Violation::BadRecord)?));
    record.principal = Some("https://issuer|someone|client".to_owned());
    record.upstream_token = Some(UpstreamToken::new("token of the upstream"));
    record.log_level = Some("warning".to_owned());
    for uri in ["file:///a", "file:///b%20c", ""] {
        record.subscribe(uri).map_err(|_| Violation::BadRecord)?;
    }
    for state in [State::Initializing, State::Active] {
        record.step(state).map_err(|_| Violation::BadRecord)?;
    }
    (record.requests, record.errors, record.last_used_ms) = (u64::MAX >> 1, 7, 1_700_000_000_123);
    Ok(record)
}

fn ensure(holds: bool, rule: &'static str) -> Verdict {
    if holds { Ok(()) } else { Err(Violation::Broken(rule)) }
}
