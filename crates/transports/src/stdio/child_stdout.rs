//! Lines coming out of a child. They are bytes here; what they mean is for others.

use bytes::Bytes;
use shadowcat_protocol::lines::{Decoder, LineTooLong};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::child_exit::{AFTER_EXIT_BYTES_MAX, AFTER_EXIT_WAIT};

const CHUNK_BYTES: usize = 64 * 1024;

/// One line without its line end, or the news that one was too long.
pub type Line = Result<Bytes, LineTooLong>;

/// The lines a child writes to its stdout.
#[derive(Debug)]
pub struct Lines {
    stdout: ChildStdout,
    decoder: Decoder,
    chunk: Box<[u8]>,
    gone: CancellationToken,
    /// One for all that is read after the exit: somebody who goes on writing does not move it.
    deadline: Option<Instant>,
    left_after_exit: usize,
    ended: bool,
}

impl Lines {
    pub(super) fn new(stdout: ChildStdout, line_bytes_max: usize, gone: CancellationToken) -> Self {
        Self {
            stdout,
            decoder: Decoder::new(line_bytes_max),
            chunk: vec![0; CHUNK_BYTES].into(),
            gone,
            deadline: None,
            left_after_exit: AFTER_EXIT_BYTES_MAX,
            ended: false,
        }
    }

    /// The next line; nothing after the last one of a child that ended or closed its output. Words behind the last line
    /// end count as a line: whoever reads it can tell whether it was cut.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped before it is ready.
    pub async fn next_line(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.decoder.next_line() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            if let Some(bytes) = self.read().await {
                self.decoder.push(self.chunk.get(..bytes)?);
            } else {
                self.ended = true;
                self.decoder.finish();
            }
        }
    }

    /// Reads a chunk and says how long it is; nothing at the end.
    async fn read(&mut self) -> Option<usize> {
        tokio::select! {
            biased;
            read = self.stdout.read(&mut self.chunk), if !self.gone.is_cancelled() => {
                return read.ok().filter(|&bytes| bytes > 0);
            }
            () = self.gone.cancelled() => {}
        }
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + AFTER_EXIT_WAIT);
        // What is there is read even when the time is over.
        let read = timeout_at(deadline, self.stdout.read(&mut self.chunk)).await;
        let bytes = read.ok()?.ok().filter(|&bytes| bytes > 0)?;
        self.left_after_exit = self.left_after_exit.checked_sub(bytes)?;
        Some(bytes)
    }
}
