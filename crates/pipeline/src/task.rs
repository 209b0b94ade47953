//! The one place where tasks are spawned: every task has an owner that stops and joins it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// Tasks of one owner. Clones share the same set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Shared with the sets made from this one, each of which is joined alone.
    running: Arc<AtomicUsize>,
}

impl Tasks {
    /// An empty set with a stop signal of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A set that is stopped with this one and can be stopped and joined alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: self.stop.child_token(),
            running: Arc::clone(&self.running),
        }
    }

    /// Starts a task that ends by itself; the stop signal is its own business, through [`Tasks::stop_signal`].
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(Counted { count: Count::one(&self.running), work });
    }

    /// Starts a task that is dropped where it stands when the owner stops.
    pub fn spawn_until_stop(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work = UntilStop { stop: Signal::of(&self.stop), work };
        self.tracker.spawn(Counted { count: Count::one(&self.running), work });
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

    /// How many tasks are running, in this set and those made from it.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Waits until no task is left, at most for `deadline`; says whether all ended. Starting further tasks remains
    /// possible and they are waited for too.
    pub async fn join(&self, deadline: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }
}

/// One running task, for as long as it runs.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn one(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(running))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// Work that is counted.
    struct Counted<W> {
        count: Count,
        #[pin]
        work: W,
    }
}

impl<W: Future<Output = ()>> Future for Counted<W> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.project().work.poll(context)
    }
}

pin_project! {
    /// Waits for a signal beside work that is polled often: once it is known whom to wake, a poll is no more than a look.
    pub struct Signal {
        token: CancellationToken,
        #[pin]
        cancelled: WaitForCancellationFutureOwned,
        wakes: Option<Waker>,
    }
}

impl Signal {
    /// The signal of this token.
    pub fn of(token: &CancellationToken) -> Self {
        Self { token: token.clone(), cancelled: token.clone().cancelled_owned(), wakes: None }
    }
}

impl Future for Signal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let is_known = this.wakes.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if is_known && !this.token.is_cancelled() {
            return Poll::Pending;
        }
        *this.wakes = Some(context.waker().clone());
        this.cancelled.poll(context)
    }
}

pin_project! {
    /// Work that ends with its owner. An async block would hold the work a second time while it runs, and there are
    /// thousands of these with kilobytes of state each.
    struct UntilStop<W> {
        #[pin]
        stop: Signal,
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

    #[tokio::test]
    async fn a_signal_that_was_polled_before_still_comes() {
        let token = CancellationToken::new();
        let mut signal = std::pin::pin!(Signal::of(&token));
        for _ in 0..2 {
            let polled = std::future::poll_fn(|context| Poll::Ready(signal.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        let raise = async { token.cancel() };
        tokio::join!(signal, raise);
    }
}
