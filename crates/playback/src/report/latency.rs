//! The time that calls took, compared as distributions: one call may be slow by chance.

use std::collections::BTreeMap;
use std::time::Duration;

/// With fewer calls of a kind nothing is said about them.
const CALLS_MIN: usize = 3;
/// What is faster than this by the middle call is not told apart from the noise of a machine.
const NOISE: Duration = Duration::from_millis(10);

/// The time that the calls of one tool, or of one method, took.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// The method, and the tool.
    pub kind: String,
    /// How many calls.
    pub calls: usize,
    /// Half of them were faster than this, before and after.
    pub p50: (Duration, Duration),
    /// All but a twentieth were faster than this, before and after.
    pub p95: (Duration, Duration),
    /// Whether it is slower than is allowed.
    pub is_slower: bool,
}

impl Latency {
    /// How many times slower the middle call is; below 1 it is faster.
    pub fn factor(&self) -> f64 {
        let (before, after) = (self.p50.0.as_secs_f64(), self.p50.1.as_secs_f64());
        if before > 0.0 { after / before } else { 1.0 }
    }
}

/// The distributions of the times before and after, by kind.
pub(super) fn latencies(
    times: BTreeMap<String, Vec<(Duration, Duration)>>,
    slowdown_max: Option<f64>,
) -> Vec<Latency> {
    let latency = |(kind, pairs): (String, Vec<(Duration, Duration)>)| {
        let (mut before, mut after): (Vec<Duration>, Vec<Duration>) = pairs.into_iter().unzip();
        before.sort_unstable();
        after.sort_unstable();
        let both = |percent| (percentile(&before, percent), percentile(&after, percent));
        let mut latency =
            Latency { kind, calls: before.len(), p50: both(50), p95: both(95), is_slower: false };
        let is_enough = latency.calls >= CALLS_MIN && latency.p50.1 >= latency.p50.0 + NOISE;
        latency.is_slower = is_enough && slowdown_max.is_some_and(|most| latency.factor() > most);
        latency
    };
    times.into_iter().map(latency).collect()
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(before: &[u64], after: &[u64], slowdown_max: Option<f64>) -> Latency {
        let ms = |ms: &u64| Duration::from_millis(*ms);
        let pairs = before.iter().map(ms).zip(after.iter().map(ms)).collect();
        latencies(BTreeMap::from([("tools/call a".to_owned(), pairs)]), slowdown_max).remove(0)
    }

    #[test]
    fn one_slow_call_among_many_is_no_slower_tool() {
        let latency = of(&[10, 10, 10, 10], &[11, 10, 900, 10], Some(2.0));
        assert!(!latency.is_slower, "{latency:?}");
        assert_eq!(latency.p95.1, Duration::from_millis(900));
        assert!(of(&[10, 10, 10], &[90, 95, 99], Some(2.0)).is_slower);
    }

    #[test]
    fn few_calls_small_times_and_no_limit_say_nothing() {
        assert!(!of(&[10, 10], &[90, 90], Some(2.0)).is_slower);
        assert!(!of(&[1, 1, 1], &[8, 8, 8], Some(2.0)).is_slower);
        assert!(!of(&[10, 10, 10], &[90, 90, 90], None).is_slower);
    }
}
