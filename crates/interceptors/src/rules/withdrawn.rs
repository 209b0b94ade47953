//! Who waits here, and learns that nobody waits for him any more. A client withdraws a request by a notification, which
//! finds requests that are with the server; those that have not left yet, or whose answer is held, are found here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shadowcat_pipeline::PeerId;
use shadowcat_protocol::Id;
use tokio_util::sync::CancellationToken;

/// The requests that wait here. Each is one of its session's requests in flight, whose number is bounded there.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<(PeerId, Id), CancellationToken>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<(PeerId, Id), CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the request that it is withdrawn, if it waits here.
    pub(super) fn withdraw(&self, peer: PeerId, id: &Id) {
        if let Some(waits) = self.lock().get(&(peer, id.clone())) {
            waits.cancel();
        }
    }

    /// Waits for `work`; `None` if the request is withdrawn first.
    pub(super) async fn during<T>(
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
