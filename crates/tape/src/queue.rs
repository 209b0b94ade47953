//! Between the data path and the writer thread: bounded in count and bytes, and exact about what it could not take.
//!
//! The data path waits here at most once for [`WAIT_MAX`], and only before a message goes in: a reply passes in a
//! place that cannot wait. When the wait was in vain nobody waits again until the writer moves.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::record::Lost;
use crate::recorder::{Captured, Passing};
use crate::seen::{Copied, Seen};

/// Reliability rule R7: the data path never waits longer for a tape.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(5);
/// How much the writer takes at once; what it has taken is in memory beside the queue.
const BATCH_MAX: usize = 512;
/// The same in bytes of copies, with the one that makes it enough.
const BATCH_TEXTS_MAX: usize = 256 * 1024;
/// The longest message that is copied. To keep a longer one costs the data path less than its copy; to keep a short one costs
/// it more, for memory that another thread gives back is in no cache when it is used again.
const COPIED_BYTES_MAX: usize = 4 * 1024;
/// How long the writer leaves the queue alone after it has taken something, unless there is a whole batch: under load it takes
/// the time of the data path seldom, and much at once. So long a frame may wait that follows another.
const LINGER: Duration = Duration::from_millis(10);

/// The word on the tape for what the queue could not take.
pub(crate) const REASON: &str = "queue";

/// What the writer is given, in the order of the tape.
#[derive(Debug)]
pub(crate) enum Entry {
    Kept(Captured),
    /// One whose texts are among those of the batch.
    Copied(Copied),
    Lost(Lost),
}

/// How messages are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// All are kept: it is by all that is known of them that somebody chooses among them.
    Kept,
    /// Short ones are copied.
    Copied,
}

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    entries: VecDeque<Entry>,
    texts: Vec<u8>,
    bytes: usize,
}

/// The bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) frames_max: usize,
    pub(crate) bytes_max: usize,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
    /// All that it ever refused.
    pub(crate) lost: u64,
    /// Messages that were offered so far, taken or not.
    pub(crate) offered: u64,
    /// The last message was refused.
    pub(crate) full: bool,
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bounds: Bounds,
    taken: Taken,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes those who wait for room.
    room: Notify,
    /// The last wait for room was in vain.
    stuck: AtomicBool,
    /// Three quarters of a bound are reached. Written under the lock, read with each message.
    crowded: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Batches that nothing is added to, the oldest first.
    full: VecDeque<Batch>,
    filling: Batch,
    /// The memory of one that was written.
    spare: Batch,
    entries: usize,
    bytes: usize,
    /// The number of the message that was offered last.
    seq: u64,
    /// The messages since the last one that was taken.
    missing: Option<Lost>,
    lost: u64,
    closed: bool,
    /// The writer sleeps until it is woken.
    idle: bool,
    /// By the writer, once it has taken something.
    left_alone_until: Option<Instant>,
}

impl Queue {
    pub(crate) fn new(bounds: Bounds, taken: Taken) -> Self {
        Self {
            state: Mutex::default(),
            bounds,
            taken,
            work: Condvar::new(),
            room: Notify::new(),
            stuck: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
        }
    }

    /// Takes a message if there is room and counts it if there is none. Never waits.
    pub(crate) fn push(&self, passing: &Passing<'_>) {
        let (bytes, seen) = (passing.bytes(), passing.seen());
        let mut state = self.lock();
        state.seq += 1;
        let seq = state.seq;
        if state.closed || !self.has_room(&state, bytes) {
            state.lost += 1;
            state
                .missing
                .get_or_insert_with(|| Lost { since: seq, count: 0, reason: REASON.to_owned() })
                .count += 1;
            return;
        }
        if let Some(missing) = state.missing.take() {
            state.push(0, |_| Entry::Lost(missing));
        }
        let is_batch = state.push(bytes, |texts| self.taken.entry(passing, &seen, texts));
        let is_crowded = self.is_filled_by(&state) && !self.crowded.swap(true, Ordering::Relaxed);
        if std::mem::take(&mut state.idle) || is_batch || is_crowded {
            drop(state);
            self.work.notify_one();
        }
    }

    /// Waits until the queue is less than three quarters full, so that the replies of those who wait find room.
    pub(crate) async fn room(&self) {
        if !self.is_crowded() || self.stuck.load(Ordering::Relaxed) {
            return;
        }
        let waiting = async {
            loop {
                let woken = self.room.notified();
                if !self.is_crowded() {
                    break;
                }
                woken.await;
            }
        };
        if tokio::time::timeout(WAIT_MAX, waiting).await.is_err() {
            self.stuck.store(true, Ordering::Relaxed);
        }
    }

    /// Moves the next entries to `taken`, which is empty, waiting for the first at most for `patience`. False when the queue is
    /// closed and empty.
    pub(crate) fn take(&self, taken: &mut Batch, patience: Duration) -> bool {
        let mut state = self.lock();
        let linger = state.left_alone_until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(linger) = linger.filter(|_| !state.closed && state.full.is_empty() && !self.is_crowded())
        {
            state = self.wait(state, linger.min(patience));
        }
        if state.is_empty() && !state.closed {
            state.idle = true;
            state = self.wait(state, patience);
            state.idle = false;
        }
        if state.full.is_empty()
            && let Some(missing) = state.missing.take()
        {
            state.push(0, |_| Entry::Lost(missing));
        }
        match state.full.pop_front() {
            Some(next) => state.spare = std::mem::replace(taken, next),
            // The data path goes on in memory that was used a moment ago.
            None => std::mem::swap(&mut state.filling, taken),
        }
        if !taken.entries.is_empty() {
            state.left_alone_until = Some(Instant::now() + LINGER);
        }
        state.entries -= taken.entries.len();
        state.bytes -= taken.bytes;
        self.crowded.store(self.is_filled_by(&state), Ordering::Relaxed);
        let more = !(state.closed && taken.entries.is_empty());
        drop(state);
        self.stuck.store(false, Ordering::Relaxed);
        self.room.notify_waiters();
        more
    }

    /// Takes nothing from now on; the writer gets what is there and then the end.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(state);
        self.work.notify_one();
    }

    /// The number of the message that was offered last.
    pub(crate) fn last_seq(&self) -> u64 {
        self.lock().seq
    }

    pub(crate) fn depth(&self) -> Depth {
        let state = self.lock();
        Depth {
            frames: state.entries,
            bytes: state.bytes,
            lost: state.lost,
            offered: state.seq,
            full: state.missing.is_some(),
        }
    }

    /// Whether the next batch is there already.
    pub(crate) fn has_more(&self) -> bool {
        !self.lock().full.is_empty()
    }

    /// Whether [`Queue::room`] may have to wait.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    fn is_filled_by(&self, state: &State) -> bool {
        state.entries >= three_quarters(self.bounds.frames_max)
            || state.bytes >= three_quarters(self.bounds.bytes_max)
    }

    /// A single message larger than the whole bound is taken when the queue is empty: it is in memory anyway.
    fn has_room(&self, state: &State, bytes: usize) -> bool {
        state.entries == 0
            || (state.entries < self.bounds.frames_max && state.bytes + bytes <= self.bounds.bytes_max)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, patience: Duration) -> MutexGuard<'a, State> {
        self.work.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
    }

    /// A panic elsewhere leaves the counts as they were: nothing here can be half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.entries == 0 && self.missing.is_none()
    }

    /// Says whether there is a batch more that is full.
    fn push(&mut self, bytes: usize, entry: impl FnOnce(&mut Vec<u8>) -> Entry) -> bool {
        let entry = entry(&mut self.filling.texts);
        self.filling.entries.push_back(entry);
        self.filling.bytes += bytes;
        self.entries += 1;
        self.bytes += bytes;
        let is_full = self.filling.is_full();
        if is_full {
            let next = std::mem::take(&mut self.spare);
            self.full.push_back(std::mem::replace(&mut self.filling, next));
        }
        is_full
    }
}

impl Taken {
    fn entry(self, passing: &Passing<'_>, seen: &Seen<'_>, texts: &mut Vec<u8>) -> Entry {
        if self == Self::Copied && seen.message.len() <= COPIED_BYTES_MAX && seen.rules.is_empty() {
            Entry::Copied(Copied::of(seen, texts))
        } else {
            Entry::Kept(passing.kept())
        }
    }
}

impl Batch {
    fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_MAX || self.texts.len() >= BATCH_TEXTS_MAX
    }

    /// Hands out each entry with the texts of all, and keeps the memory for others.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Entry, &[u8])) {
        for entry in self.entries.drain(..) {
            take(entry, &self.texts);
        }
        self.texts.clear();
        self.bytes = 0;
    }
}

const fn three_quarters(bound: usize) -> usize {
    bound / 4 * 3 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::testing::{CALL, capture, captured, passing};

    fn queue(frames_max: usize, bytes_max: usize) -> Queue {
        Queue::new(Bounds { frames_max, bytes_max }, Taken::Copied)
    }

    fn push(queue: &Queue) {
        queue.push(&passing(&captured()));
    }

    /// What comes out, a letter for a frame.
    fn taken(queue: &Queue) -> Vec<String> {
        let mut taken = Batch::default();
        queue.take(&mut taken, Duration::ZERO);
        let mut words = Vec::new();
        taken.drain(|entry, texts| {
            words.push(match entry {
                Entry::Kept(_) => "kept".to_owned(),
                Entry::Copied(copied) => String::from_utf8(copied.seen(texts).message.to_vec()).unwrap(),
                Entry::Lost(lost) => format!("lost {} from {}", lost.count, lost.since),
            });
        });
        words
    }

    #[test]
    fn what_does_not_fit_is_counted_at_its_place() {
        let queue = queue(2, 1 << 20);
        for _ in 0..5 {
            push(&queue);
        }
        assert_eq!(queue.depth().lost, 3);
        assert_eq!(taken(&queue), [CALL, CALL, "lost 3 from 3"]);
        push(&queue);
        assert_eq!(taken(&queue), [CALL]);
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let one = captured().bytes();
        let queue = queue(100, 2 * one);
        for _ in 0..3 {
            push(&queue);
        }
        assert_eq!(queue.depth(), Depth { frames: 2, bytes: 2 * one, lost: 1, offered: 3, full: true });
        assert_eq!(taken(&queue), [CALL, CALL, "lost 1 from 3"]);
        assert_eq!(queue.depth().bytes, 0);
    }

    #[test]
    fn a_copy_takes_no_more_than_it_counts_for() {
        let queue = queue(100, 1 << 20);
        let method = "m".repeat(COPIED_BYTES_MAX / 2);
        queue.push(&passing(&capture(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#))));
        let copied = queue.lock().filling.texts.len();
        assert!(copied > COPIED_BYTES_MAX && copied <= queue.depth().bytes, "{copied}");
    }

    #[test]
    fn a_message_larger_than_the_bound_is_taken_alone() {
        let queue = queue(100, 1);
        push(&queue);
        push(&queue);
        assert_eq!(taken(&queue), [CALL, "lost 1 from 2"]);
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_has_and_ends() {
        let queue = queue(100, 1 << 20);
        push(&queue);
        queue.close();
        push(&queue);
        assert_eq!(taken(&queue), [CALL, "lost 1 from 2"]);
        assert!(!queue.take(&mut Batch::default(), Duration::ZERO));
    }

    #[test]
    fn what_is_copied_and_what_is_kept_come_out_in_the_order_in_which_they_went_in() {
        let queue = queue(4 * BATCH_MAX, 1 << 20);
        let text = |number| format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"ping"}}"#);
        let words: Vec<String> = (0..2 * BATCH_MAX + 2).map(text).collect();
        for word in &words {
            queue.push(&passing(&capture(word)));
        }
        let long = CALL.replace("hi", &"hi".repeat(COPIED_BYTES_MAX));
        let ruled = Captured { rules: Box::new(["no-shell: tag".into()]), ..captured() };
        queue.push(&passing(&capture(&long)));
        queue.push(&passing(&ruled));
        push(&queue);
        assert_eq!(queue.depth().frames, 2 * BATCH_MAX + 5);
        let batches: Vec<_> = (0..3).map(|_| taken(&queue)).collect();
        let last = ["kept", "kept", CALL].map(str::to_owned);
        assert_eq!(batches.concat(), [words, last.to_vec()].concat());
        assert_eq!(batches[0].len(), BATCH_MAX, "no more is in memory beside the queue");
        assert_eq!(queue.depth(), Depth { offered: 2 * BATCH_MAX as u64 + 5, ..Depth::default() });
    }

    #[test]
    fn a_closed_queue_hands_out_its_full_batches_and_then_what_was_lost() {
        let queue = queue(2 * BATCH_MAX, 1 << 20);
        for _ in 0..BATCH_MAX {
            push(&queue);
        }
        queue.close();
        push(&queue);
        assert_eq!(taken(&queue), vec![CALL; BATCH_MAX]);
        assert_eq!(taken(&queue), [format!("lost 1 from {}", BATCH_MAX + 1)]);
        assert!(!queue.take(&mut Batch::default(), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_does_not_move_costs_one_wait_in_all() {
        let queue = queue(4, 1 << 20);
        for _ in 0..4 {
            push(&queue);
        }
        let start = tokio::time::Instant::now();
        for _ in 0..100 {
            queue.room().await;
        }
        assert_eq!(start.elapsed(), WAIT_MAX);
        assert_eq!(taken(&queue), [CALL; 4]);
        queue.room().await;
        assert_eq!(start.elapsed(), WAIT_MAX);
    }
}
