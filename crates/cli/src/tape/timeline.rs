//! What is on a tape as lines for people, in columns, and in colour where a terminal shows them.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

use shadowcat_tape::{Call, Frame, Lost, render};
use time::Date;

use super::files;
use crate::process::Process;

/// So wide that a line with a usual name fits into 80 columns.
const ASKED_WIDTH: usize = 36;
const FIGURE_WIDTH: usize = 8;

/// Colours, on a terminal that wants them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    pub(super) fn of(process: &Process) -> Self {
        let is_unwanted = process.variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_on: io::stdout().is_terminal() && !is_unwanted }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    fn aside(self, text: &str) -> String {
        self.with("2", text)
    }

    fn failure(self, text: &str) -> String {
        self.with("31", text)
    }

    fn doubt(self, text: &str) -> String {
        self.with("33", text)
    }
}

/// The lines of tapes.
pub(super) struct Timeline {
    paint: Paint,
    /// Whether messages are below their calls.
    is_full: bool,
    /// The tape and the day that were told last.
    has_name: bool,
    day: Option<Date>,
}

impl Timeline {
    pub(super) fn new(paint: Paint, is_full: bool) -> Self {
        Self { paint, is_full, has_name: false, day: None }
    }

    /// The name of a tape above what is on it, with a blank line before all but the first.
    pub(super) fn name(&mut self, path: &Path, out: &mut dyn Write) -> io::Result<()> {
        let blank = if self.has_name { "\n" } else { "" };
        (self.has_name, self.day) = (true, None);
        writeln!(out, "{blank}{}", self.paint.heading(&files::name(path)))
    }

    /// A call on one line, with what came in between or its messages below.
    pub(super) fn call(&mut self, call: &Call, out: &mut dyn Write) -> io::Result<()> {
        self.day(&call.asked, out)?;
        let text = render::call(call);
        let outcome = match text.outcome.as_str() {
            outcome if call.is_failure() => self.paint.failure(outcome),
            outcome if call.is_unanswered() => self.paint.doubt(outcome),
            outcome => outcome.to_owned(),
        };
        let (head, took, size) = (self.paint.aside(&text.head), text.took, text.size);
        let asked = match text.asked {
            // An answer of which the request is before the part.
            asked if call.asked.is_failure() => self.paint.failure(&asked),
            asked => format!("{asked:ASKED_WIDTH$}"),
        };
        let line = format!("{head}{asked}  {took:>FIGURE_WIDTH$}  {size:>FIGURE_WIDTH$}  {outcome}");
        writeln!(out, "{}", line.trim_end())?;
        let indent = " ".repeat(text.head.chars().count());
        if !text.rules.is_empty() {
            writeln!(out, "{indent}   {}", self.paint.aside(&format!("[{}]", text.rules.join(", "))))?;
        }
        if self.is_full {
            return call.frames().try_for_each(|frame| message(frame, &indent, out));
        }
        text.between.iter().try_for_each(|line| writeln!(out, "{indent}   {}", self.paint.aside(line)))
    }

    /// A message on one line.
    pub(super) fn frame(&mut self, frame: &Frame, out: &mut dyn Write) -> io::Result<()> {
        self.day(frame, out)?;
        let line = render::line(frame);
        writeln!(out, "{}", if frame.is_failure() { self.paint.failure(&line) } else { line })
    }

    pub(super) fn lost(&self, lost: &Lost, out: &mut dyn Write) -> io::Result<()> {
        let Lost { count, reason, .. } = lost;
        let what = if *count == 1 { "message is" } else { "messages are" };
        let line = format!("… {count} {what} missing here ({})", render::visible(reason));
        writeln!(out, "{}", self.paint.doubt(&line))
    }

    /// The day, where it begins: lines have the time only.
    fn day(&mut self, frame: &Frame, out: &mut dyn Write) -> io::Result<()> {
        let day = frame.time.date();
        if self.day.replace(day) == Some(day) {
            Ok(())
        } else {
            writeln!(out, "{}", self.paint.aside(&day.to_string()))
        }
    }
}

fn message(frame: &Frame, indent: &str, out: &mut dyn Write) -> io::Result<()> {
    render::pretty(&frame.message).iter().try_for_each(|line| writeln!(out, "{indent}{line}"))
}
