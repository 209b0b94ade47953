//! Where messages come from: one trait, a file for each source.

mod tapes;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::event::Event;
use crate::hands::Hands;

pub use tapes::Tapes;

/// Events that wait for the view. A source that is faster than the screen waits.
const EVENTS_MAX: usize = 256;
/// How long the thread of a source may take to notice that the view has ended.
const END_WAIT: Duration = Duration::from_secs(2);

/// Where messages come from.
pub trait Source: Send + 'static {
    /// What it is called in the first line of the screen.
    fn name(&self) -> String;

    /// The way into the proxy, where there is one.
    fn hands(&self) -> Option<Box<dyn Hands>> {
        None
    }

    /// Tells all that is there and all that comes, on a thread of its own, until the view ends or nothing more can come.
    ///
    /// # Errors
    /// When the view has ended.
    fn feed(self: Box<Self>, feed: &Feed) -> Result<(), ViewEnded>;
}

/// The view takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewEnded;

/// The source's end of the line to the view.
#[derive(Debug)]
pub struct Feed {
    events: SyncSender<Event>,
    /// Nothing is ever sent here: the other end is dropped when the view ends.
    ended: Receiver<()>,
}

impl Feed {
    /// And what the view keeps of it: what comes, and what it drops when it ends.
    fn new() -> (Self, Receiver<Event>, SyncSender<()>) {
        let (tell, events) = sync_channel(EVENTS_MAX);
        let (alive, ended) = sync_channel(0);
        (Self { events: tell, ended }, events, alive)
    }

    /// Hands an event over; waits while the view is behind.
    ///
    /// # Errors
    /// When the view has ended.
    pub fn tell(&self, event: Event) -> Result<(), ViewEnded> {
        self.events.send(event).map_err(|_| ViewEnded)
    }

    /// Waits before the next look.
    ///
    /// # Errors
    /// When the view has ended.
    pub fn wait(&self, span: Duration) -> Result<(), ViewEnded> {
        match self.ended.recv_timeout(span) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(ViewEnded),
        }
    }
}

/// A source at work on its thread.
pub(crate) struct Running {
    events: Receiver<Event>,
    alive: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(source: Box<dyn Source>) -> Self {
        let (feed, events, alive) = Feed::new();
        // That the view has ended is what ends it.
        let thread = thread::spawn(move || source.feed(&feed).unwrap_or(()));
        Self { events, alive, thread }
    }

    /// What has come since the last time, as far as it is there.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.try_iter()
    }

    /// Ends the thread; one that hangs in a read of a dead disk is left behind with the process.
    pub(crate) fn end(self) {
        drop((self.events, self.alive));
        let (done, ended) = sync_channel::<()>(1);
        let joiner = thread::spawn(move || {
            // A panic on it has told of itself.
            self.thread.join().ok();
            done.try_send(()).ok();
        });
        let begun = Instant::now();
        if ended.recv_timeout(END_WAIT).is_ok() || begun.elapsed() < END_WAIT {
            joiner.join().ok();
        }
    }
}
