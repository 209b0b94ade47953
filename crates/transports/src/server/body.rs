//! Response bodies: a whole text, or an event stream that is written as its messages come.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use shadowcat_pipeline::{Principal, Refusal, RefusalKind, Replies};
use shadowcat_protocol::{Id, Message, sse};
use shadowcat_session::{EventId, Reader};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{DropGuard, WaitForCancellationFutureOwned};

/// Messages that are ready together are written together, up to about this many bytes.
const FRAME_BYTES: usize = 16 * 1024;

/// What follows the id of a priming event. A client whose stream was cut comes back after this time, unless the server has
/// asked for another.
const PRIMING: &[u8] = b"\nretry: 1000\ndata:\n\n";

/// Room for the priming event and a small answer behind it.
const FIRST_FRAME_BYTES: usize = 512;

/// The headers of an event stream, made once: each one put in costs as much as a copy of all.
static EVENT_STREAM: LazyLock<HeaderMap> = LazyLock::new(|| {
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ])
});

/// A response body. Only the event streams are boxed: most answers are whole.
pub(crate) enum Body {
    Full(Option<Bytes>),
    /// The beginning of an answer that is cut.
    Cut(Option<Bytes>),
    Session(Box<SessionEvents>),
    Stateless(Box<StatelessEvents>),
    Events(Box<Events>),
}

impl Body {
    pub(crate) fn full(text: Bytes) -> Self {
        Self::Full(Some(text).filter(|text| !text.is_empty()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let next = match self.get_mut() {
            Self::Full(text) => Poll::Ready(text.take()),
            Self::Cut(text) => {
                return Poll::Ready(Some(text.take().map(Frame::data).ok_or(Cut)));
            }
            Self::Session(events) => events.poll_bytes(context),
            Self::Stateless(events) => events.poll_bytes(context),
            Self::Events(events) => events.poll_bytes(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(text) => text.is_none(),
            Self::Session(events) => events.is_over,
            Self::Stateless(events) => events.is_over(),
            Self::Cut(_) | Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Full(text) => {
                http_body::SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Self::Cut(_) | Self::Session(_) | Self::Stateless(_) | Self::Events(_) => {
                http_body::SizeHint::default()
            }
        }
    }
}

/// The answer ends here, and the connection with it: a rule of the operator cuts it.
#[derive(Debug, thiserror::Error)]
#[error("the answer is cut by a rule")]
pub(crate) struct Cut;

/// Comments on a quiet stream, so that nobody on the way takes it for dead and a vanished client is noticed.
///
/// Many streams are never quiet: the timer is touched only when there is nothing to write.
struct KeepAlive {
    every: Duration,
    next: Option<Pin<Box<Sleep>>>,
    /// Something was written since the timer was set.
    is_late: bool,
}

impl KeepAlive {
    fn new(every: Duration) -> Self {
        Self { every, next: None, is_late: false }
    }

    /// Something was written.
    fn reset(&mut self) {
        self.is_late = true;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let every = self.every;
        let next = self.next.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
        if std::mem::take(&mut self.is_late) {
            next.as_mut().reset(Instant::now() + every);
        }
        match next.as_mut().poll(context) {
            Poll::Ready(()) => {
                next.as_mut().reset(Instant::now() + every);
                // The new deadline has to know whom to wake.
                let _: Poll<()> = next.as_mut().poll(context);
                Poll::Ready(Some(Bytes::from_static(sse::KEEP_ALIVE)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The end of a credential: whoever opened a stream with it hears nothing behind it.
struct Expiry(Option<Pin<Box<Sleep>>>);

impl Expiry {
    const NEVER: Self = Self(None);
    /// The farthest end that is waited for.
    const WAIT_MAX: Duration = Duration::from_hours(24 * 365);

    fn of(principal: Option<&Principal>) -> Self {
        let end = principal.and_then(Principal::expires);
        Self(end.map(|end| {
            let left = end.duration_since(SystemTime::now()).unwrap_or_default();
            Box::pin(tokio::time::sleep(left.min(Self::WAIT_MAX)))
        }))
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.0.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready())
    }
}

/// The event stream of a legacy session: numbered, so that the client can come back for what it missed.
pub(crate) struct SessionEvents {
    reader: Reader,
    stream: u64,
    /// Written before the first event: a priming event, or a word about a gap.
    first: BytesMut,
    numbered: bool,
    kind: Option<Box<str>>,
    keep_alive: KeepAlive,
    told: bool,
    held: Option<DropGuard>,
    expiry: Expiry,
    /// All is written.
    is_over: bool,
}

impl SessionEvents {
    /// The events of stream number `stream`, each with its id.
    pub(crate) fn new(reader: Reader, stream: u64, keep_alive: Duration) -> Self {
        let keep_alive = KeepAlive::new(keep_alive);
        Self {
            reader,
            stream,
            first: BytesMut::new(),
            numbered: true,
            kind: None,
            keep_alive,
            told: false,
            held: None,
            expiry: Expiry::NEVER,
            is_over: false,
        }
    }

    /// Events without ids, each of this kind, for the transport of 2024-11-05 that cannot resume.
    #[must_use]
    pub(crate) fn unnumbered(mut self, kind: &str) -> Self {
        self.numbered = false;
        self.kind = Some(kind.into());
        self
    }

    /// Ends with the credential of whoever opened the stream, who may come back with a newer one.
    #[must_use]
    pub(crate) fn opened_by(mut self, principal: Option<&Principal>) -> Self {
        self.expiry = Expiry::of(principal);
        self
    }

    /// Keeps `guard` until the stream is over or its client gone.
    #[must_use]
    pub(crate) fn holding(mut self, guard: DropGuard) -> Self {
        self.held = Some(guard);
        self
    }

    /// Writes this before the first event.
    #[must_use]
    pub(crate) fn beginning_with(mut self, first: &[u8]) -> Self {
        self.first = BytesMut::from(first);
        self
    }

    /// Gives the client a place to come back to before there is any message (2025-11-25 transports, priming event).
    #[must_use]
    pub(crate) fn primed(mut self) -> Self {
        let id = EventId { stream: self.stream, message: self.reader.position() };
        self.first = BytesMut::with_capacity(FIRST_FRAME_BYTES);
        self.first.put_slice(b"id: ");
        self.first.put_slice(id.text().as_bytes());
        self.first.put_slice(PRIMING);
        self
    }

    /// As a response.
    pub(crate) fn into_response(self) -> Response<Body> {
        event_stream(Body::Session(Box::new(self)))
    }

    /// A client that is sent away is told for how long, once.
    fn say_when_to_come_back(&mut self, frame: &mut BytesMut) {
        if let Some(retry) = self.reader.sent_away().filter(|_| !std::mem::replace(&mut self.told, true)) {
            sse::encode(&sse::Event { kind: None, data: None, id: None, retry: Some(retry) }, frame);
        }
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.is_over || self.expiry.is_over(context) {
            return Poll::Ready(None);
        }
        let mut frame = std::mem::take(&mut self.first);
        self.is_over = loop {
            match self.reader.poll_next(context) {
                Poll::Ready(Some((number, text))) => {
                    let id = self.numbered.then_some(EventId { stream: self.stream, message: number });
                    write_event(&mut frame, self.kind.as_deref(), id, &text);
                    if frame.len() >= FRAME_BYTES {
                        break false;
                    }
                }
                Poll::Ready(None) => {
                    self.say_when_to_come_back(&mut frame);
                    break true;
                }
                Poll::Pending => break false,
            }
        };
        if !frame.is_empty() {
            self.keep_alive.reset();
            return Poll::Ready(Some(frame.freeze()));
        }
        if self.is_over { Poll::Ready(None) } else { self.keep_alive.poll(context) }
    }
}

fn write_event(out: &mut BytesMut, kind: Option<&str>, id: Option<EventId>, text: &Bytes) {
    out.reserve(text.len() + 64);
    sse::encode_message(kind, id.map(EventId::text).as_deref(), text, out);
}

/// The event stream of one modern exchange: the replies themselves. Dropping it cancels the exchange, which is what
/// a client means that closes it (2026-07-28 streamable-http, cancellation).
pub(crate) struct StatelessEvents {
    replies: Option<Replies>,
    first: Option<Message>,
    id: Id,
    keep_alive: KeepAlive,
    /// Ends a subscription in order when the proxy stops.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    expiry: Expiry,
}

impl StatelessEvents {
    pub(crate) fn new(replies: Replies, first: Option<Message>, id: Id, keep_alive: Duration) -> Self {
        let keep_alive = KeepAlive::new(keep_alive);
        Self { replies: Some(replies), first, id, keep_alive, stop: None, expiry: Expiry::NEVER }
    }

    /// Ends with the credential of whoever asked.
    #[must_use]
    pub(crate) fn opened_by(mut self, principal: Option<&Principal>) -> Self {
        self.expiry = Expiry::of(principal);
        self
    }

    /// The stream is a subscription: at this signal it gets its final result.
    #[must_use]
    pub(crate) fn ending_at(mut self, stop: WaitForCancellationFutureOwned) -> Self {
        self.stop = Some(Box::pin(stop));
        self
    }

    /// As a response.
    pub(crate) fn into_response(self) -> Response<Body> {
        event_stream(Body::Stateless(Box::new(self)))
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut frame = BytesMut::new();
        if let Some(first) = self.first.take() {
            write_event(&mut frame, None, None, first.text());
        }
        if self.replies.is_some() && self.expiry.is_over(context) {
            self.replies = None;
            self.write_end(&mut frame);
        }
        while let Some(replies) = &mut self.replies
            && frame.len() < FRAME_BYTES
        {
            match replies.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(message))) => {
                    write_event(&mut frame, None, None, message.text());
                    if matches!(message, Message::Response(_)) {
                        self.replies = None;
                    }
                }
                Poll::Ready(Some(Err(refusal))) => {
                    if let Some(text) = refusal.answer(Some(&self.id)) {
                        write_event(&mut frame, None, None, &text);
                    }
                    self.replies = None;
                }
                Poll::Ready(None) => self.replies = None,
                Poll::Pending => break,
            }
        }
        if frame.is_empty() && self.replies.is_some() && self.stopped(context) {
            self.replies = None;
            write_event(&mut frame, None, None, subscription_end(&self.id).text());
        }
        if !frame.is_empty() {
            self.keep_alive.reset();
            return Poll::Ready(Some(frame.freeze()));
        }
        if self.replies.is_none() { Poll::Ready(None) } else { self.keep_alive.poll(context) }
    }

    fn is_over(&self) -> bool {
        self.first.is_none() && self.replies.is_none()
    }

    /// The last word on an exchange that outlives the credential it was begun with.
    fn write_end(&self, frame: &mut BytesMut) {
        if self.stop.is_some() {
            return write_event(frame, None, None, subscription_end(&self.id).text());
        }
        let refusal =
            Refusal::new(RefusalKind::Cancelled).with_detail("the token of the request has expired");
        if let Some(text) = refusal.answer(Some(&self.id)) {
            write_event(frame, None, None, &text);
        }
    }

    fn stopped(&mut self, context: &mut Context<'_>) -> bool {
        self.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(context).is_ready())
    }
}

/// Events of an API, as they come.
pub(crate) struct Events {
    events: Option<BoxStream<'static, sse::Event>>,
    keep_alive: KeepAlive,
}

impl Events {
    pub(super) fn new(events: BoxStream<'static, sse::Event>, keep_alive: Duration) -> Self {
        Self { events: Some(events), keep_alive: KeepAlive::new(keep_alive) }
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut frame = BytesMut::new();
        while let Some(events) = &mut self.events
            && frame.len() < FRAME_BYTES
        {
            match events.poll_next_unpin(context) {
                Poll::Ready(Some(event)) => sse::encode(&event, &mut frame),
                Poll::Ready(None) => self.events = None,
                Poll::Pending => break,
            }
        }
        if !frame.is_empty() {
            self.keep_alive.reset();
            return Poll::Ready(Some(frame.freeze()));
        }
        if self.events.is_none() { Poll::Ready(None) } else { self.keep_alive.poll(context) }
    }
}

/// The result a server gives a subscription it ends by itself (2026-07-28 subscriptions).
pub(crate) fn subscription_end(id: &Id) -> shadowcat_protocol::Response {
    let id_json = id.as_json();
    let result = format!(
        r#"{{"resultType":"complete","_meta":{{"io.modelcontextprotocol/subscriptionId":{id_json}}}}}"#
    );
    shadowcat_protocol::Response::result(id, &result)
}

pub(super) fn event_stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.headers_mut() = EVENT_STREAM.clone();
    response
}
