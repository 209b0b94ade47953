//! A client on our own stdin and stdout: one message a line, nothing else on stdout.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{RefusalKind, Transport};
use shadowcat_protocol::{Limits, lines};
use shadowcat_session::{Reader, StreamLimits};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::front::Front;
use crate::pipe_client::{PipeBounds, PipeClient};

const CHUNK_BYTES: usize = 64 * 1024;
/// Lines that are ready together are written together, up to about this many bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// Serves the one client on a pair of pipes.
pub struct StdioListener {
    /// The gateway.
    pub front: Arc<dyn Front>,
    /// The bounds of a message.
    pub limits: Limits,
    /// Requests that may be in flight.
    pub in_flight_max: usize,
    /// The bounds of what waits for the client.
    pub stream: StreamLimits,
    /// How long requests in flight may still take when the client has closed its side.
    pub grace: Duration,
}

impl StdioListener {
    /// Reads messages until the input ends or `stop`, then lets what is in flight finish and ends the session.
    pub async fn run<I, O>(self, input: I, output: O, tasks: Tasks, stop: CancellationToken)
    where
        I: AsyncRead + Unpin + Send,
        O: AsyncWrite + Unpin + Send + 'static,
    {
        let bounds =
            PipeBounds { message: self.limits, in_flight_max: self.in_flight_max, stream: self.stream };
        let (exchanges, ending) = (tasks.child(), CancellationToken::new());
        let client =
            PipeClient::new(self.front, Transport::Stdio, bounds, None, exchanges.clone(), ending.clone());
        let gone = CancellationToken::new();
        let writer = write_lines(client.stream().read(), output, gone.clone());
        let writing = tasks.child();
        writing.spawn(writer);
        let reading = read_lines(&client, input, self.limits.message_bytes_max);
        tokio::select! {
            () = reading => {
                ending.cancel();
                exchanges.join(self.grace).await;
            }
            () = gone.cancelled() => {}
            () = stop.cancelled() => {
                ending.cancel();
                exchanges.join(self.grace).await;
            }
        }
        client.end().await;
        exchanges.stop();
        client.stream().end();
        writing.join(self.grace).await;
    }
}

async fn read_lines(client: &Arc<PipeClient>, mut input: impl AsyncRead + Unpin, line_bytes_max: usize) {
    let mut decoder = lines::Decoder::new(line_bytes_max);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        while let Some(line) = decoder.next_line() {
            match line {
                Ok(text) => client.take(text, None).await,
                Err(error) => {
                    tracing::warn!(%error, "a line over the limit was dropped");
                    client.refuse(&RefusalKind::LimitBody.into()).await;
                }
            }
        }
        match input.read(&mut chunk).await {
            Ok(0) => {
                decoder.finish();
                while let Some(Ok(text)) = decoder.next_line() {
                    client.take(text, None).await;
                }
                return;
            }
            Ok(bytes) => decoder.push(chunk.get(..bytes).unwrap_or_default()),
            Err(error) => {
                tracing::warn!(%error, "the client's input cannot be read");
                return;
            }
        }
    }
}

/// Writes the client's stream line by line. A client that no longer reads is gone: `gone` tells so.
async fn write_lines(mut reader: Reader, mut output: impl AsyncWrite + Unpin, gone: CancellationToken) {
    let _gone = gone.drop_guard();
    let mut buffer = BytesMut::new();
    while let Some((_, text)) = reader.next().await {
        append_line(&mut buffer, &text);
        while buffer.len() < WRITE_BYTES
            && let Some(Some((_, text))) = futures_util::FutureExt::now_or_never(reader.next())
        {
            append_line(&mut buffer, &text);
        }
        let written = async {
            output.write_all(&buffer).await?;
            output.flush().await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "the client's output is closed");
            reader.stream().end();
            return;
        }
        buffer.clear();
    }
}

/// Line ends inside a message can only be white space between its tokens.
fn append_line(buffer: &mut BytesMut, text: &Bytes) {
    buffer.reserve(text.len() + 1);
    for part in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        buffer.extend_from_slice(part);
    }
    buffer.extend_from_slice(b"\n");
}
