//! New tapes from old ones. The old ones are only read.
//!
//! A line that cannot be read stops the work, because what is made of a damaged tape would look whole. That a tape has
//! no end is no damage: it may be of a program that was killed.

mod cut;
mod merge;
mod redact;
#[cfg(test)]
mod tests;

use std::io::BufRead;

pub use cut::{Selection, cut};
pub use merge::merge;
pub use redact::redact;

use crate::file::FileError;
use crate::reader::{ReadError, Reader};
use crate::record::{Frame, Header, Lost, Record};

/// Why no tape was made.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// A tape cannot be used as it is.
    #[error("the tape cannot be used as it is: `shadowcat tape validate --repair` copies what is whole")]
    Read(#[source] ReadError),
    /// The new one cannot be written.
    #[error(transparent)]
    Write(#[from] FileError),
    /// More calls are wanted than fit into memory.
    #[error("more than {max} exchanges are wanted: cut a smaller part")]
    TooMany {
        /// How many may be.
        max: usize,
    },
}

/// A tape that is read for another.
#[derive(Debug)]
pub struct Input<R> {
    header: Header,
    reader: Reader<R>,
}

/// What of a tape goes into another.
#[derive(Debug)]
enum Piece {
    Frame(Box<Frame>),
    Lost(Lost),
}

impl<R: BufRead> Input<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When it is no tape.
    pub fn new(mut reader: Reader<R>) -> Result<Self, EditError> {
        match reader.next() {
            Some(Ok(Record::Header(header))) => Ok(Self { header, reader }),
            Some(Err(fault)) => Err(EditError::Read(fault)),
            Some(Ok(_)) | None => Err(EditError::Read(ReadError::NoHeader)),
        }
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self) -> Result<Option<Piece>, EditError> {
        loop {
            match self.reader.next() {
                Some(Ok(Record::Frame(frame))) => return Ok(Some(Piece::Frame(frame))),
                Some(Ok(Record::Lost(lost))) => return Ok(Some(Piece::Lost(lost))),
                Some(Ok(Record::Header(_) | Record::End(_))) => {}
                Some(Err(ReadError::Torn { .. })) | None => return Ok(None),
                Some(Err(fault)) => return Err(EditError::Read(fault)),
            }
        }
    }
}
