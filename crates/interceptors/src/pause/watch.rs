//! The interceptor that stops messages at breakpoints, and calls that need an approval.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Direction, Envelope, Interceptor, Next, Origin, Refusal, Replies};
use shadowcat_protocol::caching::Cacheable;
use shadowcat_protocol::{Message, Request, json};
use shadowcat_rules::{Asked, Scene};
use tokio::time::Instant;

use super::approvals::{Call, Claim, REQUEST_STATE};
use super::fate::Exchange;
use super::held::Cause;
use super::lot::Lot;
use crate::judged::{self, Changed, Fate, Judge, Waiter, Waiting, facts};

/// The interceptor that stops messages at breakpoints, and calls that need an approval.
pub struct Pause {
    lot: Lot,
    server: Arc<str>,
    waiting: Arc<Waiting>,
    tasks: Tasks,
    is_recorded: bool,
}

impl Pause {
    /// Stops messages before the server of this name. Held notifications are among these tasks.
    pub fn new(lot: Lot, server: Arc<str>, tasks: Tasks) -> Self {
        Self { lot, server, waiting: Arc::default(), tasks, is_recorded: false }
    }

    /// The same behind a recorder that notes of each exchange whether it would see what is changed of it
    /// ([`shadowcat_pipeline::Deeds::are_seen_twice`]). A breakpoint that was set since concerns the next one.
    #[must_use]
    pub fn recorded(self) -> Self {
        Self { is_recorded: true, ..self }
    }

    /// Whether a message may be stopped, or a reply to it.
    fn may_stop(&self, envelope: &Envelope) -> bool {
        let is_watched =
            self.lot.is_watched() && (!self.is_recorded || envelope.origin.deeds.are_seen_twice());
        let needs_approval = envelope.direction == Direction::ToServer && self.lot.approves();
        // What nobody sent is not held, and uses no approval up that a client was given.
        !envelope.origin.is_own && (is_watched || needs_approval)
    }
}

#[async_trait]
impl Interceptor for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }

    fn concerns(&self, envelope: &Envelope) -> bool {
        self.may_stop(envelope) || judged::withdraws(envelope)
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        judged::hear(&self.waiting, &envelope);
        if !self.may_stop(&envelope) {
            return next.run(envelope).await;
        }
        let watched = Watched {
            lot: self.lot.clone(),
            origin: Arc::clone(&envelope.origin),
            server: Arc::clone(&self.server),
            headers: envelope.headers.clone(),
            waiter: Waiter::new(&self.waiting, &envelope),
            asked: None,
            approved: OnceLock::new(),
            begun: Instant::now(),
        };
        judged::pass_aside(Box::new(watched), envelope, next, &self.tasks).await
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
    approved: OnceLock<Approved>,
    begun: Instant,
}

/// A call that was approved: its next round is approved with it.
struct Approved {
    /// As it left: whoever approves may edit it, and nobody has approved what it was before.
    call: Request,
    grant_for: Duration,
}

impl Judge for Watched {
    type Found = ();

    fn look(&self, _: &Message, _: Direction) -> Option<()> {
        Some(())
    }

    async fn judge(&self, message: Message, direction: Direction, (): ()) -> Fate {
        let facts = facts(&self.origin, &self.server, &self.headers);
        let took = self.asked.is_some().then(|| self.begun.elapsed());
        let scene = Scene { direction, facts: &facts, asked: self.asked.as_ref(), took };
        self.go_on_with(&message);
        let asked = self.asked.as_ref().map(Asked::request);
        let exchange = Exchange { origin: &self.origin, server: &self.server, asked, waiter: &self.waiter };
        let mut changed = Changed::default();
        let mut message = message;
        if let Some((breakpoint, terms)) = self.lot.breakpoint_of(&message, &scene) {
            let (cause, before) = (Cause::Breakpoint(breakpoint), message.clone());
            let fate = self.lot.stop(&exchange, message, direction, cause, terms).await;
            let is_as_it_was = matches!(&fate, Fate::GoesOn(_, edit) if !edit.is_any);
            if asked.is_some() && !is_as_it_was {
                // A request is on the tape before it comes here, a reply would not be.
                self.origin.deeds.keep(before);
            }
            match fate {
                Fate::GoesOn(held, edit) => (message, changed) = (held, edit),
                fate => return fate,
            }
        }
        // Behind the breakpoints: what is approved is what leaves.
        let is_request = direction == Direction::ToServer && matches!(message, Message::Request(_));
        let approval = if is_request { self.lot.approval_of(&message, &scene) } else { None };
        let Some(approval) = approval else { return Fate::GoesOn(message, changed) };
        match self.lot.ask(&exchange, message, approval).await {
            Fate::GoesOn(message, edit) => {
                if let Message::Request(call) = &message {
                    let grant_for = approval.grant_for;
                    self.approved.get_or_init(|| Approved { call: call.clone(), grant_for });
                }
                changed.is_any |= edit.is_any;
                Fate::GoesOn(message, changed)
            }
            fate => fate,
        }
    }

    fn concerns_replies(&self, _: &Request, _: Direction) -> bool {
        self.lot.is_watched() || self.approved.get().is_some()
    }

    fn may_change(&self, _: Cacheable) -> bool {
        // What a person may change is held first, and seen then.
        false
    }

    fn asks(&mut self, request: Request) {
        self.asked = Some(Asked::new(request));
    }

    fn waiter(&self) -> &Waiter {
        &self.waiter
    }
}

impl Watched {
    /// A server may ask something before it carries a call out (2026-07-28, multi round-trip requests). The call comes again
    /// with the answer, and it is the one that was approved.
    fn go_on_with(&self, message: &Message) {
        let (Some(approved), Message::Response(response)) = (self.approved.get(), message) else { return };
        let Some(result) = response.result_json() else { return };
        if json::get(result, &["resultType"]).and_then(json::string).as_deref() != Some("input_required") {
            return;
        }
        let state = json::get(result, &[REQUEST_STATE]);
        let Approved { call, grant_for } = approved;
        if let Some(call) = Call::in_state(call, &self.origin, &self.server, state) {
            self.lot.grants().add(&Claim { call, grant_for: *grant_for });
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
