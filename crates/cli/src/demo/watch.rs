//! The traffic on standard output, one line a message, without ever holding up the tape.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use shadowcat_tape::{Tap, render};

/// Lines that wait for a slow terminal; more are counted and left out. They are on the tape all the same.
const LINES_MAX: usize = 1_024;
/// How long the last lines may take.
const END_WAIT: Duration = Duration::from_secs(1);

/// The thread that prints.
pub(super) struct Watcher {
    ended: Receiver<()>,
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
    thread::spawn(move || print(&waiting, &left_out, &done));
    (tap, Watcher { ended })
}

impl Watcher {
    /// Waits for the last lines.
    pub(super) fn end(self) {
        self.ended.recv_timeout(END_WAIT).ok();
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
