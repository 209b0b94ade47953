//! What the commands that read tapes for people share: records to the end, calls, and colours.

use std::io::{self, BufRead, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use shadowcat_tape::{Call, Calls, Keys, Lost, OpenError, ReadError, Reader, Record, Source, render};

use crate::failure::Failure;
use crate::process::Process;

/// What ends the printing before the tapes end.
pub(super) enum Stop {
    Read(PathBuf, OpenError),
    Written(io::Error),
}

impl From<io::Error> for Stop {
    fn from(cause: io::Error) -> Self {
        Self::Written(cause)
    }
}

/// The first fault of a tape of which the rest was read all the same.
pub(super) struct Damage {
    pub(super) path: PathBuf,
    pub(super) fault: ReadError,
}

/// Prints to standard output. What is damaged is told at the end.
pub(super) fn printing(
    print: impl FnOnce(&mut dyn Write) -> Result<Option<Damage>, Stop>,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match print(&mut out).and_then(|damage| Ok(out.flush().map(|()| damage)?)) {
        Ok(None) => Ok(()),
        Ok(Some(Damage { path, fault })) => {
            Err(Failure::caused(format!("{}: not all of it can be read", path.display()), fault))
        }
        // A reader that has seen enough is no failure.
        Err(Stop::Written(cause)) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Written(cause)) => Err(Failure::caused("cannot write to standard output", cause)),
        Err(Stop::Read(path, cause)) => {
            Err(Failure::caused(format!("{}: cannot be read", path.display()), cause))
        }
    }
}

pub(super) fn open(path: &Path) -> Result<Reader<Source>, Stop> {
    shadowcat_tape::open(path, &Keys::default()).map_err(|cause| Stop::Read(path.to_owned(), cause))
}

/// Gives each whole record. A tape that is still being written may end within one; that is its state and no fault.
pub(super) fn records<R: BufRead>(
    path: &Path,
    mut reader: Reader<R>,
    mut each: impl FnMut(Record, &[u8]) -> Result<(), Stop>,
) -> Result<Option<Damage>, Stop> {
    let mut damage = None;
    while let Some(record) = reader.next() {
        match record {
            Ok(record) => each(record, reader.text())?,
            Err(ReadError::Torn { .. }) => {}
            Err(fault) => damage = damage.or(Some(Damage { path: path.to_owned(), fault })),
        }
    }
    Ok(damage)
}

/// What is on a tape for people.
pub(super) enum Event {
    Call(Box<Call>),
    Lost(Lost),
}

/// Gives the calls of the client's side in the order of their ends, and at last those that have none.
pub(super) fn calls<R: BufRead>(
    path: &Path,
    reader: Reader<R>,
    mut each: impl FnMut(Event) -> Result<(), Stop>,
) -> Result<Option<Damage>, Stop> {
    let mut open = Calls::at("edge");
    let damage = records(path, reader, |record, _| match record {
        Record::Frame(frame) => open.take(*frame).map_or(Ok(()), |call| each(Event::Call(Box::new(call)))),
        Record::Lost(lost) => each(Event::Lost(lost)),
        Record::Header(_) | Record::End(_) => Ok(()),
    })?;
    open.rest().try_for_each(|call| each(Event::Call(Box::new(call))))?;
    Ok(damage)
}

/// Colours, on a terminal that wants them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    pub(super) fn of(process: &Process) -> Self {
        Self { is_on: io::stdout().is_terminal() && process.variable("NO_COLOR").is_none() }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn aside(self, text: &str) -> String {
        self.with("2", text)
    }

    fn failure(self, text: &str) -> String {
        self.with("31", text)
    }

    fn doubt(self, text: &str) -> String {
        self.with("33", text)
    }
}

/// A call for people, with its messages below it if they are wanted.
pub(super) fn write_call(out: &mut dyn Write, call: &Call, paint: Paint, is_full: bool) -> io::Result<()> {
    let text = render::call(call);
    let outcome = match text.outcome.as_str() {
        outcome if call.is_failure() => paint.failure(outcome),
        outcome if call.is_unanswered() => paint.doubt(outcome),
        outcome => outcome.to_owned(),
    };
    let line = format!("{}{}  {outcome}", paint.aside(&text.head), text.asked);
    writeln!(out, "{}", line.trim_end())?;
    let indent = " ".repeat(text.head.chars().count());
    if is_full {
        for frame in call.frames() {
            for line in render::pretty(&frame.message).lines() {
                writeln!(out, "{indent}{line}")?;
            }
        }
        return Ok(());
    }
    text.between.iter().try_for_each(|line| writeln!(out, "{indent}   {}", paint.aside(line)))
}

pub(super) fn write_lost(out: &mut dyn Write, lost: &Lost) -> io::Result<()> {
    writeln!(out, "… {} messages are missing here ({})", lost.count, lost.reason)
}

/// The name of a tape above what it holds, with a blank line before all but the first.
pub(super) fn write_name(out: &mut dyn Write, path: &Path, paint: Paint, is_first: bool) -> io::Result<()> {
    let blank = if is_first { "" } else { "\n" };
    writeln!(out, "{blank}{}", paint.heading(&super::files::name(path)))
}
