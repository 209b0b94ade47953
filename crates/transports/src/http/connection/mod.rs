//! One connection to a Streamable HTTP server: a legacy session or the modern stateless form. "Connection" is the
//! conversation; the sockets under it are the client's.

mod flight;
mod standing;

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use http::header::HeaderMap;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{
    Envelope, ExchangeId, Form, Head, Origin, Refusal, RefusalKind, Replies, Service, Transport, UpstreamSide,
};
use shadowcat_protocol::{Era, Id, Message, Notification, ParseError, Request, Revision, codes, method};
use tokio::sync::watch;

pub(super) use self::flight::Flight;
use self::flight::InFlight;
use self::standing::Standing;
use super::answer::Answer;
use super::stamp::Stamp;
use crate::asks::{AnswerTo, Asks};
use crate::connector::{Connection, OpenConnection, Parting};
use crate::counters::Counters;
use crate::event_source::EventSource;
use crate::http_client::Body;
use crate::names;
use crate::remote::{Remote, insert, media_type};
use crate::translation::Translation;

/// Notifications of one client that are on their way at a time.
const NOTIFICATIONS_MAX: usize = 64;
/// How long what was said last, such as a cancel, may take to leave before the session is ended.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);
/// How long the end of an upstream session may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// How long later messages wait for the `initialized` notification to arrive.
const INITIALIZED_DEADLINE: Duration = Duration::from_secs(10);

/// A conversation with a Streamable HTTP server.
pub(super) struct HttpConnection {
    this: Weak<Self>,
    pub(super) remote: Remote,
    era: Era,
    pub(super) tasks: Tasks,
    /// Messages on their way that earn no answer.
    words: Tasks,
    pub(super) asks: Arc<Asks>,
    pub(super) counters: Arc<Counters>,
    pub(super) stamp: Stamp,
    session: Mutex<Option<Box<str>>>,
    revision: OnceLock<Revision>,
    /// The headers of a POST in the session, once they were made of these two.
    said: Mutex<Option<HeaderMap>>,
    next: AtomicU64,
    in_flight: Mutex<InFlight>,
    notifications: Arc<tokio::sync::Semaphore>,
    /// False while the `initialized` notification is on its way, and the standing stream behind it: what follows must
    /// not overtake them.
    settled: watch::Sender<bool>,
    standing: watch::Sender<Standing>,
}

impl HttpConnection {
    pub(super) fn open(
        remote: Remote,
        tasks: Tasks,
        counters: Arc<Counters>,
        opening: OpenConnection,
    ) -> Arc<Self> {
        // A session that is taken up may still be busy with requests of an earlier process: their ids are not used again.
        let first = if opening.token.is_some() { wall_clock_us() } else { 1 };
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            remote,
            era: opening.era,
            asks: Asks::new(opening.back, tasks.clone()),
            words: tasks.child(),
            tasks,
            counters,
            stamp: Stamp::default(),
            session: Mutex::new(opening.token),
            revision: opening.revision.map(OnceLock::from).unwrap_or_default(),
            said: Mutex::default(),
            next: AtomicU64::new(first),
            in_flight: Mutex::default(),
            notifications: Arc::new(tokio::sync::Semaphore::new(NOTIFICATIONS_MAX)),
            settled: watch::Sender::new(true),
            standing: watch::Sender::default(),
        })
    }

    fn session(&self) -> MutexGuard<'_, Option<Box<str>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self) -> MutexGuard<'_, Option<HeaderMap>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_session(&self, id: Option<Box<str>>) {
        *self.session() = id;
        *self.said() = None;
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_legacy(&self) -> bool {
        self.era == Era::Legacy
    }

    pub(super) fn side(&self) -> UpstreamSide {
        UpstreamSide {
            name: Arc::clone(&self.remote.name),
            transport: Transport::Http,
            revision: self.revision.get().copied().unwrap_or(Revision::V2025_03_26),
        }
    }

    /// The headers of every request in a legacy session.
    pub(super) fn session_headers(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        if let Some(session) = self.session().as_deref() {
            insert(&mut fields, &names::SESSION_ID, session);
        }
        if let Some(revision) = self.revision.get().filter(|revision| revision.sends_version_header()) {
            insert(&mut fields, &names::PROTOCOL_VERSION, revision.as_str());
        }
        fields
    }

    /// Those of every POST in it.
    fn session_post_headers(&self) -> HeaderMap {
        self.said().get_or_insert_with(|| self.remote.post_headers(self.session_headers())).clone()
    }

    fn request_headers(&self, request: &Request, envelope: &Envelope) -> HeaderMap {
        let span = envelope.origin.told_span(request);
        let mut fields = match self.era {
            Era::Legacy if request.method() == method::INITIALIZE => HeaderMap::new(),
            Era::Legacy if span.is_none() => return self.session_post_headers(),
            Era::Legacy => self.session_headers(),
            Era::Modern => self.stamp.headers(request, envelope),
        };
        // What the client's request named ended with its hop; beside `_meta` nothing else may be said here.
        if let Some(span) = span {
            insert(&mut fields, &names::TRACEPARENT, &span.parent.to_string());
            if let Some(state) = span.state_header() {
                insert(&mut fields, &names::TRACESTATE, state);
            }
        }
        self.remote.post_headers(fields)
    }

    /// Waits until the `initialized` notification has arrived.
    async fn settle(&self) {
        if *self.settled.borrow() {
            return;
        }
        let mut settled = self.settled.subscribe();
        drop(tokio::time::timeout(INITIALIZED_DEADLINE, settled.wait_for(|settled| *settled)).await);
    }

    async fn request(&self, request: &Request, envelope: &Envelope) -> Result<Replies, Refusal> {
        let origin = &envelope.origin;
        let own = self.next.fetch_add(1, Ordering::Relaxed);
        let translation = Translation::new(own, request, origin.peer);
        let mut flight = self.enter(&translation, origin.exchange);
        self.settle().await;
        let posted = {
            // By reference: as a value it would be held twice in the future of every exchange.
            let posting = pin!(self.posting(request, envelope, &translation));
            flight.token.run_until_cancelled(posting).await
        };
        let body = match self.begun(posted, &translation, &mut flight)? {
            Begun::Whole(body) => body,
            Begun::Events(this, events) => {
                return Ok(Answer::new(this, events, translation, flight, origin.exchange).into_replies());
            }
            Begun::Error(response) => {
                flight.finish();
                // Rare and large: not a part of the future of every exchange.
                return Box::pin(self.error_answer(response, &translation)).await;
            }
            Begun::Cancelled => return Ok(Replies::none()),
        };
        let collected = {
            let collecting = pin!(self.remote.collect(body));
            flight.token.run_until_cancelled(collecting).await
        };
        let Some(text) = collected else { return Ok(Replies::none()) };
        flight.finish();
        self.whole_answer(&text?, &translation, origin.exchange).await
    }

    fn posting(
        &self,
        request: &Request,
        envelope: &Envelope,
        translation: &Translation,
    ) -> impl Future<Output = Result<Response<Body>, Refusal>> + Send + use<'_> {
        let fields = self.request_headers(request, envelope);
        let text = translation.outbound(request).text().clone();
        self.remote.post(&self.remote.target, text, fields)
    }

    /// Looks at the head of an answer. No part of the future that waits for it, which would hold all it looks at to its end.
    fn begun(
        &self,
        posted: Option<Result<Response<Body>, Refusal>>,
        translation: &Translation,
        flight: &mut Flight,
    ) -> Result<Begun, Refusal> {
        let Some(response) = posted else { return Ok(Begun::Cancelled) };
        let response = response.inspect_err(|refusal| {
            if never_left(refusal) {
                flight.settle();
            }
        })?;
        if !response.status().is_success() {
            return Ok(Begun::Error(response));
        }
        if translation.is_initialize {
            self.note_session(&response);
        }
        if media_type(&response) != "text/event-stream" {
            return Ok(Begun::Whole(response.into_body()));
        }
        let Some(this) = self.this.upgrade() else { return Err(RefusalKind::ShuttingDown.into()) };
        let events = EventSource::new(response.into_body(), self.remote.limits.message_bytes_max);
        Ok(Begun::Events(this, events))
    }

    /// An answer that came as one JSON body: a response, or what a batch-speaking server makes of it.
    async fn whole_answer(
        &self,
        text: &Bytes,
        translation: &Translation,
        exchange: ExchangeId,
    ) -> Result<Replies, Refusal> {
        if text.is_empty() {
            return Err(self.remote.broken("the server accepted the request and gave no answer"));
        }
        let limits = &self.remote.limits;
        // Nearly always.
        if let Ok(Message::Response(response)) = Message::parse(text.clone(), limits)
            && translation.is_answered_by(&response)
        {
            return Ok(Replies::one(self.inbound(Message::Response(response), translation)));
        }
        let messages: Result<Vec<_>, _> = Message::parse_each(text, limits).collect();
        let messages = messages
            .map_err(|error| self.remote.broken("the server's answer is no MCP message").with_cause(error))?;
        let mut replies = Vec::with_capacity(messages.len());
        for message in messages {
            match self.sort(message, translation) {
                Sorted::Reply(reply) => replies.push(reply),
                // Rare and large: not a part of the future of every exchange.
                Sorted::Aside(message) => Box::pin(self.pass_aside(message, exchange)).await,
                Sorted::Stray => {}
            }
        }
        if !replies.iter().any(|reply| matches!(reply, Message::Response(_))) {
            return Err(self.remote.broken("the server's answer is not for the request"));
        }
        Ok(Replies::stream(futures_util::stream::iter(replies.into_iter().map(Ok))))
    }

    pub(super) fn garbage(&self, error: &ParseError) {
        self.counters.garbage.add();
        tracing::warn!(upstream = %self.remote.name, %error, "not an MCP message: ignored");
    }

    /// Whose one message is that came in answer to a request.
    pub(super) fn sort(&self, message: Message, translation: &Translation) -> Sorted {
        match message {
            Message::Response(response) if translation.is_answered_by(&response) => {
                Sorted::Reply(self.inbound(Message::Response(response), translation))
            }
            Message::Response(_) => {
                self.counters.stray.add();
                Sorted::Stray
            }
            Message::Notification(note) if note.method() != method::CANCELLED => {
                Sorted::Reply(translation.inbound(Message::Notification(note)))
            }
            message => Sorted::Aside(message),
        }
    }

    /// Delivers what the server has begun beside its answer.
    pub(super) async fn pass_aside(&self, message: Message, exchange: ExchangeId) {
        let Some(this) = self.this.upgrade() else { return };
        let to: Arc<dyn AnswerTo> = this;
        self.asks.deliver(message, Some(exchange), &self.side(), to).await;
    }

    /// Restores ids and notes what a handshake or a tool list tells about the server.
    fn inbound(&self, message: Message, translation: &Translation) -> Message {
        let message = translation.inbound(message);
        let Message::Response(response) = message else { return message };
        if translation.is_initialize
            && let Some(revision) = response.result_json().and_then(Revision::of_handshake)
        {
            self.revision.get_or_init(|| revision);
            *self.said() = None;
        }
        Message::Response(if self.is_legacy() { response } else { self.stamp.learn(response) })
    }

    fn note_session(&self, response: &Response<Body>) {
        let id = response.headers().get(&names::SESSION_ID).and_then(|value| value.to_str().ok());
        self.set_session(id.map(Into::into));
    }

    /// An HTTP error. One with a JSON-RPC error for this request inside is an answer like any other and keeps its
    /// status; 404 on a session is the server's word that the session is gone and that the request was not executed.
    async fn error_answer(
        &self,
        response: Response<Body>,
        translation: &Translation,
    ) -> Result<Replies, Refusal> {
        let answer = self.remote.error_answer(response).await;
        if answer.status == 404 && self.is_legacy() && !translation.is_initialize && self.session().is_some()
        {
            return Err(Refusal::new(RefusalKind::SessionLost).with_upstream(&self.remote.name));
        }
        if let Ok(Message::Response(error)) = Message::parse(answer.body.clone(), &self.remote.limits)
            && error.error_json().is_some()
            && error.id().is_none_or(|id| id.as_u64() == Some(translation.own))
        {
            let head = Head { form: Form::Whole, status: Some(answer.status) };
            return Ok(Replies::one(Message::Response(translation.response(&error))).with_head(head));
        }
        Err(self.remote.refused(answer))
    }

    fn notification(&self, note: Notification, origin: &Origin) -> Result<Replies, Refusal> {
        let note = if note.method() == method::CANCELLED {
            let Some(own) = note.request_id().and_then(|id| self.cancel(origin.peer, &id)) else {
                return Ok(Replies::none());
            };
            if !self.is_legacy() {
                // 2026-07-28: the closed stream is the cancel; on HTTP there is no notification for it.
                return Ok(Replies::none());
            }
            note.with_request_id(&Id::from_u64(own))
        } else {
            note
        };
        let Ok(permit) = Arc::clone(&self.notifications).try_acquire_owned() else {
            return Err(Refusal::new(RefusalKind::LimitQueue).with_upstream(&self.remote.name));
        };
        let Some(this) = self.this.upgrade() else { return Err(RefusalKind::ShuttingDown.into()) };
        let settles = note.method() == method::INITIALIZED;
        if settles {
            self.settled.send_replace(false);
        }
        self.words.spawn_until_stop(async move {
            this.post_quietly(note.text().clone(), note.method()).await;
            if settles {
                this.anticipate_listening().await;
                this.settled.send_replace(true);
            }
            drop(permit);
        });
        Ok(Replies::none())
    }

    /// POSTs a message that earns no answer.
    async fn post_quietly(&self, text: Bytes, what: &str) {
        let mut fields = self.session_post_headers();
        if !self.is_legacy() {
            insert(&mut fields, &names::METHOD, what);
        }
        match self.remote.post(&self.remote.target, text, fields).await {
            Ok(response) if response.status().is_success() => {
                self.remote.discard(response.into_body()).await;
            }
            Ok(response) => {
                tracing::debug!(upstream = %self.remote.name, status = %response.status(), what, "not accepted");
            }
            Err(refusal) => tracing::debug!(upstream = %self.remote.name, %refusal, what, "not sent"),
        }
    }
}

/// An answer of which the head is there.
enum Begun {
    Whole(Body),
    Events(Arc<HttpConnection>, EventSource),
    Error(Response<Body>),
    /// Nobody waits for it any more.
    Cancelled,
}

/// A message that came in answer to a request.
pub(super) enum Sorted {
    /// The client gets it in answer.
    Reply(Message),
    /// A question, or a question withdrawn by the id the server gave it.
    Aside(Message),
    /// It answers nothing.
    Stray,
}

#[async_trait]
impl Service for HttpConnection {
    // No `async fn`: that would hold the envelope a second time, in every exchange.
    fn handle<'s, 'f>(&'s self, envelope: Envelope) -> BoxFuture<'f, Result<Replies, Refusal>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            envelope.origin.upstream.get_or_init(|| self.side());
            match &envelope.message {
                Message::Request(request) => self.request(request, &envelope).await,
                Message::Notification(note) => self.notification(note.clone(), &envelope.origin),
                Message::Response(_) => Err(Refusal::bad_message(
                    codes::INVALID_REQUEST,
                    "a response to no request of the server",
                )),
            }
        })
    }
}

#[async_trait]
impl AnswerTo for HttpConnection {
    async fn send_answer(&self, line: Bytes) -> Result<(), Refusal> {
        let response = self.remote.post(&self.remote.target, line, self.session_post_headers()).await?;
        if response.status().is_success() {
            self.remote.discard(response.into_body()).await;
            return Ok(());
        }
        let answer = self.remote.error_answer(response).await;
        Err(self.remote.refused(answer))
    }
}

#[async_trait]
impl Connection for HttpConnection {
    fn token(&self) -> Option<Box<str>> {
        self.session().clone()
    }

    fn is_alive(&self) -> bool {
        !self.tasks.stop_signal().is_cancelled()
    }

    async fn listen(&self) -> Result<(), Refusal> {
        self.listen_standing().await
    }

    async fn close(&self, parting: Parting) {
        self.words.join(LAST_WORDS_MAX).await;
        let session = self.session().is_some();
        if session && self.is_legacy() && parting == Parting::End {
            let ended =
                tokio::time::timeout(CLOSE_DEADLINE, self.remote.delete(self.session_headers())).await;
            if let Ok(Err(refusal)) = ended {
                tracing::debug!(upstream = %self.remote.name, %refusal, "the session was not ended");
            }
            self.set_session(None);
        }
        self.asks.withdraw_all();
        self.tasks.stop();
        self.tasks.join(CLOSE_DEADLINE).await;
    }
}

/// Whether the server has seen nothing of a request that was refused, so that there is nothing to cancel.
fn never_left(refusal: &Refusal) -> bool {
    matches!(refusal.kind, RefusalKind::UpstreamUnreachable | RefusalKind::Overloaded { .. })
}

/// Microseconds since 1970: beyond every id an earlier process has counted up to, and below 2^53.
fn wall_clock_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(1)
}

#[cfg(test)]
mod tests;
