//! Where in a tape is what: a file beside it, made from it and never needed to read it.
//!
//! It holds a mark for each [`SPAN`] of the tape. A tape only grows, so an index of its beginning stays right and is
//! carried on from where it ends; one that is missing, damaged or of another file is made anew. The end of a tape is
//! found without it, by reading backwards.

mod file;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::line;
use crate::reader::{self, Found, Lines, Place, ReadError, Reader};
use crate::record::{Frame, Record};

/// How many bytes of a tape there are for each mark: what a seek reads too much at most, but for a longer line.
const SPAN: u64 = 256 * 1024;

/// A moment of a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The message of this number.
    Seq(u64),
    /// The first message at this time or later.
    Time(OffsetDateTime),
}

impl Point {
    /// Whether the frame is at this point or behind it.
    pub fn is_reached_by(&self, frame: &Frame) -> bool {
        match self {
            Self::Seq(seq) => frame.seq >= *seq,
            Self::Time(time) => frame.time >= *time,
        }
    }

    /// Whether the frame is behind this point.
    pub fn is_passed_by(&self, frame: &Frame) -> bool {
        match self {
            Self::Seq(seq) => frame.seq > *seq,
            Self::Time(time) => frame.time > *time,
        }
    }
}

/// The index of one tape.
#[derive(Debug, PartialEq, Eq)]
pub struct Index {
    /// The tape's id.
    tape: String,
    marks: Vec<Mark>,
    /// Up to where it knows the tape.
    known: Mark,
}

/// A place, and what there is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Mark {
    offset: u64,
    line: u64,
    /// The highest number before it.
    seq: u64,
    /// The latest time before it, in microseconds since 1970: clocks may be set back.
    time_us: i64,
}

impl Index {
    /// The index of the tape in this file: from beside it, carried on to the tape's present end and kept there. That
    /// it cannot be kept is no failure. `progress` is told the bytes of the tape that have been read.
    ///
    /// # Errors
    /// When the file is no tape, or cannot be read.
    pub fn of(tape: &Path, progress: &mut dyn FnMut(u64)) -> Result<Self, ReadError> {
        let id = match Reader::open(tape).map_err(unreadable)?.next() {
            Some(Ok(Record::Header(header))) => header.tape,
            Some(Err(fault)) => return Err(fault),
            Some(Ok(_)) | None => return Err(ReadError::NoHeader),
        };
        let file = File::open(tape).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        let mut lines = Lines::new(reader::buffered(file));
        let kept = file::read(&beside(tape)).filter(|kept| kept.tape == id && kept.fits(bytes, &mut lines));
        let mut index = kept.unwrap_or_else(|| Self::empty(id));
        if bytes.saturating_sub(index.known.offset) >= SPAN {
            index.grow(&mut lines, progress).map_err(unreadable)?;
            if let Err(cause) = file::write(&index, &beside(tape)) {
                tracing::debug!(%cause, "the index is not kept");
            }
        }
        Ok(index)
    }

    /// A place from which reading meets this point, with little before it.
    pub fn before(&self, point: &Point) -> Place {
        let is_before = |mark: &Mark| match point {
            Point::Seq(seq) => mark.seq < *seq,
            Point::Time(time) => mark.time_us < micros(*time),
        };
        let count = self.marks.partition_point(is_before);
        self.marks.get(..count).and_then(<[Mark]>::last).map_or(Place::START, Mark::place)
    }

    fn empty(tape: String) -> Self {
        Self { tape, marks: Vec::new(), known: Mark { offset: 0, line: 1, seq: 0, time_us: i64::MIN } }
    }

    /// Whether it can be of this file: its last mark is at a line with a number that comes next.
    fn fits(&self, bytes: u64, lines: &mut Lines<BufReader<File>>) -> bool {
        let Some(last) = self.marks.last() else { return self.known.offset == 0 };
        let position = lines.read_at(last.place()).ok().flatten().and_then(line::position);
        self.known.offset <= bytes && position.is_some_and(|position| position.first > last.seq)
    }

    /// Reads on from where its knowledge ends.
    fn grow(&mut self, lines: &mut Lines<BufReader<File>>, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        lines.seek(self.known.place())?;
        while lines.read()? == Found::Line {
            self.note(lines.line());
            self.known.offset = lines.next().offset;
            self.known.line += 1;
            progress(self.known.offset);
        }
        Ok(())
    }

    /// Takes note of the line behind what it knows.
    fn note(&mut self, line: &[u8]) {
        let Some(position) = line::position(line) else { return };
        let last = self.marks.last().map_or(0, |mark| mark.offset);
        // A number that is no higher than one before it is no sign of where one is.
        if self.known.offset >= last + SPAN && position.first > self.known.seq {
            self.marks.push(self.known);
        }
        self.known.seq = self.known.seq.max(position.last);
        self.known.time_us = self.known.time_us.max(position.time.map_or(i64::MIN, micros));
    }
}

impl Mark {
    fn place(&self) -> Place {
        Place { offset: self.offset, line: Some(self.line) }
    }
}

/// The file of a tape's index, which is removed with the tape.
pub fn beside(tape: &Path) -> PathBuf {
    tape.with_extension("idx")
}

fn unreadable(source: io::Error) -> ReadError {
    ReadError::Io { place: Place::START, source }
}

/// A quarter of a million years fit.
fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}
