//! The HTTP client the connectors send with: one exchange at a time, over connections that are kept and shared.
//!
//! It follows no redirect, retries only what provably was not sent, keeps no cookies and knows nothing of MCP. HTTP/1.1
//! carries one exchange a connection; HTTP/2, where a server offers it over TLS, many.
//!
//! | file | holds |
//! |---|---|
//! | `target.rs` | where a request goes |
//! | `pool.rs`, `host.rs` | which connection takes it; what is kept of one origin |
//! | `lease.rs`, `body.rs` | one exchange's hold on a connection, until its answer was read |
//! | `dial.rs`, `tls.rs` | name lookup, TCP and TLS |
//! | `connection.rs` | HTTP/1.1 and HTTP/2 over a stream |
//! | `error.rs`, `stats.rs` | what went wrong, what was counted |

mod body;
mod connection;
mod dial;
mod error;
mod host;
mod lease;
mod pool;
mod stats;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use shadowcat_pipeline::task::Tasks;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

pub use body::Body;
pub use error::{BodyError, ClientError, TlsFault};
pub use stats::Stats;
pub use target::{Target, TargetError};
pub use tls::SetupError;

use connection::Outgoing;
use dial::Dialer;
use lease::Lease;
use pool::Pool;
use tls::Tls;

/// How a [`Client`] connects.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long name lookup, TCP, TLS and the start of HTTP/2 may take together.
    pub connect_timeout: Duration,
    /// How long a connection is kept that carries nothing.
    pub idle_timeout: Duration,
    /// HTTP/1.1 connections kept for one origin while they carry nothing.
    pub idle_per_host_max: usize,
    /// Connections to one origin. A request that would need one more is refused.
    pub connections_per_host_max: usize,
    /// How long a connection is silent before the other side is asked whether it is still there: by TCP always, by
    /// HTTP/2 while streams are open, which then allows as long again for the answer.
    pub keep_alive: Duration,
    /// Size of the head of an answer.
    pub header_bytes_max: usize,
    /// A PEM file of CAs to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            idle_per_host_max: 256,
            connections_per_host_max: 10_000,
            keep_alive: Duration::from_secs(30),
            header_bytes_max: 64 * 1024,
            ca_file: None,
        }
    }
}

/// Sends requests over connections it keeps.
pub struct Client {
    pool: Arc<Pool>,
}

impl Client {
    /// A client whose connections are tasks of `tasks` and end when those are stopped. To be called in a runtime.
    ///
    /// # Errors
    /// If the certificates of [`Settings::ca_file`] cannot be used.
    pub fn new(settings: Settings, tasks: Tasks) -> Result<Self, SetupError> {
        let tls = Tls::new(settings.ca_file.as_deref())?;
        let dialer = Dialer { tls, keep_alive: settings.keep_alive, timeout: settings.connect_timeout };
        Ok(Self { pool: Pool::new(dialer, settings, tasks) })
    }

    /// What was counted so far.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.pool.stats)
    }

    /// Sends a request to a target and waits for the head of the answer, `first_byte` at most from when there is a
    /// connection. URI and `Host` of the request are set from the target. Redirects are answers like any other.
    ///
    /// A connection kept from an earlier exchange may have died unnoticed; if nothing of the request was written to
    /// it, the request is sent once more, on a new connection.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::never_sent`] says whether it may be sent again.
    ///
    /// # Cancel safety
    /// Dropping the future ends the exchange: the connection is closed (HTTP/1.1) or the stream reset (HTTP/2).
    #[expect(clippy::manual_async_fn, reason = "that would hold the request twice, in every exchange")]
    pub fn send<'a>(
        &'a self,
        mut request: Request<Full<Bytes>>,
        target: &'a Target,
        first_byte: Duration,
    ) -> impl Future<Output = Result<Response<Body>, ClientError>> + Send + 'a {
        async move {
            let (mut lease, was_open) = self.pool.any(target.origin()).await?;
            address(&mut request, target, lease.is_http2());
            let sent = timeout(first_byte, lease.send(request)).await;
            match outcome(sent, lease, first_byte) {
                Err(Failure::Unsent { request, .. }) if was_open => {
                    // Rare and large: not a part of the future of every exchange.
                    Box::pin(self.send_anew(*request, target, first_byte)).await
                }
                outcome => outcome.map_err(ClientError::from),
            }
        }
    }

    /// The same on a new connection.
    async fn send_anew(
        &self,
        mut request: Request<Full<Bytes>>,
        target: &Target,
        first_byte: Duration,
    ) -> Result<Response<Body>, ClientError> {
        let mut lease = self.pool.new_one(target.origin()).await?;
        address(&mut request, target, lease.is_http2());
        let sent = timeout(first_byte, lease.send(request)).await;
        outcome(sent, lease, first_byte).map_err(ClientError::from)
    }
}

/// What became of a request in its time.
type Sent = Result<Result<Response<Incoming>, TrySendError<Request<Outgoing>>>, Elapsed>;

/// How one try failed.
enum Failure {
    /// Nothing was written: here is the request again.
    Unsent { request: Box<Request<Full<Bytes>>>, error: hyper::Error },
    /// It may have arrived.
    Sent(ClientError),
}

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsent { error, .. } => Self::NotSent(error),
            Failure::Sent(error) => error,
        }
    }
}

fn outcome(sent: Sent, lease: Lease, first_byte: Duration) -> Result<Response<Body>, Failure> {
    match sent {
        Ok(Ok(response)) => Ok(response.map(|incoming| Body::new(incoming, lease))),
        Ok(Err(mut failure)) => match failure.take_message() {
            Some(request) => Err(Failure::Unsent { request: Box::new(request), error: failure.into_error() }),
            None => Err(Failure::Sent(ClientError::exchange(failure.into_error()))),
        },
        Err(_) => Err(Failure::Sent(ClientError::FirstByteTimeout(first_byte))),
    }
}

/// HTTP/1.1 names the host in a header, HTTP/2 in the URI.
fn address(request: &mut Request<Full<Bytes>>, target: &Target, is_http2: bool) {
    if is_http2 {
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = target.absolute();
        request.headers_mut().remove(HOST);
    } else {
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = target.path_and_query();
        request.headers_mut().insert(HOST, target.host_header().clone());
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Client").field("stats", &self.pool.stats).finish_non_exhaustive()
    }
}
