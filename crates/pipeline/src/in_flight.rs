//! The requests that are being answered, found again when their client withdraws one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Requests at a time in one of these.
const IN_FLIGHT_MAX: usize = 4096;

/// Requests by what their clients call them; the last of equal ones is the newest.
#[derive(Debug)]
pub struct InFlight<K>(Mutex<Entries<K>>);

#[derive(Debug)]
struct Entries<K> {
    by_key: HashMap<K, Vec<(u64, CancellationToken)>>,
    number: u64,
    len: watch::Sender<usize>,
}

impl<K> Default for InFlight<K> {
    fn default() -> Self {
        Self(Mutex::new(Entries { by_key: HashMap::new(), number: 0, len: watch::Sender::default() }))
    }
}

impl<K: Clone + Eq + Hash> InFlight<K> {
    fn lock(&self) -> MutexGuard<'_, Entries<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request in; `None` when too many are being answered.
    pub fn enter(self: &Arc<Self>, key: K) -> Option<Flight<K>> {
        let mut entries = self.lock();
        if *entries.len.borrow() >= IN_FLIGHT_MAX {
            return None;
        }
        entries.number += 1;
        entries.len.send_modify(|len| *len += 1);
        let (number, withdrawn) = (entries.number, CancellationToken::new());
        entries.by_key.entry(key.clone()).or_default().push((number, withdrawn.clone()));
        Some(Flight { all: Arc::downgrade(self), key, number, withdrawn })
    }

    /// Whether there is a request of this name.
    pub fn has(&self, key: &K) -> bool {
        self.lock().by_key.contains_key(key)
    }

    /// Withdraws the newest request of this name.
    pub fn withdraw(&self, key: &K) {
        if let Some((_, newest)) = self.lock().by_key.get(key).and_then(|same| same.last()) {
            newest.cancel();
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let entries = self.lock();
        entries.by_key.is_empty() && *entries.len.borrow() == 0
    }

    /// Withdraws all of them.
    pub fn withdraw_all(&self) {
        for (_, withdrawn) in self.lock().by_key.values().flatten() {
            withdrawn.cancel();
        }
    }

    /// Waits until none is left, and what each had begun has been let go.
    pub async fn emptied(&self) {
        let mut len = self.lock().len.subscribe();
        // The sender lives as long as `self`.
        drop(len.wait_for(|len| *len == 0).await);
    }
}

/// One request that is being answered, for as long as it is.
#[derive(Debug)]
pub struct Flight<K: Clone + Eq + Hash> {
    all: Weak<InFlight<K>>,
    key: K,
    number: u64,
    /// The client does not want the answer any more.
    pub withdrawn: CancellationToken,
}

impl<K: Clone + Eq + Hash> Drop for Flight<K> {
    fn drop(&mut self) {
        let Some(all) = self.all.upgrade() else { return };
        let mut entries = all.lock();
        entries.len.send_modify(|len| *len -= 1);
        if let Some(same) = entries.by_key.get_mut(&self.key) {
            same.retain(|(number, _)| *number != self.number);
            if same.is_empty() {
                entries.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_protocol::Id;

    #[test]
    fn of_two_requests_with_one_id_the_newest_is_withdrawn_first() {
        let all = Arc::new(InFlight::default());
        let id = Id::from_u64(1);
        let (older, newer) = (all.enter(id.clone()).unwrap(), all.enter(id.clone()).unwrap());
        all.withdraw(&Id::parse_json(r#""1""#).unwrap());
        assert!(!newer.withdrawn.is_cancelled(), "another id");
        all.withdraw(&id);
        assert!(newer.withdrawn.is_cancelled() && !older.withdrawn.is_cancelled());
        drop(newer);
        all.withdraw(&id);
        assert!(older.withdrawn.is_cancelled());
        drop(older);
        assert!(all.is_empty());
    }
}
