//! The sessions with one legacy server, and who may use which.
//!
//! A session is for one principal and one set of declared capabilities. Requests of a key share its first session,
//! but a call that may be asked back has one for itself while it lasts: then what the server asks can only be meant
//! for it. The lowest free session is taken, so that one call after the other finds the server's state again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_pipeline::{Refusal, RefusalKind, Transport};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::agreed::Agreed;
use super::session::{Key, Maker, Session};
use super::settings::ToLegacySettings;

/// How long a call waits while all sessions of its key are occupied.
const PLACE_MAX: Duration = Duration::from_secs(10);
/// The most calls of one key that wait for a session.
const WAITING_MAX: usize = 256;
/// How often idle sessions are looked for, at most and at least.
const SWEEP_MIN: Duration = Duration::from_secs(1);
const SWEEP_MAX: Duration = Duration::from_secs(30);

/// Which session a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Any: requests share.
    Shared,
    /// One that nobody else occupies.
    Own,
    /// The one with this number, if it still lives and was not set up again since.
    Same { number: u64, turn: u64 },
}

/// All sessions with one server.
pub(super) struct Pool {
    maker: Maker,
    settings: ToLegacySettings,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    keys: HashMap<Key, Sessions>,
    count: usize,
    closed: bool,
}

struct Sessions {
    slots: Vec<Slot>,
    /// As many as there may be sessions: whoever has one finds a session that is free, or room for another.
    places: Arc<Semaphore>,
}

struct Slot {
    session: Arc<Session>,
    occupied: bool,
    users: usize,
    used: Instant,
    /// Handed to nobody any more; it ends when its last user has gone.
    forgotten: bool,
}

/// The right to use a session, until it is dropped.
pub(super) struct Lease {
    pub(super) session: Arc<Session>,
    /// How often it had been set up again by then.
    pub(super) turn: u64,
    pool: Arc<Pool>,
    place: Option<OwnedSemaphorePermit>,
}

impl Pool {
    pub(super) fn new(maker: Maker, settings: ToLegacySettings) -> Arc<Self> {
        let pool = Arc::new(Self { maker, settings, table: Mutex::default() });
        let swept = Arc::downgrade(&pool);
        let pause = (settings.idle / 4).clamp(SWEEP_MIN, SWEEP_MAX);
        pool.maker.tasks.spawn_until_stop(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(pool) = swept.upgrade() else { return };
                pool.sweep();
            }
        });
        pool
    }

    /// Whether each request gets a session of its own.
    pub(super) fn is_per_request(&self) -> bool {
        self.settings.per_request
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session for a request; a new one if need be. `None` if the one that is wanted is gone.
    pub(super) async fn lease(
        self: &Arc<Self>,
        key: &Key,
        want: Want,
        transport: Transport,
    ) -> Result<Option<Lease>, Refusal> {
        let place = if want == Want::Own { Some(self.place(key).await?) } else { None };
        let mut table = self.table();
        if table.closed {
            return Err(RefusalKind::ShuttingDown.into());
        }
        if let Some(session) = table.take(key, want, self.settings.per_request) {
            drop(table);
            return Ok(Some(self.lent(session, want, place)));
        }
        if matches!(want, Want::Same { .. }) {
            return Ok(None);
        }
        let evicted = if table.count < self.settings.sessions_max { None } else { Some(table.evict()) };
        if evicted.as_ref().is_some_and(Option::is_none) {
            return Err(overloaded("all sessions with the server are in use"));
        }
        let session = Session::open(&self.maker, key.clone(), transport);
        table.insert(key, &session, want, self.settings.sessions_per_key_max);
        drop(table);
        self.maker.counters.sessions.add();
        if let Some(evicted) = evicted.flatten() {
            self.end(evicted);
        }
        Ok(Some(self.lent(session, want, place)))
    }

    fn lent(
        self: &Arc<Self>,
        session: Arc<Session>,
        want: Want,
        place: Option<OwnedSemaphorePermit>,
    ) -> Lease {
        let turn = if let Want::Same { turn, .. } = want { turn } else { session.turn() };
        Lease { session, turn, pool: Arc::clone(self), place }
    }

    /// The right to occupy a session of this key, in the order of those who ask for it.
    async fn place(&self, key: &Key) -> Result<OwnedSemaphorePermit, Refusal> {
        let places = Arc::clone(&self.table().sessions(key, self.settings.sessions_per_key_max).places);
        // Everybody who has a place or waits for one holds the semaphore, and so do the table and this call.
        if Arc::strong_count(&places) > self.settings.sessions_per_key_max + WAITING_MAX + 2 {
            return Err(overloaded("too many calls wait for a session with the server"));
        }
        match tokio::time::timeout(PLACE_MAX, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(RefusalKind::ShuttingDown.into()),
            Err(_) => Err(overloaded("all sessions of this client with the server are in use")),
        }
    }

    /// Hands a session to nobody any more. Those who use it keep it.
    fn forget(&self, session: &Arc<Session>) {
        if let Some(slot) = self.table().slot(session) {
            slot.forgotten = true;
        }
    }

    fn let_in(&self, session: &Arc<Session>) {
        if let Some(slot) = self.table().slot(session) {
            slot.occupied = false;
        }
    }

    fn give_back(&self, session: &Arc<Session>, occupied: bool) {
        let mut table = self.table();
        let ends = table.slot(session).is_some_and(|slot| {
            slot.users = slot.users.saturating_sub(1);
            slot.occupied &= !occupied;
            slot.used = Instant::now();
            slot.users == 0 && (slot.forgotten || self.settings.per_request)
        });
        let gone = if ends { table.remove(session) } else { None };
        drop(table);
        if let Some(session) = gone {
            self.end(session);
        }
    }

    fn sweep(&self) {
        let idle = self.table().take_idle(self.settings.idle);
        for session in idle {
            self.end(session);
        }
    }

    fn end(&self, session: Arc<Session>) {
        self.maker.counters.sessions.take();
        self.maker.tasks.spawn(async move { session.close().await });
    }

    /// Ends the session that was not used for longest, for the sake of what it takes up; says whether there was one.
    pub(super) async fn make_room(&self) -> bool {
        let Some(session) = self.table().evict() else { return false };
        let (ending, ended) = oneshot::channel::<()>();
        self.maker.counters.sessions.take();
        self.maker.tasks.spawn(async move {
            session.close().await;
            drop(ending);
        });
        drop(ended.await);
        true
    }

    /// Ends every session; there will be no others.
    pub(super) async fn close(&self) {
        let sessions = {
            let mut table = self.table();
            table.closed = true;
            table.count = 0;
            std::mem::take(&mut table.keys)
        };
        let sessions = sessions.into_values().flat_map(|sessions| {
            sessions.places.close();
            sessions.slots
        });
        let closing = sessions.map(|slot| async move {
            slot.session.close().await;
            self.maker.counters.sessions.take();
        });
        futures_util::future::join_all(closing).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Before the place is let go: whoever gets it has to find the session free.
        self.pool.give_back(&self.session, self.place.is_some());
    }
}

impl Lease {
    /// What the session's handshake agreed on, once it is through.
    pub(super) async fn ready(&self) -> Result<Arc<Agreed>, Refusal> {
        self.session.ready().await.inspect_err(|_| self.forget())
    }

    /// Whether the session ends with this lease.
    pub(super) fn is_for_one_request(&self) -> bool {
        self.pool.is_per_request()
    }

    /// Whether nobody else occupies the session.
    pub(super) fn is_own(&self) -> bool {
        self.place.is_some()
    }

    /// Lets others occupy the session, which is kept.
    pub(super) fn share(&mut self) {
        if self.place.is_some() {
            self.pool.let_in(&self.session);
            self.place = None;
        }
    }

    /// Takes the session out of use, for it cannot be set up, or still works for somebody who has gone: the next
    /// request gets another, and it ends behind the last that has it.
    pub(super) fn forget(&self) {
        self.pool.forget(&self.session);
    }

    /// Takes the session out of use if this says that the server has lost it.
    pub(super) fn forget_if_lost(&self, refusal: &Refusal) {
        if matches!(refusal.kind, RefusalKind::SessionLost | RefusalKind::SessionUnknown) {
            self.session.listeners.end();
            self.forget();
        }
    }
}

impl Sessions {
    fn is_unused(&self) -> bool {
        self.slots.is_empty() && Arc::strong_count(&self.places) == 1
    }
}

impl Table {
    fn sessions(&mut self, key: &Key, places: usize) -> &mut Sessions {
        self.keys
            .entry(key.clone())
            .or_insert_with(|| Sessions { slots: Vec::new(), places: Arc::new(Semaphore::new(places)) })
    }

    fn take(&mut self, key: &Key, want: Want, per_request: bool) -> Option<Arc<Session>> {
        if per_request {
            return None;
        }
        let slots = &mut self.keys.get_mut(key)?.slots;
        let slot = slots.iter_mut().filter(|slot| !slot.forgotten).find(|slot| match want {
            Want::Shared => true,
            Want::Own => !slot.occupied,
            Want::Same { number, turn } => slot.session.number == number && slot.session.turn() == turn,
        })?;
        slot.users += 1;
        slot.occupied |= want == Want::Own;
        Some(Arc::clone(&slot.session))
    }

    fn insert(&mut self, key: &Key, session: &Arc<Session>, want: Want, places: usize) {
        let occupied = want == Want::Own;
        let slot =
            Slot { session: Arc::clone(session), occupied, users: 1, used: Instant::now(), forgotten: false };
        self.sessions(key, places).slots.push(slot);
        self.count += 1;
    }

    fn slot(&mut self, session: &Arc<Session>) -> Option<&mut Slot> {
        let slots = &mut self.keys.get_mut(&session.key)?.slots;
        slots.iter_mut().find(|slot| slot.session.number == session.number)
    }

    fn remove(&mut self, session: &Arc<Session>) -> Option<Arc<Session>> {
        let sessions = self.keys.get_mut(&session.key)?;
        let place = sessions.slots.iter().position(|slot| slot.session.number == session.number)?;
        let slot = sessions.slots.remove(place);
        self.count -= 1;
        if sessions.is_unused() {
            self.keys.remove(&session.key);
        }
        Some(slot.session)
    }

    /// Makes room: takes out the session that was not used for longest, if there is one that nobody uses.
    fn evict(&mut self) -> Option<Arc<Session>> {
        let slots = self.keys.values().flat_map(|sessions| &sessions.slots);
        let oldest = slots.filter(|slot| slot.users == 0).min_by_key(|slot| slot.used)?;
        let session = Arc::clone(&oldest.session);
        self.remove(&session)
    }

    fn take_idle(&mut self, idle: Duration) -> Vec<Arc<Session>> {
        let slots = self.keys.values().flat_map(|sessions| &sessions.slots);
        let idle = slots.filter(|slot| slot.users == 0 && slot.used.elapsed() >= idle);
        let idle: Vec<_> = idle.map(|slot| Arc::clone(&slot.session)).collect();
        for session in &idle {
            self.remove(session);
        }
        // Those whose last session went while somebody still held a place.
        self.keys.retain(|_, sessions| !sessions.is_unused());
        idle
    }
}

fn overloaded(detail: &str) -> Refusal {
    Refusal::new(RefusalKind::BUSY).with_detail(detail)
}
