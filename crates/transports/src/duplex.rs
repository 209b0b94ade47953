//! A connection over one ordered pipe that carries everything both ways: a child's stdin and stdout, or the POST
//! endpoint and the event stream of HTTP+SSE. Answers are told apart by id.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::Peekable;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Back, Envelope, ExchangeId, Form, Head, PeerId, Refusal, RefusalKind, Replies, Service, Transport,
    UpstreamSide,
};
use shadowcat_protocol::{Id, Limits, Message, Notification, Request, Revision, codes, method};

use crate::asker::{Asker, Awaited};
use crate::asks::{AnswerTo, Asks};
use crate::counters::Counters;
use crate::translation::{Correlator, Routed};

/// Requests in flight on one connection.
const IN_FLIGHT_MAX: usize = 4096;

/// The writing half of a pipe, and the reason when it is gone.
#[async_trait]
pub(crate) trait Pipe: Send + Sync {
    /// Sends one message, which is a single line. Waits while the other side does not read, up to a deadline.
    async fn send(&self, line: Bytes) -> Result<(), Refusal>;
    /// Why nothing can be sent or received any more.
    fn reason(&self) -> Refusal;
    /// The other side has answered a request beyond the handshake.
    fn served(&self) {}
    /// Whether the pipe still stands.
    fn is_open(&self) -> bool;
    /// Ends the pipe and what is behind it.
    async fn close(&self);
}

/// What comes out of the reading half.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// One message's text.
    Text(Bytes),
    /// A message over the limit was cut away; its size so far.
    TooLong(usize),
}

/// How long what was said last, such as a cancel, may take to leave before the pipe is closed.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);

/// A connection over one ordered pipe.
pub(crate) struct Duplex {
    this: Weak<Self>,
    name: Arc<str>,
    transport: Transport,
    revision: OnceLock<Revision>,
    limits: Limits,
    pipe: Box<dyn Pipe>,
    correlator: Mutex<Correlator<Asker>>,
    asks: Arc<Asks>,
    /// Messages of ours on their way that earn no answer.
    words: Tasks,
    counters: Arc<Counters>,
    /// We have parted from the server, or it from us and its client's side knows.
    parted: AtomicBool,
}

/// What a duplex connection is made of.
pub(crate) struct Parts {
    pub(crate) name: Arc<str>,
    pub(crate) transport: Transport,
    /// Known from the start on a modern connection; agreed on in the handshake on a legacy one.
    pub(crate) revision: Option<Revision>,
    pub(crate) limits: Limits,
    pub(crate) pipe: Box<dyn Pipe>,
    pub(crate) back: Arc<dyn Back>,
    pub(crate) tasks: Tasks,
    pub(crate) counters: Arc<Counters>,
}

impl Duplex {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            name: parts.name,
            transport: parts.transport,
            revision: parts.revision.map(OnceLock::from).unwrap_or_default(),
            limits: parts.limits,
            pipe: parts.pipe,
            correlator: Mutex::new(Correlator::new(IN_FLIGHT_MAX)),
            asks: Asks::new(parts.back, parts.tasks.clone()),
            words: parts.tasks.child(),
            counters: parts.counters,
            parted: AtomicBool::new(false),
        })
    }

    pub(crate) fn pipe(&self) -> &dyn Pipe {
        &*self.pipe
    }

    fn correlator(&self) -> MutexGuard<'_, Correlator<Asker>> {
        self.correlator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn side(&self) -> UpstreamSide {
        UpstreamSide {
            name: Arc::clone(&self.name),
            transport: self.transport,
            revision: self.revision.get().copied().unwrap_or(Revision::V2025_03_26),
        }
    }

    /// Takes what the server sent, in order. Awaited by the owner of the reading half.
    pub(crate) async fn receive(&self, incoming: Incoming) {
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::TooLong(bytes) => {
                tracing::warn!(upstream = %self.name, bytes, "a message over the limit was dropped");
                let detail = format!(
                    "the server sent a message over the limit of {} bytes",
                    self.limits.message_bytes_max
                );
                self.fail_all(|| Refusal::new(RefusalKind::UpstreamProtocol).with_detail(detail.clone()));
                return;
            }
        };
        for message in Message::parse_each(&text, &self.limits) {
            match message {
                Ok(message) => self.route(message).await,
                Err(error) => self.garbage(&text, &error),
            }
        }
    }

    fn garbage(&self, text: &Bytes, error: &shadowcat_protocol::ParseError) {
        self.counters.garbage.add();
        let shown = String::from_utf8_lossy(text.get(..text.len().min(200)).unwrap_or_default());
        tracing::warn!(upstream = %self.name, %error, line = %shown, "not an MCP message: ignored");
    }

    async fn route(&self, message: Message) {
        let routed = self.correlator().route(message);
        match routed {
            Routed::Answer { owner: asker, message, is_greeting } => {
                if !is_greeting {
                    self.pipe.served();
                }
                self.note_revision(&message);
                self.reply(&asker, message).await;
            }
            Routed::Related(asker, message) => self.reply(&asker, message).await,
            Routed::Stray => {
                self.counters.stray.add();
                tracing::debug!(upstream = %self.name, "a message for no request in flight was dropped");
            }
            Routed::Unrelated(message) => self.deliver(message).await,
        }
    }

    /// The handshake that passes through says which revision this connection speaks.
    fn note_revision(&self, answer: &Message) {
        if self.revision.get().is_some() {
            return;
        }
        let Message::Response(response) = answer else { return };
        if let Some(revision) = response.result_json().and_then(Revision::of_handshake) {
            self.revision.get_or_init(|| revision);
        }
    }

    async fn reply(&self, asker: &Asker, message: Message) {
        if asker.give(message).await {
            return;
        }
        // Its own exchange ends, so that it holds up the others of this pipe once and not again and again.
        tracing::warn!(upstream = %self.name, exchange = %asker.exchange, "the client does not take its replies");
        let refusal = Refusal::new(RefusalKind::LimitQueue).with_upstream(&self.name);
        asker.cut(refusal.with_detail("the client does not take its replies"));
        let given_up = self.correlator().end_where(|other| other.is(asker));
        for own in given_up {
            self.tell_cancelled(own);
        }
    }

    fn tell_cancelled(&self, own: u64) {
        let note = Notification::cancelled(&Id::from_u64(own), Some("no longer awaited"));
        self.spawn_send(note.text().clone());
    }

    async fn deliver(&self, message: Message) {
        let Some(this) = self.this.upgrade() else { return };
        if self.ends_subscription(&message) {
            return;
        }
        if let Some(asker) = self.logged_for(&message) {
            self.reply(&asker, message).await;
            return;
        }
        let related = self.related(&message);
        self.asks.deliver(message, related, &self.side(), this).await;
    }

    fn is_modern(&self) -> bool {
        self.revision.get().is_some_and(|revision| revision.is_modern())
    }

    /// A modern server logs for requests that ask for it, and for nobody else (2026-07-28 logging); on a pipe it does not
    /// say for which.
    fn logged_for(&self, message: &Message) -> Option<Asker> {
        let Message::Notification(note) = message else { return None };
        if note.method() != method::LOG_MESSAGE || !self.is_modern() {
            return None;
        }
        self.correlator().only_logging().cloned()
    }

    /// A modern server ends a subscription by cancelling the request that opened it (2026-07-28 cancellation). Its
    /// replies end with that.
    fn ends_subscription(&self, message: &Message) -> bool {
        let Message::Notification(note) = message else { return false };
        if !self.is_modern() || note.method() != method::CANCELLED {
            return false;
        }
        let own = note.request_id().and_then(|id| id.as_u64());
        own.is_some_and(|own| self.correlator().forget(own).is_some())
    }

    /// A pipe does not say what a message belongs to; with one request in flight it can only be that one. Changes of
    /// lists and resources belong to none.
    fn related(&self, message: &Message) -> Option<ExchangeId> {
        let may_belong = match message {
            Message::Request(_) => true,
            Message::Notification(note) => note.method() == method::LOG_MESSAGE,
            Message::Response(_) => false,
        };
        if !may_belong {
            return None;
        }
        self.correlator().only().map(|asker| asker.exchange)
    }

    fn spawn_send(&self, line: Bytes) {
        let Some(this) = self.this.upgrade() else { return };
        self.finish_sending(async move { this.pipe.send(line).await });
    }

    fn finish_sending(&self, sending: impl Future<Output = Result<(), Refusal>> + Send + 'static) {
        let name = Arc::clone(&self.name);
        self.words.spawn_until_stop(async move {
            if let Err(refusal) = sending.await {
                tracing::debug!(upstream = %name, %refusal, "a message was not taken");
            }
        });
    }

    /// The pipe is gone: every request in flight ends with the reason, every question to the client is withdrawn.
    pub(crate) fn ended(&self) {
        self.fail_all(|| self.pipe.reason());
        self.asks.withdraw_all();
        if !self.parted.swap(true, Ordering::AcqRel) {
            self.asks.server_gone();
        }
    }

    /// Ends the pipe from our side.
    pub(crate) async fn close(&self) {
        self.parted.store(true, Ordering::Release);
        self.words.join(LAST_WORDS_MAX).await;
        self.pipe.close().await;
        self.ended();
    }

    fn fail_all(&self, refusal: impl Fn() -> Refusal) {
        let askers = self.correlator().drain();
        for asker in askers {
            asker.cut(refusal().with_upstream(&self.name));
        }
    }

    async fn request(
        &self,
        request: &Request,
        peer: PeerId,
        exchange: ExchangeId,
    ) -> Result<Replies, Refusal> {
        if !self.pipe.is_open() {
            return Err(self.pipe.reason().with_upstream(&self.name));
        }
        let (asker, awaited) = Asker::new(exchange);
        let begun = self.correlator().begin(request, peer, asker);
        let Some((own, outbound)) = begun else {
            return Err(Refusal::new(RefusalKind::LimitQueue).with_upstream(&self.name));
        };
        let guard = CancelOnDrop { duplex: Weak::clone(&self.this), own };
        let mut awaited = awaited.peekable();
        if let Err(refusal) = self.sent_or_heard(Message::Request(outbound).to_line(), &mut awaited).await {
            self.correlator().forget(own);
            return Err(refusal.with_upstream(&self.name));
        }
        if !self.pipe.is_open() {
            // The end may have come between the check and the entry in the table; the table was drained then.
            self.ended();
        }
        let head = Head { form: Form::Free, status: None };
        Ok(Replies::stream(awaited).with_head(head).hold(guard))
    }

    /// Sends a request. A server may say that it has it before it takes it: one on HTTP+SSE that answers the POST when
    /// the work is done. What is left of the sending is not waited for then, and how it ends is no matter.
    async fn sent_or_heard(&self, line: Bytes, awaited: &mut Peekable<Awaited>) -> Result<(), Refusal> {
        let Some(this) = self.this.upgrade() else { return Err(RefusalKind::ShuttingDown.into()) };
        let mut sending = Box::pin(async move { this.pipe.send(line).await });
        let heard = Pin::new(awaited).peek();
        let is_over = tokio::select! {
            biased;
            heard = heard => !matches!(heard, Some(Ok(_))),
            sent = &mut sending => return sent,
        };
        if is_over && !self.pipe.is_open() {
            // The pipe is gone, and only how the sending ends tells whether the request was taken.
            return sending.await;
        }
        self.finish_sending(sending);
        Ok(())
    }

    async fn notification(&self, note: Notification, peer: PeerId) -> Result<Replies, Refusal> {
        let note = if note.method() == method::CANCELLED {
            let Some(client) = note.request_id() else { return Ok(Replies::none()) };
            let Some((own, _asker)) = self.correlator().cancel(peer, &client) else {
                return Ok(Replies::none());
            };
            note.with_request_id(&Id::from_u64(own))
        } else {
            note
        };
        self.pipe.send(Message::Notification(note).to_line()).await?;
        Ok(Replies::none())
    }
}

#[async_trait]
impl AnswerTo for Duplex {
    async fn send_answer(&self, line: Bytes) -> Result<(), Refusal> {
        self.pipe.send(line).await
    }
}

#[async_trait]
impl Service for Duplex {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        let origin = envelope.origin;
        origin.upstream.get_or_init(|| self.side());
        match envelope.message {
            Message::Request(request) => self.request(&request, origin.peer, origin.exchange).await,
            Message::Notification(note) => self.notification(note, origin.peer).await,
            Message::Response(_) => {
                Err(Refusal::bad_message(codes::INVALID_REQUEST, "a response to no request of the server"))
            }
        }
    }
}

/// Ends a request upstream when nobody waits for its answer any more.
struct CancelOnDrop {
    duplex: Weak<Duplex>,
    own: u64,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some(duplex) = self.duplex.upgrade() else { return };
        let forgotten = duplex.correlator().forget(self.own);
        if forgotten.is_some_and(|translation| !translation.is_initialize) && duplex.pipe.is_open() {
            duplex.tell_cancelled(self.own);
        }
    }
}

#[cfg(test)]
#[path = "duplex_tests.rs"]
mod tests;
