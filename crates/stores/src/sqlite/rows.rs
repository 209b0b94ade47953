//! The statements, and the form of a record in the table.
//!
//! A record is kept as JSON with a checksum: SQLite notices damage to its own structure, but not to what is stored in
//! it.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use shadowcat_session::{ENDED_VERSION_MIN, Key, Namespace, Record, SessionId, State};

const COLUMNS: &str = "namespace, id, version, last_used_ms, record, checksum";

/// A record as the table has it.
pub(super) struct Row {
    namespace: String,
    id: String,
    version: i64,
    last_used_ms: i64,
    record: String,
    checksum: u32,
}

/// A row that does not give a record.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRow {
    #[error("its checksum does not match")]
    Checksum,
    #[error("its columns and its record disagree")]
    Disagreement,
    #[error("it is no record")]
    Json(#[from] serde_json::Error),
}

impl BadRow {
    pub(super) fn warn(&self) {
        tracing::warn!(
            cause = self as &(dyn std::error::Error + 'static),
            "skipped a damaged session record"
        );
    }
}

impl Row {
    pub(super) fn of(record: &Record) -> serde_json::Result<Self> {
        let text = serde_json::to_string(record)?;
        Ok(Self {
            namespace: record.namespace().as_str().to_owned(),
            id: record.id().as_str().to_owned(),
            version: integer(record.version()),
            last_used_ms: integer(record.last_used_ms),
            checksum: crc32fast::hash(text.as_bytes()),
            record: text,
        })
    }

    pub(super) fn record(&self) -> Result<Record, BadRow> {
        if crc32fast::hash(self.record.as_bytes()) != self.checksum {
            return Err(BadRow::Checksum);
        }
        let record: Record = serde_json::from_str(&self.record)?;
        let columns = (self.namespace.as_str(), self.id.as_str(), self.version, self.last_used_ms);
        let inside = (
            record.namespace().as_str(),
            record.id().as_str(),
            integer(record.version()),
            integer(record.last_used_ms),
        );
        if columns == inside { Ok(record) } else { Err(BadRow::Disagreement) }
    }

    fn key(&self) -> Option<Key> {
        Some(Key::new(Namespace::from(self.namespace.clone()), SessionId::parse(&self.id)?))
    }

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            namespace: row.get(0)?,
            id: row.get(1)?,
            version: row.get(2)?,
            last_used_ms: row.get(3)?,
            record: row.get(4)?,
            checksum: row.get(5)?,
        })
    }
}

pub(super) fn load(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Row>> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE namespace = ?1 AND id = ?2");
    connection.query_row(&sql, [key.namespace.as_str(), key.id.as_str()], Row::read).optional()
}

pub(super) fn save(connection: &mut Connection, rows: &[Row]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut upsert = transaction.prepare(&format!(
        "INSERT INTO sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (namespace, id) DO UPDATE SET
             version = excluded.version, last_used_ms = excluded.last_used_ms,
             record = excluded.record, checksum = excluded.checksum
         WHERE excluded.version > sessions.version"
    ))?;
    for row in rows {
        upsert.execute(params![
            row.namespace,
            row.id,
            row.version,
            row.last_used_ms,
            row.record,
            row.checksum
        ])?;
    }
    drop(upsert);
    transaction.commit()
}

pub(super) fn delete(connection: &mut Connection, keys: &[Key]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut delete = transaction.prepare("DELETE FROM sessions WHERE namespace = ?1 AND id = ?2")?;
    for key in keys {
        delete.execute([key.namespace.as_str(), key.id.as_str()])?;
    }
    drop(delete);
    transaction.commit()
}

/// A number that differs from an earlier one if another program has changed the file.
pub(super) fn changes_of_others(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

/// At most so many sessions whose end has begun and is not complete.
pub(super) fn ending(
    connection: &Connection,
    namespace: &Namespace,
    limit: usize,
) -> rusqlite::Result<Vec<Key>> {
    // The version keeps the records of living sessions from being read.
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE namespace = ?1 AND version >= ?2");
    let mut select = connection.prepare(&sql)?;
    let mut rows = select.query(params![namespace.as_str(), integer(ENDED_VERSION_MIN)])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()?
        && keys.len() < limit
    {
        let record = Row::read(row)?.record().inspect_err(BadRow::warn).ok();
        keys.extend(record.filter(|it| it.state() == State::Closing).map(|it| it.key().clone()));
    }
    Ok(keys)
}

pub(super) fn expire(connection: &Connection, before_ms: u64) -> rusqlite::Result<u64> {
    let gone = connection.execute("DELETE FROM sessions WHERE last_used_ms < ?1", [integer(before_ms)])?;
    Ok(gone as u64)
}

/// A page of rows, and the key of its last one if there are more.
pub(super) fn list(
    connection: &Connection,
    namespace: Option<&Namespace>,
    limit: usize,
    after: Option<&Key>,
) -> rusqlite::Result<(Vec<Row>, Option<Key>)> {
    let mut select = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM sessions
         WHERE (?1 IS NULL OR namespace = ?1) AND (?2 IS NULL OR (namespace, id) > (?2, ?3))
         ORDER BY namespace, id LIMIT ?4"
    ))?;
    let one_more = integer(limit as u64).saturating_add(1);
    let bounds = params![
        namespace.map(Namespace::as_str),
        after.map(|key| key.namespace.as_str()),
        after.map(|key| key.id.as_str()),
        one_more
    ];
    let mut rows = select.query_map(bounds, Row::read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).and_then(Row::key);
    Ok((rows, next))
}

pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = connection.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// The first thing that is wrong with any record.
pub(super) fn first_fault(connection: &Connection) -> rusqlite::Result<Option<BadRow>> {
    let mut select = connection.prepare(&format!("SELECT {COLUMNS} FROM sessions"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(fault) = Row::read(row)?.record() {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

/// SQLite's integers are signed; a count or a time beyond that range is as good as its end.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
