//! The messages of one tape, in constant memory however long it is.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use shadowcat_tape::{ReadError, Reader, Record, render};

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
    Read(io::Error),
    Written(io::Error),
}

/// Writes all that is whole, and says what the first fault was. A tape that is still being written may end within a
/// record; that is its state and no fault.
pub(super) fn copy(path: &Path, format: Format, out: &mut impl Write) -> Result<Option<ReadError>, Stop> {
    let mut reader = Reader::open(path).map_err(Stop::Read)?;
    let mut raw = File::open(path).map_err(Stop::Read)?;
    let (mut begin, mut fault) = (0, None);
    while let Some(record) = reader.next() {
        let end = reader.offset();
        match (record, format) {
            (Ok(_), Format::Json) => copy_part(&mut raw, begin, end, out)?,
            (Ok(Record::Frame(frame)), Format::Table) => line(out, &render::line(&frame))?,
            (Ok(Record::Lost(lost)), Format::Table) => {
                line(out, &format!("… {} messages are missing here ({})", lost.count, lost.reason))?;
            }
            (Ok(Record::Header(_) | Record::End(_)), Format::Table) | (Err(ReadError::Torn { .. }), _) => (),
            (Err(error), _) => fault = fault.or(Some(error)),
        }
        begin = end;
    }
    Ok(fault)
}

fn line(out: &mut impl Write, text: &str) -> Result<(), Stop> {
    writeln!(out, "{text}").map_err(Stop::Written)
}

/// The record as it was written, with the members that this program does not know.
fn copy_part(raw: &mut File, begin: u64, end: u64, out: &mut impl Write) -> Result<(), Stop> {
    raw.seek(SeekFrom::Start(begin)).map_err(Stop::Read)?;
    io::copy(&mut raw.take(end.saturating_sub(begin)), out).map(|_| ()).map_err(Stop::Written)
}
