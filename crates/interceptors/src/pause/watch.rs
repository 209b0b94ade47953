//! The interceptor that stops messages at breakpoints.

use std::sync::Arc;

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Direction, Envelope, Interceptor, Next, Origin, Refusal, Replies};
use shadowcat_protocol::{Message, Request};
use shadowcat_rules::{Asked, Scene};
use tokio::time::Instant;

use super::fate::Exchange;
use super::held::Cause;
use super::lot::Lot;
use crate::judged::{self, Changed, Fate, Judge, Waiter, Waiting, facts};

/// The interceptor that stops messages at breakpoints.
pub struct Pause {
    lot: Lot,
    server: Arc<str>,
    waiting: Arc<Waiting>,
    tasks: Tasks,
}

impl Pause {
    /// Stops messages before the server of this name. Held notifications are among these tasks.
    pub fn new(lot: Lot, server: Arc<str>, tasks: Tasks) -> Self {
        Self { lot, server, waiting: Arc::default(), tasks }
    }
}

#[async_trait]
impl Interceptor for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        self.waiting.hear(&envelope);
        if !self.lot.is_watched() {
            return next.run(envelope).await;
        }
        let watched = Watched {
            lot: self.lot.clone(),
            origin: Arc::clone(&envelope.origin),
            server: Arc::clone(&self.server),
            headers: envelope.headers.clone(),
            waiter: Waiter::new(&self.waiting, &envelope),
            asked: None,
            begun: Instant::now(),
        };
        judged::pass_aside(watched, envelope, next, &self.tasks).await
    }
}

/// One exchange that began while there were breakpoints.
struct Watched {
    lot: Lot,
    origin: Arc<Origin>,
    server: Arc<str>,
    headers: Vec<(Box<str>, Box<str>)>,
    waiter: Waiter,
    asked: Option<Asked>,
    begun: Instant,
}

impl Judge for Watched {
    async fn judge(&self, message: Message, direction: Direction) -> Fate {
        let facts = facts(&self.origin, &self.server, &self.headers);
        let took = self.asked.is_some().then(|| self.begun.elapsed());
        let scene = Scene { direction, facts: &facts, asked: self.asked.as_ref(), took };
        let Some((breakpoint, terms)) = self.lot.breakpoint_of(&message, &scene) else {
            return Fate::GoesOn(message, Changed::default());
        };
        let exchange = Exchange {
            origin: &self.origin,
            server: &self.server,
            asked: self.asked.as_ref().map(Asked::request),
            waiter: &self.waiter,
        };
        self.lot.stop(&exchange, message, direction, Cause::Breakpoint(breakpoint), terms).await
    }

    fn concerns_replies(&self, _: &Request, _: Direction) -> bool {
        self.lot.is_watched()
    }

    fn asks(&mut self, request: Request) {
        self.asked = Some(Asked::new(request));
    }

    fn waiter(&self) -> &Waiter {
        &self.waiter
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
