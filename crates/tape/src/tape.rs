//! A tape being written: the file, the thread that writes it, and the handles that others are given.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock::Moment;
use crate::encode::Encoder;
use crate::feed::Audience;
use crate::keeper::{Keep, Keeper};
use crate::keys::Key;
use crate::queue::{Bounds, Queue, Taken};
use crate::record::Frame;
use crate::recorder::Recorder;
use crate::redact::{Redactor, RedactorError, Secrets};
use crate::reel::{Reel, Rotate};
use crate::select::{Scope, Select};
use crate::writer::{Told, Totals, Writer};

/// How a tape is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether credentials are replaced before anything reaches the disk.
    pub redact: bool,
    /// What is replaced besides what is known to be secret.
    pub secrets: Secrets,
    /// How often at most the file is forced to the disk; a crash of the machine, not of the program, costs so much.
    pub sync_every: Duration,
    /// How many messages may wait for the writer.
    pub queue_frames_max: usize,
    /// How many bytes may wait for the writer.
    pub queue_bytes_max: usize,
    /// Which exchanges are recorded, if not all.
    pub scope: Scope,
    /// When the next tape is begun.
    pub rotate: Rotate,
    /// What becomes of closed tapes.
    pub keep: Keep,
    /// What tapes are encrypted with.
    pub key: Option<Key>,
    /// Someone who watches.
    pub tap: Option<Tap>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            redact: true,
            secrets: Secrets::default(),
            sync_every: Duration::from_secs(1),
            queue_frames_max: 16_384,
            queue_bytes_max: 64 * 1024 * 1024,
            scope: Scope::default(),
            rotate: Rotate::default(),
            keep: Keep::default(),
            key: None,
            tap: None,
        }
    }
}

/// Is shown every frame, redacted, on the writer thread: it must not block.
#[derive(Clone)]
pub struct Tap(Arc<dyn Fn(&Frame) + Send + Sync>);

impl Tap {
    /// A tap that calls this.
    pub fn new(show: impl Fn(&Frame) + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }

    pub(crate) fn show(&self, frame: &Frame) {
        (self.0)(frame);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// Why a tape could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The directory is not there and cannot be made.
    #[error("cannot create the directory {path} for tapes: make it writable or name another")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("cannot create the tape {path}: make its directory writable, free space, or record elsewhere")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Redaction cannot be set up, and without it nothing is written.
    #[error("cannot set up redaction")]
    Redactor(#[from] RedactorError),
    /// The tape's id or its thread cannot be had.
    #[error("the system cannot give the tape what it needs: close other programs and try again")]
    System(#[source] io::Error),
}

/// Whether messages reach the tape at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// They do.
    Recording,
    /// They do not; the exchanges themselves go on.
    Degraded {
        /// Why, for the operator.
        reason: String,
        /// How many messages the tape lacks by now.
        lost: u64,
    },
}

/// Figures of a tape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames in the file.
    pub frames: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Messages that are not on the tape, and should be.
    pub lost: u64,
    /// Messages of exchanges that were not to be recorded.
    pub skipped: u64,
    /// Messages that wait for the writer.
    pub queued_frames: usize,
    /// Their bytes.
    pub queued_bytes: usize,
}

/// What a closed tape holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Frames in the file.
    pub frames: u64,
    /// Messages that are not on the tape.
    pub lost: u64,
    /// Whether the last record could be written in time.
    pub complete: bool,
}

/// A tape being written. Dropping it ends it in order, but nobody waits for that: prefer [`Tape::close`].
#[derive(Debug)]
pub struct Tape {
    monitor: Monitor,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Looks at a tape, for health pages and metrics.
#[derive(Clone, Debug)]
pub struct Monitor {
    queue: Arc<Queue>,
    told: Arc<Told>,
}

impl Tape {
    /// Begins a new tape in this directory, which is made if it is not there.
    ///
    /// # Errors
    /// Each names the path and what to do.
    pub fn create(dir: &Path, settings: Settings) -> Result<Self, CreateError> {
        let redactor = if settings.redact { Some(Redactor::new(&settings.secrets)?) } else { None };
        let begun = Moment::now();
        let keep = settings.keep;
        let reel = Reel {
            dir: dir.to_owned(),
            redacted: settings.redact,
            partial: settings.scope.is_partial(),
            key: settings.key.clone(),
            sync_every: settings.sync_every,
            rotate: settings.rotate,
        };
        let current = reel.first(begun)?;
        let keeper = Keeper::start(dir, keep, settings.key).map_err(CreateError::System)?;

        let bounds = Bounds { frames_max: settings.queue_frames_max, bytes_max: settings.queue_bytes_max };
        let select = Select::new(settings.scope);
        let taken = if select.is_some() { Taken::Kept } else { Taken::Copied };
        let queue = Arc::new(Queue::new(bounds, taken));
        let told = Arc::new(Told::new(current.path.clone(), current.spool.bytes()));
        let monitor = Monitor { queue: Arc::clone(&queue), told: Arc::clone(&told) };
        let writer = Writer {
            queue,
            reel,
            current,
            before: Totals::default(),
            taken_seq: 0,
            keeper,
            select,
            encoder: Encoder::new(redactor, begun),
            tap: settings.tap,
            told,
        };
        let thread = std::thread::Builder::new()
            .name("tape".to_owned())
            .spawn(move || writer.run())
            .map_err(CreateError::System)?;
        Ok(Self { monitor, thread: Mutex::new(Some(thread)) })
    }

    /// The file that is written, or was written last. Of a tape that is closed and compressed it is the compressed one.
    pub fn path(&self) -> PathBuf {
        self.monitor.told.path()
    }

    /// An interceptor that records onto this tape; `hop` names its place in the chain (`edge`, `wire`).
    pub fn recorder(&self, hop: &'static str) -> Recorder {
        Recorder::new(Audience::of(self), hop)
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.monitor.queue)
    }

    /// A handle that can only look.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Waits until all that passed before is in the file or counted as lost, at most for `deadline`; says whether.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let target = self.monitor.queue.last_seq();
        self.monitor.wait(deadline, |progress| progress.seq >= target).await
    }

    /// Writes what waits and the last record, at most for `deadline`, and joins the thread. Recorders that are still
    /// in a chain go on without a tape. Closing twice is fine.
    pub async fn close(&self, deadline: Duration) -> Summary {
        self.monitor.queue.close();
        let begun = Instant::now();
        let ended = self.monitor.wait(deadline, |progress| progress.ended).await;
        // What is not compressed by then, another run compresses.
        if self.monitor.wait(deadline.saturating_sub(begun.elapsed()), |progress| progress.kept).await {
            self.join();
        }
        let stats = self.monitor.stats();
        let complete = ended && self.monitor.told.fault().is_none();
        Summary { frames: stats.frames, lost: stats.lost, complete }
    }

    /// The thread has said that it is at its end.
    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the tape's thread panicked");
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.monitor.queue.close();
    }
}

impl Monitor {
    /// The figures of this moment.
    pub fn stats(&self) -> Stats {
        let depth = self.queue.depth();
        let frames = self.told.frames.load(Ordering::Relaxed);
        let lost = self.told.lost.load(Ordering::Relaxed) + depth.lost;
        let skipped = self.told.skipped.load(Ordering::Relaxed);
        Stats {
            frames,
            bytes: self.told.bytes.load(Ordering::Relaxed),
            lost,
            skipped,
            // Not only those in the queue: while a disk is full, the writer holds some as well.
            queued_frames: usize::try_from(depth.offered.saturating_sub(frames + lost + skipped))
                .unwrap_or(usize::MAX),
            queued_bytes: depth.bytes,
        }
    }

    /// Whether messages reach the tape.
    pub fn health(&self) -> Health {
        let lost = self.stats().lost;
        if let Some(fault) = self.told.fault() {
            return Health::Degraded { reason: format!("the disk takes nothing: {fault}"), lost };
        }
        if self.queue.depth().full {
            return Health::Degraded { reason: "the writer is behind".to_owned(), lost };
        }
        Health::Recording
    }

    async fn wait(&self, deadline: Duration, done: impl FnMut(&crate::writer::Progress) -> bool) -> bool {
        let mut progress = self.told.progress.subscribe();
        matches!(tokio::time::timeout(deadline, progress.wait_for(done)).await, Ok(Ok(_)))
    }
}
