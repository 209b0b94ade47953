//! The requests in flight on a connection: found again for a cancel, and missed when nobody waits any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use shadowcat_pipeline::{ExchangeId, PeerId};
use shadowcat_protocol::{Id, Message, Notification, method};
use tokio_util::sync::CancellationToken;

use super::HttpConnection;
use crate::translation::Translation;

/// The requests in flight by our ids, which grow: the last is the newest.
pub(super) type InFlight = BTreeMap<u64, Entry>;

/// A request in flight, as others have to know it.
pub(super) struct Entry {
    translation: Translation,
    exchange: ExchangeId,
    token: CancellationToken,
}

impl HttpConnection {
    pub(super) fn enter(&self, translation: &Translation, exchange: ExchangeId) -> Flight {
        let token = CancellationToken::new();
        let entry = Entry { translation: translation.clone(), exchange, token: token.clone() };
        self.in_flight().insert(translation.own, entry);
        Flight {
            connection: Weak::clone(&self.this),
            own: translation.own,
            token,
            // Legacy servers must not take a closed stream for a cancel, so they are told.
            tell: self.is_legacy() && !translation.is_initialize,
        }
    }

    /// Ends the newest request this peer calls by this id; gives our id of it.
    pub(super) fn cancel(&self, peer: PeerId, client: &Id) -> Option<u64> {
        let in_flight = self.in_flight();
        let is_meant = |entry: &&Entry| entry.translation.peer == peer && entry.translation.client == *client;
        let newest = in_flight.values().rev().find(is_meant)?;
        let (own, token) = (newest.translation.own, newest.token.clone());
        drop(in_flight);
        token.cancel();
        Some(own)
    }

    /// Finds the request that a message outside its own stream belongs to by its progress token, and restores the
    /// token; `None` if there is none (any more).
    pub(super) fn belonging(&self, note: Notification, token: &str) -> Option<(Message, ExchangeId)> {
        let own: u64 = token.parse().ok()?;
        let in_flight = self.in_flight();
        let entry = in_flight.get(&own)?;
        Some((entry.translation.inbound(Message::Notification(note)), entry.exchange))
    }
}

/// A request in flight; dropped before its answer came, a legacy server is told that nobody waits for it.
pub(in crate::http) struct Flight {
    connection: Weak<HttpConnection>,
    own: u64,
    pub(in crate::http) token: CancellationToken,
    tell: bool,
}

impl Flight {
    /// The answer is there.
    pub(in crate::http) fn finish(mut self) {
        self.settle();
    }

    /// The server is not at work on it: the last message of the answer is on its way, or the request never left.
    pub(in crate::http) fn settle(&mut self) {
        self.tell = false;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(connection) = self.connection.upgrade() else { return };
        connection.in_flight().remove(&self.own);
        // A cancel of the client's own has been passed on already.
        if self.tell && !self.token.is_cancelled() {
            let note = Notification::cancelled(&Id::from_u64(self.own), Some("no longer awaited"));
            let this = Arc::clone(&connection);
            connection.words.spawn_until_stop(async move {
                this.post_quietly(note.text().clone(), method::CANCELLED).await;
            });
        }
    }
}
