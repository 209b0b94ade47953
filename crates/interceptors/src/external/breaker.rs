//! When somebody who fails is left alone: after so many failures in a row, for a while, and then one question is a trial. No
//! clock; `now` comes in as an argument.

use std::time::{Duration, Instant};

/// When somebody is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// So many failures in a row open the breaker.
    pub failures_max: u32,
    /// How long nobody is asked, before one question is tried.
    pub pause: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { failures_max: 5, pause: Duration::from_secs(10) }
    }
}

/// Where the breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Everybody is asked; with the failures in a row.
    Closed(u32),
    /// Nobody is asked before that time.
    Open(Instant),
    /// One question is out, and decides.
    Trying,
}

/// Counts the failures of one who is asked.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: Policy,
    state: State,
}

impl Breaker {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, state: State::Closed(0) }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether a question would not be asked now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        match self.state {
            State::Closed(_) => false,
            State::Open(until) => until > now,
            State::Trying => true,
        }
    }

    /// Whether a question may be asked now. If so, one of the three below is to follow.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let may_ask = !self.is_open(now);
        if may_ask && matches!(self.state, State::Open(_)) {
            self.state = State::Trying;
        }
        may_ask
    }

    /// The question was answered.
    pub(super) fn answered(&mut self) {
        // An answer to a question of before shows as well that there is somebody.
        self.state = State::Closed(0);
    }

    /// It was not.
    pub(super) fn failed(&mut self, now: Instant) {
        self.state = match self.state {
            State::Closed(failures) if failures + 1 < self.policy.failures_max => State::Closed(failures + 1),
            State::Closed(_) | State::Trying => State::Open(now + self.policy.pause),
            open @ State::Open(_) => open,
        };
    }

    /// Nobody waited for the answer, so nothing was shown.
    pub(super) fn withdrawn(&mut self, now: Instant) {
        if self.state == State::Trying {
            self.state = State::Open(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_one_trial_decides() {
        let policy = Policy { failures_max: 2, pause: Duration::from_secs(10) };
        let (mut breaker, begun) = (Breaker::new(policy), Instant::now());
        let later = |seconds| begun + Duration::from_secs(seconds);
        breaker.failed(begun);
        breaker.answered();
        breaker.failed(begun);
        assert!(breaker.begin(begun), "one failure behind an answer is no row");
        breaker.failed(begun);
        assert!(breaker.is_open(later(9)) && !breaker.is_open(later(10)));
        assert!(!breaker.begin(later(9)));
        assert!(breaker.begin(later(10)));
        assert!(!breaker.begin(later(10)), "one trial at a time");
        breaker.failed(later(11));
        assert!(!breaker.begin(later(20)));
        assert!(breaker.begin(later(21)));
        breaker.withdrawn(later(22));
        assert!(breaker.begin(later(22)), "a trial that nobody waited for is made again");
        breaker.answered();
        assert!(breaker.begin(later(22)) && breaker.begin(later(22)));
    }

    #[test]
    fn late_failures_do_not_prolong_the_pause() {
        let (mut breaker, begun) =
            (Breaker::new(Policy { failures_max: 1, ..Policy::default() }), Instant::now());
        breaker.failed(begun);
        breaker.failed(begun + Duration::from_secs(9));
        assert!(breaker.begin(begun + Duration::from_secs(10)));
    }
}
