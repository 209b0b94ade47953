//! What a replay that nobody judges shows: its calls, and what a reader should know.

use std::fmt::Write as _;

use shadowcat_playback::replay::Run;
use shadowcat_playback::report::{Report, Verdict};

pub(super) fn text(report: &Report, run: &Run) -> String {
    let mut text = String::new();
    for call in &report.calls {
        let took = call.took.map_or("-".to_owned(), |took| format!("{:.1} ms", took.as_secs_f64() * 1000.0));
        // Writing into a string does not fail.
        writeln!(text, "{took:>12}  {}", call.title()).ok();
    }
    let not_said =
        |verdict: &Verdict| matches!(verdict, Verdict::PassedOver(reason) if reason.contains("not said"));
    let skipped = report.calls.iter().filter(|call| not_said(&call.verdict)).count();
    for remark in &report.remarks {
        writeln!(text, "note: {}", remark.says).ok();
    }
    for note in &report.notes {
        writeln!(text, "note: {note}").ok();
    }
    let carried: usize = run.clients.iter().map(|played| played.carried).sum();
    let (elapsed, length) = (report.elapsed.as_secs_f64(), report.length.as_secs_f64());
    write!(
        text,
        "{} calls of {} in {elapsed:.2} s; {length:.2} s on the tape",
        report.calls.len() - skipped,
        match run.clients.len() {
            1 => "1 client".to_owned(),
            clients => format!("{clients} clients"),
        },
    )
    .ok();
    if carried > 0 {
        write!(text, "; {carried} values carried over").ok();
    }
    text.push('\n');
    text
}
