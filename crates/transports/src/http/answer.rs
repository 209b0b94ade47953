//! The answer to one request that comes as an event stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use shadowcat_pipeline::{ExchangeId, Form, Head, Refusal, Replies};
use shadowcat_protocol::Message;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::connection::{Flight, HttpConnection, Sorted};
use crate::event_source::EventSource;
use crate::translation::Translation;

/// How long the end of a stream is awaited after its last message, so that the socket can be used again.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// The messages of one answering event stream. A stream by hand: its state is several hundred bytes, which those made of a
/// future move for each message.
pub(super) struct Answer {
    connection: Arc<HttpConnection>,
    /// None when nothing more will come, or while they are taken up again.
    events: Option<EventSource>,
    translation: Translation,
    flight: Option<Flight>,
    exchange: ExchangeId,
    /// A reply that was looked for ahead.
    ahead: Option<Result<Message, Refusal>>,
    /// Messages of one event that held a batch, the first one last.
    queued: Vec<Message>,
    /// What has to be done before the next message is looked at: rare and large.
    errand: Option<Errand>,
    /// There as soon as a message has to be waited for.
    withdrawn: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// Gives the events back if it has taken them.
type Errand = BoxFuture<'static, Result<Option<EventSource>, Refusal>>;

impl Answer {
    pub(super) fn new(
        connection: Arc<HttpConnection>,
        events: EventSource,
        translation: Translation,
        flight: Flight,
        exchange: ExchangeId,
    ) -> Self {
        Self {
            connection,
            events: Some(events),
            translation,
            flight: Some(flight),
            exchange,
            ahead: None,
            queued: Vec::new(),
            errand: None,
            withdrawn: None,
        }
    }

    /// Nearly every stream has one message, which is there already: then that is all. Nobody is woken for one that is not: it is
    /// looked for again by whoever reads the replies.
    pub(super) fn into_replies(mut self) -> Replies {
        let replies = match self.next().now_or_never() {
            Some(Some(Ok(response @ Message::Response(_)))) => Replies::one(response),
            Some(None) => Replies::none(),
            Some(first) => {
                self.ahead = first;
                Replies::stream(self)
            }
            None => Replies::stream(self),
        };
        replies.with_head(Head { form: Form::Stream, status: None })
    }

    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Refusal>>> {
        loop {
            if let Some(errand) = &mut self.errand {
                let done = ready!(errand.as_mut().poll(context));
                self.errand = None;
                match done {
                    Ok(None) => {}
                    Ok(events) => self.events = events,
                    Err(refusal) => return Poll::Ready(Some(Err(refusal))),
                }
            }
            if let Some(message) = self.queued.pop() {
                match self.connection.sort(message, &self.translation) {
                    Sorted::Reply(reply) => {
                        if matches!(reply, Message::Response(_)) {
                            self.finish();
                        }
                        return Poll::Ready(Some(Ok(reply)));
                    }
                    Sorted::Aside(message) => self.pass_aside(message),
                    Sorted::Stray => {}
                }
                continue;
            }
            let Some(events) = &mut self.events else { return Poll::Ready(None) };
            match ready!(events.poll_next(&self.connection.remote, context)) {
                Ok(Some(event)) => self.parse(&event.data.unwrap_or_default()),
                Ok(None) => self.take_up_again(),
                Err(refusal) => return Poll::Ready(Some(Err(refusal))),
            }
        }
    }

    fn poll_withdrawn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(flight) = &self.flight else { return Poll::Ready(()) };
        let wait = || Box::pin(flight.token.clone().cancelled_owned());
        self.withdrawn.get_or_insert_with(wait).as_mut().poll(context)
    }

    /// Puts the messages of one event into the queue, the first one last.
    fn parse(&mut self, text: &Bytes) {
        for message in Message::parse_each(text, &self.connection.remote.limits).rev() {
            match message {
                Ok(message) => self.queued.push(message),
                Err(error) => self.connection.garbage(&error),
            }
        }
    }

    /// The response is there. The rest of the stream is its end; read, the socket can carry the next request.
    fn finish(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.settle();
        }
        let Some(mut events) = self.events.take() else { return };
        if !events.is_drained() {
            self.connection.tasks.spawn_until_stop(async move {
                drop(tokio::time::timeout(DRAIN_DEADLINE, events.drain()).await);
            });
        }
    }

    /// What the server begins on this stream is delivered before anything behind it.
    fn pass_aside(&mut self, message: Message) {
        let (connection, exchange) = (Arc::clone(&self.connection), self.exchange);
        self.errand = Some(Box::pin(async move {
            connection.pass_aside(message, exchange).await;
            Ok(None)
        }));
    }

    fn take_up_again(&mut self) {
        let (connection, exchange) = (Arc::clone(&self.connection), self.exchange);
        let events = self.events.take();
        self.errand = Some(Box::pin(async move { taken_up(&connection, exchange, events).await.map(Some) }));
    }
}

/// These events, taken up where they were cut, or after a try that may be followed by others.
async fn taken_up(
    connection: &HttpConnection,
    exchange: ExchangeId,
    events: Option<EventSource>,
) -> Result<EventSource, Refusal> {
    let remote = &connection.remote;
    let resumable = events.filter(|events| connection.is_legacy() && events.can_resume());
    let Some(mut events) = resumable else {
        return Err(remote.broken("the server ended its stream before the answer"));
    };
    if let Some(retry) = events.asked_wait() {
        connection.asks.let_go(exchange, retry);
    }
    match events.resume(remote, connection.session_headers(), &connection.counters).await {
        Err(refusal) if !events.can_resume() => return Err(refusal),
        Err(refusal) => tracing::debug!(upstream = %remote.name, %refusal, "the stream is not back yet"),
        Ok(()) => {}
    }
    Ok(events)
}

impl Stream for Answer {
    type Item = Result<Message, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(reply) = self.ahead.take() {
            return Poll::Ready(Some(reply));
        }
        if self.flight.as_ref().is_some_and(|flight| !flight.token.is_cancelled()) {
            if let Poll::Ready(reply) = self.poll_reply(context) {
                return Poll::Ready(reply);
            }
            ready!(self.poll_withdrawn(context));
        }
        // Dropped here, the server sees at once that nobody reads.
        (self.events, self.errand, self.flight) = (None, None, None);
        Poll::Ready(None)
    }
}
