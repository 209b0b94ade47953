//! The connections to one origin: idle ones of HTTP/1.1, shared ones of HTTP/2. No I/O and no waiting happens here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::{Http2, Outgoing, STREAMS_MAX};
use super::lease::{Lease, Place};

/// The connections to one origin.
pub(super) struct HostPool {
    state: Mutex<State>,
    idle_max: usize,
    /// Not the pool itself: a connection that held its pool would keep itself alive.
    open: Arc<AtomicUsize>,
    /// Whether a further connection may turn out to be one that others can share.
    may_share: AtomicBool,
    /// Held while a connection is opened that others may share, so that they wait for it instead of opening their own.
    pub(super) opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The most recently used one last.
    idle: VecDeque<Idle>,
    shared: Vec<Shared>,
    last_number: u64,
}

struct Idle {
    sender: http1::SendRequest<Outgoing>,
    since: Instant,
}

struct Shared {
    number: u64,
    sender: http2::SendRequest<Outgoing>,
    allowed: watch::Receiver<usize>,
    streams: usize,
    /// When its last stream ended.
    idle_since: Instant,
}

/// One of the connections an origin may have, from before it is opened until it is closed.
pub(super) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HostPool {
    pub(super) fn new(idle_max: usize, may_share: bool) -> Self {
        Self {
            state: Mutex::default(),
            idle_max,
            open: Arc::default(),
            may_share: AtomicBool::new(may_share),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Room for one more connection, if there is any.
    pub(super) fn reserve(&self, max: usize) -> Option<Slot> {
        let more = |open| (open < max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Slot(Arc::clone(&self.open)))
    }

    pub(super) fn may_share(&self) -> bool {
        self.may_share.load(Ordering::Relaxed)
    }

    /// Remembers what the server chose last.
    pub(super) fn learn_sharing(&self, is_shared: bool) {
        self.may_share.store(is_shared, Ordering::Relaxed);
    }

    /// The idle connection used last; it may still be busy with the end of its last exchange.
    pub(super) fn check_out(&self) -> Option<http1::SendRequest<Outgoing>> {
        let mut state = self.state();
        std::iter::from_fn(|| state.idle.pop_back())
            .map(|idle| idle.sender)
            .find(|sender| !sender.is_closed())
    }

    /// Keeps a connection for the next request. With as many as allowed, the one idle for longest is closed.
    pub(super) fn check_in(&self, sender: http1::SendRequest<Outgoing>) {
        if sender.is_closed() || self.idle_max == 0 {
            return;
        }
        let mut state = self.state();
        let surplus = if state.idle.len() < self.idle_max { None } else { state.idle.pop_front() };
        state.idle.push_back(Idle { sender, since: Instant::now() });
        drop(state);
        drop(surplus);
    }

    /// Takes a new shared connection in, and a place on it.
    pub(super) fn add_shared(self: &Arc<Self>, connection: Http2) -> Lease {
        let Http2 { sender, allowed } = connection;
        let mut state = self.state();
        state.last_number += 1;
        let number = state.last_number;
        let idle_since = Instant::now();
        state.shared.push(Shared { number, sender: sender.clone(), allowed, streams: 1, idle_since });
        Lease::Shared { sender, _place: Place::new(Arc::clone(self), number) }
    }

    /// A place on a shared connection that has one. The oldest is filled first, so that the youngest can fall idle.
    pub(super) fn join_shared(self: &Arc<Self>) -> Option<Lease> {
        let mut state = self.state();
        state.shared.retain(|shared| !shared.sender.is_closed());
        let shared = state.shared.iter_mut().find(|shared| shared.has_room())?;
        shared.streams += 1;
        Some(Lease::Shared {
            sender: shared.sender.clone(),
            _place: Place::new(Arc::clone(self), shared.number),
        })
    }

    /// A stream on a shared connection has ended.
    pub(super) fn leave(&self, connection: u64) {
        let mut state = self.state();
        if let Some(shared) = state.shared.iter_mut().find(|shared| shared.number == connection) {
            shared.streams = shared.streams.saturating_sub(1);
            shared.idle_since = Instant::now();
        }
    }

    /// Lets go of connections that were closed or have carried nothing for `idle_timeout`.
    pub(super) fn expire(&self, now: Instant, idle_timeout: Duration) {
        let is_fresh = |since: Instant| now.saturating_duration_since(since) < idle_timeout;
        let mut state = self.state();
        state.idle.retain(|idle| !idle.sender.is_closed() && is_fresh(idle.since));
        state.idle.shrink_to_fit();
        state.shared.retain(|shared| {
            !shared.sender.is_closed() && (shared.streams > 0 || is_fresh(shared.idle_since))
        });
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_unused(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        let cap = usize::try_from(STREAMS_MAX).unwrap_or(usize::MAX);
        self.streams < cap.min(*self.allowed.borrow())
    }
}
