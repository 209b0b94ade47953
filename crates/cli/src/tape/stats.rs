//! `shadowcat tape stats`: what is on tapes, in figures.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use shadowcat_filter::Filter;
use shadowcat_tape::{Call, Frame, Keys, render};
use time::OffsetDateTime;

use super::files::TapeFiles;
use super::key_args::KeyArgs;
use super::reading::{self, Event, Part, Reading, Stop};
use crate::failure::Failure;
use crate::output::{self, Listing};

/// Rows of calls and of failures; what is beyond is counted together.
const ROWS_MAX: usize = 256;
/// Sessions that are told apart; what is beyond is not counted.
const SESSIONS_MAX: usize = 65_536;
/// Two digits of a time are right.
const DIGITS: u8 = 2;
const OTHERS: &str = "(others)";

/// Sum up what is on tapes: calls, latency, failures
///
/// Percentiles are right to two digits. All tapes of the directory are read if none is named.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) tapes: TapeFiles,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// Only the calls that fit this expression; `shadowcat tape search --help` lists its operators
    #[arg(long, value_name = "EXPR")]
    filter: Option<Filter>,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    listing: Listing,
}

impl Args {
    pub(super) fn run(&self, tapes: &[PathBuf], keys: Keys) -> Result<(), Failure> {
        reading::printing(tapes, keys, "counting", |reading, out| self.tapes(tapes, reading, out))
    }

    pub(super) fn tapes(
        &self,
        tapes: &[PathBuf],
        reading: &mut Reading,
        out: &mut dyn Write,
    ) -> Result<(), Stop> {
        let mut figures = Figures::default();
        for path in tapes {
            figures.tapes += 1;
            reading.calls(path, &self.part, |event| {
                match event {
                    Event::Call(call) if !self.is_meant(&call) => {}
                    Event::Call(call) => figures.count(&call),
                    Event::Ruled(_) => {}
                    Event::Lost(lost) => figures.lost = figures.lost.saturating_add(lost.count),
                }
                Ok(())
            })?;
        }
        if self.listing.is_json() {
            writeln!(out, "{:#}", figures.described())?;
        } else {
            write!(out, "{}", figures.text())?;
        }
        Ok(())
    }

    fn is_meant(&self, call: &Call) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(call))
    }
}

#[derive(Default)]
struct Figures {
    tapes: u64,
    messages: u64,
    bytes: u64,
    lost: u64,
    sessions: HashSet<String>,
    span: Option<(OffsetDateTime, OffsetDateTime)>,
    all: Row,
    rows: BTreeMap<String, Row>,
    failures: BTreeMap<String, u64>,
}

/// The calls of one method and name.
#[derive(Default)]
struct Row {
    calls: u64,
    failed: u64,
    unanswered: u64,
    took: Option<Histogram<u64>>,
}

impl Row {
    fn count(&mut self, call: &Call) {
        self.calls += 1;
        self.failed += u64::from(call.is_failure());
        self.unanswered += u64::from(call.is_unanswered());
        if let Some(us) = call.took_us() {
            if self.took.is_none() {
                self.took = Histogram::new(DIGITS).ok();
            }
            // It grows with what it holds; a time beyond all it could hold is no time.
            self.took.iter_mut().for_each(|took| took.record(us).unwrap_or_default());
        }
    }

    /// The latency at these percentiles and the longest; none if nothing was answered.
    fn latency(&self) -> [Option<u64>; 4] {
        let took = self.took.as_ref().filter(|took| !took.is_empty());
        [50.0, 90.0, 99.0, 100.0].map(|percentile| took.map(|took| took.value_at_percentile(percentile)))
    }
}

impl Figures {
    fn count(&mut self, call: &Call) {
        for frame in call.frames() {
            self.messages += 1;
            self.bytes += frame.message.len() as u64;
            let (first, last) = self.span.unwrap_or((frame.time, frame.time));
            self.span = Some((first.min(frame.time), last.max(frame.time)));
        }
        if let Some(session) = &call.asked.session
            && self.sessions.len() < SESSIONS_MAX
            && !self.sessions.contains(session)
        {
            self.sessions.insert(session.clone());
        }
        for outcome in call.frames().filter_map(Frame::outcome) {
            if let Some(code) = outcome.code() {
                *bounded(&mut self.failures, code.to_owned()) += 1;
            }
        }
        self.all.count(call);
        let method = call.asked.method.as_deref().unwrap_or("(answers without their request)");
        let name = call.asked.name().map_or_else(String::new, |name| format!(" {name}"));
        bounded(&mut self.rows, format!("{method}{name}")).count(call);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        writeln!(
            text,
            "tapes {}, sessions {}, messages {} ({}), missing {}",
            self.tapes,
            self.sessions.len(),
            self.messages,
            render::size(usize::try_from(self.bytes).unwrap_or(usize::MAX)),
            self.lost
        )
        .ok();
        if let Some((first, last)) = self.span {
            writeln!(text, "from {} to {}", super::time(first), super::time(last)).ok();
        }
        let mut rows: Vec<(&String, &Row)> = self.rows.iter().collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.calls));
        let all = "all".to_owned();
        let rows: Vec<[String; 8]> =
            rows.into_iter().chain([(&all, &self.all)]).map(|(name, row)| cells(name, row)).collect();
        text.push('\n');
        text.push_str(&output::table(
            ["CALL", "COUNT", "FAILED", "NO ANSWER", "P50", "P90", "P99", "MAX"],
            &rows,
        ));
        if !self.failures.is_empty() {
            let rows: Vec<[String; 2]> = self
                .failures
                .iter()
                .map(|(code, count)| [render::visible(code), count.to_string()])
                .collect();
            text.push('\n');
            text.push_str(&output::table(["FAILURE", "COUNT"], &rows));
        }
        text
    }

    fn described(&self) -> Value {
        json!({
            "tapes": self.tapes,
            "sessions": self.sessions.len(),
            "messages": self.messages,
            "bytes": self.bytes,
            "lost": self.lost,
            "first": self.span.map(|(first, _)| super::time(first)),
            "last": self.span.map(|(_, last)| super::time(last)),
            "all": described(&self.all),
            "calls": self.rows.iter().map(|(name, row)| (name.clone(), described(row))).collect::<BTreeMap<_, _>>(),
            "failures": self.failures,
        })
    }
}

fn cells(name: &str, row: &Row) -> [String; 8] {
    let [p50, p90, p99, max] = row.latency().map(|us| us.map_or_else(|| "-".to_owned(), render::duration));
    let (calls, failed) = (row.calls.to_string(), row.failed.to_string());
    [render::visible(name), calls, failed, row.unanswered.to_string(), p50, p90, p99, max]
}

fn described(row: &Row) -> Value {
    let [p50, p90, p99, max] = row.latency();
    json!({
        "count": row.calls,
        "failed": row.failed,
        "unanswered": row.unanswered,
        "took_us": {"p50": p50, "p90": p90, "p99": p99, "max": max},
    })
}

/// The entry of this name, or that of all others once there are too many.
fn bounded<T: Default>(entries: &mut BTreeMap<String, T>, name: String) -> &mut T {
    let is_full = entries.len() >= ROWS_MAX && !entries.contains_key(&name);
    entries.entry(if is_full { OTHERS.to_owned() } else { name }).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_bound_is_counted_together() {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for number in 0..1_000 {
            *bounded(&mut counts, number.to_string()) += 1;
        }
        assert_eq!(counts.len(), ROWS_MAX + 1);
        assert_eq!(counts[OTHERS], 1_000 - ROWS_MAX as u64);
        assert_eq!(counts.values().sum::<u64>(), 1_000);
    }

    #[test]
    fn figures_of_nothing_are_printed_too() {
        let text = Figures::default().text();
        assert!(text.starts_with("tapes 0, sessions 0, messages 0 (0 B), missing 0\n"), "{text}");
        assert_eq!(Figures::default().described()["all"]["took_us"]["p50"], Value::Null);
    }

    #[test]
    fn latency_is_right_to_two_digits() {
        let mut row = Row::default();
        let mut took = Histogram::new(DIGITS).unwrap();
        (1..=100_u64).for_each(|ms| took.record(ms * 1_000).unwrap());
        row.took = Some(took);
        let [p50, p90, p99, max] = row.latency().map(Option::unwrap);
        for (found, right) in [(p50, 50_000), (p90, 90_000), (p99, 99_000), (max, 100_000)] {
            assert!(found.abs_diff(right) * 100 <= right, "{found} for {right}");
        }
    }
}
