//! The line to somebody outside: how long a question may take, how many there are at one time, and when he is left alone.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::breaker::{Breaker, Policy, State};
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
        !matches!(self.breaker().state(), State::Closed(_))
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
        let begun = Instant::now();
        let answer = self.answer(question, is_whole).await;
        self.metrics.asked(begun.elapsed());
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
        let answer =
            answer.unwrap_or_else(|_| Err(Failure::new(Reason::Panicked, "it panicked; the log says where")));
        trial.ended(answer.as_ref().is_ok_and(is_whole));
        answer
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Result<Trial<'_>, Failure> {
        let may_ask = self.breaker().begin(std::time::Instant::now());
        if may_ask {
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
