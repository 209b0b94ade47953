//! One ordered stream of messages to a client: bounded while it is read, kept for a while when it is not.
//!
//! The same type carries an SSE answer, the standing GET stream and the pipe of a stdio client. It knows nothing of
//! SSE or lines: a reader takes numbered messages and writes them in its transport's form.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The bounds of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Bytes a reader may lag behind before the writer has to wait.
    pub lag_bytes_max: usize,
    /// How long the writer waits for a reader that does not read, before the stream ends.
    pub stall_max: Duration,
    /// Messages kept for a client that comes back; 0 where the transport cannot resume.
    pub kept_events_max: usize,
    /// Bytes kept for a client that comes back.
    pub kept_bytes_max: usize,
}

/// Counts the messages that gave way because nobody read them in time. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Lost(Arc<AtomicU64>);

impl Lost {
    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What all streams of one client may hold together.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    used: AtomicUsize,
    lost: Lost,
}

impl Budget {
    /// A budget of `max` bytes; what does not fit and gives way counts as `lost`.
    pub fn new(max: usize, lost: Lost) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0), lost })
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn is_spent(&self) -> bool {
        self.used() >= self.max
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// An ordered stream of messages to one client. Clones of the `Arc` write; one [`Reader`] at a time reads.
#[derive(Debug)]
pub struct Stream {
    limits: StreamLimits,
    budget: Arc<Budget>,
    inner: Mutex<Inner>,
    room: Notify,
    opened: Notify,
    is_given_up: AtomicBool,
    given_up: Notify,
}

#[derive(Debug)]
struct Inner {
    /// Messages not yet read, and those kept for a client that comes back.
    events: VecDeque<Bytes>,
    /// The number of the first message in `events`; numbers start at 1, so that 0 means "from the start".
    first: u64,
    /// The number up to which the present reader has read.
    read: u64,
    kept_bytes: usize,
    lag_bytes: usize,
    /// Counts readers: a later one replaces an earlier one.
    reader: u64,
    attached: bool,
    detached_at: Instant,
    opened: bool,
    ended: bool,
    /// The reader that was sent away, and when its client should come back.
    sent_away: Option<(u64, Duration)>,
    waker: Option<Waker>,
}

/// Why a message could not be written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StreamClosed {
    /// The stream has ended.
    #[error("the stream has ended")]
    Ended,
    /// The reader did not read for too long; the stream has ended now.
    #[error("the client does not read its stream")]
    Stalled,
}

impl Stream {
    /// An empty stream that nobody reads yet. What it holds counts in `budget`.
    pub fn new(limits: StreamLimits, budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            budget,
            inner: Mutex::new(Inner {
                events: VecDeque::new(),
                first: 1,
                read: 0,
                kept_bytes: 0,
                lag_bytes: 0,
                reader: 0,
                attached: false,
                detached_at: Instant::now(),
                opened: false,
                ended: false,
                sent_away: None,
                waker: None,
            }),
            room: Notify::new(),
            opened: Notify::new(),
            is_given_up: AtomicBool::new(false),
            given_up: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a message. Waits while the reader lags too far behind; without a reader the oldest messages give way.
    ///
    /// # Errors
    /// When the stream has ended, or ends now because its reader stalled.
    ///
    /// # Cancel safety
    /// Cancelled while it waits, the message is not appended.
    pub async fn push(&self, message: Bytes) -> Result<(), StreamClosed> {
        loop {
            let room = self.room.notified();
            if let Some(done) = self.try_push(&message) {
                return done;
            }
            if timeout(self.limits.stall_max, room).await.is_err() {
                self.end();
                return Err(StreamClosed::Stalled);
            }
        }
    }

    /// Appends a message if there is room now; for messages that may be lost, such as a late cancel.
    pub fn offer(&self, message: &Bytes) -> bool {
        matches!(self.try_push(message), Some(Ok(())))
    }

    /// `None` when there is no room now.
    fn try_push(&self, message: &Bytes) -> Option<Result<(), StreamClosed>> {
        let mut inner = self.lock();
        if inner.ended {
            return Some(Err(StreamClosed::Ended));
        }
        // What has been read gives way before a writer has to wait.
        inner.shed(&self.limits, &self.budget);
        let lags =
            inner.lag_bytes >= self.limits.lag_bytes_max || (inner.lag_bytes > 0 && self.budget.is_spent());
        if inner.attached && lags {
            return None;
        }
        inner.lag_bytes += message.len();
        inner.kept_bytes += message.len();
        self.budget.take(message.len());
        inner.events.push_back(message.clone());
        if !inner.attached {
            inner.shed(&self.limits, &self.budget);
        }
        let waker = inner.waker.take();
        drop(inner);
        self.open();
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(Ok(()))
    }

    /// Lets the reader start although no message is there yet.
    pub fn open(&self) {
        let mut inner = self.lock();
        if !inner.opened && !inner.ended {
            inner.opened = true;
            drop(inner);
            self.opened.notify_waiters();
        }
    }

    /// Waits until the stream was opened or got its first message.
    pub async fn wait_opened(&self) {
        loop {
            let opened = self.opened.notified();
            if self.is_open() {
                return;
            }
            opened.await;
        }
    }

    /// Whether the stream was opened or got a message.
    pub fn is_open(&self) -> bool {
        self.lock().opened
    }

    /// Ends the stream after the messages it holds.
    pub fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.opened = true;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.opened.notify_waiters();
        self.room.notify_waiters();
    }

    /// Ends a stream that was never opened, and says whether it was one: from then on nothing gets onto it, so that what
    /// would have been its only message can be given in another form. Who waits for it learns of its end by
    /// [`Stream::end`].
    pub fn end_unopened(&self) -> bool {
        let mut inner = self.lock();
        let is_unopened = !inner.opened;
        inner.ended |= is_unopened;
        is_unopened
    }

    /// Ends an open stream that nobody has read since before `oldest`: who waits for it does so no longer.
    pub fn abandon(&self, oldest: Instant) {
        let inner = self.lock();
        if inner.ended || !inner.opened || inner.attached || inner.detached_at > oldest {
            return;
        }
        drop(inner);
        self.end();
        self.give_up();
    }

    /// What is still to come on this stream is awaited no longer: whoever writes to it ends it, with a word to the
    /// client if it can still be told.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Release);
        self.given_up.notify_waiters();
    }

    /// Waits until the stream was given up.
    pub async fn wait_given_up(&self) {
        loop {
            let given_up = self.given_up.notified();
            if self.is_given_up.load(Ordering::Acquire) {
                return;
            }
            given_up.await;
        }
    }

    /// Sends the present reader away: its client is to come back after `retry` for what is still to come.
    pub fn send_away(&self, retry: Duration) {
        let mut inner = self.lock();
        if inner.ended || !inner.attached {
            return;
        }
        inner.sent_away = Some((inner.reader, retry));
        inner.reader += 1;
        inner.attached = false;
        inner.detached_at = Instant::now();
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.room.notify_waiters();
    }

    /// Whether no more messages will come.
    pub fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Whether somebody reads.
    pub fn is_attached(&self) -> bool {
        self.lock().attached
    }

    /// Since when nobody reads; `None` while somebody does.
    pub fn detached_since(&self) -> Option<Instant> {
        let inner = self.lock();
        (!inner.attached).then_some(inner.detached_at)
    }

    /// Bytes held in memory.
    pub fn kept_bytes(&self) -> usize {
        self.lock().kept_bytes
    }

    /// Starts reading after message number `after` (0: from the start), in place of an earlier reader.
    ///
    /// `None` when messages after that number are already gone: the caller tells the client of the gap.
    pub fn read_after(self: &Arc<Self>, after: u64) -> Option<Reader> {
        let mut inner = self.lock();
        if after + 1 < inner.first || after >= inner.first + inner.events.len() as u64 {
            return None;
        }
        Some(self.attach(&mut inner, after))
    }

    /// Starts reading at the oldest message that is still there, in place of an earlier reader.
    pub fn read(self: &Arc<Self>) -> Reader {
        let mut inner = self.lock();
        let after = inner.first - 1;
        self.attach(&mut inner, after)
    }

    /// Starts reading at the first message no reader has taken, in place of an earlier reader.
    pub fn read_on(self: &Arc<Self>) -> Reader {
        let mut inner = self.lock();
        let after = inner.read.max(inner.first - 1);
        self.attach(&mut inner, after)
    }

    fn attach(self: &Arc<Self>, inner: &mut Inner, after: u64) -> Reader {
        inner.reader += 1;
        inner.attached = true;
        inner.read = after;
        let skip = usize::try_from(after + 1 - inner.first).unwrap_or(usize::MAX);
        inner.lag_bytes = inner.events.iter().skip(skip).map(Bytes::len).sum();
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
        Reader { stream: Arc::clone(self), number: inner.reader }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.budget.give_back(self.lock().kept_bytes);
    }
}

impl Inner {
    /// Forgets the oldest messages beyond what is kept, never those the present reader has still to read.
    fn shed(&mut self, limits: &StreamLimits, budget: &Budget) {
        while self.events.len() > limits.kept_events_max
            || self.kept_bytes > limits.kept_bytes_max
            || (self.events.len() > 1 && budget.is_spent())
        {
            if self.attached && self.first > self.read {
                return;
            }
            let Some(oldest) = self.events.pop_front() else { return };
            self.kept_bytes -= oldest.len();
            budget.give_back(oldest.len());
            if self.first > self.read {
                self.lag_bytes = self.lag_bytes.saturating_sub(oldest.len());
                budget.lost.add();
            }
            self.first += 1;
        }
    }
}

/// Takes the messages of a [`Stream`]; dropping it leaves the stream without a reader.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<Stream>,
    number: u64,
}

impl Reader {
    /// The next message and its number; `None` when the stream has ended or another reader took over.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Bytes)>> {
        let mut inner = self.stream.lock();
        if inner.reader != self.number {
            return Poll::Ready(None);
        }
        let at = usize::try_from(inner.read + 1 - inner.first).unwrap_or(usize::MAX);
        if let Some(message) = inner.events.get(at).cloned() {
            inner.read += 1;
            let number = inner.read;
            inner.lag_bytes = inner.lag_bytes.saturating_sub(message.len());
            inner.shed(&self.stream.limits, &self.stream.budget);
            drop(inner);
            self.stream.room.notify_waiters();
            return Poll::Ready(Some((number, message)));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            inner.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// The next message and its number.
    ///
    /// # Cancel safety
    /// Cancel safe: a message is taken only when it is returned.
    pub async fn next(&mut self) -> Option<(u64, Bytes)> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The number of the last message taken.
    pub fn position(&self) -> u64 {
        self.stream.lock().read
    }

    /// When the client should come back, if this reader was sent away.
    pub fn sent_away(&self) -> Option<Duration> {
        let sent_away = self.stream.lock().sent_away;
        sent_away.filter(|(number, _)| *number == self.number).map(|(_, retry)| retry)
    }

    /// The stream that is read.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.stream.lock();
        if inner.reader == self.number {
            inner.attached = false;
            inner.detached_at = Instant::now();
            inner.waker = None;
            inner.shed(&self.stream.limits, &self.stream.budget);
            drop(inner);
            self.stream.room.notify_waiters();
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
