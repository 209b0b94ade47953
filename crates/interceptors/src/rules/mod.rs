//! Carries out what the operator's rules ask for, on live messages: requests, notifications, answers, each message of an
//! event stream, and what servers ask their clients. Which rules fire and what they want is known in `shadowcat_rules`.
//!
//! | file | holds |
//! |---|---|
//! | `book.rs` | the rules in force, which can be swapped while messages pass |
//! | `exchange.rs` | one message judged, and what is to become of it |
//! | `replies.rs` | the gate that replies pass |
//! | `withdrawn.rs` | who waits here, and learns that nobody waits for him |
//! | `metrics.rs` | what is counted |

mod book;
mod exchange;
mod metrics;
mod replies;
#[cfg(test)]
mod tests;
mod withdrawn;

use std::sync::Arc;

use async_trait::async_trait;
use shadowcat_pipeline::{Direction, Envelope, Interceptor, Next, Refusal, Replies};
use shadowcat_protocol::{Message, method};
use shadowcat_rules::{Asked, Kind};

pub use book::Book;
pub use metrics::RuleMetrics;

use exchange::{Exchange, Fate};
use replies::{Judged, Silent};
use withdrawn::Waiting;

/// The interceptor that carries out rules.
pub struct Rules {
    book: Arc<Book>,
    server: Arc<str>,
    waiting: Arc<Waiting>,
}

impl Rules {
    /// Carries out the rules of this book before the server of this name.
    pub fn new(book: Arc<Book>, server: Arc<str>) -> Self {
        Self { book, server, waiting: Arc::default() }
    }

    /// Judges a message that rules could concern, and what comes back for it. It keeps the rules that it began with.
    async fn carry_out(
        &self,
        mut exchange: Exchange,
        envelope: Envelope,
        next: Next<'_>,
    ) -> Result<Replies, Refusal> {
        let request = match &envelope.message {
            Message::Request(request) => Some(request.clone()),
            Message::Notification(_) | Message::Response(_) => None,
        };
        let Envelope { message, direction, origin, .. } = envelope;
        let (message, headers, is_changed) = match exchange.judge(message, direction).await {
            Fate::GoesOn(message, changed) => (message, changed.headers, changed.is_any),
            Fate::Refused(refusal) => return Err(refusal),
            Fate::Answered(message) => return Ok(Replies::one(message)),
            // It has its place in the order of messages: those behind it are not held up.
            Fate::Silent | Fate::Gone if request.is_some() => {
                return Ok(Replies::none().through(Silent::new(exchange)));
            }
            Fate::Silent | Fate::Gone | Fate::Withdrawn => return Ok(Replies::none()),
        };
        let headers = headers.unwrap_or_else(|| exchange.headers().to_vec());
        let envelope = Envelope { message, direction, origin, headers, is_changed };
        let Some(request) = request.filter(|request| exchange.concerns_replies(request, direction)) else {
            return next.run(envelope).await;
        };
        exchange.asks(Asked::new(request));
        Ok(next.run(envelope).await?.through(Judged::new(exchange, direction.back())))
    }
}

#[async_trait]
impl Interceptor for Rules {
    fn name(&self) -> &'static str {
        "rules"
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        if let Message::Notification(note) = &envelope.message
            && note.method() == method::CANCELLED
            && envelope.direction == Direction::ToServer
            && let Some(id) = note.request_id()
        {
            self.waiting.withdraw(envelope.origin.peer, &id);
        }
        let edition = self.book.current();
        let (message, direction) = (&envelope.message, envelope.direction);
        let is_concerned = edition.rules.concerns(Kind::of(message), direction, message.method())
            || matches!(message, Message::Request(request) if edition.rules.concerns_replies(request, direction));
        if !is_concerned {
            return next.run(envelope).await;
        }
        let exchange = Exchange::new(edition, &envelope, &self.server, &self.waiting);
        // Boxed, so that it is no part of the future of every exchange.
        Box::pin(self.carry_out(exchange, envelope, next)).await
    }
}
