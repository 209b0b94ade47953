//! One message judged by all who are asked, in their order: each sees what those before him made of it.

use std::sync::Arc;

use shadowcat_pipeline::{Direction, Envelope, Origin, Refusal, RefusalKind};
use shadowcat_protocol::caching::Cacheable;
use shadowcat_protocol::{Message, Request, Response};
use shadowcat_rules::{Asked, Kind, Outcome, Scene};
use tokio::time::Instant;

use super::hook::Hook;
use super::verdict::{Failure, Matter, Verdict, told};
use crate::judged::{Changed, Fate, Judge, Waiter, Waiting, facts};

/// What a message is judged with, and then its replies.
pub(super) struct Exchange {
    hooks: Arc<[Arc<Hook>]>,
    origin: Arc<Origin>,
    server: Arc<str>,
    headers: Arc<[(Box<str>, Box<str>)]>,
    waiter: Waiter,
    asked: Option<Arc<Asked>>,
    begun: Instant,
}

impl Judge for Exchange {
    type Found = ();

    fn look(&self, message: &Message, direction: Direction) -> Option<()> {
        self.hooks.iter().any(|hook| self.could_concern(hook, message, direction)).then_some(())
    }

    async fn judge(&self, mut message: Message, direction: Direction, (): ()) -> Fate {
        let mut is_any = false;
        for hook in self.hooks.iter() {
            if !self.could_concern(hook, &message, direction) {
                continue;
            }
            match self.judge_by(hook, message, direction).await {
                Fate::GoesOn(next, changed) => {
                    message = next;
                    is_any |= changed.is_any;
                }
                end => return end,
            }
        }
        Fate::GoesOn(message, Changed { is_any, headers: None })
    }

    fn concerns_replies(&self, request: &Request, direction: Direction) -> bool {
        self.hooks.iter().any(|hook| hook.concerns_replies(request, direction))
    }

    fn may_change(&self, what: Cacheable) -> bool {
        let ways = [(Kind::Request, Direction::ToServer), (Kind::Answer, Direction::ToClient)];
        let mut hooks = self.hooks.iter().filter(|hook| !hook.is_audit());
        hooks.any(|hook| {
            ways.into_iter().any(|(kind, direction)| hook.concerns(kind, direction, what.method()))
        })
    }

    fn asks(&mut self, request: Request) {
        self.asked = Some(Arc::new(Asked::new(request)));
    }

    fn waiter(&self) -> &Waiter {
        &self.waiter
    }
}

impl Exchange {
    pub(super) fn new(
        hooks: &Arc<[Arc<Hook>]>,
        envelope: &Envelope,
        server: &Arc<str>,
        waiting: &Arc<Waiting>,
    ) -> Self {
        Self {
            hooks: Arc::clone(hooks),
            origin: Arc::clone(&envelope.origin),
            server: Arc::clone(server),
            headers: envelope.headers.clone().into(),
            waiter: Waiter::new(waiting, envelope),
            asked: None,
            begun: Instant::now(),
        }
    }

    fn could_concern(&self, hook: &Hook, message: &Message, direction: Direction) -> bool {
        let asked = self.asked.as_ref().map(|asked| asked.request().method());
        let method = message.method().or(asked).unwrap_or_default();
        hook.concerns(Kind::of(message), direction, method)
    }

    async fn judge_by(&self, hook: &Arc<Hook>, message: Message, direction: Direction) -> Fate {
        let matter = self.matter(hook, message, direction);
        let facts = facts(&self.origin, &self.server, &self.headers);
        let took = self.asked.is_some().then(|| self.begun.elapsed());
        let scene = Scene { direction, facts: &facts, asked: self.asked.as_deref(), took };
        let said = match hook.takes(&matter, scene) {
            Ok(true) if hook.is_audit() => {
                let message = matter.message.clone();
                hook.tell(matter);
                return Fate::GoesOn(message, Changed::default());
            }
            Ok(false) => return Fate::GoesOn(matter.message, Changed::default()),
            Err(_) if hook.is_audit() => return Fate::GoesOn(matter.message, Changed::default()),
            Err(failure) => Err(failure),
            Ok(true) => match self.waiter.during(hook.ask(&matter)).await {
                Some(said) => said,
                None => return Fate::Withdrawn,
            },
        };
        self.note(hook.name(), &said);
        match said {
            Ok(verdict) => fate(verdict, matter.message),
            Err(_) if hook.fails_open() => Fate::GoesOn(matter.message, Changed::default()),
            Err(failure) => Fate::Refused(undecided(hook.name(), &failure)),
        }
    }

    fn matter(&self, hook: &Hook, message: Message, direction: Direction) -> Matter {
        Matter {
            interceptor: Arc::clone(hook.name()),
            message,
            direction,
            origin: Arc::clone(&self.origin),
            server: Arc::clone(&self.server),
            headers: Arc::clone(&self.headers),
            asked: self.asked.clone(),
            is_audit: hook.is_audit(),
        }
    }

    /// Says on the tape what was done.
    fn note(&self, name: &str, said: &Result<Verdict, Failure>) {
        let word = match said {
            Ok(Verdict::Continue) => return,
            Ok(verdict) => verdict.word(),
            Err(_) => "failed",
        };
        tracing::debug!(exchange = %self.origin.exchange, interceptor = name, word, "an interceptor decided");
        self.origin.deeds.add(format!("{name}: {word}"));
    }
}

fn fate(verdict: Verdict, message: Message) -> Fate {
    match verdict {
        Verdict::Continue => Fate::GoesOn(message, Changed::default()),
        Verdict::Modify(edited) => Fate::GoesOn(edited, Changed { is_any: true, headers: None }),
        Verdict::Block(reason) => Fate::Refused(match reason {
            Some(reason) => denied().with_detail(told(&reason)),
            None => denied().with_detail("refused by an interceptor of the proxy"),
        }),
        Verdict::Mock(_) if matches!(message, Message::Notification(_)) => Fate::Gone,
        Verdict::Mock(outcome) => Fate::Answered(answer(message.id(), &outcome)),
        Verdict::Drop => Fate::Gone,
    }
}

fn answer(id: Option<&shadowcat_protocol::Id>, outcome: &Outcome) -> Message {
    Message::Response(match (id, outcome) {
        (Some(id), outcome) => outcome.response(id),
        (None, Outcome::Error(error)) => Response::error(None, error),
        // An answer to what could not be read is an error and stays one.
        (None, Outcome::Result(_)) => Response::error(None, &denied().error_object()),
    })
}

fn undecided(name: &str, failure: &Failure) -> Refusal {
    denied()
        .with_detail("an interceptor of the proxy could not decide")
        .with_cause(format!("the interceptor {name} gave no verdict: {failure}"))
}

fn denied() -> Refusal {
    Refusal::new(RefusalKind::PolicyDenied)
}
