//! What a legacy server says of its own accord.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::{Back, Envelope, ExchangeId, Refusal, RefusalKind, Replies, Service, UpstreamSide};
use shadowcat_protocol::{Message, Notification, Request, Response, codes, method};

use super::session::Session;

/// The way from the server to one session.
pub(super) struct FromServer(Weak<Session>);

impl FromServer {
    pub(super) fn new(session: Weak<Session>) -> Self {
        Self(session)
    }
}

#[async_trait]
impl Back for FromServer {
    async fn deliver(
        &self,
        message: Message,
        related: Option<ExchangeId>,
        from: &UpstreamSide,
    ) -> Result<Replies, Refusal> {
        let session = self.0.upgrade().ok_or(RefusalKind::SessionUnknown)?;
        let mut origin = session.origin();
        origin.related = related;
        origin.upstream.get_or_init(|| from.clone());
        let envelope = Envelope::to_client(message, Arc::new(origin));
        let chain = session.chain.clone();
        chain.run(envelope, Arc::new(Hearing(session))).await
    }

    fn let_go(&self, _: ExchangeId, _: Duration) {
        // The connection takes such a stream up again; a modern client has nothing to come back to.
    }

    fn stream_lost(&self) {
        if let Some(session) = self.0.upgrade() {
            session.stream_lost();
        }
    }

    fn server_gone(&self) {
        self.stream_lost();
    }
}

/// The end of the way: whoever in the session the message is for.
struct Hearing(Arc<Session>);

#[async_trait]
impl Service for Hearing {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let related = envelope.origin.related;
        match envelope.message {
            Message::Request(request) => self.question(request, related),
            Message::Notification(note) => {
                self.note(note, related);
                Ok(Replies::none())
            }
            Message::Response(_) => {
                Err(Refusal::bad_message(codes::INVALID_REQUEST, "a response to nothing"))
            }
        }
    }
}

impl Hearing {
    fn question(&self, request: Request, related: Option<ExchangeId>) -> Result<Replies, Refusal> {
        if request.method() == method::PING {
            // The modern revision has no ping that could be passed on; the bridge is the client here, and lives.
            return Ok(Replies::one(Message::Response(Response::result(request.id(), "{}"))));
        }
        if let Err(undeclared) = self.0.key.declared.allows(request.method(), request.params()) {
            if let Some(required) = undeclared.required {
                self.0.inboxes.undeclared(required, related);
            }
            let error = Response::error(Some(request.id()), &undeclared.error);
            return Ok(Replies::one(Message::Response(error)));
        }
        match self.0.handed.question(&request) {
            Some(replies) => Ok(replies),
            None => self.0.inboxes.question(request, related),
        }
    }

    fn note(&self, note: Notification, related: Option<ExchangeId>) {
        match note.method() {
            method::LOG_MESSAGE => self.0.inboxes.note(note, related),
            method::PROGRESS if related.is_some() => self.0.inboxes.note(note, related),
            changed => {
                if changed == method::TOOLS_CHANGED {
                    self.0.tools.doubt();
                }
                if !self.0.listeners.tell(&note) && !self.0.handed.tell(&note) {
                    self.0.counters.lose(note.method(), None);
                }
            }
        }
    }
}
