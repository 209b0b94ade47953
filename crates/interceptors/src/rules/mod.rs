//! Carries out what the operator's rules ask for, on live messages: requests, notifications, answers, each message of an
//! event stream, and what servers ask their clients. Which rules fire and what they want is known in `shadowcat_rules`.
//!
//! | file | holds |
//! |---|---|
//! | `book.rs` | the rules in force, which can be swapped while messages pass |
//! | `exchange.rs` | one message judged, and what is to become of it |
//! | `metrics.rs` | what is counted |

mod book;
mod exchange;
mod metrics;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Envelope, Interceptor, Next, Refusal, Replies};
use shadowcat_protocol::Message;
use shadowcat_rules::Kind;

pub use book::Book;
pub use metrics::{Figures, RuleMetrics};

use crate::judged::{self, Waiting};
use crate::pause::Lot;
use exchange::Exchange;

/// The interceptor that carries out rules.
pub struct Rules {
    book: Arc<Book>,
    server: Arc<str>,
    waiting: Arc<Waiting>,
    lot: Lot,
    tasks: Tasks,
}

impl Rules {
    /// Carries out the rules of this book before the server of this name. What they pause is held in this lot; held
    /// notifications are among these tasks.
    pub fn new(book: Arc<Book>, server: Arc<str>, lot: Lot, tasks: Tasks) -> Self {
        Self { book, server, waiting: Arc::default(), lot, tasks }
    }
}

#[async_trait]
impl Interceptor for Rules {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn concerns(&self, envelope: &Envelope) -> bool {
        let (message, direction) = (&envelope.message, envelope.direction);
        let rules = &self.book.current().rules;
        rules.concerns(Kind::of(message), direction, message.method())
            || matches!(message, Message::Request(request) if rules.concerns_replies(request, direction))
            || judged::withdraws(envelope)
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        judged::hear(&self.waiting, &envelope);
        // It keeps the rules that it began with.
        let exchange = Exchange::new(self.book.current(), &envelope, &self.server, &self.waiting, &self.lot);
        judged::pass_aside(Box::new(exchange), envelope, next, &self.tasks).await
    }
}
