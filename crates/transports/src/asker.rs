//! Whoever waits for the answer to a request on a pipe: the way of the replies to it, bounded, and why they ended early.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use shadowcat_pipeline::{ExchangeId, Refusal};
use shadowcat_protocol::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Replies of one request that wait for their client before the connection's other clients are put first.
pub(crate) const REPLIES_WAITING_MAX: usize = 256;
/// Their bytes, beside the response, which is the last. A larger one waits alone.
const REPLIES_WAITING_BYTES_MAX: usize = 1024 * 1024;
/// How long one client that does not take its replies may hold up the others of the same pipe.
pub(crate) const SLOW_CLIENT_GRACE: Duration = Duration::from_secs(1);

/// The owner of a request in flight.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    replies: mpsc::Sender<Box<Reply>>,
    room: Arc<Semaphore>,
    pub(crate) exchange: ExchangeId,
    cut: Cut,
}

#[derive(Debug)]
struct Reply {
    message: Message,
    /// Given back when the reply is taken.
    _room: Option<OwnedSemaphorePermit>,
}

/// Why the replies of a request ended before its response, told to whoever sees their end.
type Cut = Arc<Mutex<Option<Refusal>>>;

/// The replies to one request, in order; where their end is not the exchange's own, the reason is the last.
#[derive(Debug)]
pub(crate) struct Awaited {
    replies: mpsc::Receiver<Box<Reply>>,
    cut: Cut,
}

impl Asker {
    /// The asker of this exchange, and what it gets.
    pub(crate) fn new(exchange: ExchangeId) -> (Self, Awaited) {
        let (sender, receiver) = mpsc::channel(REPLIES_WAITING_MAX);
        let (room, cut) = (Arc::new(Semaphore::new(REPLIES_WAITING_BYTES_MAX)), Cut::default());
        let awaited = Awaited { replies: receiver, cut: Arc::clone(&cut) };
        (Self { replies: sender, room, exchange, cut }, awaited)
    }

    /// Hands over one reply; false if there was no room for it in time.
    pub(crate) async fn give(&self, message: Message) -> bool {
        let mut queued = pin!(self.queue(message));
        // Nearly always at once, and then no clock is asked.
        futures_util::poll!(&mut queued).is_ready()
            || tokio::time::timeout(SLOW_CLIENT_GRACE, queued).await.is_ok()
    }

    async fn queue(&self, message: Message) {
        let room = match &message {
            Message::Response(_) => None,
            Message::Request(_) | Message::Notification(_) => self.room(message.text().len()).await,
        };
        // Without its receiver nobody waits for it any more.
        drop(self.replies.send(Box::new(Reply { message, _room: room })).await);
    }

    async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(REPLIES_WAITING_BYTES_MAX)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()
    }

    /// The replies end with this.
    pub(crate) fn cut(&self, refusal: Refusal) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cut, &other.cut)
    }
}

impl Stream for Awaited {
    type Item = Result<Message, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.replies.poll_recv(context)) {
            Some(reply) => Some(Ok(reply.message)),
            // The last sender is gone with its entry in the table, so a reason is there by now if there is one.
            None => self.cut.lock().unwrap_or_else(PoisonError::into_inner).take().map(Err),
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use shadowcat_protocol::{Id, Notification, Response};

    use super::*;

    fn note(bytes: usize) -> Message {
        Message::Notification(Notification::new("x", Some(&format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes)))))
    }

    #[tokio::test(start_paused = true)]
    async fn replies_that_wait_are_bounded_in_bytes_until_they_are_taken() {
        let (asker, mut awaited) = Asker::new(ExchangeId::next());
        let large = REPLIES_WAITING_BYTES_MAX / 4;
        for _ in 0..2 {
            let mut waiting = 0;
            while asker.give(note(large)).await {
                waiting += large;
            }
            assert!((large..=REPLIES_WAITING_BYTES_MAX).contains(&waiting), "{waiting} bytes wait");
            while waiting > 0 {
                assert!(awaited.next().await.is_some());
                waiting -= large;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_over_the_bound_is_taken_alone_and_the_response_behind_it_always() {
        let (asker, mut awaited) = Asker::new(ExchangeId::next());
        assert!(asker.give(note(2 * REPLIES_WAITING_BYTES_MAX)).await);
        assert!(!asker.give(note(0)).await);
        assert!(asker.give(Message::Response(Response::result(&Id::from_u64(1), "{}"))).await);
        assert!(matches!(awaited.next().await, Some(Ok(Message::Notification(_)))));
        assert!(matches!(awaited.next().await, Some(Ok(Message::Response(_)))));
        assert!(asker.give(note(0)).await);
    }
}
