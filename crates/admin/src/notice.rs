//! Where a running proxy is found: a file in its data directory, with the address of its API and the token.

use std::fs::{self, DirBuilder};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

/// The file in the data directory.
pub const NOTICE_FILE: &str = "admin.json";
/// No such file is longer.
const BYTES_MAX: u64 = 64 * 1024;

/// What stands in the file. Only its owner can read it, for it holds the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Where the API is, such as `http://127.0.0.1:41234`.
    pub url: String,
    /// The token.
    pub token: String,
    /// The process of the proxy.
    pub pid: u32,
}

/// Why there is no such file, or it says nothing.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// It cannot be written.
    #[error("cannot write {path}, in which `shadowcat pause` would look for this proxy")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says something else.
    #[error("{path} does not say where a proxy is; remove it, and start the proxy again")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Notice {
    /// Puts the file in its place, whole or not at all; one of an earlier process gives way.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn put_up(&self, path: &Path) -> Result<(), NoticeError> {
        self.write(path).map_err(|source| NoticeError::Unwritable { path: path.to_owned(), source })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // Made with mode 0600.
        let mut file = NamedTempFile::new_in(dir)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    /// Takes the file away, unless it is another process's by now.
    pub fn take_down(&self, path: &Path) {
        if Self::read(path).is_ok_and(|there| there == *self)
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(%error, path = %path.display(), "a file was not removed that says where this proxy was");
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there, or says something else.
    pub fn read(path: &Path) -> Result<Self, NoticeError> {
        let unreadable = |source| NoticeError::Unreadable { path: path.to_owned(), source };
        let mut text = String::new();
        fs::File::open(path)
            .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text))
            .map_err(unreadable)?;
        serde_json::from_str(&text).map_err(|source| NoticeError::Foreign { path: path.to_owned(), source })
    }
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notice").field("url", &self.url).field("pid", &self.pid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn notice(pid: u32) -> Notice {
        Notice { url: "http://127.0.0.1:1".to_owned(), token: "secret".to_owned(), pid }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_only_by_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data").join(NOTICE_FILE);
        notice(1).put_up(&path).unwrap();
        assert_eq!(Notice::read(&path).unwrap(), notice(1));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{:?}", notice(1)).contains("secret"));
    }

    #[test]
    fn who_ends_takes_down_its_own_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NOTICE_FILE);
        notice(1).put_up(&path).unwrap();
        notice(2).put_up(&path).unwrap();
        notice(1).take_down(&path);
        assert_eq!(Notice::read(&path).unwrap(), notice(2));
        notice(2).take_down(&path);
        assert!(matches!(Notice::read(&path), Err(NoticeError::Unreadable { .. })));
    }

    #[test]
    fn a_foreign_file_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NOTICE_FILE);
        fs::write(&path, "{}").unwrap();
        assert!(Notice::read(&path).unwrap_err().to_string().contains("does not say where a proxy is"));
    }
}
