//! Speaks HTTP/1.1 or HTTP/2 over an open stream. Each connection is driven by a task of its own.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use shadowcat_pipeline::task::Tasks;
use tokio::sync::watch;

use super::Settings;
use super::dial::Stream;
use super::host::Slot;
use super::stats::Open;

/// What is sent: a whole body.
pub(super) type Outgoing = Full<Bytes>;

/// The smallest read buffer the library works with (HTTP/1.1).
const READ_BYTES_MIN: usize = 8 * 1024;
/// Streams on one HTTP/2 connection, whatever the server allows: they share one socket and one lost packet stops all.
pub(super) const STREAMS_MAX: u32 = 100;
/// What one stream buffers for a slow reader (HTTP/2).
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// So large that slow readers of some streams never stop the others.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX;

/// What counts a connection, until it is closed.
pub(super) type Kept = (Slot, Open);

/// Starts HTTP/1.1. `kept` lives as long as the connection.
pub(super) async fn start_http1(
    stream: Stream,
    settings: &Settings,
    tasks: &Tasks,
    kept: Kept,
) -> Result<http1::SendRequest<Outgoing>, hyper::Error> {
    let mut builder = http1::Builder::new();
    // The buffer must hold a head; a body for a slow reader waits in it too, and from then on in the socket.
    builder
        .max_buf_size(settings.header_bytes_max.max(READ_BYTES_MIN))
        .max_header_size(settings.header_bytes_max);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // Boxed, and no async block: each of those on the way to the runtime would hold the connection a second time, which
    // is 3 kB more for every idle event stream.
    tasks.spawn_until_stop(Box::new(Driver { connection, _kept: kept }));
    Ok(sender)
}

/// Runs an HTTP/1.1 connection.
struct Driver {
    connection: http1::Connection<TokioIo<Stream>, Outgoing>,
    _kept: Kept,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = ready!(Pin::new(&mut self.connection).poll(cx));
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP/1.1 connection was lost");
        }
        Poll::Ready(())
    }
}

/// An HTTP/2 connection that may send.
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<Outgoing>,
    /// How many streams the server allows at a time, as last heard.
    pub(super) allowed: watch::Receiver<usize>,
}

/// Starts HTTP/2 and waits for the server's settings, which say how many streams it allows. `kept` lives as long as the
/// connection, its last streams included.
pub(super) async fn start_http2(
    stream: Stream,
    settings: &Settings,
    tasks: &Tasks,
    kept: Kept,
) -> Result<Http2, hyper::Error> {
    let wake_driver = Arc::new(AtomicWaker::new());
    let owner = Owner { tasks: tasks.clone(), wake_driver: Arc::clone(&wake_driver), kept: Arc::new(kept) };
    let (sender, connection) = http2::Builder::new(owner)
        // Nothing may be sent before the settings are known: streams over the limit would wait for others to end, and
        // event streams do not.
        .initial_max_send_streams(0)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(settings.header_bytes_max).unwrap_or(u32::MAX))
        .timer(TokioTimer::new())
        .keep_alive_interval(settings.keep_alive)
        .keep_alive_timeout(settings.keep_alive)
        .handshake(TokioIo::new(stream))
        .await?;
    let (publish, mut allowed) = watch::channel(0);
    tasks.spawn_until_stop(async move {
        let mut connection = pin!(connection);
        let ended = poll_fn(|cx| {
            wake_driver.register(cx.waker());
            let polled = connection.as_mut().poll(cx);
            let now = connection.current_max_send_streams();
            publish.send_if_modified(|known| std::mem::replace(known, now) != now);
            polled
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "an HTTP/2 connection was lost");
        }
    });
    // An error means that the connection has ended; the first request on it will say so.
    drop(allowed.wait_for(|streams| *streams > 0).await);
    Ok(Http2 { sender, allowed })
}

/// Runs the parts of an HTTP/2 connection as owned tasks.
///
/// The library tells nobody when the server's settings or its farewell come in. Both come in by these parts, so the
/// driver is woken to look whenever one of them has run.
#[derive(Clone)]
struct Owner {
    tasks: Tasks,
    wake_driver: Arc<AtomicWaker>,
    kept: Arc<Kept>,
}

impl<F> hyper::rt::Executor<F> for Owner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, part: F) {
        let (wake_driver, kept) = (Arc::clone(&self.wake_driver), Arc::clone(&self.kept));
        self.tasks.spawn_until_stop(async move {
            let mut part = pin!(part);
            poll_fn(|cx| {
                let polled = part.as_mut().poll(cx);
                wake_driver.wake();
                polled
            })
            .await;
            drop(kept);
        });
    }
}
