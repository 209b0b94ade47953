//! Several tapes as one, in the order of their times.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::{EditError, Input, Piece};
use crate::file::TapeFile;
use crate::keys::{Key, Keys};
use crate::record::{Frame, Header};
use crate::tape::Summary;

/// Writes one tape of several. Each keeps its own order and its sessions; exchanges get new numbers, so that those of two
/// tapes are never taken for one; only the tapes of one run count on. It is called redacted if all are.
///
/// # Errors
/// When a tape is damaged, or the new one cannot be written.
pub fn merge(
    tapes: &[PathBuf],
    keys: &Keys,
    path: &Path,
    seal: Option<&Key>,
    progress: &mut dyn FnMut(u64),
) -> Result<Summary, EditError> {
    let inputs: Vec<_> = tapes.iter().map(|tape| Input::open(tape, keys)).collect::<Result<_, _>>()?;
    let begun = inputs.iter().map(|input| input.header.created).min().unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let redacted = inputs.iter().all(|input| input.header.redacted);
    let partial = inputs.iter().any(|input| input.header.partial);
    let mut out = TapeFile::create_partial(path, seal, begun, redacted, partial)?;
    let count = inputs.len() as u64;
    let runs = runs(inputs.iter().map(|input| &input.header));
    let mut strands = Vec::new();
    for (number, input) in runs.into_iter().zip(inputs) {
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
        progress(strands.iter().map(|strand| strand.input.reader.passed()).sum());
    }
    Ok(out.finish()?)
}

/// For each tape the number of the first of its run: the tapes of one run count their exchanges together.
fn runs<'a>(headers: impl Iterator<Item = &'a Header> + Clone) -> Vec<u64> {
    let firsts: HashMap<&str, Option<&str>> =
        headers.clone().map(|header| (header.tape.as_str(), header.previous.as_deref())).collect();
    let first = |header: &'a Header| {
        let mut tape = header.tape.as_str();
        // No longer than there are tapes, also where two name each other.
        for _ in 0..firsts.len() {
            match firsts.get(tape).copied().flatten() {
                Some(previous) if firsts.contains_key(previous) => tape = previous,
                _ => break,
            }
        }
        tape
    };
    let numbers: HashMap<&str, u64> = headers.clone().map(|header| header.tape.as_str()).zip(0..).collect();
    headers.map(|header| numbers.get(first(header)).copied().unwrap_or_default()).collect()
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
