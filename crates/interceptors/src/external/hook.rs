//! One who is asked about what fits his condition.

use std::sync::Arc;

use shadowcat_pipeline::Direction;
use shadowcat_protocol::Message;
use shadowcat_rules::written::Fail;
use shadowcat_rules::{Kind, Rules, Scene, Step};

use super::line::{Limits, Line};
use super::metrics::LineMetrics;
use super::telling::Telling;
use super::verdict::{External, Failure, Matter, Opinion, Reason, Verdict};
use crate::judged::Surroundings;

/// Who is asked, about what, and how much.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What logs, tapes and figures call him.
    pub name: Arc<str>,
    /// One rule that fits the messages he is asked about, and does nothing.
    pub when: Arc<Rules>,
    /// Whether a message goes on for which he fails.
    pub fail: Fail,
    /// He is told, and nobody waits for what he says.
    pub is_audit: bool,
    /// How much he is asked.
    pub limits: Limits,
}

/// One who is asked.
pub(super) struct Hook {
    settings: Settings,
    external: Arc<dyn External>,
    line: Line,
    telling: Telling,
}

impl Hook {
    pub(super) fn new(
        settings: Settings,
        external: Arc<dyn External>,
        telling: Telling,
        metrics: LineMetrics,
    ) -> Self {
        let line = Line::new(settings.limits, metrics);
        Self { settings, external, line, telling }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    pub(super) fn is_left_alone(&self) -> bool {
        self.line.is_left_alone()
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
                self.line.metrics().failed(failure.reason);
                self.failed(&failure, matter, self.fails_open());
                Err(failure)
            }
            Some(_) => Ok(self.external.concerns(matter)),
        }
    }

    /// Asks him; a defect of his, too, is only a failure.
    pub(super) async fn ask(&self, matter: &Matter) -> Result<Verdict, Failure> {
        let question = |time| self.external.ask(matter, time);
        match self.line.ask(question, |opinion| opinion.passed_over.is_empty()).await {
            Ok(Opinion { verdict, passed_over, lost }) => {
                self.line.metrics().lost(lost);
                for failure in &passed_over {
                    self.line.metrics().failed(failure.reason);
                    self.failed(failure, matter, true);
                }
                self.line.metrics().said(verdict.word());
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
        let (hook, bytes) = (Arc::clone(self), matter.bytes());
        let is_taken = self.telling.tell(bytes, async move {
            // What comes of it is counted, and logged where it fails.
            drop(hook.ask(&matter).await);
        });
        if !is_taken {
            self.line.metrics().lost(1);
            tracing::debug!(interceptor = %self.settings.name, "the queue is full: a message is not told");
        }
    }

    fn failed(&self, failure: &Failure, matter: &Matter, goes_on: bool) {
        let (exchange, interceptor) = (matter.origin.exchange, &*self.settings.name);
        if failure.reason == Reason::BreakerOpen {
            // Each message meets it until the pause is over: what led to it is in the log.
            tracing::debug!(%exchange, interceptor, goes_on, "not asked");
        } else {
            tracing::warn!(%exchange, interceptor, %failure, goes_on, "an interceptor gave no verdict");
        }
    }
}
