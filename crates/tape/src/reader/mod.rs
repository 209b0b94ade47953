//! A tape read back: one record at a time in constant memory, with the place of every fault.

mod lines;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::line::{self, LineError};
use crate::open::Source;
use crate::record::Record;

pub use lines::Place;
pub(crate) use lines::{Found, LINE_BYTES_MAX, Lines, buffered};

/// Why a line gives no record. After [`ReadError::Io`], [`ReadError::Newer`] and [`ReadError::Torn`] there is nothing
/// more; a plain tape that is damaged elsewhere is read on behind that.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read any further.
    #[error("{place} cannot be read")]
    Io {
        /// The line.
        place: Place,
        /// What the system said.
        source: io::Error,
    },
    /// The line is not what was written.
    #[error("{place} is damaged: {detail}")]
    Corrupt {
        /// The line.
        place: Place,
        /// In what way.
        detail: String,
    },
    /// The file ends in the middle of a record: its program was killed, or is writing just now.
    #[error("the tape ends within {place}; all before it is whole")]
    Torn {
        /// The line; it begins where what is whole ends.
        place: Place,
    },
    /// The tape is of a format that this program does not know.
    #[error("the tape has format {major}: use a newer shadowcat")]
    Newer {
        /// Its major version.
        major: u32,
    },
    /// The file begins like no tape.
    #[error("the file does not begin with the header of a tape")]
    NoHeader,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line} at byte {}", self.offset),
            None => write!(f, "the line at byte {}", self.offset),
        }
    }
}

/// Reads the records of a tape in order. Records of kinds that are not known are passed over.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    /// The line that was read last.
    place: Place,
    /// The major version of the tape.
    major: u32,
    stage: Stage,
    /// The bytes of the file that have been read, where that is not what was read of the lines.
    passed: Option<Arc<AtomicU64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Body,
    Done,
}

impl Reader<BufReader<File>> {
    /// Opens a plain tape, to move about in it; [`crate::open`] opens any.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(buffered).map(Self::new)
    }

    /// Goes to the last `count` messages, the lost among them as one each. The header has to be read before.
    ///
    /// # Errors
    /// What the system says.
    pub fn seek_last(&mut self, count: u64) -> io::Result<()> {
        let is_end = |line: &[u8]| matches!(line::record(line), Ok(Some(Record::End(_))));
        let place = self.lines.last(1)?;
        let ends = self.lines.read_at(place)?.is_some_and(is_end);
        let place = self.lines.last(count.saturating_add(ends.into()))?;
        self.seek(place)
    }
}

impl<R: BufRead + Seek> Reader<R> {
    /// Goes on at a place from the tape's index. The header has to be read before.
    ///
    /// # Errors
    /// What the system says.
    pub fn seek(&mut self, place: Place) -> io::Result<()> {
        let next = self.lines.next();
        self.lines.seek(if place.offset > next.offset { place } else { next })
    }
}

impl<R: BufRead + Send + 'static> Reader<R> {
    /// The same among readers of other tapes.
    pub(crate) fn boxed(self) -> Reader<Source> {
        let Self { lines, place, major, stage, passed } = self;
        Reader { lines: lines.boxed(), place, major, stage, passed }
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads from here.
    pub fn new(source: R) -> Self {
        let (place, stage) = (Place::START, Stage::Start);
        Self { lines: Lines::new(source), place, major: line::MAJOR, stage, passed: None }
    }

    pub(crate) fn counted_by(self, passed: Arc<AtomicU64>) -> Self {
        Self { passed: Some(passed), ..self }
    }

    /// How much of the file has been read, for a bar beside its length.
    pub fn passed(&self) -> u64 {
        self.passed.as_ref().map_or_else(|| self.offset(), |passed| passed.load(Ordering::Relaxed))
    }

    /// Where the next line begins: after the last record, the length of what was read. Of a tape that is compressed or
    /// encrypted it is the place among the lines inside.
    pub fn offset(&self) -> u64 {
        self.lines.next().offset
    }

    /// Where the line of the last record or fault begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The line of the record that was given last, as it stands on the tape, without its end.
    pub fn text(&self) -> &[u8] {
        self.lines.line()
    }

    /// The next line; no record for one of a kind that is not known.
    pub(crate) fn next_line(&mut self) -> Option<Result<Option<Record>, ReadError>> {
        if self.stage == Stage::Done {
            return None;
        }
        let place = self.lines.next();
        self.place = place;
        match self.lines.read() {
            Ok(Found::Line) => Some(self.record(place)),
            Ok(Found::Torn) => {
                self.stage = Stage::Done;
                Some(Err(ReadError::Torn { place }))
            }
            Ok(Found::Nothing) => {
                let is_empty = self.stage == Stage::Start;
                self.stage = Stage::Done;
                is_empty.then_some(Err(ReadError::NoHeader))
            }
            Err(source) => {
                self.stage = Stage::Done;
                Some(Err(broken(source, place)))
            }
        }
    }

    fn record(&mut self, place: Place) -> Result<Option<Record>, ReadError> {
        let first = std::mem::replace(&mut self.stage, Stage::Body) == Stage::Start;
        match line::record_of(self.lines.line(), self.major) {
            Ok(Some(Record::Header(header))) => {
                self.major = header.major;
                Ok(Some(Record::Header(header)))
            }
            Ok(Some(record)) if first && !matches!(record, Record::Header(_)) => Err(ReadError::NoHeader),
            Ok(record) => Ok(record),
            Err(LineError::Newer { major }) => {
                self.stage = Stage::Done;
                Err(ReadError::Newer { major })
            }
            Err(LineError::NoChecksum) if first => {
                self.stage = Stage::Done;
                Err(ReadError::NoHeader)
            }
            Err(fault) => Err(ReadError::Corrupt { place, detail: fault.to_string() }),
        }
    }
}

/// What is compressed or encrypted says in this way that it was cut or changed; there is no next line to go on at.
fn broken(source: io::Error, place: Place) -> ReadError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Torn { place },
        io::ErrorKind::InvalidData => ReadError::Corrupt { place, detail: source.to_string() },
        _ => ReadError::Io { place, source },
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.next_line()?.transpose() {
                return Some(record);
            }
        }
    }
}
