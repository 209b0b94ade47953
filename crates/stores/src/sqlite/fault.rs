//! What an error of SQLite means for a session store.

use std::path::Path;

use rusqlite::{Error, ErrorCode};
use shadowcat_session::StoreError;

/// An error of a call.
pub(super) fn while_running(error: Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(error.into()),
        Some(ErrorCode::DiskFull) => StoreError::Full(Some(error.into())),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, error.to_string()),
        // All of the disk, or of what somebody did to the file; it may be put right while we run.
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly,
        ) => StoreError::Unreachable(error.into()),
        _ => StoreError::Failed(error.into()),
    }
}

/// An error at the start, where nothing is worth waiting for.
pub(super) fn while_opening(error: Error, path: &Path) -> StoreError {
    match while_running(error, path) {
        corrupt @ StoreError::Corrupt { .. } => corrupt,
        StoreError::Failed(cause) => damaged(path, cause.to_string()),
        StoreError::Full(Some(cause)) | StoreError::Busy(cause) | StoreError::Unreachable(cause) => {
            StoreError::Open { path: path.to_owned(), cause }
        }
        other => other,
    }
}

/// The file is not what it should be.
pub(super) fn damaged(path: &Path, what: impl Into<String>) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), what: what.into() }
}
