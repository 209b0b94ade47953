//! From an origin to an open byte stream: name lookup, TCP, TLS. What is spoken over it is not decided here.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use super::error::ClientError;
use super::target::{Host, Origin};
use super::tls::{self, Tls};
use crate::tcp;

/// Addresses of one name that are tried, in the resolver's order.
const ADDRESSES_MAX: usize = 8;

/// Opens byte streams.
pub(super) struct Dialer {
    pub(super) tls: Tls,
    pub(super) keep_alive: Duration,
    /// For all addresses of a name together; each gets its share. The caller watches over the whole.
    pub(super) timeout: Duration,
}

/// An open byte stream. The TLS state is boxed: a plain stream is a tenth of its size.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Dialer {
    /// Connects to an origin.
    pub(super) async fn dial(&self, origin: &Origin) -> Result<Stream, ClientError> {
        let stream = connect(&resolve(origin).await?, self.timeout).await?;
        tcp::tune(&stream, self.keep_alive);
        let Some(name) = &origin.tls_name else { return Ok(Stream::Plain(stream)) };
        let stream = self.tls.connector()?.connect(name.clone(), stream).await.map_err(tls::failed)?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, ClientError> {
    match &origin.host {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, origin.port)]),
        Host::Name(name) => {
            let found =
                tokio::net::lookup_host((&**name, origin.port)).await.map_err(ClientError::Resolve)?;
            Ok(found.take(ADDRESSES_MAX).collect())
        }
    }
}

/// Tries one address after the other, each with its share of the time left, so that a silent first one leaves some to
/// the next.
async fn connect(addresses: &[SocketAddr], within: Duration) -> Result<TcpStream, ClientError> {
    let deadline = Instant::now() + within;
    let mut last = ClientError::Resolve(io::Error::new(io::ErrorKind::NotFound, "no address"));
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => ClientError::connect(error),
            Err(_) => ClientError::ConnectTimeout(within),
        };
    }
    Err(last)
}

impl Stream {
    /// Whether both sides agreed on HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
