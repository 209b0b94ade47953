//! Those who watch what passes: frames as they would be on a tape, redacted, for as long as somebody wants to see them.
//!
//! The data path hands messages over as it does to a tape, to a bounded queue, and does not even that while nobody watches.
//! One thread makes frames of them, for each of those who watch what they asked for. Whoever reads slowly loses the oldest
//! frames and is told how many; nobody else notices.

mod seat;

use std::cell::LazyCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_filter::Filter;

use crate::clock::{Moment, Reading};
use crate::encode::Encoder;
use crate::line;
use crate::queue::{Batch, Bounds, Entry, Queue, Taken};
use crate::recorder::{Captured, Passing, Recorder};
use crate::redact::{Redactor, RedactorError, Secrets};
use crate::tape::Tape;
use seat::Seat;
pub use seat::Shown;

/// Messages that wait to be made frames.
const QUEUE: Bounds = Bounds { frames_max: 4_096, bytes_max: 16 * 1024 * 1024 };
/// Those who watch at one time: each costs the work of a tape.
const WATCHING_MAX: usize = 16;
/// The longest sleep of a thread that has nothing to do.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// Shows what passes to whoever watches. Clones are the same feed.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Queue,
    encoder: Encoder,
    /// How many watch; read with each message.
    watching: AtomicUsize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: Vec<(u64, Arc<Seat>)>,
    next: u64,
    is_over: bool,
}

/// As many watch as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{WATCHING_MAX} watch already; try again when one of them has left")]
pub struct FullHouse;

impl Feed {
    /// A feed that replaces what is known to be secret, and these.
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub fn new(secrets: &Secrets) -> Result<Self, RedactorError> {
        let encoder = Encoder::new(Some(Redactor::new(secrets)?), Moment::now());
        Ok(Self(Arc::new(Shared {
            queue: Queue::new(QUEUE, Taken::Kept),
            encoder,
            watching: AtomicUsize::new(0),
            seats: Mutex::default(),
        })))
    }

    /// Makes frames of what passes until the feed is closed. It blocks, and is to have a thread of its own.
    pub fn run(&self) {
        let mut taken = Batch::default();
        while self.0.queue.take(&mut taken, SLEEP_MAX) {
            let seats: Vec<Arc<Seat>> =
                self.0.seats().taken.iter().map(|(_, seat)| Arc::clone(seat)).collect();
            let now = self.0.encoder.now();
            taken.drain(|entry, _| self.0.give(&seats, &entry, &now));
        }
        let mut seats = self.0.seats();
        seats.is_over = true;
        for (_, seat) in &seats.taken {
            seat.end();
        }
    }

    /// Ends it, for all who watch.
    pub fn close(&self) {
        self.0.queue.close();
    }

    /// Begins to watch the exchanges that fit the filter, or all.
    ///
    /// # Errors
    /// When too many watch already.
    pub fn watch(&self, filter: Option<Filter>) -> Result<Watching, FullHouse> {
        let mut seats = self.0.seats();
        if seats.taken.len() >= WATCHING_MAX {
            return Err(FullHouse);
        }
        let seat = Arc::new(Seat::new(filter));
        if seats.is_over {
            seat.end();
        }
        let number = seats.next;
        seats.next += 1;
        seats.taken.push((number, Arc::clone(&seat)));
        drop(seats);
        self.0.watching.fetch_add(1, Ordering::Relaxed);
        Ok(Watching { shared: Arc::clone(&self.0), number, seat })
    }

    /// How many watch.
    pub fn watching(&self) -> usize {
        self.0.watching.load(Ordering::Relaxed)
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watching() > 0
    }

    pub(crate) fn push(&self, passing: &Passing<'_>) {
        self.0.queue.push(passing);
    }
}

impl Shared {
    /// A panic elsewhere leaves the list as it was.
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, seats: &[Arc<Seat>], entry: &Entry, now: &Reading) {
        let captured = match entry {
            Entry::Lost(lost) => return seats.iter().for_each(|seat| seat.lose(lost.count)),
            Entry::Kept(captured) => captured,
            // Its queue makes none.
            Entry::Copied(_) => return,
        };
        // Redaction is most of the work, and the same for all who see everything.
        let frame = LazyCell::new(|| self.frame(captured, now));
        for seat in seats {
            match seat.choose(captured) {
                None => seat.push(&frame),
                Some(chosen) => chosen.iter().for_each(|captured| seat.push(&self.frame(captured, now))),
            }
        }
    }

    /// Without its number, which each seat gives it.
    fn frame(&self, captured: &Captured, now: &Reading) -> Vec<u8> {
        let mut frame = Vec::new();
        self.encoder.frame(0, &captured.seen(), now, |line| line::unnumbered(line, &mut frame));
        frame
    }
}

/// One who watches. Dropping it ends that.
#[derive(Debug)]
pub struct Watching {
    shared: Arc<Shared>,
    number: u64,
    seat: Arc<Seat>,
}

impl Watching {
    /// The next frame, or how many are missing here; none when the feed has ended.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it has taken nothing.
    pub async fn next(&mut self) -> Option<Shown> {
        self.seat.next().await
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.shared.seats().taken.retain(|(number, _)| *number != self.number);
        self.shared.watching.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who is told of what passes: a tape, those who watch, or both.
#[derive(Clone, Debug)]
pub struct Audience {
    tape: Option<Arc<Queue>>,
    feed: Option<Feed>,
}

impl Audience {
    /// None if there is nobody.
    pub fn new(tape: Option<&Tape>, feed: Option<&Feed>) -> Option<Self> {
        let (tape, feed) = (tape.map(Tape::queue), feed.cloned());
        (tape.is_some() || feed.is_some()).then_some(Self { tape, feed })
    }

    /// This tape.
    pub(crate) fn of(tape: &Tape) -> Self {
        Self { tape: Some(tape.queue()), feed: None }
    }

    /// An interceptor that tells them; `hop` names its place in the chain (`edge`, `wire`).
    pub fn recorder(&self, hop: &'static str) -> Recorder {
        Recorder::new(self.clone(), hop)
    }

    /// Waits for the tape, as long as one may.
    pub(crate) async fn room(&self) {
        if let Some(tape) = self.tape.as_ref().filter(|tape| tape.is_crowded()) {
            // In a box, because few wait, and all would be larger by it.
            Box::pin(tape.room()).await;
        }
    }

    /// Whether anybody would be told of a message now.
    pub(crate) fn listens(&self) -> bool {
        self.tape.is_some() || self.feed.as_ref().is_some_and(Feed::is_watched)
    }

    /// Tells all of a message; it is not even made where nobody wants it.
    pub(crate) fn tell<'a>(&self, passing: impl FnOnce() -> Passing<'a>) {
        if !self.listens() {
            return;
        }
        let passing = passing();
        if let Some(feed) = self.feed.as_ref().filter(|feed| feed.is_watched()) {
            feed.push(&passing);
        }
        if let Some(tape) = &self.tape {
            tape.push(&passing);
        }
    }
}

#[cfg(test)]
mod tests;
