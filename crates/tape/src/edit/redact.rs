//! The same tape without what a redactor finds.

use std::path::Path;

use super::{EditError, Input, Piece};
use crate::file::TapeFile;
use crate::keys::{Key, Keys};
use crate::redact::Redactor;
use crate::tape::Summary;

/// Writes a copy in which secrets are replaced, and says how many were. What was replaced before stays as it is.
///
/// # Errors
/// When the tape is damaged, or the copy cannot be written.
pub fn redact(
    tape: &Path,
    keys: &Keys,
    redactor: &Redactor,
    copy: &Path,
    seal: Option<&Key>,
    progress: &mut dyn FnMut(u64),
) -> Result<(Summary, u64), EditError> {
    let mut input = Input::open(tape, keys)?;
    let mut out = TapeFile::create_partial(copy, seal, input.header.created, true, input.header.partial)?;
    let mut count = 0;
    while let Some(piece) = input.next()? {
        match piece {
            Piece::Frame(mut frame) => {
                count += u64::from(redactor.frame(&mut frame));
                out.frame(&frame)?;
            }
            Piece::Lost(lost) => out.lost(lost.count, &lost.reason)?,
        }
        progress(input.reader.passed());
    }
    Ok((out.finish()?, count))
}
