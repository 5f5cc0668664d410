//! The connection that writes: SQLite called in the writer's own thread, without a request to another
//! thread and a wait for each statement.

use std::{path::Path, sync::Arc};

use rusqlite::{
    CachedStatement, OpenFlags,
    config::DbConfig,
    types::{ToSqlOutput, Value as Owned, ValueRef},
};
use sqlx::error::{DatabaseError, ErrorKind};

use super::open::{BUSY_TIMEOUT, SYNCHRONOUS_NORMAL};
use crate::store::{
    OpenError,
    rows::Row,
    sql::own,
    value::{Value, Values},
};

/// Page cache in KiB. Small: the operating system caches the file as well.
const CACHE_KIB: i32 = 16 * 1024;

/// Statements kept prepared: each one for many rows in 8 sizes, and the single ones.
const STATEMENTS: usize = 256;

/// A connection that blocks.
pub(in crate::store) struct Connection(rusqlite::Connection);

impl Connection {
    /// To the file at `path`, which is there and has its schema.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, OpenError> {
        let refused = |error| OpenError::Sqlite { path: path.to_owned(), source: refusal(error) };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags).map_err(refused)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(refused)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Dropped without an order, it leaves the log as it is.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(refused)?;
        for (pragma, value) in [
            ("foreign_keys", 0),
            ("wal_autocheckpoint", 0),
            ("cache_size", -CACHE_KIB),
            ("temp_store", 2),
            ("synchronous", SYNCHRONOUS_NORMAL as i32),
        ] {
            connection.pragma_update(None, pragma, value).map_err(refused)?;
        }
        let found: i64 = connection.query_row(own!("sqlite", "synchronous"), [], |row| row.get(0)).map_err(refused)?;
        if found != SYNCHRONOUS_NORMAL {
            return Err(OpenError::NotDurable { path: path.to_owned(), found });
        }
        Ok(Self(connection))
    }

    /// Runs statements without parameters; whatever they return is left.
    pub(in crate::store) fn run(&mut self, text: &str) -> Result<(), sqlx::Error> {
        self.0.execute_batch(text).map_err(refusal)
    }

    /// Runs a statement; returns how many rows it changed.
    pub(in crate::store) fn execute(&mut self, text: &str, values: Values<'_>) -> Result<u64, sqlx::Error> {
        let mut statement = self.bound(text, values.into_inner())?;
        statement.raw_execute().map(|changed| changed as u64).map_err(refusal)
    }

    /// Runs a statement; adds the rows that it returned.
    pub(in crate::store) fn fetch<'v>(
        &mut self,
        text: &str,
        values: impl IntoIterator<Item = Value<'v>>,
        rows: &mut Vec<Row>,
    ) -> Result<(), sqlx::Error> {
        let mut statement = self.bound(text, values)?;
        let width = statement.column_count();
        let mut names = None;
        let mut found = statement.raw_query();
        while let Some(row) = found.next().map_err(refusal)? {
            let names = names.get_or_insert_with(|| row.as_ref().column_names().into_iter().map(Into::into).collect());
            let values = (0..width).map(|at| row.get(at)).collect::<Result<_, _>>().map_err(refusal)?;
            rows.push(Row::Embedded(EmbeddedRow { names: Arc::clone(names), values }));
        }
        Ok(())
    }

    /// Waits for others as long as at the beginning, whatever a statement set.
    pub(in crate::store) fn be_patient(&mut self) -> Result<(), sqlx::Error> {
        self.0.busy_timeout(BUSY_TIMEOUT).map_err(refusal)
    }

    /// Ends it in order: the last connection to a file moves its log into it.
    pub(in crate::store) fn close(self) -> Result<(), sqlx::Error> {
        self.0.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(refusal)?;
        self.0.close().map_err(|(_, error)| refusal(error))
    }

    fn bound<'v>(
        &self,
        text: &str,
        values: impl IntoIterator<Item = Value<'v>>,
    ) -> Result<CachedStatement<'_>, sqlx::Error> {
        let mut statement = self.0.prepare_cached(text).map_err(refusal)?;
        for (at, value) in values.into_iter().enumerate() {
            statement.raw_bind_parameter(at + 1, Bound(&value)).map_err(refusal)?;
        }
        Ok(statement)
    }
}

/// A parameter on its way to SQLite.
struct Bound<'a>(&'a Value<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            Value::Id(Some(id)) => ValueRef::Blob(id.as_bytes()),
            Value::Int(Some(number)) => ValueRef::Integer(*number),
            Value::Flag(flag) => ValueRef::Integer((*flag).into()),
            Value::Text(None) | Value::Bytes(None) | Value::Id(None) | Value::Int(None) => ValueRef::Null,
        }))
    }
}

/// A row that the writer read.
pub(in crate::store) struct EmbeddedRow {
    names: Arc<[Box<str>]>,
    values: Vec<Owned>,
}

impl EmbeddedRow {
    /// The value of a column; `None` for NULL.
    pub(in crate::store) fn value(&self, column: &str) -> Result<Option<&Owned>, sqlx::Error> {
        let at = self.names.iter().position(|name| **name == *column);
        let value = at.and_then(|at| self.values.get(at));
        let value = value.ok_or_else(|| sqlx::Error::ColumnNotFound(column.to_owned()))?;
        Ok(Some(value).filter(|value| **value != Owned::Null))
    }

    /// Text.
    pub(in crate::store) fn text(&self, column: &str) -> Result<Option<&str>, sqlx::Error> {
        self.value(column)?
            .map(|value| if let Owned::Text(text) = value { Ok(&**text) } else { Err(other(column)) })
            .transpose()
    }

    /// Bytes.
    pub(in crate::store) fn bytes(&self, column: &str) -> Result<Option<&[u8]>, sqlx::Error> {
        self.value(column)?
            .map(|value| if let Owned::Blob(bytes) = value { Ok(&**bytes) } else { Err(other(column)) })
            .transpose()
    }

    /// A whole number.
    pub(in crate::store) fn number(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
        self.value(column)?
            .map(|value| if let Owned::Integer(number) = value { Ok(*number) } else { Err(other(column)) })
            .transpose()
    }
}

fn other(column: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: "a value of another type".into() }
}

/// An error of SQLite as one of sqlx, so that both connections fail alike.
fn refusal(error: rusqlite::Error) -> sqlx::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => {
            let message = message.unwrap_or_else(|| code.to_string());
            sqlx::Error::Database(Box::new(Refusal { code: code.extended_code, message }))
        }
        other => sqlx::Error::Encode(other.into()),
    }
}

/// What SQLite said.
#[derive(Debug, thiserror::Error)]
#[error("(code: {code}) {message}")]
struct Refusal {
    code: i32,
    message: String,
}

impl DatabaseError for Refusal {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}
