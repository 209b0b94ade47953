//! The traffic on standard output, one line a message, without ever holding up the tape.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use shadowcat_tape::{Tap, render};

/// Lines that wait for a slow terminal; more are counted and left out. They are on the tape all the same.
const LINES_MAX: usize = 1_024;
/// How long the last lines may take.
const END_WAIT: Duration = Duration::from_secs(1);

/// The thread that prints.
pub(super) struct Watcher {
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

/// Starts printing what the tap sees, until the tap is dropped.
pub(super) fn start() -> (Tap, Watcher) {
    let (lines, waiting) = sync_channel::<String>(LINES_MAX);
    let left_out = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&left_out);
    let tap = Tap::new(move |frame| {
        if lines.try_send(render::line(frame)).is_err() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (done, ended) = sync_channel(1);
    let thread = thread::spawn(move || print(&waiting, &left_out, &done));
    (tap, Watcher { ended, thread })
}

impl Watcher {
    /// Waits for the last lines; a terminal that takes none is left behind with the process.
    pub(super) fn end(self) {
        if self.ended.recv_timeout(END_WAIT) != Err(RecvTimeoutError::Timeout) {
            // Done, or torn down by a panic that has told of itself.
            self.thread.join().ok();
        }
    }
}

fn print(waiting: &Receiver<String>, left_out: &AtomicU64, done: &SyncSender<()>) {
    for line in waiting {
        super::show(&format!("{line}\n"));
        let count = left_out.swap(0, Ordering::Relaxed);
        if count > 0 {
            super::show(&format!("… {count} more\n"));
        }
    }
    done.try_send(()).ok();
}
