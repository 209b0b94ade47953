//! A small, real MCP server on standard input and output, for `shadowcat demo` and for trying things out.
//!
//! It speaks both eras and has one of everything a proxy must carry: quick and slow tools, progress, questions to the
//! user, log messages, a resource, a prompt. It is a peer and knows nothing of the proxy.

mod answers;
mod offer;
mod peer;
mod tools;

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use shadowcat_pipeline::task::Tasks;
use shadowcat_protocol::{Limits, Message, Response, lines};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::failure::Failure;
use answers::Server;
use peer::Peer;

const READ_BYTES: usize = 16 * 1024;
/// A call that does not end when it is told to is left behind.
const END_WAIT: std::time::Duration = std::time::Duration::from_millis(500);

/// Serves on standard input and output until the input ends.
pub(crate) fn run() -> Result<(), Failure> {
    let failed = |cause| Failure::caused("the demo server failed", cause);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let served = runtime.block_on(serve(tokio::io::stdin(), tokio::io::stdout()));
    runtime.shutdown_timeout(END_WAIT);
    served.map_err(failed)
}

/// Serves one client until its input ends.
async fn serve(
    mut input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> io::Result<()> {
    let limits = Limits::default();
    let tasks = Tasks::new();
    let (peer, lines_out) = Peer::new();
    tasks.spawn(write(lines_out, output));
    let server = Arc::new(Server::new(peer, tasks.child()));
    let mut decoder = lines::Decoder::new(limits.message_bytes_max);
    let mut chunk = BytesMut::with_capacity(READ_BYTES);
    while input.read_buf(&mut chunk).await? > 0 {
        decoder.push(&chunk);
        chunk.clear();
        while let Some(line) = decoder.next_line() {
            // A line that is too long has no id to answer to.
            let Ok(text) = line else { continue };
            match Message::parse(text, &limits) {
                Ok(message) => server.take(message).await,
                Err(error) => {
                    let object = shadowcat_protocol::ErrorObject {
                        code: error.code(),
                        message: error.to_string(),
                        data: None,
                    };
                    server.peer().send(Response::error(error.id.as_ref(), &object).text()).await;
                }
            }
        }
    }
    server.end(END_WAIT).await;
    drop(server);
    tasks.join(END_WAIT).await;
    Ok(())
}

async fn write(mut lines: peer::Lines, mut output: impl AsyncWrite + Unpin) {
    while let Some(line) = lines.recv().await {
        let written = async {
            output.write_all(&line).await?;
            output.write_all(b"\n").await?;
            output.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
