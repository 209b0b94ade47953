//! The connection that all modern exchanges share: the revision is stateless, so any client's message may follow any
//! other's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shadowcat_bridge::Probe;
use shadowcat_cache::Server;
use shadowcat_pipeline::{
    Back, Envelope, ExchangeId, Origin, PeerId, Refusal, RefusalKind, Replies, Service, UpstreamAnswer,
    UpstreamSide,
};
use shadowcat_protocol::caching::Cacheable;
use shadowcat_protocol::{Era, Id, Message, Request, Response, Revision, method, own};
use shadowcat_transports::{Connection, Connector, OpenConnection, Parting};

/// Whether an HTTP status is none of those that a server of one era has for a message of the other.
pub(super) fn is_fault(status: u16) -> bool {
    !matches!(status, 200 | 400 | 404 | 405 | 406 | 415)
}

/// A connection that is opened at the first exchange, and again when it is gone.
pub(crate) struct SharedUpstream {
    connector: Arc<dyn Connector>,
    current: Mutex<Option<Arc<dyn Connection>>>,
    opening: tokio::sync::Mutex<()>,
    /// How often the server may have become another one, or has said something outside of all exchanges.
    turns: Arc<AtomicU64>,
    /// The server that was asked what it speaks is gone, and another one has its place.
    is_replaced: AtomicBool,
}

impl SharedUpstream {
    pub(crate) fn new(connector: Arc<dyn Connector>) -> Self {
        let (current, opening) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { connector, current, opening, turns: Arc::default(), is_replaced: AtomicBool::new(false) }
    }

    fn current(&self) -> Option<Arc<dyn Connection>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server that was asked what it speaks is gone: the next one may be another program.
    pub(super) fn may_be_another(&self) -> bool {
        self.is_replaced.load(Ordering::Acquire)
            || self.current().is_some_and(|connection| !connection.is_alive())
    }

    async fn connection(&self) -> Result<Arc<dyn Connection>, Refusal> {
        if let Some(connection) = self.current().filter(|connection| connection.is_alive()) {
            return Ok(connection);
        }
        // Rare and large: not a part of the future of every exchange.
        Box::pin(self.connect()).await
    }

    async fn connect(&self) -> Result<Arc<dyn Connection>, Refusal> {
        let _opening = self.opening.lock().await;
        if let Some(connection) = self.current() {
            if connection.is_alive() {
                return Ok(connection);
            }
            connection.close(Parting::End).await;
            // Noted here, for whoever opens a connection may have looked at the old one while its server was alive.
            self.is_replaced.store(true, Ordering::Release);
        }
        let opening = OpenConnection {
            back: Arc::new(NobodyAsked { turns: Arc::clone(&self.turns) }),
            era: Era::Modern,
            revision: Some(Revision::V2026_07_28),
            token: None,
        };
        let connection = self.connector.open(opening).await?;
        self.turns.fetch_add(1, Ordering::Relaxed);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Asks the server something in the proxy's own name.
    async fn ask(&self, asked: &str, params: &str, revision: Revision) -> Result<Response, Refusal> {
        let origin = Origin::own(PeerId::next(), revision);
        let request = Message::Request(Request::new(&Id::from_u64(1), asked, Some(params)));
        let mut replies = self.handle(Envelope::to_server(request, Arc::new(origin))).await?;
        // A fault stays one when it is told in JSON.
        if let Some(status) = replies.head().status.filter(|status| is_fault(*status)) {
            let answer = UpstreamAnswer { status, headers: Vec::new(), body: Bytes::new() };
            return Err(RefusalKind::UpstreamStatus(Box::new(answer)).into());
        }
        replies.response().await?.ok_or_else(|| RefusalKind::UpstreamProtocol.into())
    }

    pub(crate) async fn close(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(connection) = current {
            connection.close(Parting::End).await;
        }
    }
}

#[async_trait]
impl Probe for SharedUpstream {
    async fn discover(&self) -> Result<Response, Refusal> {
        let params = format!(r#"{{"_meta":{}}}"#, own::meta("{}"));
        // Before the question: of the server that is lost while it is asked, nothing is known.
        self.connection().await?;
        self.is_replaced.store(false, Ordering::Release);
        self.ask(method::DISCOVER, &params, Revision::V2026_07_28).await
    }

    async fn shake_hands(&self) -> Result<Response, Refusal> {
        self.ask(method::INITIALIZE, &own::handshake("{}"), Revision::NEWEST_LEGACY).await
    }

    async fn give_up(&self) {
        self.close().await;
    }
}

#[async_trait]
impl Service for SharedUpstream {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let is_withdrawal = envelope.message.method() == Some(method::CANCELLED);
        if is_withdrawal && self.conversation().is_none() {
            // What it withdraws was lost with its connection.
            return Ok(Replies::none());
        }
        self.connection().await?.handle(envelope).await
    }
}

impl Server for SharedUpstream {
    fn conversation(&self) -> Option<u64> {
        let is_open = self.current().is_some_and(|connection| connection.is_alive());
        is_open.then(|| self.turns.load(Ordering::Relaxed))
    }
}

/// Where a modern server's messages go that belong to no exchange: the revision has none, and nobody could say whose
/// they are.
struct NobodyAsked {
    turns: Arc<AtomicU64>,
}

#[async_trait]
impl Back for NobodyAsked {
    async fn deliver(
        &self,
        message: Message,
        _: Option<ExchangeId>,
        from: &UpstreamSide,
    ) -> Result<Replies, Refusal> {
        let method = message.method().unwrap_or_default();
        if Cacheable::changed(method).next().is_some() {
            // Nobody is told of it, but who keeps answers has to know.
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
        tracing::warn!(upstream = %from.name, method, "the server sent what this revision does not have: dropped");
        // Not even a refusal: this revision has no responses of clients either.
        Ok(Replies::none())
    }

    fn let_go(&self, _: ExchangeId, _: Duration) {
        // A modern stream that ends has ended: there is nothing to come back to.
    }

    fn stream_lost(&self) {
        // Nor is there a standing one.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadowcat_pipeline::Transport;
    use shadowcat_protocol::{Id, Notification, Request, method};

    use crate::testing::{FakeServer, envelope};

    #[tokio::test]
    async fn a_change_that_is_told_to_nobody_ends_the_conversation_and_other_talk_does_not() {
        let turns = Arc::<AtomicU64>::default();
        let back = NobodyAsked { turns: Arc::clone(&turns) };
        let side =
            UpstreamSide { name: "up".into(), transport: Transport::Stdio, revision: Revision::V2026_07_28 };
        for (told, turned) in
            [(method::LOG_MESSAGE, 0), (method::TOOLS_CHANGED, 1), (method::RESOURCE_UPDATED, 2)]
        {
            let note = Message::Notification(Notification::new(told, None));
            back.deliver(note, None, &side).await.unwrap();
            assert_eq!(turns.load(Ordering::Relaxed), turned, "{told}");
        }
    }

    #[tokio::test]
    async fn a_withdrawal_of_what_was_lost_with_its_connection_opens_no_other() {
        let server = FakeServer::default();
        let shared = SharedUpstream::new(Arc::new(server.clone()));
        let note = Message::Notification(Notification::cancelled(&Id::from_u64(1), None));
        let mut withdrawal = envelope(method::PING);
        withdrawal.message = note;
        assert!(shared.handle(withdrawal).await.unwrap().next().await.is_none());
        assert_eq!(server.opened(), 0);
    }

    #[tokio::test]
    async fn a_question_of_a_modern_server_gets_no_answer_not_even_an_error() {
        let question = Message::Request(Request::new(&Id::from_u64(1), method::PING, None));
        let side =
            UpstreamSide { name: "up".into(), transport: Transport::Stdio, revision: Revision::V2026_07_28 };
        let mut replies = NobodyAsked { turns: Arc::default() }.deliver(question, None, &side).await.unwrap();
        assert!(replies.next().await.is_none());
    }
}
