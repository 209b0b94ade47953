//! One message judged by the rules, and what is to become of it.

use std::sync::Arc;

use shadowcat_pipeline::{Broken, Direction, Envelope, Origin, Refusal, RefusalKind};
use shadowcat_protocol::caching::Cacheable;
use shadowcat_protocol::{Message, Request};
use shadowcat_rules::{self as rules, Asked, Facts, Fired, Found, Pause, Scene, Step};
use tokio::time::Instant;

use super::book::Edition;
use crate::judged::{Changed, Fate, Judge, Surroundings, Waiter, Waiting, facts};
use crate::pause::{self, Cause, Lot, Terms};

/// What a message is judged with, and then its replies.
pub(super) struct Exchange {
    edition: Arc<Edition>,
    origin: Arc<Origin>,
    server: Arc<str>,
    headers: Vec<(Box<str>, Box<str>)>,
    waiter: Waiter,
    lot: Lot,
    asked: Option<Asked>,
    begun: Instant,
}

impl Judge for Exchange {
    type Found = Found;

    fn look(&self, message: &Message, direction: Direction) -> Option<Found> {
        let facts = facts(&self.origin, &self.server, &self.headers);
        self.edition.rules.look(message, &self.scene(direction, &facts), &Surroundings)
    }

    async fn judge(&self, message: Message, direction: Direction, found: Found) -> Fate {
        let facts = facts(&self.origin, &self.server, &self.headers);
        let mut judgement = self.edition.rules.judge_on(found, message, self.scene(direction, &facts));
        let mut is_changed = false;
        while let Some(fired) = judgement.next(&Surroundings) {
            self.note(&fired);
            match fired.step {
                Step::Edited => is_changed = true,
                Step::Unchanged
                | Step::Headers
                | Step::Tag(_)
                | Step::Log(_)
                | Step::Stop
                | Step::Failed { open: true, .. } => {}
                Step::Delay(delay) => {
                    if self.waiter.during(tokio::time::sleep(delay)).await.is_none() {
                        return Fate::Withdrawn;
                    }
                }
                Step::Pause(pause) => {
                    let held = self.hold(judgement.message().clone(), direction, fired.rule, pause).await;
                    let Fate::GoesOn(message, changed) = held else { return held };
                    if changed.is_any {
                        is_changed = true;
                        judgement.replace(message);
                    }
                }
                last => return ended(last, fired.rule, judgement.message()),
            }
        }
        let headers = judgement.headers().map(<[_]>::to_vec);
        Fate::GoesOn(judgement.into_message(), Changed { is_any: is_changed, headers })
    }

    fn concerns_replies(&self, request: &Request, direction: Direction) -> bool {
        self.edition.rules.concerns_replies(request, direction)
    }

    fn may_change(&self, what: Cacheable) -> bool {
        self.edition.rules.may_change(what)
    }

    fn asks(&mut self, request: Request) {
        self.asked = Some(Asked::new(request));
    }

    fn waiter(&self) -> &Waiter {
        &self.waiter
    }
}

impl Exchange {
    pub(super) fn new(
        edition: Arc<Edition>,
        envelope: &Envelope,
        server: &Arc<str>,
        waiting: &Arc<Waiting>,
        lot: &Lot,
    ) -> Self {
        Self {
            edition,
            origin: Arc::clone(&envelope.origin),
            server: Arc::clone(server),
            headers: envelope.headers.clone(),
            waiter: Waiter::new(waiting, envelope),
            lot: lot.clone(),
            asked: None,
            begun: Instant::now(),
        }
    }

    fn scene<'a>(&'a self, direction: Direction, facts: &'a Facts<'a>) -> Scene<'a> {
        let took = self.asked.is_some().then(|| self.begun.elapsed());
        Scene { direction, facts, asked: self.asked.as_ref(), took }
    }

    /// Holds a message until somebody decides about it.
    async fn hold(
        &self,
        message: Message,
        direction: Direction,
        rule: &str,
        Pause { held_for, then }: Pause,
    ) -> Fate {
        let exchange = pause::Exchange {
            origin: &self.origin,
            server: &self.server,
            asked: self.asked.as_ref().map(Asked::request),
            waiter: &self.waiter,
        };
        self.lot.stop(&exchange, message, direction, Cause::Rule(rule.into()), Terms { held_for, then }).await
    }

    /// Counts it, and says it in the log and on the tape.
    fn note(&self, fired: &Fired<'_>) {
        self.edition.metrics.count(fired);
        let (exchange, rule) = (self.origin.exchange, fired.rule);
        match &fired.step {
            Step::Log(line) => tracing::info!(%exchange, rule, "{line}"),
            Step::Tag(words) => tracing::info!(%exchange, rule, tags = words.join(" "), "tagged"),
            Step::Failed { sentence, open } => {
                tracing::warn!(%exchange, rule, sentence, goes_on = open, "a rule could not be carried out");
            }
            step => tracing::debug!(%exchange, rule, ?step, "a rule fired"),
        }
        if let Some(word) = word(&fired.step) {
            let more = match &fired.step {
                Step::Tag(words) => format!(" {}", words.join(" ")),
                _ => String::new(),
            };
            self.origin.deeds.add(format!("{rule}: {word}{more}"));
        }
    }
}

/// What becomes of a message that does not go on.
fn ended(step: Step, rule: &str, message: &Message) -> Fate {
    match step {
        Step::Block(reason) => Fate::Refused(denied().with_detail(reason)),
        Step::Mock(outcome) => match message.id() {
            Some(id) => Fate::Answered(Message::Response(outcome.response(id))),
            None => Fate::Gone,
        },
        Step::Fault(rules::Broken::Cut) => Fate::Refused(RefusalKind::Broken(Broken::Cut).into()),
        Step::Fault(rules::Broken::Malformed) => Fate::Refused(RefusalKind::Broken(Broken::Malformed).into()),
        Step::Fault(rules::Broken::Timeout) => Fate::Silent,
        Step::Failed { sentence, .. } => {
            Fate::Refused(denied().with_cause(format!("the rule {rule} failed: {sentence}")))
        }
        _ => Fate::Gone,
    }
}

/// The word for what a rule did, if it did anything.
pub(super) fn word(step: &Step) -> Option<&'static str> {
    Some(match step {
        Step::Unchanged | Step::Stop => return None,
        Step::Edited => "edit",
        Step::Headers => "headers",
        Step::Tag(_) => "tag",
        Step::Log(_) => "log",
        Step::Delay(_) => "delay",
        Step::Pause(_) => "pause",
        Step::Block(_) => "block",
        Step::Mock(_) => "mock",
        Step::Drop => "drop",
        Step::Fault(rules::Broken::Cut) => "cut",
        Step::Fault(rules::Broken::Malformed) => "malformed",
        Step::Fault(rules::Broken::Timeout) => "timeout",
        Step::Failed { .. } => "failed",
    })
}

fn denied() -> Refusal {
    Refusal::new(RefusalKind::PolicyDenied)
}
