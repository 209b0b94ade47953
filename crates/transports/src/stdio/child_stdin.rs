//! Lines on their way into a child: a queue bounded in bytes in front of a task that writes what has gathered in one
//! go. A child that does not read costs its own callers a wait and nobody else anything.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const QUEUE_LINES_MAX: usize = 1024;
/// Two slices a line, well under the kernel's limit of 1,024 slices in one write.
const BATCH_LINES_MAX: usize = 64;

/// Why a line was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The child does not read as fast as it is written to.
    #[error("the child's input queue stayed full for {waited:?}")]
    QueueFull {
        /// How long the writer waited for room.
        waited: Duration,
    },
    /// The child is gone, is being stopped, or has closed its input.
    #[error("the child's input is closed")]
    Closed,
}

/// The way into a child's stdin. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Writer {
    lines: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    queue_bytes_max: u32,
    wait: Duration,
    shut: CancellationToken,
}

#[derive(Debug)]
struct Queued {
    line: Bytes,
    /// Given back when the line is written.
    _room: OwnedSemaphorePermit,
}

/// The other end of a [`Writer`].
#[derive(Debug)]
pub(super) struct Queue {
    lines: mpsc::Receiver<Queued>,
    room: Arc<Semaphore>,
    shut: CancellationToken,
}

/// A queue of at most `queue_bytes_max` bytes; a writer waits for room for at most `wait`.
pub(super) fn queue(queue_bytes_max: u32, wait: Duration) -> (Writer, Queue) {
    let (sender, lines) = mpsc::channel(QUEUE_LINES_MAX);
    let queue_bytes_max = queue_bytes_max.max(1);
    let room = Arc::new(Semaphore::new(usize::try_from(queue_bytes_max).unwrap_or(Semaphore::MAX_PERMITS)));
    let shut = CancellationToken::new();
    let writer = Writer { lines: sender, room: Arc::clone(&room), queue_bytes_max, wait, shut: shut.clone() };
    (writer, Queue { lines, room, shut })
}

impl Writer {
    /// Queues one line, given without its line end, and waits for room if need be. A line longer than the whole queue
    /// is taken when the queue is empty.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the line is not queued.
    pub async fn write_line(&self, line: Bytes) -> Result<(), WriteError> {
        match timeout(self.wait, self.enqueue(line)).await {
            Ok(done) => done,
            Err(_) => Err(WriteError::QueueFull { waited: self.wait }),
        }
    }

    /// The signal that the child has closed its input though nobody stops it: it is gone, or deaf for good.
    pub(super) fn shut(&self) -> CancellationToken {
        self.shut.clone()
    }

    async fn enqueue(&self, line: Bytes) -> Result<(), WriteError> {
        let bytes = u32::try_from(line.len().saturating_add(1)).unwrap_or(u32::MAX).min(self.queue_bytes_max);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| WriteError::Closed)?;
        self.lines.send(Queued { line, _room: room }).await.map_err(|_| WriteError::Closed)
    }
}

impl Queue {
    /// Writes until everybody dropped their [`Writer`], the child closed its input, or `stop`, after which only what is
    /// queued is still written; `gone` ends it at once. The input is closed at the end.
    pub(super) async fn run(
        mut self,
        mut stdin: impl AsyncWrite + Unpin,
        stop: &CancellationToken,
        gone: &CancellationToken,
    ) {
        let outcome = gone.run_until_cancelled(self.pump(&mut stdin, stop)).await;
        if let Some(Err(cause)) = outcome {
            tracing::debug!(target: "child", %cause, "the child closed its input");
            if !stop.is_cancelled() {
                self.shut.cancel();
            }
        }
    }

    async fn pump(
        &mut self,
        stdin: &mut (impl AsyncWrite + Unpin),
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let mut batch = Vec::with_capacity(BATCH_LINES_MAX);
        loop {
            let gathered = tokio::select! {
                biased;
                () = stop.cancelled(), if !self.lines.is_closed() => { self.close(); continue }
                gathered = self.lines.recv_many(&mut batch, BATCH_LINES_MAX) => gathered,
            };
            if gathered == 0 {
                return Ok(());
            }
            write_all(stdin, &batch).await?;
            batch.clear();
        }
    }

    fn close(&mut self) {
        self.lines.close();
        self.room.close();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.close();
    }
}

async fn write_all(stdin: &mut (impl AsyncWrite + Unpin), lines: &[Queued]) -> io::Result<()> {
    let slices = lines.iter().flat_map(|queued| [IoSlice::new(&queued.line), IoSlice::new(b"\n")]);
    let mut slices: Vec<IoSlice<'_>> = slices.collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = stdin.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    stdin.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    const WAIT: Duration = Duration::from_secs(5);

    fn line(bytes: usize) -> Bytes {
        vec![b'x'; bytes].into()
    }

    #[tokio::test]
    async fn lines_arrive_in_order_and_the_queued_ones_survive_a_stop() {
        let (writer, queue) = queue(1024, WAIT);
        for text in ["one", "two", "three"] {
            writer.write_line(Bytes::from_static(text.as_bytes())).await.unwrap();
        }
        let (stdin, mut out) = tokio::io::duplex(5);
        let stop = CancellationToken::new();
        stop.cancel();
        let mut seen = String::new();
        let gone = CancellationToken::new();
        let (read, ()) = tokio::join!(out.read_to_string(&mut seen), queue.run(stdin, &stop, &gone));
        read.unwrap();
        assert_eq!(seen, "one\ntwo\nthree\n");
        assert_eq!(writer.write_line(line(1)).await, Err(WriteError::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_after_the_wait() {
        let (writer, _queue) = queue(100, WAIT);
        writer.write_line(line(99)).await.unwrap();
        assert_eq!(writer.write_line(line(1)).await, Err(WriteError::QueueFull { waited: WAIT }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_beyond_the_bound_is_taken_alone() {
        let (writer, mut queue) = queue(100, WAIT);
        writer.write_line(line(500)).await.unwrap();
        assert!(writer.write_line(line(0)).await.is_err());
        drop(queue.lines.recv().await);
        writer.write_line(line(0)).await.unwrap();
        assert!(writer.write_line(line(500)).await.is_err());
    }

    #[tokio::test]
    async fn waiting_writers_learn_at_once_that_the_child_is_gone() {
        let (writer, queue) = queue(10, Duration::from_hours(1));
        writer.write_line(line(9)).await.unwrap();
        let (refused, ()) = tokio::join!(writer.write_line(line(9)), async { drop(queue) });
        assert_eq!(refused, Err(WriteError::Closed));
    }
}
