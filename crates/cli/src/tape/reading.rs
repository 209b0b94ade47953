//! What the commands that print what is on tapes share: the part that is read, records and calls, and what went wrong.

use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, LineWriter, Write};
use std::path::{Path, PathBuf};

use shadowcat_filter::Filter;
use shadowcat_tape::{
    Call, Calls, Frame, Keys, Kind, Lost, OpenError, Point, ReadError, Reader, Record, Source, Start,
};
use time::OffsetDateTime;

use super::files::unreadable;
use super::range::Range;
use crate::failure::Failure;
use crate::progress::Progress;

/// What ends the printing before the tapes end.
pub(crate) enum Stop {
    Read(PathBuf, OpenError),
    Written(io::Error),
}

impl Stop {
    /// As it is told of what was printed to this place.
    pub(super) fn failure(self, place: &str) -> Failure {
        match self {
            Self::Read(path, cause) => unreadable(&path, cause),
            Self::Written(cause) => Failure::caused(format!("cannot write to {place}"), cause),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(cause: io::Error) -> Self {
        Self::Written(cause)
    }
}

/// Reads tapes and prints to standard output, with a bar on stderr where it takes long. What is damaged is told at the
/// end.
pub(crate) fn printing(
    tapes: &[PathBuf],
    keys: Keys,
    what: &'static str,
    print: impl FnOnce(&mut Reading, &mut dyn Write) -> Result<(), Stop>,
) -> Result<(), Failure> {
    let mut reading = Reading::over(tapes, keys, what);
    let stdout = io::stdout().lock();
    // A person sees each line when it is found.
    let is_watched = stdout.is_terminal();
    let rows = reading.progress.beside(stdout);
    let mut out: Box<dyn Write> =
        if is_watched { Box::new(LineWriter::new(rows)) } else { Box::new(BufWriter::new(rows)) };
    let printed = print(&mut reading, &mut *out).and_then(|()| Ok(out.flush()?));
    reading.end("standard output", printed)
}

// The part of a tape that is read.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Part {
    #[command(flatten)]
    pub(super) range: Range,
    /// Only the last COUNT messages of each tape
    #[arg(long, value_name = "COUNT", conflicts_with = "from")]
    pub(super) tail: Option<u64>,
}

/// Where the part is on one tape.
struct Bounds {
    from: Option<Point>,
    to: Option<Point>,
}

impl Bounds {
    fn is_over(&self, record: &Record) -> bool {
        matches!((record, self.to), (Record::Frame(frame), Some(to)) if to.is_passed_by(frame))
    }

    fn has_begun(&self, record: &Record) -> bool {
        match (record, self.from) {
            (Record::Frame(frame), Some(from)) => from.is_reached_by(frame),
            (_, from) => from.is_none(),
        }
    }
}

/// What is on a tape for people.
pub(super) enum Event {
    Call(Box<Call>),
    /// What rules made of a notification of the client, which is behind it.
    Ruled(Box<Call>),
    Lost(Lost),
}

impl Event {
    /// Whether it is one of those that are meant. Of what is missing nobody knows what it was.
    pub(super) fn fits(&self, filter: Option<&Filter>) -> bool {
        match (self, filter) {
            (Self::Call(call) | Self::Ruled(call), Some(filter)) => filter.matches(&**call),
            (Self::Lost(_), Some(_)) => false,
            (_, None) => true,
        }
    }
}

/// Tapes that are read one after the other.
pub(crate) struct Reading {
    keys: Keys,
    progress: Progress,
    /// Bytes of the tapes that are done.
    done: u64,
    /// The first fault of a tape of which the rest was read all the same.
    damage: Option<(PathBuf, ReadError)>,
}

impl Reading {
    pub(super) fn new(keys: Keys, progress: Progress) -> Self {
        Self { keys, progress, done: 0, damage: None }
    }

    /// With a bar over all of them.
    pub(super) fn over(tapes: &[PathBuf], keys: Keys, what: &'static str) -> Self {
        let bytes = tapes.iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum();
        Self::new(keys, Progress::over(bytes, what))
    }

    /// What came of it, when this was printed to that place.
    pub(super) fn end(self, place: &str, printed: Result<(), Stop>) -> Result<(), Failure> {
        match (printed, self.damage) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some((path, fault))) => {
                let what = "not all of it can be read; the rest was";
                Err(Failure::caused(format!("{}: {what}", path.display()), fault))
            }
            // A reader that has seen enough is no failure.
            (Err(Stop::Written(cause)), _) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
            (Err(stop), _) => Err(stop.failure(place)),
        }
    }

    /// Gives each whole record of a part. A tape that is still being written may end within one; that is its state and
    /// no fault.
    pub(crate) fn records(
        &mut self,
        path: &Path,
        part: &Part,
        mut each: impl FnMut(Record, &[u8]) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let (mut reader, bounds) =
            self.open(path, part).map_err(|cause| Stop::Read(path.to_owned(), cause))?;
        let mut has_begun = false;
        while let Some(record) = reader.next() {
            self.progress.at(self.done + reader.passed());
            match record {
                Ok(record) if bounds.is_over(&record) => break,
                Ok(record) => {
                    has_begun |= bounds.has_begun(&record);
                    if has_begun {
                        each(record, reader.text())?;
                    }
                }
                Err(ReadError::Torn { .. }) => {}
                Err(fault) => {
                    self.damage.get_or_insert_with(|| (path.to_owned(), fault));
                }
            }
        }
        self.done += path.metadata().map_or(0, |file| file.len());
        Ok(())
    }

    /// Gives the calls of the client's side in the order of their ends, and at last those that have none.
    pub(super) fn calls(
        &mut self,
        path: &Path,
        part: &Part,
        mut each: impl FnMut(Event) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut open = Calls::at("edge");
        self.records(path, part, |record, _| match record {
            Record::Frame(frame) if is_ruled_notification(&frame) => {
                each(Event::Ruled(Box::new(Call::of(*frame))))
            }
            Record::Frame(frame) => {
                open.take(*frame).map_or(Ok(()), |call| each(Event::Call(Box::new(call))))
            }
            Record::Lost(lost) => each(Event::Lost(lost)),
            Record::Header(_) | Record::End(_) => Ok(()),
        })?;
        open.rest().try_for_each(|call| each(Event::Call(Box::new(call))))
    }

    fn open(&mut self, path: &Path, part: &Part) -> Result<(Reader<Source>, Bounds), OpenError> {
        let begun = match shadowcat_tape::open(path, &self.keys)?.next() {
            Some(Ok(Record::Header(header))) => header.created,
            // The reader will say what is wrong.
            _ => OffsetDateTime::UNIX_EPOCH,
        };
        let bounds = Bounds { from: part.range.from(begun), to: part.range.to(begun) };
        let start = match (part.tail, bounds.from) {
            (Some(count), _) => Start::Last(count),
            (None, Some(point)) => Start::Before(point),
            (None, None) => Start::Header,
        };
        let (progress, done) = (&mut self.progress, self.done);
        let reader = shadowcat_tape::open_at(path, &self.keys, start, &mut |at| progress.at(done + at))?;
        Ok((reader, bounds))
    }
}

/// A call has no end to tell it at: the client's notification is over when it has passed.
fn is_ruled_notification(frame: &Frame) -> bool {
    frame.hop == "wire" && frame.kind == Kind::Notification && !frame.rules.is_empty()
}
