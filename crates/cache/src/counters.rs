//! What a cache counts, for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

/// The figures of one cache.
#[derive(Debug, Default)]
pub struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    stored: AtomicU64,
    evicted: AtomicU64,
    invalidated: AtomicU64,
}

impl Counters {
    pub(crate) fn found(&self, is_found: bool) {
        let counter = if is_found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn evicted(&self, answers: usize) {
        self.evicted.fetch_add(answers as u64, Ordering::Relaxed);
    }

    pub(crate) fn invalidated(&self, answers: usize) {
        self.invalidated.fetch_add(answers as u64, Ordering::Relaxed);
    }

    /// Requests that were answered from the cache.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Requests whose answer might have been kept, and was not.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Answers that were put into the cache.
    pub fn answers_stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Answers that gave way to others.
    pub fn answers_evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Answers that were dropped because they might not hold any more.
    pub fn answers_invalidated(&self) -> u64 {
        self.invalidated.load(Ordering::Relaxed)
    }
}
