//! A tape read back: one record at a time in constant memory, with the place of every fault.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::line::{self, LineError};
use crate::record::Record;

/// The longest line that is read; the proxy's largest message with all its escapes is far below.
const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;
/// A line buffer that grew beyond this for a large message is given back.
const LINE_BYTES_KEPT: usize = 1024 * 1024;

/// Why a line gives no record. All but [`ReadError::Io`], [`ReadError::Newer`] and [`ReadError::Torn`] leave the
/// reader able to go on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read any further.
    #[error("line {line} at byte {offset} cannot be read")]
    Io {
        /// The line, from 1.
        line: u64,
        /// Where it begins.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The line is not what was written.
    #[error("line {line} at byte {offset} is damaged: {detail}")]
    Corrupt {
        /// The line, from 1.
        line: u64,
        /// Where it begins.
        offset: u64,
        /// In what way.
        detail: String,
    },
    /// The file ends in the middle of a record: its program was killed, or is writing just now.
    #[error("the tape ends within line {line}, which begins at byte {offset}; all before it is whole")]
    Torn {
        /// The line, from 1.
        line: u64,
        /// Where it begins: the length of what is whole.
        offset: u64,
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

/// Reads the records of a tape in order. Records of kinds that are not known are passed over.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    line: Vec<u8>,
    number: u64,
    /// Where the next line begins.
    offset: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Body,
    Done,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?)))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads from here.
    pub fn new(source: R) -> Self {
        Self { source, line: Vec::new(), number: 0, offset: 0, stage: Stage::Start }
    }

    /// Where the next line begins: after the last record, the length of what was read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn read_line(&mut self) -> Option<Result<Option<Record>, ReadError>> {
        self.line.clear();
        self.line.shrink_to(LINE_BYTES_KEPT);
        let (number, offset) = (self.number + 1, self.offset);
        let (length, whole) = match self.next_line() {
            Ok((0, _)) => return self.end_of_file(),
            Ok(read) => read,
            Err(source) => {
                self.stage = Stage::Done;
                return Some(Err(ReadError::Io { line: number, offset, source }));
            }
        };
        if !whole {
            self.stage = Stage::Done;
            return Some(Err(ReadError::Torn { line: number, offset }));
        }
        (self.number, self.offset) = (number, offset + length);
        Some(self.record(offset))
    }

    fn end_of_file(&mut self) -> Option<Result<Option<Record>, ReadError>> {
        let empty = self.stage == Stage::Start;
        self.stage = Stage::Done;
        empty.then_some(Err(ReadError::NoHeader))
    }

    fn record(&mut self, offset: u64) -> Result<Option<Record>, ReadError> {
        let first = std::mem::replace(&mut self.stage, Stage::Body) == Stage::Start;
        match line::record(&self.line) {
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
            Err(fault) => Err(ReadError::Corrupt { line: self.number, offset, detail: fault.to_string() }),
        }
    }

    /// Fills `line` with the next line without its end; says how many bytes it took, and whether its end was there.
    /// Of a line that is too long only the beginning is kept, and its checksum will not fit.
    fn next_line(&mut self) -> io::Result<(u64, bool)> {
        let mut length = 0;
        loop {
            let available = match self.source.fill_buf() {
                Ok(available) => available,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(cause),
            };
            if available.is_empty() {
                return Ok((length, false));
            }
            let end = memchr::memchr(b'\n', available);
            let piece = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            let used = piece.len() + usize::from(end.is_some());
            self.source.consume(used);
            length += used as u64;
            if end.is_some() {
                return Ok((length, true));
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.stage != Stage::Done {
            if let Some(record) = self.read_line()?.transpose() {
                return Some(record);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
