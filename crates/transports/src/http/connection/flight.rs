//! The requests in flight on a connection: found again for a cancel, and missed when nobody waits any more.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use shadowcat_pipeline::PeerId;
use shadowcat_protocol::{Id, Notification, method};
use tokio_util::sync::CancellationToken;

use super::HttpConnection;
use crate::translation::Translation;

/// The requests in flight by whose they are and what their client calls them; the last of equal ones is the newest.
pub(super) type InFlight = HashMap<(PeerId, Id), Vec<(u64, CancellationToken)>>;

impl HttpConnection {
    pub(super) fn enter(&self, translation: &Translation) -> Flight {
        let token = CancellationToken::new();
        let key = (translation.peer, translation.client.clone());
        self.in_flight().entry(key.clone()).or_default().push((translation.own, token.clone()));
        Flight {
            connection: Weak::clone(&self.this),
            key,
            own: translation.own,
            token,
            // Legacy servers must not take a closed stream for a cancel, so they are told.
            tell: self.is_legacy() && !translation.is_initialize,
        }
    }

    /// Ends the newest request this peer calls by this id; gives our id of it.
    pub(super) fn cancel(&self, peer: PeerId, client: &Id) -> Option<u64> {
        let (own, token) = self.in_flight().get(&(peer, client.clone()))?.last().cloned()?;
        token.cancel();
        Some(own)
    }
}

/// A request in flight; dropped before its answer came, a legacy server is told that nobody waits for it.
pub(in crate::http) struct Flight {
    connection: Weak<HttpConnection>,
    key: (PeerId, Id),
    own: u64,
    pub(in crate::http) token: CancellationToken,
    tell: bool,
}

impl Flight {
    /// The answer is there.
    pub(in crate::http) fn finish(mut self) {
        self.settle();
    }

    /// The answer is there, and its last message is on its way.
    pub(in crate::http) fn settle(&mut self) {
        self.tell = false;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(connection) = self.connection.upgrade() else { return };
        let mut in_flight = connection.in_flight();
        if let Some(same) = in_flight.get_mut(&self.key) {
            same.retain(|(own, _)| *own != self.own);
            if same.is_empty() {
                in_flight.remove(&self.key);
            }
        }
        drop(in_flight);
        // A cancel of the client's own has been passed on already.
        if self.tell && !self.token.is_cancelled() {
            let params = format!(r#"{{"requestId":{},"reason":"no longer awaited"}}"#, self.own);
            let note = Notification::new(method::CANCELLED, Some(&params));
            let this = Arc::clone(&connection);
            connection.tasks.spawn_until_stop(async move {
                this.post_quietly(note.text().clone(), method::CANCELLED).await;
            });
        }
    }
}
