//! Asks programs outside the proxy what is to become of messages: requests, notifications, answers, each message of an
//! event stream, and what servers ask their clients.
//!
//! Who is asked is an [`External`]: one file and one registration each. This folder decides about which messages, how long it
//! waits, how often it tries, and what a failure costs; how a word reaches the other side is a trait for whoever knows
//! transports ([`webhook::Post`], [`mcp::Link`]). For users it is described in `docs/interceptors.md`.
//!
//! | file | holds |
//! |---|---|
//! | `verdict.rs` | what is asked, and what may be said |
//! | `hook.rs` | one who is asked about what fits his condition |
//! | `line.rs` | the line to somebody outside, with its limits |
//! | `breaker.rs` | when one who fails is left alone |
//! | `exchange.rs` | one message judged by all of them, in their order |
//! | `telling.rs` | those who are told and not waited for |
//! | `metrics.rs` | what is counted |
//! | `webhook/` | an HTTP endpoint |
//! | `mcp/` | a server that offers the interceptors extension of MCP |

mod breaker;
mod exchange;
mod hook;
mod line;
pub mod mcp;
mod metrics;
mod telling;
#[cfg(test)]
mod tests;
mod verdict;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::{Envelope, Interceptor, Next, Refusal, Replies};

pub use breaker::Policy as BreakerPolicy;
pub use hook::Settings;
pub use line::Limits;
pub(crate) use line::Line;
pub use metrics::ExternalMetrics;
pub use telling::Telling;
pub use verdict::{External, Failure, Matter, Opinion, Reason, Verdict};

use crate::judged::{self, Waiting};
use exchange::Exchange;
use hook::Hook;

/// The interceptor that asks others.
pub struct Externals {
    hooks: Arc<[Arc<Hook>]>,
    server: Arc<str>,
    waiting: Arc<Waiting>,
}

impl Externals {
    /// Asks these about what passes before the server of this name, in their order.
    pub fn new(
        externals: Vec<(Settings, Arc<dyn External>)>,
        server: Arc<str>,
        telling: &Telling,
        metrics: &ExternalMetrics,
    ) -> Self {
        let hooks = externals.into_iter().map(|(settings, external)| {
            let metrics = metrics.of(&settings.name);
            Arc::new(Hook::new(settings, external, telling.clone(), metrics))
        });
        Self { hooks: hooks.collect(), server, waiting: Arc::default() }
    }

    /// The names of those who failed repeatedly and are being left alone.
    pub fn left_alone(&self) -> impl Iterator<Item = &str> {
        self.hooks.iter().filter(|hook| hook.is_left_alone()).map(|hook| &**hook.name())
    }
}

#[async_trait]
impl Interceptor for Externals {
    fn name(&self) -> &'static str {
        "external"
    }

    fn concerns(&self, envelope: &Envelope) -> bool {
        self.hooks.iter().any(|hook| hook.could_concern(&envelope.message, envelope.direction))
            || judged::withdraws(envelope)
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        judged::hear(&self.waiting, &envelope);
        let exchange = Exchange::new(&self.hooks, &envelope, &self.server, &self.waiting);
        judged::pass(Box::new(exchange), envelope, next).await
    }
}

/// Milliseconds for the eyes of people and for members of messages.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
