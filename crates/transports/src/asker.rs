//! Whoever waits for the answer to a request on a pipe: the way of the replies to it, bounded, and why they ended early.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use shadowcat_pipeline::{ExchangeId, Refusal};
use shadowcat_protocol::Message;
use tokio::sync::mpsc;

/// Replies of one request that wait for their client before the connection's other clients are put first.
pub(crate) const REPLIES_WAITING_MAX: usize = 256;
/// How long one client that does not take its replies may hold up the others of the same pipe.
pub(crate) const SLOW_CLIENT_GRACE: Duration = Duration::from_secs(1);

/// The owner of a request in flight.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    replies: mpsc::Sender<Box<Message>>,
    pub(crate) exchange: ExchangeId,
    cut: Cut,
}

/// Why the replies of a request ended before its response, told to whoever sees their end.
type Cut = Arc<Mutex<Option<Refusal>>>;

/// The replies to one request, in order; where their end is not the exchange's own, the reason is the last.
#[derive(Debug)]
pub(crate) struct Awaited {
    replies: mpsc::Receiver<Box<Message>>,
    cut: Cut,
}

impl Asker {
    /// The asker of this exchange, and what it gets.
    pub(crate) fn new(exchange: ExchangeId) -> (Self, Awaited) {
        let (sender, receiver) = mpsc::channel(REPLIES_WAITING_MAX);
        let cut = Cut::default();
        let awaited = Awaited { replies: receiver, cut: Arc::clone(&cut) };
        (Self { replies: sender, exchange, cut }, awaited)
    }

    /// Hands over one reply; false if there was no room for it in time.
    pub(crate) async fn give(&self, message: Message) -> bool {
        let mut queued = pin!(self.queue(message));
        // Nearly always at once, and then no clock is asked.
        futures_util::poll!(&mut queued).is_ready()
            || tokio::time::timeout(SLOW_CLIENT_GRACE, queued).await.is_ok()
    }

    async fn queue(&self, message: Message) {
        // Without its receiver nobody waits for it any more.
        drop(self.replies.send(Box::new(message)).await);
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
            Some(message) => Some(Ok(*message)),
            // The last sender is gone with its entry in the table, so a reason is there by now if there is one.
            None => self.cut.lock().unwrap_or_else(PoisonError::into_inner).take().map(Err),
        })
    }
}
