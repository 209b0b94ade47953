//! The answer to one request that comes as an event stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shadowcat_pipeline::{ExchangeId, Refusal, Replies};
use shadowcat_protocol::Message;

use super::connection::{Flight, HttpConnection};
use crate::event_source::EventSource;
use crate::translation::Translation;

/// How long the end of a stream is awaited after its last message, so that the socket can be used again.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// The messages of one answering event stream.
pub(super) struct Answer {
    connection: Arc<HttpConnection>,
    events: Option<EventSource>,
    translation: Translation,
    flight: Option<Flight>,
    exchange: ExchangeId,
    /// Messages of one event that held a batch.
    queued: Vec<Message>,
}

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
            queued: Vec::new(),
        }
    }

    pub(super) fn into_replies(self) -> Replies {
        Replies::stream(futures_util::stream::unfold(self, |mut answer| async move {
            let cancelled = answer.flight.as_ref()?.token.clone();
            let reply = cancelled.run_until_cancelled(answer.next()).await??;
            Some((reply, answer))
        }))
    }

    async fn next(&mut self) -> Option<Result<Message, Refusal>> {
        loop {
            if let Some(message) = self.queued.pop() {
                let reply = self.connection.sort(message, &self.translation, self.exchange).await;
                if matches!(reply, Some(Message::Response(_))) {
                    self.finish();
                }
                match reply {
                    Some(reply) => return Some(Ok(reply)),
                    None => continue,
                }
            }
            let events = self.events.as_mut()?;
            match events.next(&self.connection.remote).await {
                Ok(Some(event)) => self.parse(&event.data.unwrap_or_default()),
                Ok(None) => {
                    // Rare and large: not a part of the future of every answer.
                    if let Err(refusal) = Box::pin(self.take_up_again()).await {
                        return Some(Err(refusal));
                    }
                }
                Err(refusal) => return Some(Err(refusal)),
            }
        }
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

    async fn take_up_again(&mut self) -> Result<(), Refusal> {
        let remote = &self.connection.remote;
        let Some(events) = self.events.as_mut().filter(|events| events.can_resume()) else {
            return Err(remote.broken("the server ended its stream before the answer"));
        };
        if !self.connection.is_legacy() {
            return Err(remote.broken("the server ended its stream before the answer"));
        }
        if let Some(retry) = events.asked_wait() {
            self.connection.asks.let_go(self.exchange, retry);
        }
        let counters = &self.connection.counters;
        match Box::pin(events.resume(remote, self.connection.session_headers(), counters)).await {
            Err(refusal) if !events.can_resume() => Err(refusal),
            Err(refusal) => {
                tracing::debug!(upstream = %remote.name, %refusal, "the stream is not back yet");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
