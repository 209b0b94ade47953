//! Where a session in use stands: the one place its state moves, and the record hears of each move at once.

use std::sync::{Arc, Mutex, PoisonError};

use crate::record::{Key, Record};
use crate::sessions::Sessions;
use crate::state::State;

/// The state of a session in use. What it says is true now; what the record says follows.
pub struct Standing {
    records: Arc<Sessions>,
    key: Key,
    state: Mutex<State>,
}

impl Standing {
    /// The standing of the session with this key, beginning with this state.
    pub fn new(records: Arc<Sessions>, key: Key, state: State) -> Arc<Self> {
        Arc::new(Self { records, key, state: Mutex::new(state) })
    }

    /// What its record is found by.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on, and says whether it did: a move that the table does not have is refused and changes nothing. To stay
    /// is no move.
    ///
    /// A record that is in the store only does not hear of it here, but by the next [`Standing::tell`].
    pub fn step(&self, to: State) -> bool {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if *state == to {
                return false;
            }
            match state.step(to) {
                Ok(next) => *state = next,
                Err(refused) => {
                    tracing::debug!(session = %self.key.id, %refused, "a move of a session is refused");
                    return false;
                }
            }
        }
        // Not under the lock, which `tell` takes under that of the records: two moves at once are told in any order,
        // and each tells the newest state.
        self.records.note(&self.key, |record| self.tell(record));
        true
    }

    /// Writes the state into the record.
    pub fn tell(&self, record: &mut Record) {
        record.follow(self.state());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::contract::written;
    use crate::record::Record;
    use crate::sessions::SessionsLimits;
    use crate::testing::{Flaky, key};
    use shadowcat_pipeline::task::Tasks;
    use shadowcat_protocol::Revision;

    struct Bench {
        store: Arc<Flaky>,
        records: Arc<Sessions>,
        standing: Arc<Standing>,
        _owner: Tasks,
    }

    fn bench() -> Bench {
        let store = Flaky::new();
        let (records, worker) = Sessions::new(Arc::clone(&store) as _, SessionsLimits::default());
        let (records, owner) = (Arc::new(records), Tasks::new());
        owner.spawn(worker.run(owner.stop_signal()));
        records.insert(Record::new(key("a"), Revision::V2025_11_25, "up", 1)).unwrap();
        let standing = Standing::new(Arc::clone(&records), key("a"), State::New);
        Bench { store, records, standing, _owner: owner }
    }

    #[tokio::test(start_paused = true)]
    async fn the_record_hears_of_every_move() {
        use State::{Active, Closed, Closing, Error, Initializing, Paused};
        let bench = bench();
        for state in [Initializing, Active, Paused, Active, Error, Initializing, Active, Closing, Closed] {
            assert!(bench.standing.step(state), "{state}");
            assert_eq!(bench.records.get(&key("a")).await.unwrap().unwrap().state(), state);
            assert!(written(&bench.records, Duration::from_secs(5)).await);
            assert_eq!(bench.store.stored(&key("a")).unwrap().state(), state);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_illegal_move_is_refused_and_neither_it_nor_staying_is_written() {
        let bench = bench();
        for state in [State::New, State::Active, State::Paused, State::Closed] {
            assert!(!bench.standing.step(state), "{state}");
        }
        assert_eq!(bench.standing.state(), State::New);
        assert_eq!(bench.records.get(&key("a")).await.unwrap().unwrap().version(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_in_the_ordinary_time_is_one_write() {
        let bench = bench();
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.standing.step(State::Initializing);
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.standing.step(State::Active);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(bench.store.batches(), [1]);
        assert_eq!(bench.store.stored(&key("a")).unwrap().state(), State::Active);
    }
}
