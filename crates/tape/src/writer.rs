//! The writer thread of a tape: redacts, writes lines, and tells what it has done.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock::Reading;
use crate::encode::Encoder;
use crate::keeper::Keeper;
use crate::line;
use crate::queue::{Batch, Entry, Queue};
use crate::record::{Lost, Record};
use crate::recorder::Captured;
use crate::reel::{Current, Reel};
use crate::seen::Seen;
use crate::select::Select;
use crate::spool::Spool;
use crate::tape::Tap;

/// The longest sleep of a writer that has nothing to do.
const SLEEP_MAX: Duration = Duration::from_mins(1);
/// A line buffer that grew beyond this for a large message is given back.
const LINE_BYTES_KEPT: usize = 256 * 1024;

pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) reel: Reel,
    pub(crate) current: Current,
    /// Of the tapes before the current one.
    pub(crate) before: Totals,
    /// The number in the queue of the message that was taken last.
    pub(crate) taken_seq: u64,
    pub(crate) keeper: Option<Keeper>,
    pub(crate) select: Option<Select>,
    pub(crate) encoder: Encoder,
    pub(crate) tap: Option<Tap>,
    pub(crate) told: Arc<Told>,
}

/// Figures of tapes together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    frames: u64,
    bytes: u64,
    untaken: u64,
}

/// What the thread tells of itself.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) frames: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Lost by the disk; what the queue lost, it counts itself.
    pub(crate) lost: AtomicU64,
    /// Left out on purpose.
    pub(crate) skipped: AtomicU64,
    pub(crate) fault: Mutex<Option<String>>,
    /// The tape that is written, or was written last.
    pub(crate) path: Mutex<PathBuf>,
    pub(crate) progress: watch::Sender<Progress>,
}

/// How far the thread is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Every message up to this is in the file or lost.
    pub(crate) seq: u64,
    /// The last record is written.
    pub(crate) ended: bool,
    /// Nothing is done to closed tapes any more.
    pub(crate) kept: bool,
}

impl Told {
    pub(crate) fn new(path: PathBuf, header_bytes: u64) -> Self {
        Self {
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(header_bytes),
            lost: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            fault: Mutex::new(None),
            path: Mutex::new(path),
            progress: watch::Sender::new(Progress::default()),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn move_to(&self, path: PathBuf) {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Writer {
    /// Runs until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let mut taken = Batch::default();
        let mut line = Vec::new();
        while self.queue.take(&mut taken, self.patience()) {
            let now = self.encoder.now();
            taken.drain(|entry, texts| self.entry(entry, texts, &mut line, &now));
            self.current.spool.tick(!self.queue.has_more(), now.moment.steady);
            self.tell();
        }
        self.rest(&mut line);
        self.current.spool.finish(Instant::now());
        self.tell();
        self.told.progress.send_modify(|progress| progress.ended = true);
        self.leave();
    }

    /// Lets the file go, so that it counts as closed, and waits for what is done to closed ones.
    fn leave(self) {
        let Self { current, keeper, told, .. } = self;
        let path = current.path.clone();
        drop(current);
        if let Some(path) = keeper.and_then(|keeper| keeper.end(&path)) {
            told.move_to(path);
        }
        told.progress.send_modify(|progress| progress.kept = true);
    }

    /// Goes on to the next tape, if it is time for one.
    fn turn(&mut self, now: Instant) {
        let Some(next) = self.reel.next(&mut self.current, now) else { return };
        self.told.move_to(next.path.clone());
        let mut last = std::mem::replace(&mut self.current, next);
        last.spool.finish(now);
        self.before.add(&last.spool);
        drop(last);
        if let Some(keeper) = &self.keeper {
            keeper.wake();
        }
    }

    fn patience(&self) -> Duration {
        match self.current.spool.next_tick() {
            Some(due) => due.saturating_duration_since(Instant::now()).min(SLEEP_MAX),
            None => SLEEP_MAX,
        }
    }

    fn entry(&mut self, entry: Entry, texts: &[u8], line: &mut Vec<u8>, now: &Reading) {
        match entry {
            Entry::Lost(lost) => {
                self.taken_seq = lost.since + lost.count - 1;
                let since = self.current.seq + 1;
                self.current.seq += lost.count;
                self.current.spool.lose(&Lost { since, ..lost });
            }
            Entry::Kept(captured) => {
                self.taken_seq += 1;
                self.select(captured, line, now);
            }
            Entry::Copied(copied) => {
                self.taken_seq += 1;
                self.frame(&copied.seen(texts), line, now);
            }
        }
    }

    fn select(&mut self, captured: Captured, line: &mut Vec<u8>, now: &Reading) {
        let Some(select) = &mut self.select else {
            self.frame(&captured.seen(), line, now);
            return;
        };
        let mut chosen = Vec::new();
        select.take(captured, &mut chosen);
        for captured in &chosen {
            self.frame(&captured.seen(), line, now);
        }
    }

    fn rest(&mut self, line: &mut Vec<u8>) {
        let (mut chosen, now) = (Vec::new(), self.encoder.now());
        if let Some(select) = &mut self.select {
            select.rest(&mut chosen);
        }
        for captured in &chosen {
            self.frame(&captured.seen(), line, &now);
        }
    }

    fn frame(&mut self, seen: &Seen<'_>, line: &mut Vec<u8>, now: &Reading) {
        let steady = now.moment.steady;
        self.turn(steady);
        self.current.seq += 1;
        let seq = self.current.seq;
        let Some(tap) = &self.tap else {
            let write = |out: &mut _| self.encoder.frame(seq, seen, now, |frame| line::frame(frame, out));
            self.current.spool.write_frame(seq, write, steady);
            return;
        };
        line.clear();
        self.encoder.frame(seq, seen, now, |frame| line::frame(frame, line));
        show(tap, line);
        self.current.spool.frame(seq, line, steady);
        line.shrink_to(LINE_BYTES_KEPT);
    }

    fn tell(&self) {
        let mut totals = self.before;
        totals.add(&self.current.spool);
        self.told.frames.store(totals.frames, Ordering::Relaxed);
        self.told.bytes.store(totals.bytes, Ordering::Relaxed);
        self.told.lost.store(totals.untaken, Ordering::Relaxed);
        let skipped = self.select.as_ref().map_or(0, Select::skipped);
        self.told.skipped.store(skipped, Ordering::Relaxed);
        self.tell_fault();
        self.told.progress.send_modify(|progress| {
            if self.current.spool.is_clear() {
                progress.seq = self.taken_seq;
            }
        });
    }

    /// Logs the turn of events once, not each failure.
    fn tell_fault(&self) {
        let now = self.current.spool.fault().map(ToString::to_string);
        let mut told = self.told.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*told, &now) {
            (None, Some(fault)) => {
                tracing::error!(%fault, "the tape cannot be written: messages pass unrecorded");
            }
            (Some(_), None) => {
                tracing::warn!(lost = self.current.spool.untaken(), "the tape is written again");
            }
            _ => {}
        }
        *told = now;
    }
}

/// A tap is given what a reader of the file will see, by the reader's own code.
fn show(tap: &Tap, line: &[u8]) {
    match line::record(line.strip_suffix(b"\n").unwrap_or(line)) {
        Ok(Some(Record::Frame(frame))) => tap.show(&frame),
        Ok(_) => {}
        Err(fault) => tracing::error!(%fault, "a frame was written that cannot be read back"),
    }
}

impl Totals {
    fn add(&mut self, spool: &Spool) {
        let written = spool.written();
        self.frames += written.frames;
        self.bytes += written.bytes;
        self.untaken += spool.untaken();
    }
}
