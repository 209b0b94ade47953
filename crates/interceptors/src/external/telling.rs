//! Those who are told and not waited for: a queue with a bound in messages and in bytes. What it cannot take is lost, and
//! counted by whoever lost it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use shadowcat_pipeline::task::Tasks;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Messages that wait to be told.
const QUEUED_MAX: usize = 1_024;
/// Their bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages that are being told at one time.
const AT_ONCE_MAX: usize = 32;

type Word = BoxFuture<'static, ()>;

/// Says things that nobody waits for.
#[derive(Clone)]
pub struct Telling {
    queue: mpsc::Sender<Word>,
    room: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    closing: CancellationToken,
    tasks: Tasks,
}

impl Telling {
    /// A queue and its task, which lives until [`Telling::close`].
    pub fn start() -> Self {
        let (queue, words) = mpsc::channel(QUEUED_MAX);
        let closing = CancellationToken::new();
        let tasks = Tasks::new();
        tasks.spawn_until_stop(tell(words, closing.clone()));
        Self { queue, room: Arc::new(Semaphore::new(BYTES_MAX)), waiting: Arc::default(), closing, tasks }
    }

    /// Takes something to be said about a message of so many bytes; says whether there was room for it.
    pub(super) fn tell(&self, bytes: usize, word: impl Future<Output = ()> + Send + 'static) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) else { return false };
        let place = Place::take(&self.waiting);
        let word = async move {
            word.await;
            drop((room, place));
        };
        self.queue.try_send(Box::pin(word)).is_ok()
    }

    /// Says what is left, for as long as the deadline allows; gives the number of what is left unsaid.
    pub async fn close(&self, deadline: Duration) -> usize {
        self.closing.cancel();
        self.tasks.join(deadline).await;
        let unsaid = self.waiting.load(Ordering::Relaxed);
        self.tasks.stop();
        unsaid
    }
}

async fn tell(mut words: mpsc::Receiver<Word>, closing: CancellationToken) {
    let mut under_way = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !under_way.is_empty() {
        tokio::select! {
            () = closing.cancelled(), if !words.is_closed() => words.close(),
            Some(()) = under_way.next() => {}
            word = words.recv(), if is_open && under_way.len() < AT_ONCE_MAX => match word {
                Some(word) => under_way.push(word),
                None => is_open = false,
            },
        }
    }
}

/// The place of something that is not said yet.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_is_refused_and_what_is_left_is_said_at_the_end() {
        let telling = Telling::start();
        assert!(!telling.tell(BYTES_MAX + 1, async {}));
        let said = Arc::new(AtomicUsize::new(0));
        let word = |said: &Arc<AtomicUsize>| {
            let said = Arc::clone(said);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                said.fetch_add(1, Ordering::Relaxed);
            }
        };
        let taken = (0..2 * QUEUED_MAX).filter(|_| telling.tell(1, word(&said))).count();
        assert_eq!(taken, QUEUED_MAX);
        assert_eq!(telling.close(Duration::from_hours(1)).await, 0);
        assert_eq!(said.load(Ordering::Relaxed), QUEUED_MAX);
        assert!(!telling.tell(1, async {}), "nothing is taken any more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_unsaid_at_the_deadline_is_told_by_its_number() {
        let telling = Telling::start();
        for _ in 0..40 {
            assert!(telling.tell(1, std::future::pending()));
        }
        assert_eq!(telling.close(Duration::from_secs(1)).await, 40);
    }
}
