//! What the client counts, for the metrics page.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Connections to upstreams.
#[derive(Debug, Default)]
pub struct Stats {
    opened: AtomicU64,
    reused: AtomicU64,
    open: AtomicU64,
}

impl Stats {
    /// Connections opened since the start.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Requests that needed no connection of their own.
    pub fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn count_reused(&self) {
        self.reused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a connection as open for as long as it lives.
pub(super) struct Open(Arc<Stats>);

impl Open {
    pub(super) fn count(stats: &Arc<Stats>) -> Self {
        stats.opened.fetch_add(1, Ordering::Relaxed);
        stats.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(stats))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
