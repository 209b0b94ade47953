//! The standing stream of a session: what a server says that answers no request.
//!
//! It is opened as soon as the server has taken `initialized`, before the client has asked for it. A client sends its
//! GET and its first request at once, on two connections, and nothing keeps them in order on the way through a proxy;
//! a server that is asked first, and wants to ask back on a stream that is not there yet, says so to nobody and waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shadowcat_pipeline::{ExchangeId, Refusal, RefusalKind};
use shadowcat_protocol::{Message, method};

use super::HttpConnection;
use crate::asks::AnswerTo;
use crate::event_source::{EventSource, QUIET_HEAD_MAX};
use crate::remote::media_type;

/// How long a stream stays open that the client has not asked for (yet).
const ANTICIPATED_MAX: Duration = Duration::from_secs(10);
/// How far the stream may go ahead of the first request. Many servers send no head before they have something to say,
/// so it is not waited for: that the GET is on its way is what counts.
const HEAD_START: Duration = Duration::from_millis(10);
/// How long a client waits for the verdict on its stream; one that comes later only concerns ours.
const VERDICT_PATIENCE: Duration = Duration::from_secs(1);

/// The standing stream as others see it.
#[derive(Default)]
pub(super) struct Standing {
    phase: Phase,
    /// Whether the client has asked for it.
    wanted: bool,
    /// Whether it has gone on without the server's word.
    unanswered: bool,
}

#[derive(Default, PartialEq)]
enum Phase {
    #[default]
    Closed,
    Opening,
    Open,
    /// The server would not have it. Told once.
    Refused(RefusalKind),
}

impl HttpConnection {
    /// Opens the stream for a client that is about to ask for it, as most are.
    pub(super) async fn anticipate_listening(self: &Arc<Self>) {
        self.start_standing(false);
        self.verdict(HEAD_START).await;
    }

    /// The client asks for the stream.
    pub(super) async fn listen_standing(&self) -> Result<(), Refusal> {
        let Some(this) = self.this.upgrade() else { return Err(RefusalKind::ShuttingDown.into()) };
        this.start_standing(true);
        this.verdict(VERDICT_PATIENCE).await;
        let mut refused = None;
        self.standing.send_if_modified(|standing| {
            standing.unanswered = standing.phase == Phase::Opening;
            if let Phase::Refused(kind) = &standing.phase {
                refused = Some(kind.clone());
                standing.phase = Phase::Closed;
            }
            refused.is_some()
        });
        match refused {
            Some(kind) => Err(Refusal::new(kind).with_upstream(&self.remote.name)),
            None => Ok(()),
        }
    }

    /// Starts the stream unless it is there already. One that was refused unasked has its verdict for the client.
    fn start_standing(self: &Arc<Self>, wanted: bool) {
        let starts = self.standing.send_if_modified(|standing| {
            standing.wanted |= wanted;
            let starts = standing.phase == Phase::Closed;
            if starts {
                standing.phase = Phase::Opening;
            }
            starts
        });
        if starts {
            // Boxed, so that the room it needs to open is not kept with what it needs while open.
            self.tasks.spawn_until_stop(Box::pin(Arc::clone(self).stand()));
        }
    }

    async fn verdict(&self, patience: Duration) {
        let mut standing = self.standing.subscribe();
        let decided = standing.wait_for(|standing| standing.phase != Phase::Opening);
        drop(tokio::time::timeout(patience, decided).await);
    }

    async fn stand(self: Arc<Self>) {
        let phase = tokio::select! {
            phase = self.stream() => phase,
            () = self.stays_unwanted() => return,
        };
        let mut lost = false;
        self.standing.send_modify(|standing| {
            // Refused in time, whoever asked for it has that as the answer. A lost session shows with the next request.
            let is_news = standing.unanswered && phase != Phase::Refused(RefusalKind::SessionLost);
            lost = standing.wanted && (phase == Phase::Closed || is_news);
            standing.phase = phase;
        });
        if lost {
            self.asks.stream_lost();
        }
    }

    /// Ends when nobody has asked for the stream in time, and closes it in the same moment.
    async fn stays_unwanted(&self) {
        tokio::time::sleep(ANTICIPATED_MAX).await;
        let closes = self.standing.send_if_modified(|standing| {
            if !standing.wanted {
                standing.phase = Phase::Closed;
            }
            !standing.wanted
        });
        if !closes {
            std::future::pending::<()>().await;
        }
    }

    /// Opens the stream and passes on what comes until it is lost for good.
    async fn stream(self: &Arc<Self>) -> Phase {
        let opened = Box::pin(self.open_standing_stream()).await;
        let events = match opened {
            Ok(events) => events,
            Err(refusal) => {
                tracing::debug!(upstream = %self.remote.name, %refusal, "no standing stream");
                return Phase::Refused(refusal.kind);
            }
        };
        self.standing.send_modify(|standing| standing.phase = Phase::Open);
        self.pass_on(events).await;
        Phase::Closed
    }

    async fn open_standing_stream(&self) -> Result<EventSource, Refusal> {
        let response = self.remote.get(self.session_headers(), QUIET_HEAD_MAX).await?;
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
        Ok(EventSource::new(response.into_body(), self.remote.limits.message_bytes_max))
    }

    async fn pass_on(self: &Arc<Self>, mut events: EventSource) {
        loop {
            match events.next(&self.remote).await {
                // Boxed, so that a stream that is only open carries no message.
                Ok(Some(event)) => Box::pin(self.unrelated(event.data.unwrap_or_default())).await,
                Ok(None) => {
                    // Boxed, so that a stream that is only open does not carry the state of opening one.
                    let resumed =
                        Box::pin(events.resume(&self.remote, self.session_headers(), &self.counters));
                    if let Err(refusal) = resumed.await {
                        tracing::debug!(upstream = %self.remote.name, %refusal, "the standing stream is not back yet");
                        if matches!(&refusal.kind, RefusalKind::UpstreamStatus(answer) if answer.status < 500)
                        {
                            return;
                        }
                    }
                }
                Err(refusal) => {
                    tracing::warn!(upstream = %self.remote.name, %refusal, "the standing stream ended");
                    return;
                }
            }
        }
    }

    async fn unrelated(self: &Arc<Self>, text: Bytes) {
        for message in Message::parse_each(&text, &self.remote.limits) {
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    self.garbage(&error);
                    continue;
                }
            };
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
