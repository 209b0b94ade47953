//! Several tapes as one, in the order of their times.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::{EditError, Input, Piece};
use crate::file::TapeFile;
use crate::keys::Keys;
use crate::record::Frame;
use crate::tape::Summary;

/// Writes one tape of several. Each keeps its own order and its sessions; exchanges get new numbers, so that those of two
/// tapes are never taken for one. It is called redacted if all are.
///
/// # Errors
/// When a tape is damaged, or the new one cannot be written.
pub fn merge(
    tapes: &[PathBuf],
    keys: &Keys,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Summary, EditError> {
    let inputs: Vec<_> = tapes.iter().map(|tape| Input::open(tape, keys)).collect::<Result<_, _>>()?;
    let begun = inputs.iter().map(|input| input.header.created).min().unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let redacted = inputs.iter().all(|input| input.header.redacted);
    let mut out = TapeFile::create(path, begun, redacted)?;
    let count = inputs.len() as u64;
    let mut strands = Vec::new();
    for (number, input) in (0..).zip(inputs) {
        let late_us = u64::try_from((input.header.created - begun).whole_microseconds()).unwrap_or(0);
        strands.push(Strand::new(input, number, late_us)?);
    }
    while let Some(next) =
        strands.iter_mut().filter(|strand| strand.head.is_some()).min_by_key(|strand| strand.at_us)
    {
        match next.take()? {
            Some(Piece::Frame(mut frame)) => {
                frame.at_us = frame.at_us.saturating_add(next.late_us);
                renumber(&mut frame, count, next.number);
                out.frame(&frame)?;
            }
            Some(Piece::Lost(lost)) => out.lost(lost.count, &lost.reason)?,
            None => {}
        }
        progress(strands.iter().map(|strand| strand.input.reader.offset()).sum());
    }
    Ok(out.finish()?)
}

/// One of the tapes, and its next piece.
struct Strand<R> {
    input: Input<R>,
    number: u64,
    /// How long after the first of the tapes it was begun.
    late_us: u64,
    head: Option<Piece>,
    /// When the next piece is due. What was lost has no time and stays behind what was before it.
    at_us: u64,
}

impl<R: BufRead> Strand<R> {
    fn new(input: Input<R>, number: u64, late_us: u64) -> Result<Self, EditError> {
        let mut strand = Self { input, number, late_us, head: None, at_us: late_us };
        strand.take()?;
        Ok(strand)
    }

    /// The next piece; the one behind it becomes the next.
    fn take(&mut self) -> Result<Option<Piece>, EditError> {
        let next = self.input.next()?;
        if let Some(Piece::Frame(frame)) = &next {
            // Its own order stays, whatever its times say.
            self.at_us = self.at_us.max(frame.at_us.saturating_add(self.late_us));
        }
        Ok(std::mem::replace(&mut self.head, next))
    }
}

/// Numbers of one tape leave the same rest, and those of two tapes never do.
fn renumber(frame: &mut Frame, count: u64, number: u64) {
    frame.exchange = frame.exchange.wrapping_mul(count).wrapping_add(number);
    frame.related = frame.related.map(|related| related.wrapping_mul(count).wrapping_add(number));
}
