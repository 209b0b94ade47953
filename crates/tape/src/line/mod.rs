//! A record as one line of JSON, and back. `docs/tape-format.md` says the same to other programs.
//!
//! Every line begins with its checksum at a fixed place: `{"crc":"` and eight lower-case hex digits and `",`. The
//! checksum is the CRC-32 of all that follows up to and without the line end.

mod migrations;
mod read;
mod write;

pub(crate) use read::{LineError, object, position, record, record_of, unsealed_frame};
pub(crate) use write::{
    FrameLine, Sides, Word, end, frame, header, lost, sealed, side_words, unnumbered, unsealed,
};

/// A reader refuses a tape whose major version is above this.
pub(crate) const MAJOR: u32 = 1;
pub(crate) const MINOR: u32 = 2;

const OPEN: &[u8] = br#"{"crc":""#;
const CLOSE: &[u8] = br#"","#;
const DIGITS: usize = 8;
/// Where the checksummed text begins.
const BODY: usize = OPEN.len() + DIGITS + CLOSE.len();

#[cfg(test)]
mod tests;
