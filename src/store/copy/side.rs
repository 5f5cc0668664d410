//! One of the two databases of a copy: its lock, its connection, statements for its tables.

use std::{fs::File, io, path::PathBuf};

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqlSafeStr, SqlStr, SqliteConnection, migrate::Migrator};

use super::{
    CopyError, Place,
    row::{self, Digest},
    tables::{Kind, TABLES, Table},
};
use crate::store::{
    OpenError,
    postgres::{arguments, open as postgres},
    rows::{Reader, Row},
    schema::{self, Schema},
    session,
    sql::{Statement, own, sql},
    sqlite::open as sqlite,
    value::{Rows, Value, Values, values},
};

/// The table that is there as long as a copy is not finished.
pub(in crate::store) const MARKS: &str = "sluice_copy";

/// Rows that SQLite's thread has ready: payloads can be large.
const READ_AHEAD: usize = 8;

/// Bytes after which the log of a SQLite file is moved into it.
const CHECKPOINT_AFTER: usize = 16 * 1024 * 1024;

/// A database of a copy, that no gateway serves meanwhile.
pub(super) struct Side {
    /// For people.
    pub(super) name: String,
    pub(super) link: Link,
}

pub(super) enum Link {
    Sqlite {
        path: PathBuf,
        connection: SqliteConnection,
        /// Held for as long as this lives.
        _lock: File,
        unflushed: usize,
    },
    Postgres {
        database: Box<postgres::Database>,
        connection: PgConnection,
    },
}

impl Side {
    /// The database that is copied.
    pub(super) async fn source(place: Place<'_>) -> Result<Self, CopyError> {
        let mut side = match place {
            Place::Sqlite(path) => {
                if !path.exists() {
                    let source = io::ErrorKind::NotFound.into();
                    return Err(CopyError::Source(OpenError::File { path: path.to_owned(), source }));
                }
                Self::sqlite(path).await
            }
            Place::Postgres(url) => Self::postgres(url).await,
        }
        .map_err(CopyError::Source)?;
        match side.schema(false).await.map_err(CopyError::Source)? {
            Schema::Current => {}
            Schema::Empty => return Err(CopyError::NothingThere { store: side.name }),
            Schema::Older(found) => return Err(CopyError::Source(side.older(found))),
            Schema::Newer(found) => return Err(CopyError::Source(side.newer(found))),
        }
        Ok(side)
    }

    /// The database that is written; a SQLite file is created.
    pub(super) async fn target(place: Place<'_>) -> Result<Self, CopyError> {
        let side = match place {
            Place::Sqlite(path) => match sqlite::create(path) {
                Ok(()) => Self::sqlite(path).await,
                Err(error) => Err(error),
            },
            Place::Postgres(url) => Self::postgres(url).await,
        };
        side.map_err(CopyError::Target)
    }

    async fn sqlite(path: &std::path::Path) -> Result<Self, OpenError> {
        let lock = sqlite::lock(path)?;
        let connection = sqlite::connect_reading_ahead(path, READ_AHEAD).await?;
        let link = Link::Sqlite { path: path.to_owned(), connection, _lock: lock, unflushed: 0 };
        Ok(Self { name: sqlite::name(path), link })
    }

    async fn postgres(url: &str) -> Result<Self, OpenError> {
        let database = postgres::Database::of(url)?;
        let connection = postgres::connect_alone(&database).await?;
        let name = database.to_string();
        Ok(Self { name, link: Link::Postgres { database: Box::new(database), connection } })
    }

    /// Where the schema stands. `marked`: a copy may have been begun there.
    async fn schema(&mut self, marked: bool) -> Result<Schema, OpenError> {
        let without_marks =
            |tables: Vec<String>| tables.into_iter().filter(|table| !marked || table != MARKS).collect();
        match &mut self.link {
            Link::Sqlite { path, connection, .. } => {
                let (tables, applied) = sqlite::look(path, connection).await?;
                let tables: Vec<String> = without_marks(tables);
                schema::judge(&self.name, &tables, applied.as_deref(), &sqlite::MIGRATIONS)
            }
            Link::Postgres { database, connection } => {
                let (tables, applied) = postgres::look(database, connection).await?;
                let tables: Vec<String> = without_marks(tables);
                schema::judge(&self.name, &tables, applied.as_deref(), &postgres::MIGRATIONS)
            }
        }
    }

    fn migrations(&self) -> &'static Migrator {
        match &self.link {
            Link::Sqlite { .. } => &sqlite::MIGRATIONS,
            Link::Postgres { .. } => &postgres::MIGRATIONS,
        }
    }

    fn older(&self, found: i64) -> OpenError {
        schema::older(&self.name, found, self.migrations())
    }

    /// This release does not know all that there is to copy.
    fn newer(&self, found: i64) -> OpenError {
        OpenError::SchemaNewer { store: self.name.clone(), found, known: schema::newest(self.migrations()) }
    }

    /// Gives an empty database the schema of this release, and checks that of any other.
    pub(super) async fn prepare(&mut self) -> Result<(), CopyError> {
        let found = match self.schema(true).await.map_err(CopyError::Target)? {
            Schema::Current => return Ok(()),
            Schema::Empty => 0,
            // An earlier run may have been cut off between two migrations; what holds events is no such.
            Schema::Older(found) if self.count(&TABLES[0]).await? == 0 => found,
            Schema::Older(found) => return Err(CopyError::Target(self.older(found))),
            Schema::Newer(found) => return Err(CopyError::Target(self.newer(found))),
        };
        let migrated = match &mut self.link {
            Link::Sqlite { connection, .. } => schema::run(&self.name, connection, found, &sqlite::MIGRATIONS).await,
            Link::Postgres { database, connection } => postgres::run_migrations(database, connection).await.map(|_| ()),
        };
        migrated.map_err(CopyError::Target)
    }

    /// How far a copy to here has come, by table; `None`: none was begun.
    pub(super) async fn marks(&mut self) -> Result<Option<Vec<(String, String)>>, CopyError> {
        let tables = match &mut self.link {
            Link::Sqlite { path, connection, .. } => sqlite::look(path, connection).await,
            Link::Postgres { database, connection } => postgres::look(database, connection).await,
        };
        if !tables.map_err(CopyError::Target)?.0.iter().any(|table| table == MARKS) {
            return Ok(None);
        }
        let read = async |side: &mut Self| {
            let text = side.text(sql!("copy/marks"), None, 0);
            let rows: Vec<Row> = side.stream(text, Values::default())?.try_collect().await?;
            let marks = rows.iter().map(|row| {
                let row = Reader::new(row, MARKS, "name");
                Ok((row.get("name")?, row.get("value")?))
            });
            marks.collect::<Result<Vec<(String, String)>, sqlx::Error>>()
        };
        read(self).await.map(Some).map_err(|error| self.unreadable(error))
    }

    /// Begins the copy: what it is of.
    pub(super) async fn begin(&mut self, marks: &[(&str, &str)]) -> Result<(), CopyError> {
        let begun = async |side: &mut Self| {
            side.begin_transaction().await?;
            side.execute(side.text(sql!("copy/create_marks"), None, 0), Values::default()).await?;
            for (name, value) in marks {
                side.execute(side.text(sql!("copy/mark"), None, 0), values![*name, *value]).await?;
            }
            side.commit().await
        };
        begun(self).await.map_err(|error| self.unwritable(error))
    }

    /// Ends the copy: new rows get numbers after those that are there, and the marks go. `last`: the
    /// highest number of each table that has them.
    pub(super) async fn finish(&mut self, last: &[(&'static str, &'static str, i64)]) -> Result<(), CopyError> {
        let finished = async |side: &mut Self| {
            side.begin_transaction().await?;
            // SQLite numbers on by itself, from the highest that is there.
            if let Link::Postgres { connection, .. } = &mut side.link {
                for (table, column, last) in last {
                    let raised = sqlx::query(own!("postgres", "next_number")).bind(table).bind(column).bind(last + 1);
                    raised.execute(&mut *connection).await?;
                }
            }
            side.execute(side.text(sql!("copy/drop_marks"), None, 0), Values::default()).await?;
            side.commit().await
        };
        finished(self).await.map_err(|error| self.unwritable(error))
    }

    /// What is read from here on is of one moment.
    pub(super) async fn snapshot(&mut self) -> Result<(), CopyError> {
        let begun = match &mut self.link {
            Link::Sqlite { connection, .. } => {
                sqlx::query(own!("sqlite", "begin_snapshot")).execute(connection).await.map(|_| ())
            }
            Link::Postgres { connection, .. } => {
                sqlx::raw_sql(own!("postgres", "begin_snapshot")).execute(connection).await.map(|_| ())
            }
        };
        begun.map_err(|error| self.unreadable(error))
    }

    /// How many rows a table has.
    pub(super) async fn count(&mut self, table: &Table) -> Result<u64, CopyError> {
        let text = self.text(sql!("copy/count"), Some(table), 0);
        let counted = async |side: &mut Self| {
            let rows: Vec<Row> = side.stream(text, Values::default())?.try_collect().await?;
            let count = rows.first().map(|row| Reader::new(row, table.name, "rows").number("rows"));
            Ok(count.transpose()?.unwrap_or_default())
        };
        counted(self).await.map_err(|error| self.unreadable(error))
    }

    /// The key of the last row of a table, as text; empty without rows.
    pub(super) async fn last(&mut self, table: &Table) -> Result<String, CopyError> {
        let text = self.text(sql!("copy/last"), Some(table), 0);
        let key = Table { columns: table.key(), ..*table };
        let read = async |side: &mut Self| {
            let rows: Vec<Row> = side.stream(text, Values::default())?.try_collect().await?;
            let last = rows.first().map(|row| row::values(row, &key)).transpose()?;
            Ok(last.map_or_else(String::new, |last| row::key_text(&last)))
        };
        read(self).await.map_err(|error: sqlx::Error| self.unreadable(error))
    }

    /// The rows of a table in the order of their keys, from the one after `after`.
    pub(super) fn rows(
        &mut self,
        table: &Table,
        after: Option<Values<'_>>,
    ) -> Result<BoxStream<'_, Result<Row, sqlx::Error>>, sqlx::Error> {
        match after {
            Some(after) => self.stream(self.text(sql!("copy/read_on"), Some(table), 0), after),
            None => self.stream(self.text(sql!("copy/read"), Some(table), 0), Values::default()),
        }
    }

    /// Writes rows and how far the table has come, in one transaction.
    pub(super) async fn write(&mut self, table: &Table, rows: Vec<Vec<Value<'_>>>) -> Result<(), sqlx::Error> {
        let Some(key) = rows.last().map(|row| row::key_text(&row[..table.key])) else { return Ok(()) };
        let count = rows.len();
        let bytes: usize = rows.iter().map(|row| row::size(row)).sum();
        let text = self.text(sql!("copy/write"), Some(table), count);
        let values: Values<'_> = rows.into_iter().flatten().collect();
        self.begin_transaction().await?;
        match &mut self.link {
            Link::Sqlite { connection, .. } => {
                sqlx::query_with(text, session::sqlite(values)?).persistent(false).execute(connection).await?;
            }
            Link::Postgres { connection, .. } => {
                let arguments = arguments::columns([Rows { count, values }])?;
                sqlx::query_with(text, arguments).execute(connection).await?;
            }
        }
        self.execute(self.text(sql!("copy/mark"), None, 0), values![table.name, key.as_str()]).await?;
        self.commit().await?;
        if let Link::Sqlite { connection, unflushed, .. } = &mut self.link {
            *unflushed += bytes;
            if *unflushed >= CHECKPOINT_AFTER {
                *unflushed = 0;
                sqlx::query(own!("sqlite", "checkpoint_passive")).fetch_all(connection).await?;
            }
        }
        Ok(())
    }

    /// Reads a whole table: its digest, and the highest number where it is numbered.
    pub(super) async fn digest(
        &mut self,
        table: &Table,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<(Digest, i64), CopyError> {
        let read = async |side: &mut Self| {
            let mut digest = Digest::default();
            let mut last = 0;
            let mut rows = side.rows(table, None)?;
            while let Some(row) = rows.try_next().await? {
                let values = row::values(&row, table)?;
                if let (true, Some(Value::Int(Some(number)))) = (table.numbered, values.first()) {
                    last = last.max(*number);
                }
                digest.add(&values);
                tell(1);
            }
            Ok((digest, last))
        };
        read(self).await.map_err(|error: sqlx::Error| self.unreadable(error))
    }

    /// Ends the connection in order.
    pub(super) async fn close(self) {
        match self.link {
            Link::Sqlite { connection, .. } => connection.close().await.ok(),
            Link::Postgres { connection, .. } => connection.close().await.ok(),
        };
    }

    pub(super) fn unreadable(&self, source: sqlx::Error) -> CopyError {
        CopyError::Read { store: self.name.clone(), source }
    }

    pub(super) fn unwritable(&self, source: sqlx::Error) -> CopyError {
        CopyError::Write { store: self.name.clone(), source }
    }

    async fn begin_transaction(&mut self) -> Result<(), sqlx::Error> {
        match &mut self.link {
            Link::Sqlite { connection, .. } => {
                sqlx::query(own!("sqlite", "begin_transaction")).execute(connection).await.map(|_| ())
            }
            Link::Postgres { connection, .. } => {
                sqlx::raw_sql(own!("postgres", "begin_transaction")).execute(connection).await.map(|_| ())
            }
        }
    }

    async fn commit(&mut self) -> Result<(), sqlx::Error> {
        match &mut self.link {
            Link::Sqlite { connection, .. } => {
                sqlx::query(own!("sqlite", "commit")).execute(connection).await.map(|_| ())
            }
            Link::Postgres { connection, .. } => {
                sqlx::raw_sql(own!("postgres", "commit")).execute(connection).await.map(|_| ())
            }
        }
    }

    async fn execute(&mut self, text: SqlStr, values: Values<'_>) -> Result<(), sqlx::Error> {
        match &mut self.link {
            Link::Sqlite { connection, .. } => {
                sqlx::query_with(text, session::sqlite(values)?).execute(connection).await.map(|_| ())
            }
            Link::Postgres { connection, .. } => {
                sqlx::query_with(text, arguments::of(values)?).execute(connection).await.map(|_| ())
            }
        }
    }

    fn stream(
        &mut self,
        text: SqlStr,
        values: Values<'_>,
    ) -> Result<BoxStream<'_, Result<Row, sqlx::Error>>, sqlx::Error> {
        Ok(match &mut self.link {
            Link::Sqlite { connection, .. } => {
                sqlx::query_with(text, session::sqlite(values)?).fetch(connection).map_ok(Row::Sqlite).boxed()
            }
            Link::Postgres { connection, .. } => {
                sqlx::query_with(text, arguments::of(values)?).fetch(connection).map_ok(Row::Postgres).boxed()
            }
        })
    }

    /// The text of a statement for a table, and for so many rows.
    pub(super) fn text(&self, statement: &'static Statement, table: Option<&Table>, rows: usize) -> SqlStr {
        let Some(table) = table else {
            return match &self.link {
                Link::Sqlite { .. } => statement.sqlite.into_sql_str(),
                Link::Postgres { .. } => statement.postgres.into_sql_str(),
            };
        };
        let (text, after, values) = match &self.link {
            Link::Sqlite { .. } => {
                let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
                (statement.sqlite, vec!["?"; table.key].join(", "), vec![row; rows].join(", "))
            }
            Link::Postgres { .. } => {
                let numbered = (1..=table.key).map(|nth| format!("${nth}")).collect::<Vec<_>>();
                let arrays = table.columns.iter().enumerate().map(|(nth, (_, kind))| {
                    let kind = match kind {
                        Kind::Text => "text",
                        Kind::Bytes => "bytea",
                        Kind::Id => "uuid",
                        Kind::Int => "bigint",
                        Kind::Flag => "boolean",
                    };
                    format!("${}::{kind}[]", nth + 1)
                });
                (statement.postgres, numbered.join(", "), arrays.collect::<Vec<_>>().join(", "))
            }
        };
        let names = |columns: &[(&str, Kind)], ending: &str| {
            columns.iter().map(|(name, _)| format!("{name}{ending}")).collect::<Vec<_>>().join(", ")
        };
        let text = text
            .replace("{table}", table.name)
            .replace("{columns}", &names(table.columns, ""))
            .replace("{key}", &names(table.key(), ""))
            .replace("{backwards}", &names(table.key(), " DESC"))
            .replace("{after}", &after)
            .replace("{values}", &values);
        // Only names and numbers of this crate.
        AssertSqlSafe(text).into_sql_str()
    }
}
