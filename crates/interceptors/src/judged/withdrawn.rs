//! Who waits here, and learns that nobody waits for him any more. A client withdraws a request by a notification, which
//! finds requests that are with the server; those that have not left yet, or whose answer is held, are found here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shadowcat_pipeline::{Direction, Envelope, PeerId};
use shadowcat_protocol::{Id, Message, method};
use tokio_util::sync::CancellationToken;

/// The requests that wait here. Each is one of its session's requests in flight, whose number is bounded there.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<HashMap<(PeerId, Id), CancellationToken>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<(PeerId, Id), CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the request that a client withdraws by this message, if it waits here.
    pub(crate) fn hear(&self, envelope: &Envelope) {
        if let Message::Notification(note) = &envelope.message
            && note.method() == method::CANCELLED
            && envelope.direction == Direction::ToServer
            && let Some(id) = note.request_id()
            && let Some(waits) = self.lock().get(&(envelope.origin.peer, id))
        {
            waits.cancel();
        }
    }

    /// Waits for `work`; `None` if the request is withdrawn first.
    async fn during<T>(
        self: &Arc<Self>,
        request: Option<&(PeerId, Id)>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let Some(request) = request else { return Some(work.await) };
        let token = CancellationToken::new();
        self.lock().insert(request.clone(), token.clone());
        let _place = Place { waiting: Arc::clone(self), request: request.clone() };
        token.run_until_cancelled(work).await
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
        self.waiting.during(self.request.as_ref(), work).await
    }

    /// Waits until the request is withdrawn, which may be never.
    pub(super) async fn silence<T>(&self) -> Option<T> {
        self.during(std::future::pending()).await
    }
}

/// The place of one that waits.
struct Place {
    waiting: Arc<Waiting>,
    request: (PeerId, Id),
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.request);
    }
}
