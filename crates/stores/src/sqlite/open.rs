//! Opening the file: making a new one, finding out whether an old one is whole, and bringing it to the present format.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use shadowcat_session::StoreError;

use super::{fault, rows};

/// Marks the file as ours among all SQLite files: "SHCT".
const APPLICATION_ID: i64 = 0x5348_4354;
/// How long a call waits for somebody else's lock. Short, since calls that only read wait behind it; the write-behind
/// worker comes again.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);
/// What SQLite may use as its page cache: the sessions in use are cached above.
const CACHE_KIB: i64 = 256;
/// The smallest page, and so the smallest whole file.
const FILE_BYTES_MIN: u64 = 512;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The formats in their order; `user_version` says how many of them a file has been through.
const MIGRATIONS: &[&str] = &["CREATE TABLE sessions (
         namespace TEXT NOT NULL,
         id TEXT NOT NULL,
         version INTEGER NOT NULL,
         last_used_ms INTEGER NOT NULL,
         record TEXT NOT NULL,
         checksum INTEGER NOT NULL,
         PRIMARY KEY (namespace, id)
     ) STRICT;
     CREATE INDEX sessions_by_use ON sessions (last_used_ms);"];

/// A connection to a store that is whole and in the present format.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let unopened = |cause: io::Error| StoreError::Open { path: path.to_owned(), cause: cause.into() };
    if !fs::exists(path).map_err(unopened)? {
        refuse_orphaned_log(path)?;
        create(path).map_err(|cause| match cause {
            CreateError::Io(cause) => unopened(cause),
            CreateError::Sqlite(cause) => StoreError::Open { path: path.to_owned(), cause: cause.into() },
        })?;
    }
    check_header(path).map_err(unopened)?.map_err(|what| fault::damaged(path, what))?;
    let mut connection = connect(path).map_err(|error| fault::while_opening(error, path))?;
    check_format(&connection, path)?;
    check_content(&connection, path)?;
    migrate(&mut connection).map_err(|error| fault::while_opening(error, path))?;
    Ok(connection)
}

/// The log alone means that the file itself was lost: SQLite would throw the log away with a new file.
fn refuse_orphaned_log(path: &Path) -> Result<(), StoreError> {
    let log = beside(path, "-wal");
    match fs::metadata(&log) {
        Ok(meta) if meta.len() > 0 => {
            Err(fault::damaged(path, "the file is gone, and its -wal is still there"))
        }
        _ => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
enum CreateError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Makes a new store under another name and gives it its own when it is whole. So an empty or half-made file is
/// never the trace of an earlier start that was killed, and can be refused as the damage that it is.
fn create(path: &Path) -> Result<(), CreateError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let draft = beside(path, &format!(".new-{:016x}", RandomState::new().hash_one(path)));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let mut connection = Connection::open_with_flags(&draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate(&mut connection)?;
    connection.close().map_err(|(_connection, error)| error)?;
    give_name(&draft, path)?;
    Ok(())
}

/// Two programs may start at once: the first to link its file wins, and the second uses that one.
fn give_name(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::remove_file(draft),
        Ok(()) => fs::remove_file(draft),
        // A file system without links.
        Err(_) => fs::rename(draft, path),
    }
}

/// What SQLite would take for an empty database, or not look at, is looked at here.
fn check_header(path: &Path) -> io::Result<Result<(), &'static str>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut start = Vec::with_capacity(MAGIC.len());
    file.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(match bytes {
        0 => Err("it is empty"),
        _ if !MAGIC.starts_with(&start) => Err("it is not an SQLite file"),
        1..FILE_BYTES_MIN => Err("it is cut off"),
        _ => Ok(()),
    })
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Without CREATE: a file that vanishes now is an error, not an empty store. Without SQLite's own locks: there is
    // one thread.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    Ok(connection)
}

fn check_format(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let read = |pragma: &str| number(pragma).map_err(|error| fault::while_opening(error, path));
    if read("application_id")? != APPLICATION_ID {
        return Err(fault::damaged(path, "it is an SQLite file, but not a session store"));
    }
    match read("user_version")? {
        version if version < 1 => Err(fault::damaged(path, "it has no format number")),
        version if version > known() => {
            Err(StoreError::TooNew { path: path.to_owned(), found: version, known: known() })
        }
        _ => Ok(()),
    }
}

fn check_content(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let opening = |error| fault::while_opening(error, path);
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(opening)?;
    if verdict != "ok" {
        return Err(fault::damaged(path, verdict));
    }
    match rows::first_fault(connection).map_err(opening)? {
        Some(fault) => Err(fault::damaged(path, format!("a record cannot be read: {fault}"))),
        None => Ok(()),
    }
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    // Without the lock first, which a running proxy may hold: most stores have the present format.
    if format_of(connection)? >= known() {
        return Ok(());
    }
    // Looked at again under the lock: another program may be about to do the same.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = format_of(&transaction)?;
    if version >= known() {
        return Ok(());
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known())?;
    transaction.commit()
}

fn format_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The newest format this release knows.
fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
