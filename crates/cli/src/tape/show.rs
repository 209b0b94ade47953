//! The messages of one tape, in constant memory however long it is.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use shadowcat_tape::{Keys, OpenError, ReadError, Record, render};

use crate::failure::Failure;
use crate::output::Format;

/// Prints a tape to its end. What is damaged is told at the end; what is whole is shown all the same.
pub(super) fn show(path: &Path, format: Format) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match copy(path, format, &mut out).and_then(|fault| out.flush().map(|()| fault).map_err(Stop::Written)) {
        Ok(None) => Ok(()),
        Ok(Some(fault)) => {
            Err(Failure::caused(format!("{}: not all of it can be read", path.display()), fault))
        }
        // A reader that has seen enough is no failure.
        Err(Stop::Written(cause)) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Written(cause)) => Err(Failure::caused("cannot write to standard output", cause)),
        Err(Stop::Read(cause)) => Err(Failure::caused(format!("{}: cannot be read", path.display()), cause)),
    }
}

/// What ends the printing before the tape ends.
pub(super) enum Stop {
    Read(OpenError),
    Written(io::Error),
}

/// Writes all that is whole, and says what the first fault was. A tape that is still being written may end within a
/// record; that is its state and no fault.
pub(super) fn copy(path: &Path, format: Format, out: &mut impl Write) -> Result<Option<ReadError>, Stop> {
    let mut reader = shadowcat_tape::open(path, &Keys::default()).map_err(Stop::Read)?;
    let mut fault = None;
    while let Some(record) = reader.next() {
        match (record, format) {
            // As it was written, with the members that this program does not know.
            (Ok(_), Format::Json) => line(out, &String::from_utf8_lossy(reader.text()))?,
            (Ok(Record::Frame(frame)), Format::Table) => line(out, &render::line(&frame))?,
            (Ok(Record::Lost(lost)), Format::Table) => {
                line(out, &format!("… {} messages are missing here ({})", lost.count, lost.reason))?;
            }
            (Ok(Record::Header(_) | Record::End(_)), Format::Table) | (Err(ReadError::Torn { .. }), _) => (),
            (Err(error), _) => fault = fault.or(Some(error)),
        }
    }
    Ok(fault)
}

fn line(out: &mut impl Write, text: &str) -> Result<(), Stop> {
    writeln!(out, "{text}").map_err(Stop::Written)
}
