//! Counts what passed and what failed, from what the runners of tests print about it.

use std::fmt;
use std::ops::AddAssign;

/// How many tests or checks passed, and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Tally {
    /// Reads the one line of a test runner that sums up a run; nothing in any other line.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        of_nextest(line).or_else(|| of_cargo(line))
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// `Summary [   1.2s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 3 skipped`; of a run that was broken off,
/// `7/12 tests run`. Whatever did not pass, failed.
fn of_nextest(line: &str) -> Option<Tally> {
    let (_, summary) = line.trim_start().strip_prefix("Summary [")?.split_once("] ")?;
    let (run, verdicts) = summary.split_once(" run: ")?;
    let planned: usize = run.split(' ').next()?.rsplit('/').next()?.parse().ok()?;
    let passed = before(verdicts, " passed").unwrap_or_default();
    Some(Tally { passed, failed: planned.saturating_sub(passed) })
}

/// `test result: FAILED. 10 passed; 2 failed; 0 ignored; …`, once for each binary.
fn of_cargo(line: &str) -> Option<Tally> {
    let verdicts = line.strip_prefix("test result: ")?;
    Some(Tally { passed: before(verdicts, " passed")?, failed: before(verdicts, " failed")? })
}

/// The number that stands right before a word.
fn before(text: &str, word: &str) -> Option<usize> {
    text.split_once(word)?.0.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(line: &str) -> (usize, usize) {
        let tally = Tally::of_line(line).unwrap();
        (tally.passed, tally.failed)
    }

    #[test]
    fn a_run_of_nextest_is_counted() {
        assert_eq!(counted("     Summary [   0.005s] 1 test run: 1 passed, 0 skipped"), (1, 0));
        assert_eq!(
            counted(
                "     Summary [  61.204s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 3 skipped"
            ),
            (9, 3)
        );
    }

    #[test]
    fn what_nextest_did_not_get_to_run_has_not_passed() {
        assert_eq!(counted("     Summary [   2.000s] 7/12 tests run: 7 passed, 0 skipped"), (7, 5));
        assert_eq!(counted("     Summary [   2.000s] 2 tests run: 2 failed, 0 skipped"), (0, 2));
    }

    #[test]
    fn a_run_of_cargo_test_is_counted() {
        let line = "test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(counted(line), (10, 2));
    }

    #[test]
    fn other_lines_count_for_nothing() {
        for line in ["", "test a::b ... ok", "        PASS [   0.005s] x a", "failures:"] {
            assert_eq!(Tally::of_line(line), None, "{line}");
        }
    }
}
