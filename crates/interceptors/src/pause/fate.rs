//! What becomes of a held message on its way: the verdict, in the words of those who carry it out.

use std::sync::Arc;

use shadowcat_pipeline::{Direction, Origin, Refusal, RefusalKind};
use shadowcat_protocol::{Message, Request};

use super::approvals::{Approval, Call, Claim};
use super::held::{Cause, Stopped, Terms};
use super::lot::Lot;
use super::verdict::{By, Released, Verdict};
use crate::judged::{Changed, Fate, Waiter};

/// An exchange, as far as holding its messages goes.
pub(crate) struct Exchange<'e> {
    pub(crate) origin: &'e Arc<Origin>,
    pub(crate) server: &'e Arc<str>,
    /// The request whose replies are held.
    pub(crate) asked: Option<&'e Request>,
    pub(crate) waiter: &'e Waiter,
}

impl Lot {
    /// Holds a message of this exchange, and says what is to become of it. One that nobody sent goes on, also past the pause of a
    /// rule: a person could not know what for, and a call is waiting for it.
    pub(crate) async fn stop(
        &self,
        exchange: &Exchange<'_>,
        message: Message,
        direction: Direction,
        cause: Cause,
        terms: Terms,
    ) -> Fate {
        if exchange.origin.is_own {
            return Fate::GoesOn(message, Changed::default());
        }
        self.wait(exchange, stopped(exchange, message, direction, cause, terms)).await
    }

    /// Holds a call until it is approved, unless it was before.
    pub(super) async fn ask(&self, exchange: &Exchange<'_>, message: Message, approval: &Approval) -> Fate {
        let Message::Request(request) = &message else { return Fate::GoesOn(message, Changed::default()) };
        let call = Call::of(request, exchange.origin, exchange.server);
        if call.as_ref().is_some_and(|call| self.grants().take(call)) {
            let (name, number) = (&approval.name, exchange.origin.exchange);
            tracing::info!(exchange = %number, approval = %name, "a call goes on that was approved before");
            exchange.origin.deeds.add(format!("approval {name}: used"));
            self.metrics().approval("used");
            return Fate::GoesOn(message, Changed::default());
        }
        let cause = Cause::Approval(Arc::clone(&approval.name));
        let stopped = stopped(exchange, message, Direction::ToServer, cause, approval.terms);
        let claim = call.map(|call| Claim { call, grant_for: approval.grant_for });
        self.wait(exchange, Stopped { claim, approver: approval.approver.clone(), ..stopped }).await
    }

    async fn wait(&self, exchange: &Exchange<'_>, stopped: Stopped) -> Fate {
        let message = stopped.message.clone();
        match exchange.waiter.during(self.hold(stopped)).await {
            Some(released) => fate(message, released),
            None => Fate::Withdrawn,
        }
    }
}

fn stopped(
    exchange: &Exchange<'_>,
    message: Message,
    direction: Direction,
    cause: Cause,
    terms: Terms,
) -> Stopped {
    Stopped {
        message,
        asked: exchange.asked.cloned(),
        direction,
        origin: Arc::clone(exchange.origin),
        server: Arc::clone(exchange.server),
        cause,
        terms,
        claim: None,
        approver: None,
    }
}

fn fate(message: Message, released: Released) -> Fate {
    if released.by == By::Gone {
        return Fate::Withdrawn;
    }
    match released.verdict {
        Verdict::Resume => Fate::GoesOn(message, Changed::default()),
        Verdict::Edit(edited) => Fate::GoesOn(edited, Changed { is_any: true, headers: None }),
        Verdict::Answer(answer) => Fate::Answered(Message::Response(answer)),
        Verdict::Drop => Fate::Gone,
        Verdict::Block(sentence) => Fate::Refused(Refusal::new(kind(&released.by)).with_detail(sentence)),
    }
}

/// A client may come back with what was not refused for itself.
fn kind(by: &By) -> RefusalKind {
    match by {
        By::Bound => RefusalKind::BUSY,
        By::Shutdown => RefusalKind::ShuttingDown,
        By::Decision(_) | By::Deadline | By::Gone => RefusalKind::PolicyDenied,
    }
}
