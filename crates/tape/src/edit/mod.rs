//! New tapes from old ones. The old ones are only read.
//!
//! A line that cannot be read stops the work, because what is made of a damaged tape would look whole. That a tape has
//! no end is no damage: it may be of a program that was killed.
//!
//! Each is encrypted with the key it is given, `seal`: whoever makes a plain tape of an encrypted one has to want it.

mod cut;
mod merge;
mod redact;
#[cfg(test)]
mod tests;

use std::io::BufRead;
use std::path::{Path, PathBuf};

pub use cut::{Selection, cut};
pub use merge::merge;
pub use redact::redact;

use crate::file::FileError;
use crate::keys::Keys;
use crate::open::{OpenError, Source, open};
use crate::reader::{ReadError, Reader};
use crate::record::{Frame, Header, Lost, Record};

/// Why no tape was made.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// A tape cannot be opened.
    #[error("{path} cannot be read")]
    Open {
        /// The tape.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// A tape cannot be used as it is.
    #[error("{path} cannot be used as it is: `shadowcat tape validate --repair` copies what is whole of it")]
    Read {
        /// The tape.
        path: PathBuf,
        /// What is wrong.
        source: ReadError,
    },
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
struct Input<R> {
    path: PathBuf,
    header: Header,
    reader: Reader<R>,
}

/// What of a tape goes into another.
#[derive(Debug)]
enum Piece {
    Frame(Box<Frame>),
    Lost(Lost),
}

/// The header of a tape.
///
/// # Errors
/// When it is no tape, or cannot be read.
pub fn header(tape: &Path, keys: &Keys) -> Result<Header, EditError> {
    Input::open(tape, keys).map(|input| input.header)
}

impl Input<Source> {
    fn open(path: &Path, keys: &Keys) -> Result<Self, EditError> {
        let reader = open(path, keys).map_err(|source| EditError::Open { path: path.to_owned(), source })?;
        Self::new(path, reader)
    }
}

impl<R: BufRead> Input<R> {
    fn new(path: &Path, mut reader: Reader<R>) -> Result<Self, EditError> {
        let path = path.to_owned();
        match reader.next() {
            Some(Ok(Record::Header(header))) => Ok(Self { path, header, reader }),
            Some(Err(source)) => Err(EditError::Read { path, source }),
            Some(Ok(_)) | None => Err(EditError::Read { path, source: ReadError::NoHeader }),
        }
    }

    fn next(&mut self) -> Result<Option<Piece>, EditError> {
        loop {
            match self.reader.next() {
                Some(Ok(Record::Frame(frame))) => return Ok(Some(Piece::Frame(frame))),
                Some(Ok(Record::Lost(lost))) => return Ok(Some(Piece::Lost(lost))),
                Some(Ok(Record::Header(_) | Record::End(_))) => {}
                Some(Err(ReadError::Torn { .. })) | None => return Ok(None),
                Some(Err(source)) => return Err(EditError::Read { path: self.path.clone(), source }),
            }
        }
    }
}
