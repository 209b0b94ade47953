//! What a child writes to stderr: always drained, the end of it kept, a bounded part of it logged.
//! A full stderr pipe would stop the child in the middle of an answer.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use super::child_exit::{AFTER_EXIT_BYTES_MAX, AFTER_EXIT_WAIT};

/// How much of the end of stderr is kept for each child.
const TAIL_BYTES_MAX: usize = 1024 * 1024;
/// Where a line is cut, in the log and in the tail.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// How many lines of one child reach the log in a second.
const LOGGED_PER_SECOND_MAX: u32 = 100;

const CHUNK_BYTES: usize = 16 * 1024;
const WINDOW: Duration = Duration::from_secs(1);

/// The last bytes a child wrote.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<VecDeque<u8>>);

impl Tail {
    /// The last `count` lines that are not empty, oldest first.
    pub(super) fn last_lines(&self, count: usize) -> Vec<Box<str>> {
        let text = self.end(count.saturating_mul(LINE_BYTES_MAX));
        let lines = text.rsplit(|&byte| byte == b'\n').map(printable).filter(|line| !line.is_empty());
        let mut lines: Vec<Box<str>> = lines.take(count).collect();
        lines.reverse();
        lines
    }

    fn end(&self, bytes: usize) -> Vec<u8> {
        let kept = self.lock();
        kept.iter().skip(kept.len().saturating_sub(bytes)).copied().collect()
    }

    fn push(&self, chunk: &[u8]) {
        let mut kept = self.lock();
        let overflow = (kept.len() + chunk.len()).saturating_sub(TAIL_BYTES_MAX).min(kept.len());
        kept.drain(..overflow);
        kept.extend(chunk);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads `stderr` until it ends, or until all is read that a child wrote which is gone.
pub(super) async fn drain(
    mut stderr: impl AsyncRead + Unpin,
    tail: &Tail,
    server: &str,
    gone: &CancellationToken,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut log = Log::new(Instant::now());
    // Somebody who outlives the child may hold the pipe open and write to it for ever.
    let mut over = pin!(after(gone));
    let mut left_after_exit = AFTER_EXIT_BYTES_MAX;
    while left_after_exit > 0 {
        let read = tokio::select! {
            biased;
            read = stderr.read(&mut chunk) => read,
            () = &mut over => break,
        };
        let Ok(bytes @ 1..) = read else { break };
        if gone.is_cancelled() {
            left_after_exit = left_after_exit.saturating_sub(bytes);
        }
        let chunk = chunk.get(..bytes).unwrap_or_default();
        tail.push(chunk);
        log.push(chunk, Instant::now(), |entry| write(server, &entry));
    }
    log.finish(|entry| write(server, &entry));
}

async fn after(gone: &CancellationToken) {
    gone.cancelled().await;
    tokio::time::sleep(AFTER_EXIT_WAIT).await;
}

fn write(server: &str, entry: &Entry) {
    match entry {
        Entry::Line(line) => tracing::info!(target: "child", server, "{line}"),
        Entry::HeldBack(lines) => tracing::warn!(target: "child", server, lines, "stderr lines held back"),
    }
}

#[derive(Debug, PartialEq)]
enum Entry {
    Line(Box<str>),
    HeldBack(u64),
}

/// Cuts the stream into lines and lets [`LOGGED_PER_SECOND_MAX`] of them through.
struct Log {
    partial: Vec<u8>,
    window: Instant,
    logged: u32,
    held_back: u64,
}

impl Log {
    fn new(now: Instant) -> Self {
        Self { partial: Vec::new(), window: now, logged: 0, held_back: 0 }
    }

    fn push(&mut self, chunk: &[u8], now: Instant, mut write: impl FnMut(Entry)) {
        if now.duration_since(self.window) >= WINDOW {
            self.window = now;
            self.logged = 0;
            self.report(&mut write);
        }
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, tail) = rest.split_at(end);
            self.line(line, &mut write);
            rest = tail.get(1..).unwrap_or_default();
        }
        self.keep(rest);
    }

    fn finish(mut self, mut write: impl FnMut(Entry)) {
        self.line(&[], &mut write);
        self.report(&mut write);
    }

    fn line(&mut self, end: &[u8], write: &mut impl FnMut(Entry)) {
        if self.logged == LOGGED_PER_SECOND_MAX {
            self.partial.clear();
            self.held_back += 1;
            return;
        }
        self.keep(end);
        let line = printable(&self.partial);
        self.partial.clear();
        if !line.is_empty() {
            self.logged += 1;
            write(Entry::Line(line));
        }
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.partial.len());
        self.partial.extend(part.iter().take(room));
    }

    fn report(&mut self, write: &mut impl FnMut(Entry)) {
        if self.held_back > 0 {
            write(Entry::HeldBack(std::mem::take(&mut self.held_back)));
        }
    }
}

/// One line as text that cannot move a terminal's cursor or forge a second line.
fn printable(line: &[u8]) -> Box<str> {
    let line = line.get(..LINE_BYTES_MAX).unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    text.trim_end().chars().filter(|c| *c == '\t' || !c.is_control()).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(log: &mut Log, chunk: &[u8], now: Instant) -> Vec<Entry> {
        let mut seen = Vec::new();
        log.push(chunk, now, |entry| seen.push(entry));
        seen
    }

    #[test]
    fn the_tail_keeps_the_end_and_stays_within_its_limit() {
        let tail = Tail::default();
        for _ in 0..40 {
            tail.push(&vec![b'x'; 64 * 1024]);
        }
        tail.push(b"\nlast words\r\n\n");
        assert_eq!(tail.lock().len(), TAIL_BYTES_MAX);
        let lines = tail.last_lines(2);
        assert_eq!(lines[1].as_ref(), "last words");
        assert_eq!(lines[0].len(), LINE_BYTES_MAX);
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let now = Instant::now();
        let mut log = Log::new(now);
        assert_eq!(entries(&mut log, b"he", now), []);
        assert_eq!(entries(&mut log, b"llo\x1b[2J\nwor", now), [Entry::Line("hello[2J".into())]);
        let mut seen = Vec::new();
        log.finish(|entry| seen.push(entry));
        assert_eq!(seen, [Entry::Line("wor".into())]);
    }

    #[test]
    fn what_is_beyond_the_rate_is_counted_and_told_later() {
        let now = Instant::now();
        let mut log = Log::new(now);
        assert_eq!(entries(&mut log, "x\n".repeat(1_000).as_bytes(), now).len(), 100);
        let later = entries(&mut log, b"y\n", now + WINDOW);
        assert_eq!(later, [Entry::HeldBack(900), Entry::Line("y".into())]);
    }
}
