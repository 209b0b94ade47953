//! The report for people.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::script::cut;

use super::{Finding, Judged, Latency, Report, Verdict};

/// Values in a difference are cut beyond this.
const VALUE_CHARS_MAX: usize = 400;
/// Values that are new or gone are shown up to this.
const WHOLE_BYTES_MAX: usize = 200;
/// Lines of one difference that are shown.
const LINES_MAX: usize = 40;
/// Lines around a change that are shown.
const CONTEXT_LINES: usize = 2;

pub(super) fn write(report: &Report) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    body(report, &mut text).unwrap_or_default();
    text
}

fn body(report: &Report, out: &mut String) -> fmt::Result {
    writeln!(out, "{}\n", report.title())?;
    calls(report, out)?;
    for remark in &report.remarks {
        writeln!(out, "differs: {}", remark.says)?;
        change(remark, out)?;
        writeln!(out)?;
    }
    for latency in report.slower() {
        let (before, after) = (millis(latency.p50.0), millis(latency.p50.1));
        writeln!(
            out,
            "slower: {}: {before} -> {after} ms by the middle of {} calls, {:.1} times\n",
            latency.kind,
            latency.calls,
            latency.factor()
        )?;
    }
    latencies(&report.latencies, out)?;
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    summary(report, out)
}

fn calls(report: &Report, out: &mut String) -> fmt::Result {
    let mut told: Vec<(&Judged, &Vec<Finding>)> = Vec::new();
    for call in &report.calls {
        match &call.verdict {
            Verdict::Same => (),
            Verdict::PassedOver(reason) => {
                writeln!(out, "not compared: {} ({}): {reason}\n", call.title(), call.frame)?;
            }
            Verdict::Differs(findings) => {
                let earlier = told.iter().find(|(other, known)| {
                    other.method == call.method && other.name == call.name && *known == findings
                });
                write!(out, "differs: {} ({})", call.title(), call.frame)?;
                if let Some((other, _)) = earlier {
                    writeln!(out, ": as in {}\n", other.frame)?;
                    continue;
                }
                writeln!(out)?;
                for finding in findings {
                    writeln!(out, "  {}", finding.says)?;
                    change(finding, out)?;
                }
                writeln!(out)?;
                told.push((call, findings));
            }
        }
    }
    Ok(())
}

/// Findings with what changed in them.
pub(super) fn details(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let written = writeln!(text, "{}", finding.says).and_then(|()| change(finding, &mut text));
        written.unwrap_or_default();
    }
    text
}

fn change(finding: &Finding, out: &mut String) -> fmt::Result {
    if let Some(path) = &finding.path {
        writeln!(out, "    at {path}")?;
    }
    match (&finding.before, &finding.after) {
        (Some(Value::String(before)), Some(Value::String(after)))
            if before.contains('\n') || after.contains('\n') =>
        {
            lines(before, after, out)
        }
        // What is new or gone as a whole is named already; showing all of it hides the rest.
        (Some(value), None) | (None, Some(value)) if value.to_string().len() > WHOLE_BYTES_MAX => Ok(()),
        (before, after) => {
            if let Some(before) = before {
                writeln!(out, "    - {}", cut(&before.to_string(), VALUE_CHARS_MAX))?;
            }
            if let Some(after) = after {
                writeln!(out, "    + {}", cut(&after.to_string(), VALUE_CHARS_MAX))?;
            }
            Ok(())
        }
    }
}

fn lines(before: &str, after: &str, out: &mut String) -> fmt::Result {
    let diff = TextDiff::from_lines(before, after);
    let groups = diff.grouped_ops(CONTEXT_LINES);
    let changes = groups.iter().flatten().flat_map(|operation| diff.iter_changes(operation));
    for (number, change) in changes.enumerate() {
        if number == LINES_MAX {
            return writeln!(out, "    ...");
        }
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        writeln!(out, "    {sign} {}", cut(change.value().trim_end_matches('\n'), VALUE_CHARS_MAX))?;
    }
    Ok(())
}

fn latencies(latencies: &[Latency], out: &mut String) -> fmt::Result {
    if latencies.is_empty() {
        return Ok(());
    }
    let width = latencies.iter().map(|latency| latency.kind.chars().count()).max().unwrap_or(0);
    writeln!(out, "{:width$}  calls  {:>18}  {:>18}", "time in ms", "middle (p50)", "slow (p95)")?;
    for latency in latencies {
        let pair = |(before, after)| format!("{} -> {}", millis(before), millis(after));
        let (middle, slow) = (pair(latency.p50), pair(latency.p95));
        writeln!(out, "{:width$}  {:5}  {middle:>18}  {slow:>18}", latency.kind, latency.calls)?;
    }
    writeln!(out)
}

fn summary(report: &Report, out: &mut String) -> fmt::Result {
    let (all, differing, passed_over) = (report.calls.len(), report.differing(), report.passed_over());
    let same = all - differing - passed_over;
    write!(out, "{all} calls: {same} same, {differing} differ")?;
    if passed_over > 0 {
        write!(out, ", {passed_over} not compared")?;
    }
    if !report.remarks.is_empty() {
        write!(out, "; {} more differ", report.remarks.len())?;
    }
    match report.slower().count() {
        0 => (),
        1 => write!(out, "; 1 is slower")?,
        slower => write!(out, "; {slower} are slower")?,
    }
    writeln!(out, ". {}", if report.differs() { "They differ." } else { "They are the same." })
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
