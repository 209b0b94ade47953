//! A tape written from frames that are there already, and not from traffic: cut, merged, redacted, imported.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempPath;
use time::OffsetDateTime;

use crate::keys::Key;
use crate::line::{self, FrameLine};
use crate::record::{Frame, Header, Lost};
use crate::redact::RedactorError;
use crate::reel;
use crate::sealed::disk;
use crate::spool::{Spool, write_all};
use crate::tape::Summary;

/// The one sync is at the end: before it there is no file of that name.
const NO_SYNC: Duration = Duration::MAX;

/// Why a tape was not written. Nothing is left of it then.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Something of that name is there.
    #[error("{path} is there already: remove it or name another file")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be made or filled.
    #[error("cannot write {path}: make its directory writable, free space, or name another")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tape's id cannot be had.
    #[error("the system cannot give the tape an id")]
    System(#[from] RedactorError),
}

/// A new tape of mode 0600. It has its name from the moment it is whole, and never takes the place of another file.
#[derive(Debug)]
pub struct TapeFile {
    path: PathBuf,
    /// Removed when it is dropped.
    part: TempPath,
    spool: Spool,
    line: Vec<u8>,
    /// The number of the last message.
    seq: u64,
}

impl TapeFile {
    /// Begins a plain tape with an id of its own.
    ///
    /// # Errors
    /// Each names the path and what to do.
    pub fn create(path: &Path, created: OffsetDateTime, redacted: bool) -> Result<Self, FileError> {
        Self::create_partial(path, None, created, redacted, false)
    }

    /// The same, of a tape on which exchanges may have been left out; encrypted with `seal`, if there is one.
    pub(crate) fn create_partial(
        path: &Path,
        seal: Option<&Key>,
        created: OffsetDateTime,
        redacted: bool,
        partial: bool,
    ) -> Result<Self, FileError> {
        Self::with_header(path, seal, &Header { partial, ..reel::header(created, redacted)? })
    }

    pub(crate) fn with_header(path: &Path, seal: Option<&Key>, header: &Header) -> Result<Self, FileError> {
        let mut first = Vec::new();
        line::header(header, &mut first);
        Self::begun(path, seal, &first)
    }

    /// With a header that is there already, without its line end.
    pub(crate) fn with_header_line(path: &Path, seal: Option<&Key>, line: &[u8]) -> Result<Self, FileError> {
        Self::begun(path, seal, &[line, b"\n"].concat())
    }

    fn begun(path: &Path, seal: Option<&Key>, first: &[u8]) -> Result<Self, FileError> {
        if path.exists() {
            return Err(FileError::Exists { path: path.to_owned() });
        }
        let write = |source| FileError::Write { path: path.to_owned(), source };
        // The library's files have mode 0600.
        let part = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(directory(path));
        let (file, part) = part.map_err(write)?.into_parts();
        let mut disk = disk(file, seal).map_err(write)?;
        write_all(disk.as_mut(), first).map_err(write)?;
        let spool = Spool::new(disk, first.len() as u64, NO_SYNC, Instant::now());
        Ok(Self { path: path.to_owned(), part, spool, line: Vec::new(), seq: 0 })
    }

    /// Writes the frame as the next one: its number is given here.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), FileError> {
        self.seq = self.seq.saturating_add(1);
        self.line.clear();
        line::frame(&FrameLine { seq: self.seq, ..FrameLine::of(frame) }, &mut self.line);
        self.spool.frame(self.seq, &self.line, Instant::now());
        self.checked()
    }

    /// A line that is kept as it is, without its end, and the number of its frame if it is one.
    pub(crate) fn line(&mut self, seq: Option<u64>, line: &[u8]) -> Result<(), FileError> {
        self.line.clear();
        self.line.extend_from_slice(line);
        self.line.push(b'\n');
        match seq {
            Some(seq) => {
                self.seq = seq;
                self.spool.frame(seq, &self.line, Instant::now());
            }
            None => self.spool.other(&self.line, Instant::now()),
        }
        self.checked()
    }

    /// The same as [`TapeFile::lost`], for what may be nothing.
    pub(crate) fn missing(&mut self, count: u64, reason: &str) -> Result<(), FileError> {
        if count == 0 { Ok(()) } else { self.lost(count, reason) }
    }

    /// Writes that the next `count` messages are missing.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn lost(&mut self, count: u64, reason: &str) -> Result<(), FileError> {
        let since = self.seq.saturating_add(1);
        self.seq = self.seq.saturating_add(count);
        self.spool.lose(&Lost { since, count, reason: reason.to_owned() });
        self.spool.tick(false, Instant::now());
        self.checked()
    }

    /// Writes the last record, and gives the file its name.
    ///
    /// # Errors
    /// When the disk does not take it, or something has taken the name meanwhile.
    pub fn finish(mut self) -> Result<Summary, FileError> {
        self.spool.finish(Instant::now());
        self.checked()?;
        let path = self.path;
        let write = |source| FileError::Write { path: path.clone(), source };
        match self.part.persist_noclobber(&path) {
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(FileError::Exists { path });
            }
            persisted => persisted.map_err(|error| write(error.error))?,
        }
        // So that a crash of the machine does not lose the name.
        File::open(directory(&path)).and_then(|dir| dir.sync_all()).map_err(write)?;
        Ok(Summary { frames: self.spool.written().frames, lost: self.spool.lost(), complete: true })
    }

    /// A recording goes on when the disk is full and counts what it lacks; here somebody can free space and try again.
    fn checked(&self) -> Result<(), FileError> {
        match self.spool.fault() {
            None => Ok(()),
            Some(fault) => {
                let source = fault.raw_os_error().map_or_else(
                    || io::Error::new(fault.kind(), fault.to_string()),
                    io::Error::from_raw_os_error,
                );
                Err(FileError::Write { path: self.path.clone(), source })
            }
        }
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::record::testing::frame;
    use crate::record::{End, Kind, Record};
    use crate::{Keys, open};
    use shadowcat_pipeline::Direction;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_written_tape_is_numbered_anew_and_ends_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.tape.jsonl");
        let ping = frame(Direction::ToServer, Kind::Request, Some("ping"), r#"{ "id" : 1.0 }"#);
        let mut tape = TapeFile::create(&path, OffsetDateTime::UNIX_EPOCH, true).unwrap();
        tape.frame(&Frame { seq: 70, ..ping.clone() }).unwrap();
        tape.lost(3, "queue").unwrap();
        tape.frame(&ping).unwrap();
        assert!(!path.exists(), "not before it is whole");
        assert_eq!(tape.finish().unwrap(), Summary { frames: 2, lost: 3, complete: true });

        let records: Vec<_> = open(&path, &Keys::default()).unwrap().map(Result::unwrap).collect();
        let Record::Header(header) = &records[0] else { panic!("{records:?}") };
        assert_eq!((header.created, header.redacted), (OffsetDateTime::UNIX_EPOCH, true));
        let lost = Lost { since: 2, count: 3, reason: "queue".to_owned() };
        let frame = |seq| Record::Frame(Box::new(Frame { seq, ..ping.clone() }));
        assert_eq!(
            records[1..],
            [frame(1), Record::Lost(lost), frame(5), Record::End(End { frames: 2, lost: 3 })]
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["new.tape.jsonl"]);
    }

    #[test]
    fn a_file_that_is_there_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.tape.jsonl");
        let begun = TapeFile::create(&path, OffsetDateTime::UNIX_EPOCH, true).unwrap();
        std::fs::write(&path, "mine").unwrap();
        let faults = [
            begun.finish().unwrap_err(),
            TapeFile::create(&path, OffsetDateTime::UNIX_EPOCH, true).unwrap_err(),
        ];
        for fault in faults {
            assert!(matches!(fault, FileError::Exists { .. }), "{fault}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_tape_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("given-up.tape.jsonl");
        drop(TapeFile::create(&path, OffsetDateTime::UNIX_EPOCH, true).unwrap());
        assert_eq!(names(dir.path()), [""; 0]);
    }
}
