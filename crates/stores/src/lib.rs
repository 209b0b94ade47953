//! Where session records are kept: in memory, or in an SQLite file.
//!
//! Both are a [`SessionStore`](shadowcat_session::SessionStore) and hold to
//! [`shadowcat_session::contract`]. Caching, queues and retries are not here: the crate `session` has them, the same
//! for every store.
//!
//! * [`MemoryStore`] — for tests, and for those who want nothing on the disk.
//! * [`SqliteStore`] — the default; survives `kill -9`.

mod memory;
mod sqlite;

pub use memory::{MemoryStore, RECORDS_MAX};
pub use sqlite::SqliteStore;
