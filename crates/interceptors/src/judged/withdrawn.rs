//! Who waits here, and learns that nobody waits for him any more. A client withdraws a request by a notification, which
//! finds requests that are with the server; those that have not left yet, or whose answer is held, are found here.

use std::sync::Arc;

use shadowcat_pipeline::{Direction, Envelope, InFlight, PeerId};
use shadowcat_protocol::{Id, Message, method};

/// The requests of clients that wait here.
pub(crate) type Waiting = InFlight<(PeerId, Id)>;

/// Whether a client withdraws a request by this message.
pub(crate) fn withdraws(envelope: &Envelope) -> bool {
    matches!(&envelope.message, Message::Notification(note) if note.method() == method::CANCELLED)
        && envelope.direction == Direction::ToServer
}

/// Tells the request that a client withdraws by this message, if it waits here.
pub(crate) fn hear(waiting: &Waiting, envelope: &Envelope) {
    if withdraws(envelope)
        && let Message::Notification(note) = &envelope.message
        && let Some(id) = note.request_id()
    {
        waiting.withdraw(&(envelope.origin.peer, id));
    }
}

/// Whoever began an exchange, and may withdraw it.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiting: Arc<Waiting>,
    /// The request of a client.
    request: Option<(PeerId, Id)>,
}

impl Waiter {
    pub(crate) fn new(waiting: &Arc<Waiting>, envelope: &Envelope) -> Self {
        // What a server asks and withdraws never comes this far: its replies are dropped.
        let is_client = envelope.direction == Direction::ToServer;
        let id = envelope.request_id().filter(|_| is_client);
        Self { waiting: Arc::clone(waiting), request: id.map(|id| (envelope.origin.peer, id.clone())) }
    }

    /// Waits for `work`; `None` if the request is withdrawn first.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let flight = self.request.as_ref().and_then(|request| self.waiting.enter(request.clone()));
        match flight {
            Some(flight) => flight.withdrawn.run_until_cancelled(work).await,
            // Nobody can withdraw it, or too many wait to find it again: it ends like any other.
            None => Some(work.await),
        }
    }

    /// Waits until the request is withdrawn, which may be never.
    pub(super) async fn silence<T>(&self) -> Option<T> {
        self.during(std::future::pending()).await
    }
}
