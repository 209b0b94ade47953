//! Keeps what a modern server says may be kept (2026-07-28 server/utilities/caching), and answers with it for as long as it
//! holds.
//!
//! | file | holds |
//! |---|---|
//! | `cache.rs` | the service around the server: what it is asked, and what passes back |
//! | `key.rs` | what an answer is kept under |
//! | `shelf.rs` | the answers, bounded; which of them a change at the server concerns |
//! | `watch.rs` | the subscription by which the server tells of changes |
//! | `counters.rs` | what is counted |
//!
//! Which server it is, and what stands before the cache, is not known here.

mod cache;
mod counters;
mod key;
mod shelf;
mod watch;

use std::time::Duration;

pub use cache::{Cache, Server};
pub use counters::Counters;

/// The bounds of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Answers at most.
    pub entries_max: usize,
    /// Their bytes at most, with those of what was asked.
    pub bytes_max: usize,
    /// No answer is kept for longer than this, whatever the server says.
    pub ttl_max: Duration,
}
