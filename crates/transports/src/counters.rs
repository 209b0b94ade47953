//! What transports count, for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one upstream.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages for no request in flight: late, unknown or doubled answers.
    pub stray: Count,
    /// Lines and events that are no MCP message.
    pub garbage: Count,
    /// Upstream streams that were cut and taken up again.
    pub resumed: Count,
    /// Upstream sessions that were lost and set up again.
    pub revived: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
