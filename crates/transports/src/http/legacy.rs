//! The legacy form of the endpoint: sessions, answers as JSON or as a stream one can come back to, batches.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use shadowcat_pipeline::{Envelope, Form, Origin, Principal, Refusal, RefusalKind, Replies, Transport};
use shadowcat_protocol::{Message, Request, Revision, codes, method};
use shadowcat_session::{EventId, Live, SessionId};

use super::listener::{HttpListener, accepts, bad};
use super::pump::{OpenExchange, Waiting, Whole, pump, pump_batch};
use crate::front::Opening;
use crate::names;
use crate::server::{Body, Incomer, SessionEvents, json, message, plain, refusal, with_header};

/// What a client is told that comes back for events that are no longer there.
const GAP: &[u8] = b": events before this one are gone\n\n";

impl HttpListener {
    /// Answers one legacy message, whose header names this revision.
    #[expect(clippy::manual_async_fn, reason = "that would hold the message twice")]
    pub(super) fn legacy<'a>(
        &'a self,
        incomer: &'a Incomer,
        version: Option<Revision>,
        text: Message,
    ) -> impl Future<Output = Response<Body>> + Send + 'a {
        async move {
            let id = match &text {
                Message::Request(request) => Some(request.id().clone()),
                Message::Notification(_) | Message::Response(_) => None,
            };
            let live = match self.session(incomer).await {
                Ok(live) => live,
                Err(fault) => return refusal(&fault, id.as_ref()),
            };
            let answered = match self.begin(&live, incomer, version, text) {
                Ok(Begun::Request(waiting)) => {
                    Ok(self.answer_to(incomer.principal.as_ref(), &live, waiting).await)
                }
                Ok(Begun::Notification(passing)) => passing.await.map(|_| message()),
                Ok(Begun::Response) => Ok(message()),
                Err(fault) => Err(fault),
            };
            answered.unwrap_or_else(|fault| refusal(&fault, id.as_ref()))
        }
    }

    /// Sends a message of this session on its way. No part of the future that waits for its answer, which would hold it to its
    /// end.
    fn begin<'a>(
        &'a self,
        live: &'a Arc<Live>,
        incomer: &Incomer,
        version: Option<Revision>,
        text: Message,
    ) -> Result<Begun<'a>, Refusal> {
        if version.is_some_and(Revision::is_modern) {
            return Err(Refusal::bad_message(codes::INVALID_REQUEST, "the session speaks an older revision"));
        }
        live.touch();
        match text {
            Message::Request(request) => {
                let mut origin = live.origin_by(incomer.principal.as_ref());
                origin.http_trace = self.trace(incomer);
                Ok(Begun::Request(self.request(live, request, origin)?))
            }
            Message::Notification(_) => {
                let origin = live.origin_by(incomer.principal.as_ref());
                let envelope = Envelope::to_server(text, Arc::new(origin));
                Ok(Begun::Notification(self.front.handle(live, envelope)))
            }
            Message::Response(response) => {
                if !live.outlet.answer(response) {
                    tracing::debug!(session = %live.tag, "an answer to no question was dropped");
                }
                Ok(Begun::Response)
            }
        }
    }

    /// The session a request names.
    async fn session(&self, incomer: &Incomer) -> Result<Arc<Live>, Refusal> {
        let named = incomer.header(&names::SESSION_ID).ok_or(RefusalKind::SessionMissing)?;
        let id = SessionId::parse(named).ok_or(RefusalKind::SessionUnknown)?;
        self.front.find(&id, incomer.principal.as_ref()).await
    }

    /// Answers a handshake.
    pub(super) async fn legacy_handshake(&self, incomer: &Incomer, request: Request) -> Response<Body> {
        let id = request.id().clone();
        let answered = self.initialize(incomer, request).await;
        answered.unwrap_or_else(|fault| refusal(&fault, Some(&id)))
    }

    async fn initialize(&self, incomer: &Incomer, request: Request) -> Result<Response<Body>, Refusal> {
        let (asker, http_trace) = (incomer.principal.as_ref(), self.trace(incomer));
        let opening = Opening {
            request,
            transport: Transport::Http,
            principal: asker.cloned(),
            http_trace,
            outlet: None,
        };
        let (live, mut replies) = self.front.open(opening).await?;
        let streaming = replies.head().form == Form::Stream;
        let status = replies.head().status;
        // What else comes before the answer has no stream yet to be put on.
        let answer = replies.response().await?.ok_or(RefusalKind::Cancelled)?;
        if answer.result_json().is_none() {
            return Ok(json(status.unwrap_or(200), answer.text().clone()));
        }
        let response = if streaming {
            let exchange = shadowcat_pipeline::ExchangeId::next();
            let (number, stream) = live.outlet.open_exchange(exchange);
            let events = self.events(asker, &live, stream.read(), number);
            // Nobody else writes to this stream, so there is room for its one message.
            stream.offer(answer.text());
            live.outlet.close_exchange(exchange);
            events.into_response()
        } else {
            json(200, answer.text().clone())
        };
        Ok(with_header(response, names::SESSION_ID.as_str(), live.id.as_str()))
    }

    fn request(&self, live: &Arc<Live>, request: Request, origin: Origin) -> Result<Waiting, Refusal> {
        let place = live.enter(self.settings.in_flight_max)?;
        let origin = Arc::new(origin);
        let (open, waiting) = OpenExchange::begin(live, origin.exchange, Some(request.id().clone()));
        let envelope = Envelope::to_server(Message::Request(request), origin);
        // A legacy client that disconnects has not cancelled: the exchange goes on without this future.
        self.tasks.spawn(Box::pin(pump(Arc::clone(&self.front), envelope, open, place)));
        Ok(waiting)
    }

    async fn answer_to(
        &self,
        asker: Option<&Principal>,
        live: &Live,
        mut waiting: Waiting,
    ) -> Response<Body> {
        match waiting.whole().await {
            Some(whole) => Self::whole(live, whole),
            None => self.events(asker, live, waiting.reader, waiting.number).into_response(),
        }
    }

    fn whole(live: &Live, whole: Whole) -> Response<Body> {
        match whole {
            // Whatever status the server gave its error, to a client with a session 404 would mean that the session
            // is gone, and others that the transport failed.
            Whole::Answer(answer) => json(200, answer.text().clone()),
            Whole::Batch(text) => json(200, text),
            Whole::Nothing => message(),
            Whole::Refused(fault, id) => match &fault.kind {
                RefusalKind::UpstreamStatus(answer) if answer.status == 404 => {
                    let mut response = refusal(&fault, id.as_ref());
                    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
                    tracing::debug!(session = %live.tag, "a 404 of the server would end the client's session");
                    response
                }
                _ => refusal(&fault, id.as_ref()),
            },
        }
    }

    fn events(
        &self,
        asker: Option<&Principal>,
        live: &Live,
        reader: shadowcat_session::Reader,
        number: u64,
    ) -> SessionEvents {
        let events = self.plain_events(asker, reader, number);
        if live.revision().has_priming_events() { events.primed() } else { events }
    }

    fn plain_events(
        &self,
        asker: Option<&Principal>,
        reader: shadowcat_session::Reader,
        number: u64,
    ) -> SessionEvents {
        SessionEvents::new(reader, number, self.settings.keep_alive).opened_by(asker)
    }

    /// Answers a batch, which only 2025-03-26 has.
    pub(super) async fn legacy_batch(&self, incomer: &Incomer, parts: Vec<Bytes>) -> Response<Body> {
        match self.batch(incomer, parts).await {
            Ok(response) => response,
            Err(fault) => bad(&fault),
        }
    }

    async fn batch(&self, incomer: &Incomer, parts: Vec<Bytes>) -> Result<Response<Body>, Refusal> {
        let live = self.session(incomer).await?;
        self.batch_in(&live, parts, incomer.principal.as_ref()).await
    }

    async fn batch_in(
        &self,
        live: &Arc<Live>,
        parts: Vec<Bytes>,
        asker: Option<&Principal>,
    ) -> Result<Response<Body>, Refusal> {
        if !live.revision().has_batches() {
            return Err(Refusal::bad_message(
                codes::INVALID_REQUEST,
                "the session's revision has no batches",
            ));
        }
        live.touch();
        let requests = self.batch_begun(live, self.batch_read(parts)?, asker).await;
        if requests.is_empty() {
            return Ok(message());
        }
        let exchange = shadowcat_pipeline::ExchangeId::next();
        let (open, waiting) = OpenExchange::begin(live, exchange, None);
        self.tasks.spawn(Box::pin(pump_batch(
            Arc::clone(&self.front),
            requests,
            asker.cloned(),
            open,
            self.settings.in_flight_max,
        )));
        Ok(self.answer_to(asker, live, waiting).await)
    }

    /// The messages of a batch. What is refused is refused before any of it is carried out.
    fn batch_read(&self, parts: Vec<Bytes>) -> Result<Vec<Message>, Refusal> {
        let read = |part| {
            let message = Message::parse(part, &self.settings.limits)
                .map_err(|error| Refusal::bad_message(error.code(), error.to_string()))?;
            match &message {
                Message::Request(request) if request.method() == method::INITIALIZE => {
                    Err(Refusal::bad_message(codes::INVALID_REQUEST, "initialize must not be in a batch"))
                }
                _ => Ok(message),
            }
        };
        parts.into_iter().map(read).collect()
    }

    /// Passes on what has no answer, and gives what has.
    async fn batch_begun(
        &self,
        live: &Arc<Live>,
        messages: Vec<Message>,
        asker: Option<&Principal>,
    ) -> Vec<Request> {
        let mut requests = Vec::new();
        for text in messages {
            match text {
                Message::Request(request) => requests.push(request),
                Message::Notification(_) => {
                    let envelope = Envelope::to_server(text, Arc::new(live.origin_by(asker)));
                    // It cannot be told apart in the answer, and the requests beside it are to be carried out.
                    if let Err(refusal) = self.front.handle(live, envelope).await {
                        tracing::debug!(%refusal, "a notification was not passed on");
                    }
                }
                Message::Response(response) => {
                    live.outlet.answer(response);
                }
            }
        }
        requests
    }

    /// Opens the standing stream, or goes on with one that was cut.
    pub(super) async fn legacy_get(&self, incomer: &Incomer) -> Response<Body> {
        if !accepts(incomer, "text/event-stream") {
            return plain(406, "Accept must list text/event-stream\n");
        }
        if let Err(response) = Self::legacy_version(incomer) {
            return *response;
        }
        match self.standing(incomer).await {
            Ok(response) => response,
            Err(fault) => refusal(&fault, None),
        }
    }

    async fn standing(&self, incomer: &Incomer) -> Result<Response<Body>, Refusal> {
        let live = self.session(incomer).await?;
        live.touch();
        let seen = incomer.header(&names::LAST_EVENT_ID).map(EventId::parse);
        let seen = seen.map(|seen| seen.unwrap_or(EventId { stream: 0, message: 0 }));
        self.stand(incomer.principal.as_ref(), &live, seen).await
    }

    async fn stand(
        &self,
        asker: Option<&Principal>,
        live: &Arc<Live>,
        seen: Option<EventId>,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(seen) = seen
            && let Some(stream) = live.outlet.stream(seen.stream)
            && let Some(reader) = stream.read_after(seen.message)
        {
            if live.outlet.is_standing(seen.stream) {
                self.front.listen(live).await?;
            }
            return Ok(self.plain_events(asker, reader, seen.stream).into_response());
        }
        self.front.listen(live).await?;
        let (number, stream) = live.outlet.standing();
        if self.stop.is_cancelled() {
            // Those that were open have been ended already, and nobody would end this one.
            stream.end();
        }
        if let Some(seen) = seen {
            // Only the stream that was named is replayed, and of that what is left.
            let reader = if seen.stream == number { stream.read() } else { stream.read_on() };
            let events = self.plain_events(asker, reader, number);
            return Ok(events.beginning_with(GAP).into_response());
        }
        Ok(self.events(asker, live, stream.read_on(), number).into_response())
    }

    /// Ends a session at its client's wish.
    pub(super) async fn legacy_delete(&self, incomer: &Incomer) -> Response<Body> {
        if let Err(response) = Self::legacy_version(incomer) {
            return *response;
        }
        match self.session(incomer).await {
            Ok(live) => {
                self.front.end(&live).await;
                plain(200, "")
            }
            Err(fault) => refusal(&fault, None),
        }
    }
}

/// A message that is on its way.
enum Begun<'a> {
    Request(Waiting),
    Notification(BoxFuture<'a, Result<Replies, Refusal>>),
    Response,
}

#[cfg(test)]
#[path = "legacy_tests.rs"]
mod tests;
