//! The files of one run: the first tape, and the next one at each turn.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempPath;
use time::OffsetDateTime;

use crate::clock::Moment;
use crate::keys::Key;
use crate::line;
use crate::list::{ENCRYPTED, SUFFIX};
use crate::record::Header;
use crate::redact::RedactorError;
use crate::sealed::disk;
use crate::spool::{Disk, Spool};
use crate::tape::CreateError;

const PART_PREFIX: &str = ".tape-";
const PART_SUFFIX: &str = ".part";
/// A tape whose next one could not be begun grows on for this long.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// When a tape is closed and the next one begun. Only a message begins a new one: a quiet proxy has one tape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotate {
    /// As soon as it has so many bytes.
    pub bytes: Option<u64>,
    /// As soon as it is so old.
    pub every: Option<Duration>,
}

/// Makes the files of one run.
#[derive(Debug)]
pub(crate) struct Reel {
    pub(crate) dir: PathBuf,
    pub(crate) redacted: bool,
    pub(crate) partial: bool,
    pub(crate) key: Option<Key>,
    pub(crate) sync_every: Duration,
    pub(crate) rotate: Rotate,
}

/// The tape that is written at present.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) path: PathBuf,
    pub(crate) spool: Spool,
    id: String,
    since: Instant,
    retry_at: Option<Instant>,
    /// The number of its last message.
    pub(crate) seq: u64,
}

impl Reel {
    /// Makes the directory, if it is not there, and the first tape.
    pub(crate) fn first(&self, begun: Moment) -> Result<Current, CreateError> {
        make_dir(&self.dir).map_err(|source| CreateError::Directory { path: self.dir.clone(), source })?;
        self.begin(begun, None)
    }

    /// The next tape, if it is time for one. What waits is in the file of this one then, and no fault of the disk is
    /// carried over.
    pub(crate) fn next(&self, current: &mut Current, now: Instant) -> Option<Current> {
        if !self.is_due(current, now) || current.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        current.spool.tick(true, now);
        if !current.spool.is_clear() {
            return None;
        }
        match self.begin(Moment::now(), Some(&current.id)) {
            Ok(next) => Some(next),
            Err(error) => {
                tracing::warn!(%error, "the tape grows on: the next one cannot be begun");
                current.retry_at = Some(now + RETRY_EVERY);
                None
            }
        }
    }

    fn is_due(&self, current: &Current, now: Instant) -> bool {
        let Rotate { bytes, every } = self.rotate;
        current.seq > 0
            && (bytes.is_some_and(|max| current.spool.bytes() >= max)
                || every.is_some_and(|max| now.duration_since(current.since) >= max))
    }

    fn begin(&self, at: Moment, previous: Option<&str>) -> Result<Current, CreateError> {
        let mut header = header(OffsetDateTime::from(at.wall), self.redacted)?;
        header.previous = previous.map(str::to_owned);
        header.partial = self.partial;
        let end = if self.key.is_some() { ENCRYPTED } else { "" };
        let path = self.dir.join(format!("{}{end}", file_name(&header)));
        let fault = |source| CreateError::File { path: path.clone(), source };
        let (disk, bytes) = self.begun(&path, &header).map_err(fault)?;
        let spool = Spool::new(disk, bytes, self.sync_every, at.steady);
        Ok(Current { path, spool, id: header.tape, since: at.steady, retry_at: None, seq: 0 })
    }

    /// With its header, and how long that is. Whatever has the name of a tape is one, and is known to be written: a program can
    /// be killed at any time.
    fn begun(&self, path: &Path, header: &Header) -> io::Result<(Box<dyn Disk>, u64)> {
        let (file, part) = part(&self.dir)?;
        let mut disk = disk(file, self.key.as_ref())?;
        let mut first = Vec::new();
        line::header(header, &mut first);
        crate::spool::write_all(disk.as_mut(), &first)?;
        part.persist_noclobber(path).map_err(|error| error.error)?;
        // So that a crash of the machine does not lose the name. Where a tape cannot be begun others are tried.
        File::open(&self.dir).and_then(|dir| dir.sync_all()).inspect_err(|_| drop(fs::remove_file(path)))?;
        Ok((disk, first.len() as u64))
    }
}

/// A file that has not got its name yet.
pub(crate) fn part(dir: &Path) -> io::Result<(File, TempPath)> {
    // The library's files have mode 0600.
    let part = tempfile::Builder::new().prefix(PART_PREFIX).suffix(PART_SUFFIX).tempfile_in(dir)?;
    let (file, path) = part.into_parts();
    // Tells others that it is being written; the system takes it back from a program that was killed. A file system
    // that knows no locks says nothing then.
    file.try_lock().ok();
    Ok((file, path))
}

/// Whether [`part`] gives such names.
pub(crate) fn is_part_name(name: &str) -> bool {
    name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX)
}

/// The header of a new tape.
pub(crate) fn header(created: OffsetDateTime, redacted: bool) -> Result<Header, RedactorError> {
    let mut id = [0_u8; 8];
    getrandom::fill(&mut id)?;
    Ok(Header {
        major: line::MAJOR,
        minor: line::MINOR,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        tape: format!("{:016x}", u64::from_be_bytes(id)),
        created,
        redacted,
        imported: None,
        previous: None,
        partial: false,
    })
}

/// Sorts by time; the id tells tapes of one second apart.
fn file_name(header: &Header) -> String {
    let (date, clock) = (header.created.date(), header.created.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z-{:.6}{SUFFIX}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        header.tape
    )
}

/// Whether a file has a name as [`file_name`] gives it: nothing else is ever compressed or removed.
pub(crate) fn is_own_name(name: &str) -> bool {
    const SHAPE: &str = "00000000T000000Z-xxxxxx";
    let fits = |(shape, byte): (u8, u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'x' => byte.is_ascii_hexdigit(),
        other => byte == other,
    };
    let Some((stem, end)) = name.split_at_checked(SHAPE.len()) else { return false };
    SHAPE.bytes().zip(stem.bytes()).all(fits)
        && crate::list::is_tape(Path::new(&format!("x{end}")))
        && end.starts_with(SUFFIX)
}

/// Tapes hold what people said to their tools: nobody else reads them.
fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether some program is writing this tape at present.
///
/// # Errors
/// When the file cannot be opened.
pub fn is_being_written(path: &Path) -> io::Result<bool> {
    Ok(matches!(File::open(path)?.try_lock(), Err(TryLockError::WouldBlock)))
}
