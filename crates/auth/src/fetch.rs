//! How documents of an issuer are had: by whoever has sockets and files.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::url::Url;

/// The largest document that is read.
pub const FETCH_BYTES_MAX: usize = 1024 * 1024;
/// How long one document may take.
pub const FETCH_MAX: Duration = Duration::from_secs(5);

/// Where a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a server; redirects are not followed.
    Url(Url),
    /// In a file.
    File(PathBuf),
}

/// Gets documents.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The document at a place: at most [`FETCH_BYTES_MAX`], within [`FETCH_MAX`].
    async fn fetch(&self, place: &Place) -> Result<Bytes, FetchError>;
}

/// Why a document was not had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The server answered, and with something else.
    #[error("it was answered with HTTP status {0}")]
    Status(u16),
    /// There was no answer that could be used.
    #[error("{0}")]
    Failed(String),
}
