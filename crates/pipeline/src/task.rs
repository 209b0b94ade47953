//! The one place where tasks are spawned: every task has an owner that stops and joins it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// Tasks of one owner. Clones share the same set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// An empty set with a stop signal of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A set that is stopped with this one and can be stopped and joined alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), stop: self.stop.child_token() }
    }

    /// Starts a task that ends by itself; the stop signal is its own business, through [`Tasks::stop_signal`].
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work);
    }

    /// Starts a task that is dropped where it stands when the owner stops.
    pub fn spawn_until_stop(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(UntilStop { stop: self.stop.clone().cancelled_owned(), work });
    }

    /// Runs blocking work on the runtime's blocking threads, joined like a task.
    pub fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.tracker.spawn_blocking(work);
    }

    /// The signal that the owner wants its tasks to end.
    pub fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Asks every task to end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// How many tasks are running.
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until no task is left, at most for `deadline`; says whether all ended. Starting further tasks remains
    /// possible and they are waited for too.
    pub async fn join(&self, deadline: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }
}

pin_project! {
    /// Work that ends with its owner. An async block would hold the work a second time while it runs, and there are
    /// thousands of these with kilobytes of state each.
    struct UntilStop<W> {
        #[pin]
        stop: WaitForCancellationFutureOwned,
        #[pin]
        work: W,
    }
}

impl<W: Future<Output = ()>> Future for UntilStop<W> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match this.work.poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => this.stop.poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopped_owner_joins_its_tasks() {
        let tasks = Tasks::new();
        tasks.spawn_until_stop(std::future::pending());
        tasks.child().spawn_until_stop(std::future::pending());
        assert!(!tasks.join(Duration::from_secs(1)).await);
        tasks.stop();
        assert!(tasks.join(Duration::from_secs(1)).await);
        assert_eq!(tasks.running(), 0);
    }
}
