//! Sessions that are in use in this process: where their client is reached, and what is going on in them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::{Origin, PeerId, Principal, Refusal, RefusalKind, Service, SessionTag, Transport};
use shadowcat_protocol::Revision;
use tokio::time::Instant;

use crate::outlet::Outlet;
use crate::record::{Record, SessionId};
use crate::standing::Standing;

/// In the place of the number of requests in flight: there will be none any more.
const RETIRED: usize = usize::MAX;

/// The server's side of a session. Messages of the client go in by [`Service::handle`].
#[async_trait]
pub trait Upstream: Service {
    /// Opens the server's stream for messages that belong to no request, where its transport has one.
    async fn listen(&self) -> Result<(), Refusal>;

    /// Writes into the record what a later process needs to go on with the server.
    fn keep(&self, record: &mut Record);

    /// Whether that has changed since this was last asked.
    fn has_changed(&self) -> bool;

    /// Notes in the session's standing if the server's side was lost while nobody asked anything of it.
    fn look(&self);

    /// Ends the server's side: for good if `ended`, else so that a later process can go on with it.
    async fn close(&self, ended: bool);
}

/// One session in use.
pub struct Live {
    /// The id the client knows it by.
    pub id: SessionId,
    /// The id as it may be written down.
    pub tag: SessionTag,
    /// The scope of the client's request ids.
    pub peer: PeerId,
    /// Whose it is.
    pub principal: Option<Principal>,
    /// How the client speaks to us.
    pub transport: Transport,
    /// The way to the client.
    pub outlet: Arc<Outlet>,
    /// The server's side.
    pub upstream: Arc<dyn Upstream>,
    /// Its state; the upstream's side shares it and moves it on.
    pub standing: Arc<Standing>,
    revision: OnceLock<Revision>,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    errors: AtomicU64,
    used: Mutex<Instant>,
    /// How old the session was when this process took it up.
    aged: Duration,
    since: Instant,
}

impl Live {
    /// A session between this client and this upstream.
    pub fn new(
        id: SessionId,
        principal: Option<Principal>,
        transport: Transport,
        outlet: Arc<Outlet>,
        upstream: Arc<dyn Upstream>,
        standing: Arc<Standing>,
    ) -> Self {
        Self {
            tag: SessionTag(id.tag().into()),
            id,
            peer: PeerId::next(),
            principal,
            transport,
            outlet,
            upstream,
            standing,
            revision: OnceLock::new(),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            used: Mutex::new(Instant::now()),
            aged: Duration::ZERO,
            since: Instant::now(),
        }
    }

    /// The same session, begun this long ago in an earlier process.
    #[must_use]
    pub fn aged(mut self, age: Duration) -> Self {
        self.aged = age;
        self
    }

    /// How long ago the session began.
    pub fn age(&self) -> Duration {
        self.aged + self.since.elapsed()
    }

    /// The revision the two sides agreed on; until then the oldest one that has sessions on HTTP, which is what the
    /// specification assumes of a client that says nothing.
    pub fn revision(&self) -> Revision {
        self.revision.get().copied().unwrap_or(Revision::V2025_03_26)
    }

    /// Notes the revision agreed on. The first word stands.
    pub fn agree(&self, revision: Revision) {
        self.revision.get_or_init(|| revision);
    }

    /// The origin of a message of this session.
    pub fn origin(&self) -> Origin {
        self.origin_by(self.principal.as_ref())
    }

    /// The same of a message that came with a credential of its own, which may be newer than that of the session.
    pub fn origin_by(&self, asker: Option<&Principal>) -> Origin {
        let mut origin = Origin::new(self.peer, self.transport, self.revision());
        origin.session = Some(self.tag.clone());
        origin.principal = asker.cloned();
        origin
    }

    /// Notes that the session is in use.
    pub fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long nothing was asked in it. A stream that only stays open is no use of the session.
    pub fn idle_for(&self) -> Duration {
        if self.in_flight() > 0 {
            return Duration::ZERO;
        }
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Takes a place for one request.
    ///
    /// # Errors
    /// [`RefusalKind::Overloaded`] when `max` are in flight, or the session is retired.
    pub fn enter(self: &Arc<Self>, max: usize) -> Result<InFlight, Refusal> {
        let entered = self
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| (now < max).then(|| now + 1));
        let why = match entered {
            Ok(_) => return Ok(InFlight(Arc::clone(self))),
            Err(RETIRED) => "the session is being put to sleep",
            Err(_) => "too many requests of this session are in flight",
        };
        Err(Refusal::new(RefusalKind::BUSY).with_detail(why))
    }

    /// Takes the session out of use if no request is in flight; from then on none gets in. Says whether that was done now.
    pub fn retire(&self) -> bool {
        self.in_flight.compare_exchange(0, RETIRED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether [`Live::retire`] has taken it out of use.
    pub fn is_retired(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == RETIRED
    }

    /// Counts one request, and whether it was refused or answered with an error.
    pub fn count(&self, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    /// Requests and errors counted since this was last asked.
    pub fn take_counts(&self) -> (u64, u64) {
        (self.requests.swap(0, Ordering::Relaxed), self.errors.swap(0, Ordering::Relaxed))
    }

    /// Requests being answered.
    pub fn in_flight(&self) -> usize {
        match self.in_flight.load(Ordering::Relaxed) {
            RETIRED => 0,
            requests => requests,
        }
    }
}

/// The place of one request in its session; dropping it gives it back.
pub struct InFlight(Arc<Live>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.touch();
    }
}

/// The sessions in use, by the id the client knows.
pub struct Table {
    max: usize,
    sessions: Mutex<HashMap<SessionId, Arc<Live>>>,
}

impl Table {
    /// A table for at most `max` sessions.
    pub fn new(max: usize) -> Self {
        Self { max, sessions: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session with this id.
    pub fn get(&self, id: &SessionId) -> Option<Arc<Live>> {
        self.lock().get(id).cloned()
    }

    /// Adds a session, or gives back the one that is there already: two messages may revive a session at once.
    ///
    /// # Errors
    /// [`TableFull`] at the bound.
    pub fn insert(&self, live: Arc<Live>) -> Result<Arc<Live>, TableFull> {
        let mut sessions = self.lock();
        if let Some(there) = sessions.get(&live.id) {
            return Ok(Arc::clone(there));
        }
        if sessions.len() >= self.max {
            return Err(TableFull);
        }
        sessions.insert(live.id.clone(), Arc::clone(&live));
        Ok(live)
    }

    /// Takes a session out; says whether it was there. Another one by the same id stays.
    pub fn remove(&self, live: &Arc<Live>) -> bool {
        let mut sessions = self.lock();
        let is_it = sessions.get(&live.id).is_some_and(|there| Arc::ptr_eq(there, live));
        is_it && sessions.remove(&live.id).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, at this moment.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.lock().values().cloned().collect()
    }

    /// The session that was idle longest and has nobody waiting: what gives way when the table is full.
    pub fn idlest(&self) -> Option<Arc<Live>> {
        let sessions = self.lock();
        let quiet = sessions.values().filter(|live| live.in_flight() == 0 && !live.outlet.is_attached());
        quiet.max_by_key(|live| live.idle_for()).cloned()
    }
}

/// The table holds as many sessions as it may.
#[derive(Debug, thiserror::Error)]
#[error("as many sessions are in use as may be")]
pub struct TableFull;
