//! What can go wrong with a request, told so that a caller knows whether it may be sent again.

use std::error::Error as _;
use std::io;
use std::time::Duration;

/// Why there is no answer. The sentences name no address and no path.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The program is shutting down.
    #[error("the client has stopped")]
    Stopped,
    /// Every connection the limit allows to this server is in use.
    #[error("all {max} connections to the server are in use")]
    Overloaded {
        /// The limit.
        max: usize,
    },
    /// The host name has no address.
    #[error("the server's name could not be resolved")]
    Resolve(#[source] io::Error),
    /// Nothing listens there.
    #[error("the server refused the connection")]
    Refused(#[source] io::Error),
    /// The network does not lead there.
    #[error("the server cannot be reached")]
    Unreachable(#[source] io::Error),
    /// No connection in time.
    #[error("no connection to the server within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    /// The server could not prove who it is, or speaks no TLS.
    #[error("TLS: {fault}")]
    Tls {
        /// What is wrong, in a sentence.
        fault: TlsFault,
        /// The library's words.
        #[source]
        cause: io::Error,
    },
    /// The connection was lost, or the server declined, before anything of the request was acted on.
    #[error("the server closed the connection before the request was sent")]
    NotSent(#[source] hyper::Error),
    /// The request is out, and no head of an answer came in time.
    #[error("no answer within {} ms", .0.as_millis())]
    FirstByteTimeout(Duration),
    /// The connection was lost before the head of the answer was complete.
    #[error("the server closed the connection before it answered")]
    Closed(#[source] hyper::Error),
    /// What came back is not HTTP as we speak it.
    #[error("the server's answer is not valid HTTP")]
    Protocol(#[source] hyper::Error),
}

/// Why no TLS connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// Past its date.
    #[error("the server's certificate has expired")]
    Expired,
    /// Before its date.
    #[error("the server's certificate is not valid yet; is this machine's clock right?")]
    NotYetValid,
    /// No trusted root above it.
    #[error("the server's certificate is signed by nobody trusted here; add its CA with `ca_file`")]
    UnknownIssuer,
    /// For another name.
    #[error("the server's certificate is for another host")]
    WrongHost,
    /// Taken back by its issuer.
    #[error("the server's certificate has been revoked")]
    Revoked,
    /// Anything else about the certificate.
    #[error("the server's certificate is not acceptable")]
    BadCertificate,
    /// The server ended the handshake with an alert.
    #[error("the server declined the handshake")]
    Declined,
    /// No version or cipher in common.
    #[error("the server speaks only versions or ciphers that are not accepted here (TLS 1.2 and 1.3 are)")]
    Incompatible,
    /// The other side is something else, plain HTTP most likely.
    #[error("the server does not speak TLS on this port")]
    NotTls,
    /// The cryptography built in lacks what TLS 1.2 and 1.3 need.
    #[error("this program cannot speak TLS")]
    Unavailable,
    /// The connection was lost in the handshake.
    #[error("the server closed the connection during the handshake")]
    Closed,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection was lost.
    #[error("the server cut its answer short")]
    Cut(#[source] hyper::Error),
    /// The framing of the body is broken.
    #[error("the server's answer is not valid HTTP")]
    Protocol(#[source] hyper::Error),
}

impl ClientError {
    /// Whether the server provably acted on nothing: sending again elsewhere is safe for any method.
    pub fn never_sent(&self) -> bool {
        !matches!(self, Self::FirstByteTimeout(_) | Self::Closed(_) | Self::Protocol(_))
    }

    /// Whether a deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::ConnectTimeout(_) | Self::FirstByteTimeout(_))
    }

    /// Whether a limit of our own was reached.
    pub fn is_overloaded(&self) -> bool {
        matches!(self, Self::Overloaded { .. })
    }

    /// A sentence that may be told to a client: no address, no path, no cause.
    pub fn safe_sentence(&self) -> String {
        self.to_string()
    }

    /// A failure of the exchange after the request was written, at least in part.
    pub(super) fn exchange(error: hyper::Error) -> Self {
        if was_refused_unread(&error) {
            Self::NotSent(error)
        } else if is_loss(&error) {
            Self::Closed(error)
        } else {
            Self::Protocol(error)
        }
    }

    pub(super) fn connect(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused(error),
            _ => Self::Unreachable(error),
        }
    }
}

impl BodyError {
    pub(super) fn new(error: hyper::Error) -> Self {
        if is_loss(&error) { Self::Cut(error) } else { Self::Protocol(error) }
    }
}

/// RFC 9113, section 8.7: a server that refuses a stream has not processed it.
fn was_refused_unread(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.is_remote() && h2.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// Whether the connection was lost, as opposed to what came over it being wrong.
fn is_loss(error: &hyper::Error) -> bool {
    let is_io = error.source().is_some_and(<dyn std::error::Error>::is::<io::Error>);
    // An unanswered ping is a loss too.
    let is_h2 = error.is_timeout() || h2_error(error).is_some_and(|h2| h2.is_io() || h2.is_remote());
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || error.is_user()
        || is_io
        || is_h2
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}
