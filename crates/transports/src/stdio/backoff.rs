//! When a child may be started again: growing pauses after exits, and a breaker against crash loops. No clock, no
//! processes; `now` and chance come in as arguments.
//!
//! The rule: a child was *useful* if it answered a request beyond the handshake, or lived for
//! [`Policy::stable_after`]. After the unasked end of a useful child another is started behind the first, short pause,
//! however often that happens: the server works, and something ended it. Only the ends of children that never became
//! useful make the pauses grow and count towards the breaker: the server does not work.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When a child may be started after others have crashed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Pause after the exit of a useful child; doubles with each exit in a row of one that was not.
    pub pause_first: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// A child that lived this long was useful, whether it was asked anything or not.
    pub stable_after: Duration,
    /// So many exits of useless children within `window` open the breaker.
    pub exits_max: usize,
    /// How long such an exit counts.
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

/// Counts the exits of one upstream's children that nobody asked for.
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

    /// A child ended that nobody had asked to, after a life of `up`; `served` if it answered a request beyond the
    /// handshake. `chance` in 0..1 spreads the pauses of many upstreams that failed together.
    pub(super) fn exited(&mut self, now: Instant, up: Duration, served: bool, chance: f64) {
        let was_useful = served || up >= self.policy.stable_after;
        if was_useful {
            self.streak = 0;
        }
        let pause = self.policy.pause_first.saturating_mul(2_u32.saturating_pow(self.streak));
        let pause = pause.min(self.policy.pause_max).mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0);
        // The end of an old child does not shorten the pause that new ones have earned.
        self.not_before = self.not_before.max(Some(now + pause));
        self.streak = self.streak.saturating_add(1);
        if !was_useful {
            self.count(now);
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
        if self.exits.len() >= self.policy.exits_max {
            self.breaker = Breaker::Open(now + self.policy.cool_down);
        }
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
                    restarts.exited(now, life, false, 0.0);
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
            restarts.exited(now, Duration::ZERO, false, 0.0);
            let Err(Denied::Pause(wait)) = restarts.check(now) else { panic!("no pause") };
            pauses.push(wait.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
        let later = now + Duration::from_secs(30);
        restarts.exited(later, Duration::ZERO, false, 1.0);
        assert_eq!(restarts.check(later), Err(Denied::Pause(Duration::from_secs(15))));
    }

    #[test]
    fn a_useful_child_makes_the_pauses_short_again() {
        for (up, served) in [(Duration::from_mins(1), false), (Duration::ZERO, true)] {
            let mut restarts = Restarts::new(Policy::default());
            let now = Instant::now();
            for _ in 0..4 {
                restarts.exited(now, Duration::ZERO, false, 0.0);
            }
            let later = now + Duration::from_secs(10);
            restarts.exited(later, up, served, 0.0);
            assert_eq!(restarts.check(later), Err(Denied::Pause(Duration::from_millis(100))));
        }
    }

    #[test]
    fn children_that_served_may_be_killed_for_ever() {
        let mut restarts = Restarts::new(Policy::default());
        let mut now = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(restarts.start(now), Ok(()));
            restarts.exited(now, Duration::from_millis(5), true, 0.0);
            assert_eq!(restarts.breaker(), Breaker::Closed);
            assert_eq!(restarts.check(now), Err(Denied::Pause(Duration::from_millis(100))));
            now += Duration::from_millis(100);
        }
    }

    #[test]
    fn children_that_served_hide_no_crash_loop_behind_them() {
        let mut restarts = Restarts::new(Policy::default());
        let now = Instant::now();
        for _ in 0..4 {
            restarts.exited(now, Duration::ZERO, false, 0.0);
            restarts.exited(now, Duration::from_mins(5), true, 0.0);
        }
        assert_eq!(restarts.breaker(), Breaker::Closed);
        restarts.exited(now, Duration::ZERO, false, 0.0);
        assert!(matches!(restarts.breaker(), Breaker::Open(_)));
    }

    #[test]
    fn the_end_of_a_useful_child_shortens_no_pause() {
        let mut restarts = Restarts::new(Policy::default());
        let now = Instant::now();
        for _ in 0..4 {
            restarts.exited(now, Duration::ZERO, false, 0.0);
        }
        restarts.exited(now, Duration::from_mins(1), true, 0.0);
        assert_eq!(restarts.check(now), Err(Denied::Pause(Duration::from_millis(800))));
    }

    #[test]
    fn an_open_breaker_lets_one_child_try() {
        let mut restarts = Restarts::new(Policy::default());
        let now = Instant::now();
        for _ in 0..5 {
            restarts.exited(now, Duration::ZERO, false, 0.0);
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
            restarts.exited(now, Duration::ZERO, false, 0.0);
        }
        let later = now + Duration::from_secs(30);
        assert_eq!(restarts.start(later), Ok(()));
        restarts.not_started(later);
        assert_eq!(restarts.start(later), Ok(()));
    }
}
