//! The place of one who watches: which exchanges are meant, and what waits to be read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use shadowcat_filter::Filter;
use tokio::sync::Notify;

use crate::line;
use crate::recorder::Captured;
use crate::select::Select;

/// What waits for a reader.
pub(super) const SEEN_MAX: usize = 1_024;
/// Their bytes; a single frame that is larger is taken when nothing else waits.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What one who watches is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A frame: the object that stands on a tape's line, without the checksum.
    Frame(Bytes),
    /// So many frames are missing here.
    Lost(u64),
}

#[derive(Debug)]
pub(super) struct Seat {
    /// Of the feed's thread; none if everything is meant.
    select: Mutex<Option<Select>>,
    /// The number of what was shown last, as on a tape: those that are missing count.
    seq: AtomicU64,
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    seen: VecDeque<Shown>,
    bytes: usize,
    /// Missing in front of them.
    lost: u64,
    is_over: bool,
}

impl Seat {
    pub(super) fn new(filter: Option<Filter>) -> Self {
        Self {
            select: Mutex::new(Select::only(filter)),
            seq: AtomicU64::new(0),
            waiting: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Looks at the next message of the proxy: what is to be shown now, or none if everything is.
    pub(super) fn choose(&self, captured: &Captured) -> Option<Vec<Captured>> {
        let mut select = self.select.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chosen = Vec::new();
        select.as_mut()?.take(captured.clone(), &mut chosen);
        Some(chosen)
    }

    /// Shows a frame that has no number yet.
    pub(super) fn push(&self, frame: &[u8]) {
        let seq = self.count(1);
        self.waiting().push(line::unsealed(seq, frame).into());
        self.news.notify_one();
    }

    /// Messages are missing that nobody has seen.
    pub(super) fn lose(&self, count: u64) {
        self.count(count);
        self.waiting().lose(count);
        self.news.notify_one();
    }

    /// The number of the last of so many more.
    fn count(&self, more: u64) -> u64 {
        self.seq.fetch_add(more, Ordering::Relaxed) + more
    }

    pub(super) fn end(&self) {
        self.waiting().is_over = true;
        self.news.notify_one();
    }

    pub(super) async fn next(&self) -> Option<Shown> {
        loop {
            let news = self.news.notified();
            {
                let mut waiting = self.waiting();
                if let Some(seen) = waiting.take() {
                    return Some(seen);
                }
                if waiting.is_over {
                    return None;
                }
            }
            news.await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(object) => object.len(),
            Self::Lost(_) => 0,
        }
    }
}

impl Waiting {
    fn push(&mut self, object: Bytes) {
        self.make_room(object.len());
        self.bytes += object.len();
        self.seen.push_back(Shown::Frame(object));
    }

    fn lose(&mut self, count: u64) {
        if let Some(Shown::Lost(lost)) = self.seen.back_mut() {
            *lost += count;
            return;
        }
        self.make_room(0);
        self.seen.push_back(Shown::Lost(count));
    }

    /// The oldest give way: who looks at what happens wants to see what happens now.
    fn make_room(&mut self, bytes: usize) {
        while self.seen.len() >= SEEN_MAX || self.bytes + bytes > BYTES_MAX {
            let Some(oldest) = self.seen.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.lost += if let Shown::Lost(lost) = oldest { lost } else { 1 };
        }
    }

    fn take(&mut self) -> Option<Shown> {
        if self.lost > 0 {
            return Some(Shown::Lost(std::mem::take(&mut self.lost)));
        }
        let seen = self.seen.pop_front()?;
        self.bytes -= seen.bytes();
        Some(seen)
    }
}
