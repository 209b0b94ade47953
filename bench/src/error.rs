//! What ends a role or a measurement early. A wrong answer is a result, not an error.

use std::path::PathBuf;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A socket, a pipe or a file failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The peer broke HTTP.
    #[error("http: {0}")]
    Http(#[from] hyper::Error),
    /// A request could not be put together.
    #[error("request: {0}")]
    Request(#[from] hyper::http::Error),
    /// Something that must be an `http://host:port/path` address is not.
    #[error("{0:?} is not an http:// address with a host and a port")]
    BadUrl(String),
    /// A peer did not answer a handshake as the protocol says.
    #[error("{step}: {found}")]
    Handshake {
        /// What was attempted.
        step: &'static str,
        /// What came instead.
        found: String,
    },
    /// A wait reached its deadline.
    #[error("no {awaited} within {seconds} s")]
    Late {
        /// What was waited for.
        awaited: &'static str,
        /// The deadline.
        seconds: u64,
    },
    /// A process of the bench ended, or said something else than agreed.
    #[error("{program} said {said:?}")]
    Process {
        /// Which one.
        program: String,
        /// Its last words.
        said: String,
    },
    /// The binary to be measured is not there.
    #[error(
        "{0} does not exist: build it with `cargo build --release -p shadowcat-cli`, or leave it out with --systems direct,relay"
    )]
    NoBinary(PathBuf),
}
