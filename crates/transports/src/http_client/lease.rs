//! The right to send one request on a connection.

use std::sync::Arc;

use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

use super::connection::Outgoing;
use super::host::HostPool;

/// A place on a connection, for one request and its answer. Dropping it gives a place on a shared connection back and
/// closes one that is not shared.
pub(super) enum Lease {
    /// A connection of HTTP/1.1, whole.
    Whole { sender: http1::SendRequest<Outgoing>, host: Arc<HostPool> },
    /// One of the streams of an HTTP/2 connection.
    Shared { sender: http2::SendRequest<Outgoing>, _place: Place },
}

/// A stream counted on a shared connection until it is dropped.
pub(super) struct Place {
    host: Arc<HostPool>,
    connection: u64,
}

impl Place {
    pub(super) fn new(host: Arc<HostPool>, connection: u64) -> Self {
        Self { host, connection }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.host.leave(self.connection);
    }
}

impl Lease {
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Shared { .. })
    }

    /// Sends a request and waits for the head of its answer. The error holds the request if nothing of it was written.
    ///
    /// No `async fn`: that would hold the request a second time, in every exchange.
    pub(super) fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>> {
        match self {
            Self::Whole { sender, .. } => Either::Left(sender.try_send_request(request)),
            Self::Shared { sender, .. } => Either::Right(sender.try_send_request(request)),
        }
    }

    /// Ends an exchange that was read to its end: the connection can carry the next one.
    pub(super) fn give_back(self) {
        if let Self::Whole { sender, host } = self {
            host.check_in(sender);
        }
    }
}
