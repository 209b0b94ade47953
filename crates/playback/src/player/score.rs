//! What was played, how often, and what was missing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Missed calls that are remembered with their sentence; all are counted.
const MISSES_KEPT_MAX: usize = 100;

/// Counts what is played.
#[derive(Debug, Default)]
pub struct Score {
    played: AtomicU64,
    repeated: AtomicU64,
    surprises: AtomicU64,
    asked: AtomicU64,
    missed: AtomicU64,
    misses: Mutex<Vec<String>>,
}

impl Score {
    pub(super) fn note_played(&self, is_repeated: bool) {
        self.played.fetch_add(1, Ordering::Relaxed);
        self.repeated.fetch_add(u64::from(is_repeated), Ordering::Relaxed);
    }

    pub(super) fn note_surprise(&self) {
        self.surprises.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_miss(&self, what: &str) {
        self.missed.fetch_add(1, Ordering::Relaxed);
        let mut misses = self.misses.lock().unwrap_or_else(PoisonError::into_inner);
        if misses.len() < MISSES_KEPT_MAX {
            misses.push(what.to_owned());
        }
    }

    /// Notes that the real server was asked for what is missing.
    pub fn note_asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn report(&self, unused: Vec<String>) -> Report {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Report {
            played: count(&self.played),
            repeated: count(&self.repeated),
            surprises: count(&self.surprises),
            asked: count(&self.asked),
            missed: count(&self.missed),
            misses: self.misses.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            unused,
        }
    }
}

/// What was played, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Calls answered from the tapes.
    pub played: u64,
    /// Of these, calls that were asked more often than on the tapes.
    pub repeated: u64,
    /// Answers of clients to the server that are not those on the tapes.
    pub surprises: u64,
    /// Of the missing calls, those that the real server was asked for.
    pub asked: u64,
    /// Calls that the tapes do not have.
    pub missed: u64,
    /// What is said of the first of them.
    pub misses: Vec<String>,
    /// Calls on the tapes that nobody asked for.
    pub unused: Vec<String>,
}

impl Report {
    /// Whether clients asked exactly what is on the tapes.
    pub fn is_complete(&self) -> bool {
        self.missed == 0 && self.unused.is_empty()
    }
}

/// Calls that are listed before the rest is only counted.
const LISTED_MAX: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered from the tape", self.played)?;
        let counts = [
            (self.repeated, "of them again"),
            (self.missed, "not on the tape"),
            (self.asked, "asked of the real server"),
            (self.surprises, "answers of clients other than on the tape"),
            (self.unused.len() as u64, "on the tape and not asked for"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}

impl Report {
    /// The calls that were missing and those that were left, a line each.
    pub fn lines(&self) -> Vec<String> {
        let listed = |head: &str, list: &[String], count: u64| {
            let mut lines: Vec<String> =
                list.iter().take(LISTED_MAX).map(|what| format!("{head}: {what}")).collect();
            let rest = count.saturating_sub(lines.len() as u64);
            if rest > 0 {
                lines.push(format!("{head}: and {rest} more"));
            }
            lines
        };
        let mut lines = listed("missing", &self.misses, self.missed);
        lines.extend(listed("not asked for", &self.unused, self.unused.len() as u64));
        lines
    }
}
