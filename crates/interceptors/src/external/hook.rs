//! One who is asked, with his condition and his limits.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use shadowcat_pipeline::Direction;
use shadowcat_protocol::Message;
use shadowcat_rules::written::Fail;
use shadowcat_rules::{Kind, Rules, Scene, Step};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::breaker::{Breaker, Policy, State};
use super::metrics::HookMetrics;
use super::telling::Telling;
use super::verdict::{External, Failure, Matter, Opinion, Reason, Verdict};
use crate::judged::Surroundings;

/// Who is asked, about what, and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What logs, tapes and figures call him.
    pub name: Arc<str>,
    /// One rule that fits the messages he is asked about, and does nothing.
    pub when: Arc<Rules>,
    /// Whether a message goes on for which he fails.
    pub fail: Fail,
    /// How long each question may take.
    pub timeout: Duration,
    /// He is told, and nobody waits for what he says.
    pub is_audit: bool,
    /// Questions at most at one time; others wait for their turn, within their time.
    pub concurrency_max: usize,
    /// When he is left alone.
    pub breaker: Policy,
}

/// One who is asked.
pub(super) struct Hook {
    settings: Settings,
    external: Arc<dyn External>,
    breaker: Mutex<Breaker>,
    turns: Semaphore,
    telling: Telling,
    metrics: HookMetrics,
}

impl Hook {
    pub(super) fn new(
        settings: Settings,
        external: Arc<dyn External>,
        telling: Telling,
        metrics: HookMetrics,
    ) -> Self {
        let breaker = Mutex::new(Breaker::new(settings.breaker));
        let turns = Semaphore::new(settings.concurrency_max.min(Semaphore::MAX_PERMITS));
        Self { settings, external, breaker, turns, telling, metrics }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    pub(super) fn is_left_alone(&self) -> bool {
        !matches!(self.breaker().state(), State::Closed(_))
    }

    pub(super) fn is_audit(&self) -> bool {
        self.settings.is_audit
    }

    pub(super) fn fails_open(&self) -> bool {
        self.settings.fail == Fail::Open
    }

    /// Whether he could have to be asked about this message, or about what comes back for it; costs next to nothing.
    pub(super) fn could_concern(&self, message: &Message, direction: Direction) -> bool {
        let when = &self.settings.when;
        when.concerns(Kind::of(message), direction, message.method())
            || matches!(message, Message::Request(request) if when.concerns_replies(request, direction))
    }

    pub(super) fn concerns_replies(
        &self,
        request: &shadowcat_protocol::Request,
        direction: Direction,
    ) -> bool {
        self.settings.when.concerns_replies(request, direction)
    }

    /// Whether a message of this kind and method could fit at all.
    pub(super) fn concerns(&self, kind: Kind, direction: Direction, method: &str) -> bool {
        self.settings.when.concerns(kind, direction, Some(method))
    }

    /// Whether he is to be asked about this.
    pub(super) fn takes(&self, matter: &Matter, scene: Scene<'_>) -> Result<bool, Failure> {
        let mut judgement = self.settings.when.judge(matter.message.clone(), scene);
        match judgement.next(&Surroundings).map(|fired| fired.step) {
            None => Ok(false),
            Some(Step::Failed { sentence, .. }) => {
                let failure = Failure::new(Reason::Unreadable, sentence);
                self.failed(&failure, matter, self.fails_open());
                Err(failure)
            }
            Some(_) => Ok(self.external.concerns(matter)),
        }
    }

    /// Asks him; a defect of his, too, is only a failure.
    pub(super) async fn ask(&self, matter: &Matter) -> Result<Verdict, Failure> {
        let begun = Instant::now();
        let opinion = self.opinion(matter).await;
        self.metrics.asked(begun.elapsed());
        match opinion {
            Ok(Opinion { verdict, passed_over, lost }) => {
                self.metrics.lost(lost);
                for failure in &passed_over {
                    self.failed(failure, matter, true);
                }
                self.metrics.said(&verdict);
                Ok(verdict)
            }
            Err(failure) => {
                self.failed(&failure, matter, self.fails_open() || matter.is_audit);
                Err(failure)
            }
        }
    }

    /// Tells him, and waits for nothing.
    pub(super) fn tell(self: &Arc<Self>, matter: Matter) {
        let (hook, bytes) = (Arc::clone(self), matter.message.text().len());
        let is_taken = self.telling.tell(bytes, async move {
            // What comes of it is counted, and logged where it fails.
            drop(hook.ask(&matter).await);
        });
        if !is_taken {
            self.metrics.lost(1);
            tracing::debug!(interceptor = %self.settings.name, "the queue is full: a message is not told");
        }
    }

    async fn opinion(&self, matter: &Matter) -> Result<Opinion, Failure> {
        let trial = self.begin()?;
        let (time, begun) = (self.settings.timeout, Instant::now());
        let turn = timeout(time, self.turns.acquire()).await;
        let left = time.saturating_sub(begun.elapsed());
        let (Ok(Ok(_turn)), false) = (turn, left.is_zero()) else {
            let max = self.settings.concurrency_max;
            let sentence = format!("all {max} questions at one time are being asked");
            return Err(Failure::new(Reason::Busy, sentence));
        };
        let asked = AssertUnwindSafe(self.external.ask(matter, left)).catch_unwind().await;
        let asked =
            asked.unwrap_or_else(|_| Err(Failure::new(Reason::Panicked, "it panicked; the log says where")));
        let is_answered = asked.as_ref().is_ok_and(|opinion| opinion.passed_over.is_empty());
        trial.ended(is_answered);
        asked
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Result<Trial<'_>, Failure> {
        let may_ask = self.breaker().begin(std::time::Instant::now());
        if may_ask {
            return Ok(Trial { hook: self, is_answered: None });
        }
        Err(Failure::new(Reason::BreakerOpen, "it failed repeatedly and is being left alone"))
    }

    fn failed(&self, failure: &Failure, matter: &Matter, goes_on: bool) {
        self.metrics.failed(failure.reason);
        let (exchange, interceptor) = (matter.origin.exchange, &*self.settings.name);
        if failure.reason == Reason::BreakerOpen {
            // Each message meets it until the pause is over: what led to it is in the log.
            tracing::debug!(%exchange, interceptor, goes_on, "not asked");
        } else {
            tracing::warn!(%exchange, interceptor, %failure, goes_on, "an interceptor gave no verdict");
        }
    }
}

/// A question that is out; dropped, it was withdrawn.
struct Trial<'a> {
    hook: &'a Hook,
    is_answered: Option<bool>,
}

impl Trial<'_> {
    fn ended(mut self, is_answered: bool) {
        self.is_answered = Some(is_answered);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let now = std::time::Instant::now();
        let mut breaker = self.hook.breaker();
        match self.is_answered {
            Some(true) => breaker.answered(),
            Some(false) => breaker.failed(now),
            None => breaker.withdrawn(now),
        }
        self.hook.metrics.breaker(breaker.state());
    }
}
