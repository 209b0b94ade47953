//! The file of an index: lines with checksums, as in a tape, a first one and one for each mark.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Index, Mark};
use crate::line;

/// An index of another version is made anew.
const VERSION: u32 = 1;
/// A mark is some 90 bytes and stands for 256 KiB of a tape: more is no index.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

#[derive(Deserialize, Serialize)]
struct First {
    index: u32,
    tape: String,
    marks: usize,
    known: Mark,
}

/// The index in a file; none if there is none that is whole.
pub(super) fn read(path: &Path) -> Option<Index> {
    if File::open(path).ok()?.metadata().ok()?.len() > BYTES_MAX {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let mut objects = bytes.strip_suffix(b"\n")?.split(|byte| *byte == b'\n').map(line::object);
    let first: First = serde_json::from_str(&objects.next()?.ok()?).ok()?;
    let marks: Option<Vec<Mark>> = objects.map(|object| serde_json::from_str(&object.ok()?).ok()).collect();
    let marks = marks.filter(|marks| marks.len() == first.marks && first.index == VERSION)?;
    Some(Index { tape: first.tape, marks, known: first.known })
}

/// Writes it as a whole or not at all.
pub(super) fn write(index: &Index, path: &Path) -> io::Result<()> {
    let Index { tape, marks, known } = index;
    let first = First { index: VERSION, tape: tape.clone(), marks: marks.len(), known: *known };
    let mut bytes = Vec::new();
    line::sealed(&serde_json::to_string(&first)?, &mut bytes);
    for mark in marks {
        line::sealed(&serde_json::to_string(mark)?, &mut bytes);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(dir)?;
    part.write_all(&bytes)?;
    part.persist(path).map_err(|error| error.error)?;
    Ok(())
}
