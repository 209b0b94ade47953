//! How far long work is: a bar on stderr, where a person watches.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter work shows nothing.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
/// Looks at the clock are rare beside the work.
const LOOK_EVERY_BYTES: u64 = 256 * 1024;

/// A bar over bytes, gone when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    looked_at: u64,
}

impl Progress {
    /// For so many bytes, which may turn out to be more.
    pub(crate) fn over(bytes: u64, what: &'static str) -> Self {
        let bar = bar(bytes, "{msg} [{bar:30}] {bytes}/{total_bytes}, {eta} left", what);
        Self { bar, begun: Instant::now(), looked_at: 0 }
    }

    /// Tells how many bytes are done.
    pub(crate) fn at(&mut self, bytes: u64) {
        if bytes.saturating_sub(self.looked_at) < LOOK_EVERY_BYTES {
            return;
        }
        self.looked_at = bytes;
        show(&self.bar, self.begun);
        // A tape that is being written grows.
        if self.bar.length().is_some_and(|length| length < bytes) {
            self.bar.set_length(bytes);
        }
        self.bar.set_position(bytes);
    }
}

impl Progress {
    /// Where lines are printed while it is shown: the two may be on one terminal.
    pub(crate) fn beside<W: Write>(&self, out: W) -> Beside<W> {
        Beside { bar: self.bar.clone(), out }
    }
}

/// An output that takes the bar away while it is written to.
pub(crate) struct Beside<W> {
    bar: ProgressBar,
    out: W,
}

impl<W: Write> Write for Beside<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| self.out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar over things that are done one by one, by several at once; gone when it is dropped.
pub(crate) struct Count {
    bar: ProgressBar,
    begun: Instant,
}

impl Count {
    /// For so many things.
    pub(crate) fn of(things: usize, what: &'static str) -> Self {
        let bar = bar(things as u64, "{msg} [{bar:30}] {pos}/{len}", what);
        Self { bar, begun: Instant::now() }
    }

    /// One more is done.
    pub(crate) fn one(&self) {
        self.bar.inc(1);
        show(&self.bar, self.begun);
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn bar(length: u64, template: &str, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

fn show(bar: &ProgressBar, begun: Instant) {
    if bar.is_hidden() && begun.elapsed() >= SHOWN_AFTER {
        // Draws nothing unless stderr is a terminal.
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
}
