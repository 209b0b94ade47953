//! What the proxy asks of a place that keeps session records. The places themselves are in the crate `stores`; what
//! each of them must hold to is in [`crate::contract`].

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::record::{Key, Namespace, Record};

/// The most records one [`SessionStore::list`] gives.
pub const PAGE_MAX: usize = 1_000;

/// A place that keeps session records beyond the life of the process.
///
/// # Cancel safety
/// Dropping a call's future does not undo it: what was asked for may still happen.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The record of a session.
    async fn load(&self, key: &Key) -> Result<Option<Record>, StoreError>;

    /// Keeps all of these or none. A record replaces an older version of itself and never a newer one.
    async fn save(&self, records: &[Arc<Record>]) -> Result<(), StoreError>;

    /// Forgets all of these or none; what is not there is fine.
    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError>;

    /// Sessions of a namespace whose end has begun ([`Record::ended`]) and is not complete, if another program may have
    /// written one since none was found; nothing if certainly none has. At most [`PAGE_MAX`].
    async fn ended_elsewhere(&self, namespace: &Namespace) -> Result<Vec<Key>, StoreError>;

    /// Forgets every session last used before this time, and says how many there were.
    async fn expire(&self, before_ms: u64) -> Result<u64, StoreError>;

    /// Records in the order of their keys, of one namespace or all: at most `limit` and [`PAGE_MAX`], from the one
    /// behind `after`.
    async fn list(
        &self,
        namespace: Option<&Namespace>,
        limit: usize,
        after: Option<&Key>,
    ) -> Result<Page, StoreError>;

    /// How many records there are.
    async fn count(&self) -> Result<u64, StoreError>;

    /// Writes out what is not yet on the disk and lets go of everything. Calls after it fail with
    /// [`StoreError::Closed`]; closing twice is fine.
    async fn close(&self) -> Result<(), StoreError>;
}

/// A part of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// The records, in the order of their keys.
    pub records: Vec<Record>,
    /// Where to go on with [`SessionStore::list`]; none on the last page.
    pub next: Option<Key>,
}

/// A cause, for the log.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or its disk fails.
    #[error("session store unreachable")]
    Unreachable(#[source] Cause),
    /// Somebody else holds it locked.
    #[error("session store locked by another program")]
    Busy(#[source] Cause),
    /// There is no room for more.
    #[error("session store full")]
    Full(#[source] Option<Cause>),
    /// More calls wait for it than may.
    #[error("session store overloaded")]
    Overloaded,
    /// It did not answer in time.
    #[error("session store too slow")]
    TimedOut,
    /// It was closed.
    #[error("session store closed")]
    Closed,
    /// One record cannot be read; the others can.
    #[error("record of session {} is damaged", key.id)]
    CorruptRecord {
        /// Which.
        key: Key,
        /// What is wrong with it.
        #[source]
        cause: Cause,
    },
    /// The file is not a store of ours, or not a whole one.
    #[error(
        "session store {} is damaged: {what}; put a copy of it back, or move it and the files {}-wal and \
         {}-shm away to start without sessions",
        path.display(), path.display(), path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer release wrote it.
    #[error(
        "session store {} has format {found}, and this release knows up to {known}; run the newer release, or \
         name another file",
        path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file cannot be opened.
    #[error("session store {} cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: Cause,
    },
    /// It refused, and will again.
    #[error("session store failed")]
    Failed(#[source] Cause),
}

impl StoreError {
    /// Whether the same call may succeed later, because the trouble is with the store and not with what it was asked.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy(_) | Self::Full(_) | Self::Overloaded | Self::TimedOut => true,
            Self::Closed
            | Self::CorruptRecord { .. }
            | Self::Corrupt { .. }
            | Self::TooNew { .. }
            | Self::Open { .. }
            | Self::Failed(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_store_names_the_file_and_the_remedy() {
        let error = StoreError::Corrupt { path: "/data/sessions.db".into(), what: "it is empty".to_owned() };
        assert_eq!(
            error.to_string(),
            "session store /data/sessions.db is damaged: it is empty; put a copy of it back, or move it and the \
             files /data/sessions.db-wal and /data/sessions.db-shm away to start without sessions"
        );
    }
}
