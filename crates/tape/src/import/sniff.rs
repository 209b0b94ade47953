//! What a file is by its first bytes, where that is not what is said of it.

use std::io::BufRead;

use super::ImportError;
use crate::open::ZSTD_MAGIC;
use crate::sealed;

/// Windows writes it before text, and no parser of JSON takes it.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Passes over a mark of UTF-8.
///
/// # Errors
/// When it is nothing to import, with the way out.
pub(super) fn look(source: &mut impl BufRead) -> Result<(), ImportError> {
    let begin = source.fill_buf().map_err(ImportError::Read)?;
    if begin.starts_with(UTF8_MARK) {
        source.consume(UTF8_MARK.len());
        return Ok(());
    }
    match told(begin) {
        Some(told) => Err(ImportError::Format(told.to_owned())),
        None => Ok(()),
    }
}

fn told(begin: &[u8]) -> Option<&'static str> {
    let is = |magic: &[u8]| begin.starts_with(magic);
    let is_tape =
        is(sealed::MAGIC) || (is(b"{\"crc\":\"") && begin.get(16..35) == Some(b"\",\"record\":\"header\""));
    if is_tape {
        return Some("this is a tape already: `shadowcat tape show` and all other commands read it as it is");
    }
    if is(b"\xff\xfe") || is(b"\xfe\xff") {
        return Some("this is UTF-16: save it as UTF-8, or convert it with `iconv -f UTF-16 -t UTF-8`");
    }
    if is(b"\x1f\x8b") || is(b"PK\x03\x04") || is(ZSTD_MAGIC) {
        return Some("this is compressed: unpack it, and import what is inside");
    }
    None
}
