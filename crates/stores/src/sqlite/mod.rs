//! Records in an SQLite file: one thread, one connection, write-ahead log.
//!
//! A batch is one transaction, so `kill -9` leaves whole batches; each commit is synced (`synchronous=FULL`), so a
//! power cut takes none that was answered. Nobody waits for the disk but the write-behind worker, and while it does,
//! the next batch grows.

mod fault;
mod open;
mod rows;
mod worker;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;
use shadowcat_session::{Key, Namespace, PAGE_MAX, Page, Record, SessionStore, StoreError};

use worker::Worker;

/// A store in one SQLite file, and the `-wal` and `-shm` files that SQLite keeps beside it.
pub struct SqliteStore {
    path: PathBuf,
    worker: Worker,
    /// The last look for ended sessions that found none: in which namespace, and at which count of SQLite's of other
    /// programs' changes.
    quiet: Arc<Mutex<Option<(Namespace, i64)>>>,
}

impl SqliteStore {
    /// Opens a store, or makes a new one, readable by this user only. Every record of an existing store is read
    /// once: a damaged file is refused here, and never taken for an empty store.
    ///
    /// This blocks on the disk; it is meant for the start of the program.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::TooNew`] or [`StoreError::Open`], each naming the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let connection = open::open(&path)?;
        let worker = Worker::start(connection)
            .map_err(|cause| StoreError::Open { path: path.clone(), cause: cause.into() })?;
        Ok(Self { path, worker, quiet: Arc::default() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.worker.call(job).await?.map_err(|error| fault::while_running(error, &self.path))
    }
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn load(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let wanted = key.clone();
        let Some(row) = self.call(move |connection| rows::load(connection, &wanted)).await? else {
            return Ok(None);
        };
        let corrupt =
            |cause: rows::BadRow| StoreError::CorruptRecord { key: key.clone(), cause: cause.into() };
        row.record().map(Some).map_err(corrupt)
    }

    async fn save(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        let rows = records.iter().map(|record| rows::Row::of(record)).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|cause| StoreError::Failed(cause.into()))?;
        self.call(move |connection| rows::save(connection, &rows)).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        self.call(move |connection| rows::delete(connection, &keys)).await
    }

    async fn ended_elsewhere(&self, namespace: &Namespace) -> Result<Vec<Key>, StoreError> {
        let (namespace, quiet) = (namespace.clone(), Arc::clone(&self.quiet));
        self.call(move |connection| {
            let here = (namespace, rows::changes_of_others(connection)?);
            let mut quiet = quiet.lock().unwrap_or_else(PoisonError::into_inner);
            if quiet.as_ref() == Some(&here) {
                return Ok(Vec::new());
            }
            let keys = rows::ending(connection, &here.0, PAGE_MAX)?;
            // Whoever was told of some may not come to the end of them, and asks again.
            if keys.is_empty() {
                *quiet = Some(here);
            }
            Ok(keys)
        })
        .await
    }

    async fn expire(&self, before_ms: u64) -> Result<u64, StoreError> {
        self.call(move |connection| rows::expire(connection, before_ms)).await
    }

    async fn list(
        &self,
        namespace: Option<&Namespace>,
        limit: usize,
        after: Option<&Key>,
    ) -> Result<Page, StoreError> {
        let (namespace, after, limit) = (namespace.cloned(), after.cloned(), limit.min(PAGE_MAX));
        let (rows, next) = self
            .call(move |connection| rows::list(connection, namespace.as_ref(), limit, after.as_ref()))
            .await?;
        // One damaged record must not hide the others from whoever lists them.
        let readable = rows.iter().filter_map(|row| row.record().inspect_err(rows::BadRow::warn).ok());
        Ok(Page { records: readable.collect(), next })
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.call(|connection| rows::count(connection)).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.worker.close().await.map_err(|error| fault::while_running(error, &self.path))
    }
}
