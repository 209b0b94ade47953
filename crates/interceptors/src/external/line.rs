//! The line to somebody outside: how long a question may take, how many there are at one time, and when he is left alone.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::breaker::{Breaker, Policy};
use super::metrics::LineMetrics;
use super::verdict::{Failure, Reason};

/// How much somebody is asked.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long each question may take.
    pub timeout: Duration,
    /// Questions at most at one time; others wait for their turn, within their time.
    pub concurrency_max: usize,
    /// When he is left alone.
    pub breaker: Policy,
}

/// The line to one who is asked.
pub(crate) struct Line {
    limits: Limits,
    breaker: Mutex<Breaker>,
    turns: Semaphore,
    metrics: LineMetrics,
}

impl Line {
    pub(crate) fn new(limits: Limits, metrics: LineMetrics) -> Self {
        let breaker = Mutex::new(Breaker::new(limits.breaker));
        let turns = Semaphore::new(limits.concurrency_max.min(Semaphore::MAX_PERMITS));
        Self { limits, breaker, turns, metrics }
    }

    pub(crate) fn is_left_alone(&self) -> bool {
        self.breaker().is_open(std::time::Instant::now())
    }

    pub(crate) fn metrics(&self) -> &LineMetrics {
        &self.metrics
    }

    /// Asks a question, which is given the time that is left for it; a defect in it, too, is only a failure. Who gives an answer
    /// that is not whole has failed as well, but is heard.
    pub(crate) async fn ask<A, Q: Future<Output = Result<A, Failure>>>(
        &self,
        question: impl FnOnce(Duration) -> Q,
        is_whole: impl FnOnce(&A) -> bool,
    ) -> Result<A, Failure> {
        let answer = self.answer(question, is_whole).await;
        if let Err(failure) = &answer {
            self.metrics.failed(failure.reason);
        }
        answer
    }

    async fn answer<A, Q: Future<Output = Result<A, Failure>>>(
        &self,
        question: impl FnOnce(Duration) -> Q,
        is_whole: impl FnOnce(&A) -> bool,
    ) -> Result<A, Failure> {
        let trial = self.begin()?;
        let (time, begun) = (self.limits.timeout, Instant::now());
        let turn = timeout(time, self.turns.acquire()).await;
        let left = time.saturating_sub(begun.elapsed());
        let (Ok(Ok(_turn)), false) = (turn, left.is_zero()) else {
            let max = self.limits.concurrency_max;
            let sentence = format!("all {max} questions at one time are being asked");
            return Err(Failure::new(Reason::Busy, sentence));
        };
        let answer = AssertUnwindSafe(question(left)).catch_unwind().await;
        self.metrics.asked(begun.elapsed());
        let answer =
            answer.unwrap_or_else(|_| Err(Failure::new(Reason::Panicked, "it panicked; the log says where")));
        trial.ended(answer.as_ref().is_ok_and(is_whole));
        answer
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Result<Trial<'_>, Failure> {
        let mut breaker = self.breaker();
        if breaker.begin(std::time::Instant::now()) {
            self.metrics.breaker(breaker.state());
            return Ok(Trial { line: self, is_answered: None });
        }
        Err(Failure::new(Reason::BreakerOpen, "it failed repeatedly and is being left alone"))
    }
}

/// A question that is out; dropped, it was withdrawn.
struct Trial<'a> {
    line: &'a Line,
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
        let mut breaker = self.line.breaker();
        match self.is_answered {
            Some(true) => breaker.answered(),
            Some(false) => breaker.failed(now),
            None => breaker.withdrawn(now),
        }
        self.line.metrics.breaker(breaker.state());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::super::metrics::ExternalMetrics;
    use super::*;

    fn figures(registry: &Registry) -> impl Fn(&str) -> String + '_ {
        |name| {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, registry).unwrap();
            let line = page.lines().find(|line| line.starts_with(name) && !line.starts_with('#')).unwrap();
            line.rsplit(' ').next().unwrap().to_owned()
        }
    }

    fn line(pause: Duration, registry: &mut Registry) -> Line {
        let breaker = Policy { failures_max: 1, pause };
        let limits = Limits { timeout: Duration::from_secs(1), concurrency_max: 1, breaker };
        Line::new(limits, ExternalMetrics::register(registry).of("a"))
    }

    fn fails() -> std::future::Ready<Result<(), Failure>> {
        std::future::ready(Err(Failure::new(Reason::Error, "it fails")))
    }

    #[tokio::test(start_paused = true)]
    async fn only_questions_that_were_put_are_counted_as_such() {
        let mut registry = Registry::default();
        let line = line(Duration::from_hours(1), &mut registry);
        let figure = figures(&registry);
        let turn = line.turns.acquire().await;
        assert_eq!(line.ask(|_| fails(), |()| true).await.unwrap_err().reason, Reason::Busy);
        drop(turn);
        assert_eq!(line.ask(|_| fails(), |()| true).await.unwrap_err().reason, Reason::Error);
        assert_eq!(line.ask(|_| fails(), |()| true).await.unwrap_err().reason, Reason::BreakerOpen);
        assert!(line.is_left_alone());
        assert_eq!(figure("external_calls_total"), "1");
        assert_eq!(figure("external_duration_seconds_count"), "1");
    }

    #[tokio::test]
    async fn a_trial_shows_while_it_is_made_and_a_pause_that_is_over_does_not() {
        let mut registry = Registry::default();
        let line = line(Duration::ZERO, &mut registry);
        let figure = figures(&registry);
        line.ask(|_| fails(), |()| true).await.unwrap_err();
        assert_eq!(figure("external_breaker"), "2");
        assert!(!line.is_left_alone(), "the next question is asked");
        let tries = |_| async {
            assert_eq!(figure("external_breaker"), "1");
            Ok(())
        };
        line.ask(tries, |()| true).await.unwrap();
        assert_eq!(figure("external_breaker"), "0");
    }
}
