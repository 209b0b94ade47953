//! The tapes of a directory.

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::keys::Keys;
use crate::line;
use crate::open::{OpenError, open, source};
use crate::reader::ReadError;
use crate::record::{End, Record};

/// How the name of a plain tape ends.
pub(crate) const SUFFIX: &str = ".tape.jsonl";
/// What follows for one that is compressed.
pub(crate) const COMPRESSED: &str = ".zst";
/// What follows, last, for one that is encrypted.
pub(crate) const ENCRYPTED: &str = ".enc";

/// The last record of a complete tape is shorter than this.
const TAIL_BYTES: u64 = 512;

/// One tape of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The tape's id; none if its header cannot be read.
    pub tape: Option<String>,
    /// When it was begun.
    pub created: Option<OffsetDateTime>,
    /// When it was written to last.
    pub modified: Option<OffsetDateTime>,
    /// Frames that can be read.
    pub frames: u64,
    /// Messages it says it lacks.
    pub lost: u64,
    /// In what state it is.
    pub state: State,
}

/// How a tape ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was closed in order.
    Complete,
    /// It ends with a whole record: it is being written, or its program was killed.
    Open,
    /// It ends within a record.
    Torn,
    /// It is damaged elsewhere, or no tape at all.
    Damaged,
    /// It is encrypted, and its key was not given.
    Locked,
}

/// Whether a file of this name is a tape, of whatever kind.
pub(crate) fn is_tape(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(ENCRYPTED).unwrap_or(&name);
    name.strip_suffix(COMPRESSED).unwrap_or(name).ends_with(SUFFIX)
}

/// The files of the tapes in a directory, oldest first by name.
///
/// # Errors
/// When the directory cannot be read.
pub fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if is_tape(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The tapes in a directory, in the order of [`files`]; `keys` are for encrypted ones. A complete tape is known by its
/// last record; any other is read to its end.
///
/// # Errors
/// When the directory cannot be read. A file that cannot be is listed as damaged.
pub fn list(dir: &Path, keys: &Keys) -> io::Result<Vec<Listed>> {
    Ok(files(dir)?.into_iter().map(|path| look(path, keys)).collect())
}

fn look(path: PathBuf, keys: &Keys) -> Listed {
    let metadata = fs::metadata(&path).ok();
    let mut listed = Listed {
        bytes: metadata.as_ref().map_or(0, fs::Metadata::len),
        modified: metadata.and_then(|metadata| metadata.modified().ok()).map(OffsetDateTime::from),
        path,
        tape: None,
        created: None,
        frames: 0,
        lost: 0,
        state: State::Open,
    };
    let mut reader = match open(&listed.path, keys) {
        Ok(reader) => reader,
        Err(fault) => {
            let is_locked = matches!(fault, OpenError::Locked { .. } | OpenError::UnknownCipher { .. });
            listed.state = if is_locked { State::Locked } else { State::Damaged };
            return listed;
        }
    };
    if let Some(Ok(Record::Header(header))) = reader.next() {
        (listed.tape, listed.created) = (Some(header.tape), Some(header.created));
    } else {
        listed.state = State::Damaged;
        return listed;
    }
    match last_record(&listed.path, listed.bytes, keys) {
        Some(end) => {
            (listed.frames, listed.lost, listed.state) = (end.frames, end.lost, State::Complete);
        }
        None => count(reader, &mut listed),
    }
    listed
}

fn last_record(path: &Path, bytes: u64, keys: &Keys) -> Option<End> {
    let tail = if path.to_string_lossy().ends_with(SUFFIX) {
        tail(path, bytes)?
    } else {
        unwrapped_tail(path, keys)?
    };
    let line = tail.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    match line::record(line) {
        Ok(Some(Record::End(end))) => Some(end),
        _ => None,
    }
}

fn tail(path: &Path, bytes: u64) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
    Some(tail)
}

/// The same of a tape that has to be decompressed or decrypted for it; its records are not looked at.
fn unwrapped_tail(path: &Path, keys: &Keys) -> Option<Vec<u8>> {
    let (mut source, _) = source(path, keys).ok()?;
    let mut tail = Vec::new();
    let tail_bytes = usize::try_from(TAIL_BYTES).ok()?;
    loop {
        let piece = source.fill_buf().ok()?;
        if piece.is_empty() {
            return Some(tail);
        }
        tail.extend_from_slice(piece.get(piece.len().saturating_sub(tail_bytes)..).unwrap_or_default());
        let used = piece.len();
        source.consume(used);
        tail.drain(..tail.len().saturating_sub(tail_bytes));
    }
}

fn count(records: impl Iterator<Item = Result<Record, ReadError>>, listed: &mut Listed) {
    for record in records {
        match record {
            Ok(Record::Frame(_)) => listed.frames += 1,
            Ok(Record::Lost(lost)) => listed.lost = listed.lost.saturating_add(lost.count),
            Ok(_) => {}
            Err(ReadError::Torn { .. }) if listed.state == State::Open => listed.state = State::Torn,
            Err(_) => listed.state = State::Damaged,
        }
    }
}
