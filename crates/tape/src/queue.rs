//! Between the data path and the writer thread: bounded in count and bytes, and exact about what it could not take.
//!
//! The data path waits here at most once for [`WAIT_MAX`], and only before a message goes in: a reply passes in a
//! place that cannot wait. When the wait was in vain nobody waits again until the writer moves.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::record::Lost;
use crate::recorder::Captured;

/// Reliability rule R7: the data path never waits longer for a tape.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(5);
/// How much the writer takes at once; what it has taken is in memory beside the queue.
const TAKE_MAX: usize = 512;
/// How long the writer lingers after work before it wants to be woken: under load it is woken once for many frames.
const LINGER: Duration = Duration::from_millis(2);

/// The word on the tape for what the queue could not take.
pub(crate) const REASON: &str = "queue";

/// What the writer is given, in the order of the tape.
#[derive(Debug)]
pub(crate) enum Entry {
    Frame(Captured),
    Lost(Lost),
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
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The number of the message that was offered last.
    seq: u64,
    /// The messages since the last one that was taken.
    missing: Option<Lost>,
    lost: u64,
    closed: bool,
    /// The writer sleeps until it is woken.
    idle: bool,
}

impl Queue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            state: Mutex::default(),
            bounds,
            work: Condvar::new(),
            room: Notify::new(),
            stuck: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
        }
    }

    /// Takes a message if there is room and counts it if there is none. Never waits.
    pub(crate) fn push(&self, captured: Captured) {
        let bytes = captured.bytes();
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
            state.entries.push_back(Entry::Lost(missing));
        }
        state.entries.push_back(Entry::Frame(captured));
        state.bytes += bytes;
        if self.is_filled_by(&state) {
            self.crowded.store(true, Ordering::Relaxed);
        }
        if std::mem::take(&mut state.idle) {
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
    pub(crate) fn take(&self, taken: &mut VecDeque<Entry>, patience: Duration) -> bool {
        let mut state = self.lock();
        if state.is_empty() && !state.closed {
            state = self.wait(state, LINGER.min(patience));
        }
        if state.is_empty() && !state.closed {
            state.idle = true;
            state = self.wait(state, patience);
            state.idle = false;
        }
        if state.entries.len() <= TAKE_MAX {
            // The data path goes on in memory that was used a moment ago, and not once around a ring that is out of the caches.
            taken.shrink_to(TAKE_MAX);
            std::mem::swap(&mut state.entries, taken);
            taken.extend(state.missing.take().map(Entry::Lost));
        } else {
            taken.extend(state.entries.drain(..TAKE_MAX));
        }
        let freed: usize = taken.iter().map(Entry::bytes).sum();
        state.bytes = state.bytes.saturating_sub(freed);
        self.crowded.store(self.is_filled_by(&state), Ordering::Relaxed);
        let more = !(state.closed && taken.is_empty());
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
            frames: state.entries.len(),
            bytes: state.bytes,
            lost: state.lost,
            offered: state.seq,
            full: state.missing.is_some(),
        }
    }

    /// Whether [`Queue::room`] may have to wait.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    fn is_filled_by(&self, state: &State) -> bool {
        state.entries.len() >= three_quarters(self.bounds.frames_max)
            || state.bytes >= three_quarters(self.bounds.bytes_max)
    }

    /// A single message larger than the whole bound is taken when the queue is empty: it is in memory anyway.
    fn has_room(&self, state: &State, bytes: usize) -> bool {
        state.entries.is_empty()
            || (state.entries.len() < self.bounds.frames_max && state.bytes + bytes <= self.bounds.bytes_max)
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
        self.entries.is_empty() && self.missing.is_none()
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(captured) => captured.bytes(),
            Self::Lost(_) => 0,
        }
    }
}

const fn three_quarters(bound: usize) -> usize {
    bound / 4 * 3 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::testing::captured;

    fn queue(frames_max: usize, bytes_max: usize) -> Queue {
        Queue::new(Bounds { frames_max, bytes_max })
    }

    /// What comes out, a letter for a frame.
    fn taken(queue: &Queue) -> Vec<String> {
        let mut taken = VecDeque::new();
        queue.take(&mut taken, Duration::ZERO);
        taken
            .iter()
            .map(|entry| match entry {
                Entry::Frame(_) => "f".to_owned(),
                Entry::Lost(lost) => format!("lost {} from {}", lost.count, lost.since),
            })
            .collect()
    }

    #[test]
    fn what_does_not_fit_is_counted_at_its_place() {
        let queue = queue(2, 1 << 20);
        for _ in 0..5 {
            queue.push(captured());
        }
        assert_eq!(queue.depth().lost, 3);
        assert_eq!(taken(&queue), ["f", "f", "lost 3 from 3"]);
        queue.push(captured());
        assert_eq!(taken(&queue), ["f"]);
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let one = captured().bytes();
        let queue = queue(100, 2 * one);
        for _ in 0..3 {
            queue.push(captured());
        }
        assert_eq!(queue.depth(), Depth { frames: 2, bytes: 2 * one, lost: 1, offered: 3, full: true });
        assert_eq!(taken(&queue), ["f", "f", "lost 1 from 3"]);
        assert_eq!(queue.depth().bytes, 0);
    }

    #[test]
    fn a_message_larger_than_the_bound_is_taken_alone() {
        let queue = queue(100, 1);
        queue.push(captured());
        queue.push(captured());
        assert_eq!(taken(&queue), ["f", "lost 1 from 2"]);
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_has_and_ends() {
        let queue = queue(100, 1 << 20);
        queue.push(captured());
        queue.close();
        queue.push(captured());
        let mut entries = VecDeque::new();
        assert!(queue.take(&mut entries, Duration::ZERO));
        assert_eq!(entries.len(), 2, "the frame, and what came after the close as lost");
        entries.clear();
        assert!(!queue.take(&mut entries, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_does_not_move_costs_one_wait_in_all() {
        let queue = queue(4, 1 << 20);
        for _ in 0..4 {
            queue.push(captured());
        }
        let start = tokio::time::Instant::now();
        for _ in 0..100 {
            queue.room().await;
        }
        assert_eq!(start.elapsed(), WAIT_MAX);
        assert_eq!(taken(&queue), ["f"; 4]);
        queue.room().await;
        assert_eq!(start.elapsed(), WAIT_MAX);
    }
}
