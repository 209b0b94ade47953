//! What becomes of closed tapes: compressed, and removed when there are too many. On a thread of its own, which the
//! writer never waits for before its end.
//!
//! It goes by what is in the directory, so that it also takes care of what a killed program left. It touches nothing that
//! is being written, and nothing that has not the name and the first bytes of a tape of ours.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::index;
use crate::keys::{Key, Keys};
use crate::list::{COMPRESSED, ENCRYPTED, SUFFIX, files};
use crate::open::{ZSTD_MAGIC, source};
use crate::reel::{is_being_written, is_own_name, is_part_name, part};
use crate::sealed::{self, SealedWriter};

/// How often it looks without being told to: for tapes that grow too old.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// What compressing costs in time is bounded by this level, and it gives nearly all there is to have.
const LEVEL: i32 = 3;

/// What becomes of closed tapes. The tape that is being written counts, and is never removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Tapes that were not written to for longer are removed.
    pub age: Option<Duration>,
    /// The oldest are removed until all together have no more bytes.
    pub bytes: Option<u64>,
    /// The oldest are removed until there are no more.
    pub tapes: Option<usize>,
    /// Whether they are compressed.
    pub compress: bool,
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Holds one wake-up; it is dropped to end the thread.
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// None if there is nothing to do.
    pub(crate) fn start(dir: &Path, keep: Keep, key: Option<Key>) -> io::Result<Option<Self>> {
        if keep == Keep::default() {
            return Ok(None);
        }
        let (wake, woken) = sync_channel(1);
        let rounds = Rounds { dir: dir.to_owned(), keep, key, refused: BTreeSet::new() };
        let thread =
            std::thread::Builder::new().name("tape-keeper".to_owned()).spawn(move || rounds.run(&woken))?;
        Ok(Some(Self { wake, thread }))
    }

    /// A tape was closed.
    pub(crate) fn wake(&self) {
        // If one wake-up is waiting, it is for this tape as well.
        self.wake.try_send(()).ok();
    }

    /// Looks a last time and ends. Says where the tape is now that was closed last, if it has moved.
    pub(crate) fn end(self, last: &Path) -> Option<PathBuf> {
        let Self { wake, thread } = self;
        drop(wake);
        if thread.join().is_err() {
            tracing::error!("the thread that keeps closed tapes panicked");
        }
        let compressed = compressed_name(last)?;
        (!last.exists() && compressed.exists()).then_some(compressed)
    }
}

struct Rounds {
    dir: PathBuf,
    keep: Keep,
    key: Option<Key>,
    /// What cannot be compressed: another key, an end that is torn. Told once.
    refused: BTreeSet<PathBuf>,
}

impl Rounds {
    fn run(mut self, woken: &Receiver<()>) {
        self.clear();
        loop {
            self.look();
            match woken.recv_timeout(LOOK_EVERY) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.look();
    }

    fn look(&mut self) {
        if self.keep.compress {
            self.compress();
        }
        self.remove();
    }

    fn compress(&mut self) {
        for path in self.own() {
            if self.refused.contains(&path) || !is_closed(&path) {
                continue;
            }
            let Some(target) = compressed_name(&path) else { continue };
            if let Err(cause) = self.compress_one(&path, &target) {
                tracing::warn!(path = %path.display(), %cause, "the tape stays as it is: it cannot be compressed");
                self.refused.insert(path);
            }
        }
    }

    /// By a new name: whenever this is cut short, a whole tape is there.
    fn compress_one(&self, path: &Path, target: &Path) -> io::Result<()> {
        let keys: Keys = self.key.clone().into_iter().collect();
        let (mut source, _) = source(path, &keys).map_err(io::Error::other)?;
        let (file, part) = part(&self.dir)?;
        let key = self.key.as_ref().filter(|_| is_sealed_name(path));
        let file = match key {
            Some(key) => zip(&mut source, SealedWriter::begin(file, key)?)?.finish()?,
            None => zip(&mut source, file)?,
        };
        // How old a tape is goes by what was last written to it.
        file.set_modified(fs::metadata(path)?.modified()?)?;
        file.sync_all()?;
        part.persist(target).map_err(|error| error.error)?;
        File::open(&self.dir)?.sync_all()?;
        fs::remove_file(path)?;
        fs::remove_file(index::beside(path)).ok();
        Ok(())
    }

    /// What a killed program has left half made.
    fn clear(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if is_part_name(&name) && matches!(is_being_written(&path), Ok(false)) {
                fs::remove_file(&path).ok();
            }
        }
    }

    fn remove(&self) {
        let Keep { age, bytes, tapes, .. } = self.keep;
        let paths = self.own();
        let sized = paths.into_iter().filter_map(|path| Some((fs::metadata(&path).ok()?, path)));
        let mut sized: Vec<_> = sized.collect();
        // Names tell the tapes of one second apart, and not their order.
        sized.sort_by_cached_key(|(metadata, path)| (metadata.modified().ok(), path.clone()));
        let mut left_bytes: u64 = sized.iter().map(|(metadata, _)| metadata.len()).sum();
        let mut left = sized.len();
        for (metadata, path) in sized {
            let too_much = bytes.is_some_and(|max| left_bytes > max) || tapes.is_some_and(|max| left > max);
            let too_old = age.is_some_and(|max| is_older(&metadata, max));
            if !(too_much || too_old) || !is_closed(&path) {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => {
                    fs::remove_file(index::beside(&path)).ok();
                    tracing::info!(path = %path.display(), "the tape is removed, as `record.keep` says");
                    left_bytes = left_bytes.saturating_sub(metadata.len());
                    left -= 1;
                }
                Err(cause) => tracing::warn!(path = %path.display(), %cause, "the tape cannot be removed"),
            }
        }
    }

    /// The tapes of ours, oldest first.
    fn own(&self) -> Vec<PathBuf> {
        let Ok(paths) = files(&self.dir) else { return Vec::new() };
        paths.into_iter().filter(|path| is_own(path)).collect()
    }
}

fn is_own(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_own_name(&name) && is_file && begins_like_a_tape(path).unwrap_or(false)
}

fn begins_like_a_tape(path: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    File::open(path)?.take(sealed::MAGIC.len() as u64).read_to_end(&mut begin)?;
    Ok([b"{\"crc\":\"".as_slice(), ZSTD_MAGIC, sealed::MAGIC].iter().any(|magic| begin.starts_with(magic)))
}

fn is_closed(path: &Path) -> bool {
    matches!(is_being_written(path), Ok(false))
}

fn is_older(metadata: &fs::Metadata, age: Duration) -> bool {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    // A clock that was set back makes nothing old.
    SystemTime::now().duration_since(modified).is_ok_and(|passed| passed > age)
}

fn is_sealed_name(path: &Path) -> bool {
    path.to_string_lossy().ends_with(ENCRYPTED)
}

/// What a tape that is not compressed is called when it is.
fn compressed_name(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy();
    let (stem, end) = match name.strip_suffix(ENCRYPTED) {
        Some(stem) => (stem, ENCRYPTED),
        None => (&*name, ""),
    };
    stem.ends_with(SUFFIX).then(|| path.with_file_name(format!("{stem}{COMPRESSED}{end}")))
}

fn zip<W: io::Write>(source: &mut impl io::Read, target: W) -> io::Result<W> {
    let mut encoder = zstd::stream::write::Encoder::new(target, LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(source, &mut encoder)?;
    encoder.finish()
}
