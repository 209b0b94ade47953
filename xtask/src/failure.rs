//! Why a chore could not be done, in a sentence for the person who started it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// The one error of this crate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A program could not be started at all.
    #[error("cannot start {program}: {cause}")]
    Start { program: String, cause: io::Error },
    /// A program ended, but not well.
    #[error("{program} ended with {status}")]
    Ended { program: String, status: ExitStatus },
    /// A file or folder could not be read or written.
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: io::Error },
    /// A text that should be JSON is not.
    #[error("{what}: {cause}")]
    Json { what: String, cause: serde_json::Error },
    /// Anything else, said in full.
    #[error("{0}")]
    Said(String),
}

impl Failure {
    pub(crate) fn said(sentence: impl Into<String>) -> Self {
        Self::Said(sentence.into())
    }

    /// For `map_err` on what the file system refused.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |cause| Self::File { path: path.to_owned(), cause }
    }
}
