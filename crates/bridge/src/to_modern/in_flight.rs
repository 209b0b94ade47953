//! The requests of one client that are being answered, found again when it withdraws one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use shadowcat_protocol::Id;
use tokio_util::sync::CancellationToken;

/// Requests of one client at a time.
const IN_FLIGHT_MAX: usize = 4096;

/// The requests of one client by what it calls them; the last of equal ones is the newest.
#[derive(Default)]
pub(super) struct InFlight(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    by_id: HashMap<Id, Vec<(u64, CancellationToken)>>,
    number: u64,
    len: usize,
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request in; `None` when too many are being answered.
    pub(super) fn enter(self: &Arc<Self>, id: &Id) -> Option<Flight> {
        let mut entries = self.lock();
        if entries.len >= IN_FLIGHT_MAX {
            return None;
        }
        entries.number += 1;
        entries.len += 1;
        let (number, withdrawn) = (entries.number, CancellationToken::new());
        entries.by_id.entry(id.clone()).or_default().push((number, withdrawn.clone()));
        Some(Flight { all: Arc::downgrade(self), id: id.clone(), number, withdrawn })
    }

    /// Withdraws the newest request of this id.
    pub(super) fn withdraw(&self, id: &Id) {
        if let Some((_, newest)) = self.lock().by_id.get(id).and_then(|same| same.last()) {
            newest.cancel();
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let entries = self.lock();
        entries.by_id.is_empty() && entries.len == 0
    }

    /// Withdraws all of them.
    pub(super) fn withdraw_all(&self) {
        for (_, withdrawn) in self.lock().by_id.values().flatten() {
            withdrawn.cancel();
        }
    }
}

/// One request that is being answered, for as long as it is.
pub(super) struct Flight {
    all: Weak<InFlight>,
    id: Id,
    number: u64,
    /// The client does not want the answer any more.
    pub(super) withdrawn: CancellationToken,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(all) = self.all.upgrade() else { return };
        let mut entries = all.lock();
        entries.len -= 1;
        if let Some(same) = entries.by_id.get_mut(&self.id) {
            same.retain(|(number, _)| *number != self.number);
            if same.is_empty() {
                entries.by_id.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_requests_with_one_id_the_newest_is_withdrawn_first() {
        let all = Arc::new(InFlight::default());
        let id = Id::from_u64(1);
        let (older, newer) = (all.enter(&id).unwrap(), all.enter(&id).unwrap());
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
