//! The thread that has the connection. Jobs come through a bounded channel and are answered one after the other.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use shadowcat_session::StoreError;
use tokio::sync::oneshot;

/// How many calls may wait for the thread; more are refused.
const JOBS_MAX: usize = 256;
/// SQLite's own needs are small; the default of 2 MiB would be reserved for nothing.
const STACK_BYTES: usize = 512 * 1024;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The thread and the way to it. If it is dropped without [`Worker::close`], the thread ends by itself after the jobs
/// that wait.
pub(super) struct Worker {
    /// None once it is closed.
    running: Mutex<Option<Running>>,
}

struct Running {
    jobs: SyncSender<Job>,
    ended: oneshot::Receiver<rusqlite::Result<()>>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS_MAX);
        let (end, ended) = oneshot::channel();
        let thread =
            Builder::new().name("session-store".to_owned()).stack_size(STACK_BYTES).spawn(move || {
                // Nobody may be waiting for the outcome; then the store was dropped rather than closed.
                let _unheard = end.send(work(connection, &queue));
            })?;
        Ok(Self { running: Mutex::new(Some(Running { jobs, ended, thread })) })
    }

    /// Has the thread do a job.
    ///
    /// # Cancel safety
    /// A job that was handed over is done even if nobody waits for its answer any more.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |connection| {
            let _unheard = answer.send(job(connection));
        }))?;
        answered.await.map_err(|_gone| StoreError::Closed)
    }

    /// Does what waits, writes the log into the file, and joins the thread.
    pub(super) async fn close(&self) -> rusqlite::Result<()> {
        let Some(Running { jobs, ended, thread }) = self.lock().take() else { return Ok(()) };
        drop(jobs);
        let outcome = ended.await.unwrap_or(Ok(()));
        // Its last act was to answer, so this does not wait; it panicked if the answer never came.
        let _panicked = thread.join();
        outcome
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let running = self.lock();
        match running.as_ref().ok_or(StoreError::Closed)?.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(StoreError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(mut connection: Connection, queue: &Receiver<Job>) -> rusqlite::Result<()> {
    for job in queue {
        job(&mut connection);
    }
    // It answers with a row that says whether somebody was in the way; if so, the log stays and loses nothing.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()))?;
    connection.close().map_err(|(_connection, error)| error)
}
