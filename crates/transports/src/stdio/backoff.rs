//! When a child may be started again: growing pauses after exits, and a breaker against crash loops. No clock, no
//! processes; `now` and chance come in as arguments.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When a child may be started after others have crashed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Pause after the first exit; doubles with each further one.
    pub pause_first: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// A child that lived this long was healthy: its exit starts the count anew.
    pub stable_after: Duration,
    /// So many exits within `window` open the breaker.
    pub exits_max: usize,
    /// How long an exit counts.
    pub window: Duration,
    /// How long the breaker stays open before one child is tried.
    pub cool_down: Duration,
    /// A tried child that lives this long lets others start.
    pub probe_for: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            pause_first: Duration::from_millis(100),
            pause_max: Duration::from_secs(30),
            stable_after: Duration::from_mins(1),
            exits_max: 5,
            window: Duration::from_mins(1),
            cool_down: Duration::from_secs(30),
            probe_for: Duration::from_secs(2),
        }
    }
}

/// Why a child may not be started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The pause after an exit is not over.
    Pause(Duration),
    /// The breaker is open, or a first child is being tried.
    Open(Duration),
}

/// State of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Children may be started.
    Closed,
    /// No child is started before that time.
    Open(Instant),
    /// One child was started then, and nobody else until it has proved itself.
    Probing(Instant),
}

/// Counts the exits of one upstream's children.
#[derive(Debug)]
pub(super) struct Restarts {
    policy: Policy,
    exits: VecDeque<Instant>,
    streak: u32,
    not_before: Option<Instant>,
    breaker: Breaker,
}

impl Restarts {
    /// Nothing has happened yet.
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, exits: VecDeque::new(), streak: 0, not_before: None, breaker: Breaker::Closed }
    }

    /// The breaker as it was left by the last call.
    pub(super) fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// What a start would be told now, without starting.
    pub(super) fn check(&self, now: Instant) -> Result<(), Denied> {
        let waits_until = match self.breaker {
            Breaker::Open(until) => Some(until),
            Breaker::Probing(since) => Some(since + self.policy.probe_for),
            Breaker::Closed => None,
        };
        if let Some(wait) = waits_until.and_then(|until| remaining(until, now)) {
            return Err(Denied::Open(wait));
        }
        match self.not_before.and_then(|until| remaining(until, now)) {
            Some(wait) => Err(Denied::Pause(wait)),
            None => Ok(()),
        }
    }

    /// Asks to start a child, which the caller does at once if the answer is yes.
    pub(super) fn start(&mut self, now: Instant) -> Result<(), Denied> {
        self.check(now)?;
        self.breaker = match self.breaker {
            Breaker::Open(_) => Breaker::Probing(now),
            // The exits stay counted: the next one within the window opens it again.
            Breaker::Probing(_) | Breaker::Closed => Breaker::Closed,
        };
        Ok(())
    }

    /// The start that was granted could not be made: no child, so nothing was proved.
    pub(super) fn not_started(&mut self, now: Instant) {
        if let Breaker::Probing(_) = self.breaker {
            self.breaker = Breaker::Open(now);
        }
    }

    /// A child ended that nobody had asked to, after a life of `up`. `chance` in 0..1 spreads the pauses of many
    /// upstreams that failed together.
    pub(super) fn exited(&mut self, now: Instant, up: Duration, chance: f64) {
        if up >= self.policy.stable_after {
            self.streak = 0;
            // The end of an old child says nothing about the new ones for whose sake the breaker opened.
            if self.breaker == Breaker::Closed {
                self.exits.clear();
            }
        }
        let pause = self.policy.pause_first.saturating_mul(2_u32.saturating_pow(self.streak));
        self.not_before =
            Some(now + pause.min(self.policy.pause_max).mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0));
        self.streak = self.streak.saturating_add(1);
        self.count(now);
        if self.exits.len() >= self.policy.exits_max {
            self.breaker = Breaker::Open(now + self.policy.cool_down);
        }
    }

    fn count(&mut self, now: Instant) {
        while self.exits.front().is_some_and(|&exit| now.duration_since(exit) >= self.policy.window) {
            self.exits.pop_front();
        }
        if self.exits.len() >= self.policy.exits_max {
            self.exits.pop_front();
        }
        self.exits.push_back(now);
    }
}

fn remaining(until: Instant, now: Instant) -> Option<Duration> {
    until.checked_duration_since(now).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts whenever it may, for `total`; each child lives for `life`. The times of the starts.
    fn starts(life: Duration, total: Duration) -> Vec<Duration> {
        let born = Instant::now();
        let mut restarts = Restarts::new(Policy::default());
        let mut now = born;
        let mut starts = Vec::new();
        while now.duration_since(born) < total {
            match restarts.start(now) {
                Ok(()) => {
                    starts.push(now.duration_since(born));
                    now += life;
                    restarts.exited(now, life, 0.0);
                }
                Err(Denied::Pause(wait) | Denied::Open(wait)) => now += wait,
            }
        }
        starts
    }

    #[test]
    fn a_crash_loop_costs_at_most_six_starts_a_minute() {
        for life in [0, 10, 500, 2_500, 3_000] {
            let starts = starts(Duration::from_millis(life), Duration::from_mins(10));
            for first in &starts {
                let minute =
                    starts.iter().filter(|at| *at >= first && **at < *first + Duration::from_mins(1));
                assert!(minute.count() <= 6, "lives of {life} ms: {starts:?}");
            }
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = Policy { exits_max: usize::MAX, ..Policy::default() };
        let mut restarts = Restarts::new(policy);
        let now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            restarts.exited(now, Duration::ZERO, 0.0);
            let Err(Denied::Pause(wait)) = restarts.check(now) else { panic!("no pause") };
            pauses.push(wait.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
        restarts.exited(now, Duration::ZERO, 1.0);
        assert_eq!(restarts.check(now), Err(Denied::Pause(Duration::from_secs(15))));
    }

    #[test]
    fn a_stable_run_starts_the_count_anew() {
        let mut restarts = Restarts::new(Policy::default());
        let now = Instant::now();
        for _ in 0..4 {
            restarts.exited(now, Duration::ZERO, 0.0);
        }
        restarts.exited(now, Duration::from_mins(1), 0.0);
        assert_eq!(restarts.check(now), Err(Denied::Pause(Duration::from_millis(100))));
    }

    #[test]
    fn an_open_breaker_lets_one_child_try() {
        let mut restarts = Restarts::new(Policy::default());
        let now = Instant::now();
        for _ in 0..5 {
            restarts.exited(now, Duration::ZERO, 0.0);
        }
        assert_eq!(restarts.start(now), Err(Denied::Open(Duration::from_secs(30))));
        let later = now + Duration::from_secs(30);
        assert_eq!(restarts.start(later), Ok(()));
        assert_eq!(restarts.start(later), Err(Denied::Open(Duration::from_secs(2))));
        assert_eq!(restarts.start(later + Duration::from_secs(2)), Ok(()));
        assert_eq!(restarts.breaker(), Breaker::Closed);
    }

    #[test]
    fn a_try_that_could_not_be_made_leaves_the_next_one_free() {
        let mut restarts = Restarts::new(Policy::default());
        let now = Instant::now();
        for _ in 0..5 {
            restarts.exited(now, Duration::ZERO, 0.0);
        }
        let later = now + Duration::from_secs(30);
        assert_eq!(restarts.start(later), Ok(()));
        restarts.not_started(later);
        assert_eq!(restarts.start(later), Ok(()));
    }
}
