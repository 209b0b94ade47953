//! The standing stream of a session: what a server says that answers no request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use shadowcat_pipeline::{ExchangeId, Refusal, RefusalKind};
use shadowcat_protocol::{Message, ParseErrorKind, method};

use super::HttpConnection;
use crate::asks::AnswerTo;
use crate::event_source::EventSource;
use crate::remote::media_type;

impl HttpConnection {
    pub(super) async fn open_standing_stream(&self) -> Result<(), Refusal> {
        self.settle().await;
        let response = self.remote.get(self.session_headers()).await?;
        if !response.status().is_success() {
            let answer = self.remote.error_answer(response).await;
            if answer.status == 404 && self.session().is_some() {
                return Err(Refusal::new(RefusalKind::SessionLost).with_upstream(&self.remote.name));
            }
            return Err(self.remote.refused(answer));
        }
        if media_type(&response) != "text/event-stream" {
            return Err(self
                .remote
                .broken("the server answered a GET with something else than an event stream"));
        }
        let Some(this) = self.this.upgrade() else { return Err(RefusalKind::ShuttingDown.into()) };
        let events = EventSource::new(response.into_body(), self.remote.limits.message_bytes_max);
        self.tasks.spawn_until_stop(Box::pin(async move {
            Arc::clone(&this).standing_stream(events).await;
            this.listening.store(false, Ordering::Release);
        }));
        Ok(())
    }

    async fn standing_stream(self: Arc<Self>, mut events: EventSource) {
        loop {
            match events.next(&self.remote).await {
                Ok(Some(event)) => self.unrelated(event.data.unwrap_or_default()).await,
                Ok(None) if events.may_try() => {
                    self.counters.resumed.add();
                    // Boxed, so that a stream that is only open does not carry the state of opening one.
                    let resumed = Box::pin(events.resume(&self.remote, self.session_headers()));
                    if let Err(refusal) = resumed.await {
                        tracing::debug!(upstream = %self.remote.name, %refusal, "the standing stream is not back yet");
                        if matches!(&refusal.kind, RefusalKind::UpstreamStatus(answer) if answer.status < 500)
                        {
                            return;
                        }
                    }
                }
                Ok(None) => {
                    tracing::warn!(upstream = %self.remote.name, "the standing stream is lost");
                    return;
                }
                Err(refusal) => {
                    tracing::warn!(upstream = %self.remote.name, %refusal, "the standing stream ended");
                    return;
                }
            }
        }
    }

    async fn unrelated(self: &Arc<Self>, text: Bytes) {
        let messages = match Message::parse(text.clone(), &self.remote.limits) {
            Ok(message) => vec![message],
            Err(error) if error.kind == ParseErrorKind::Batch => self.batch(&text).unwrap_or_default(),
            Err(error) => {
                self.counters.garbage.add();
                tracing::warn!(upstream = %self.remote.name, %error, "not an MCP message: ignored");
                return;
            }
        };
        for message in messages {
            if matches!(message, Message::Response(_)) {
                self.counters.stray.add();
                continue;
            }
            let Some((message, related)) = self.place(message) else {
                self.counters.stray.add();
                continue;
            };
            let to: Arc<dyn AnswerTo> = Arc::clone(self) as _;
            self.asks.deliver(message, related, &self.side(), to).await;
        }
    }

    /// Progress may come here as well as on the stream of its request; it still has our token, and an owner.
    fn place(&self, message: Message) -> Option<(Message, Option<ExchangeId>)> {
        match message {
            Message::Notification(note) if note.method() == method::PROGRESS => {
                let token = note.progress_token()?.to_owned();
                let (message, exchange) = self.belonging(note, &token)?;
                Some((message, Some(exchange)))
            }
            message => Some((message, None)),
        }
    }
}
