//! A part of a tape: whole calls, so that it can be played.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use super::{EditError, Input, Piece};
use crate::calls::{Call, Calls};
use crate::file::TapeFile;
use crate::index::Point;
use crate::keys::{Key, Keys};
use crate::record::Frame;
use crate::tape::Summary;

/// Exchanges that are picked at one time.
const EXCHANGES_MAX: usize = 16 * 1024 * 1024;

/// What of a tape is wanted.
#[expect(missing_debug_implementations, reason = "a filter is a function")]
pub struct Selection<'a> {
    /// From this point on.
    pub from: Option<Point>,
    /// Up to this point, and with it.
    pub to: Option<Point>,
    /// Calls for which this is true.
    pub filter: &'a dyn Fn(&Call) -> bool,
    /// Whether the handshakes of the sessions of all these come along.
    pub handshakes: bool,
}

impl Selection<'_> {
    fn is_within(&self, frame: &Frame) -> bool {
        self.from.is_none_or(|from| from.is_reached_by(frame)) && !self.is_over(frame)
    }

    fn is_over(&self, frame: &Frame) -> bool {
        self.to.is_some_and(|to| to.is_passed_by(frame))
    }

    fn wants(&self, call: &Call) -> bool {
        call.frames().any(|frame| self.is_within(frame)) && (self.filter)(call)
    }
}

/// Writes the wanted calls to a new tape: all their frames at both sides of a bridge, and the questions that belong to
/// them. The tape is read twice.
///
/// # Errors
/// When the tape is damaged, or the new one cannot be written.
pub fn cut(
    tape: &Path,
    keys: &Keys,
    selection: &Selection<'_>,
    path: &Path,
    seal: Option<&Key>,
    progress: &mut dyn FnMut(u64),
) -> Result<Summary, EditError> {
    let mut input = Input::open(tape, keys)?;
    let mut picked = Picked::default();
    pick(&mut input, selection, &mut picked, progress)?;
    let read = input.reader.passed();

    let mut input = Input::open(tape, keys)?;
    let mut out = TapeFile::create_partial(path, seal, input.header.created, input.header.redacted, true)?;
    let mut within = selection.from.is_none();
    while let Some(piece) = input.next()? {
        match piece {
            Piece::Frame(frame) => {
                within = selection.is_within(&frame);
                if picked.holds(&frame) || selection.handshakes && picked.is_handshake(&frame) {
                    out.frame(&frame)?;
                }
            }
            // What is missing within the part is missing in it, whatever it may have been.
            Piece::Lost(lost) if within => out.lost(lost.count, &lost.reason)?,
            Piece::Lost(_) => {}
        }
        progress(read + input.reader.passed());
    }
    Ok(out.finish()?)
}

/// The exchanges and sessions that are wanted.
#[derive(Default)]
struct Picked {
    exchanges: BTreeSet<u64>,
    sessions: BTreeSet<String>,
    /// The exchanges of handshakes; which of them are wanted shows at the end.
    handshakes: BTreeSet<u64>,
}

fn pick<R: BufRead>(
    input: &mut Input<R>,
    selection: &Selection<'_>,
    picked: &mut Picked,
    progress: &mut dyn FnMut(u64),
) -> Result<(), EditError> {
    let (mut edge, mut wire) = (Calls::at("edge"), Calls::at("wire"));
    while let Some(piece) = input.next()? {
        if let Piece::Frame(frame) = piece {
            let frame = *frame;
            let calls = if frame.hop == "wire" { &mut wire } else { &mut edge };
            if let Some(call) = calls.take(frame) {
                picked.take(&call, selection)?;
            }
        }
        progress(input.reader.passed());
    }
    edge.rest().chain(wire.rest()).try_for_each(|call| picked.take(&call, selection))
}

impl Picked {
    fn take(&mut self, call: &Call, selection: &Selection<'_>) -> Result<(), EditError> {
        let asked = &call.asked;
        if matches!(asked.method.as_deref(), Some("initialize" | "notifications/initialized")) {
            self.handshakes.insert(asked.exchange);
        }
        if selection.wants(call) {
            self.exchanges.insert(asked.exchange);
            self.exchanges.extend(asked.related);
            self.sessions.extend(asked.session.clone());
        }
        let count = self.exchanges.len().max(self.sessions.len()).max(self.handshakes.len());
        if count > EXCHANGES_MAX { Err(EditError::TooMany { max: EXCHANGES_MAX }) } else { Ok(()) }
    }

    fn holds(&self, frame: &Frame) -> bool {
        self.exchanges.contains(&frame.exchange)
            || frame.related.is_some_and(|related| self.exchanges.contains(&related))
    }

    fn is_handshake(&self, frame: &Frame) -> bool {
        self.handshakes.contains(&frame.exchange)
            && frame.session.as_ref().is_some_and(|session| self.sessions.contains(session))
    }
}
