//! Connections of either engine: where statements meet it.

use std::{io::ErrorKind, time::Duration};

use sqlx::{
    Arguments, Connection as _, PgConnection, PgPool, SqlitePool, postgres::PgArguments, sqlite::SqliteArguments,
};
use tokio::time::timeout;

use super::{
    postgres::arguments,
    rows::Row,
    sql::{Bulk, Statement},
    sqlite::connection::Connection,
    value::{Rows, Value, Values},
};

/// The writer's connection, in a transaction.
pub(super) enum Session<'a> {
    /// Of SQLite.
    Sqlite(&'a mut Connection),
    /// Of Postgres.
    Postgres(&'a mut PgConnection),
}

impl Session<'_> {
    /// Runs a statement; returns the rows it returned.
    pub(super) async fn fetch(
        &mut self,
        statement: &'static Statement,
        values: Values<'_>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => {
                let mut rows = Vec::new();
                connection.fetch(statement.sqlite, values.into_inner(), &mut rows)?;
                Ok(rows)
            }
            Self::Postgres(connection) => {
                let values = arguments::of(values)?;
                let found = sqlx::query_with(statement.postgres, values).fetch_all(&mut **connection).await?;
                Ok(found.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        statement: &'static Statement,
        values: Values<'_>,
    ) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.execute(statement.sqlite, values),
            Self::Postgres(connection) => {
                let values = arguments::of(values)?;
                let done = sqlx::query_with(statement.postgres, values).execute(&mut **connection).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Runs statements for many rows, `parts` of them in order; returns the rows they returned.
    pub(super) async fn bulk(&mut self, statements: &Bulk, parts: Vec<Rows<'_>>) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => {
                let mut returned = Vec::new();
                for (nth, part) in parts.into_iter().enumerate() {
                    let mut left = part.count;
                    let mut values = part.values.into_inner().into_iter();
                    while left > 0 {
                        let (rows, text) = statements.text(nth, left);
                        let width = statements.width(nth);
                        connection.fetch(text, values.by_ref().take(rows * width), &mut returned)?;
                        left -= rows;
                    }
                }
                Ok(returned)
            }
            Self::Postgres(connection) => {
                let filled = parts.iter().enumerate().filter(|(_, part)| part.count > 0);
                let choice = filled.map(|(nth, _)| 1 << nth).sum();
                if let Some(text) = statements.chain(choice) {
                    let values = arguments::columns(parts)?;
                    let found = sqlx::query_with(text, values).fetch_all(&mut **connection).await?;
                    return Ok(found.into_iter().map(Row::Postgres).collect());
                }
                let mut returned = Vec::new();
                for (text, part) in statements.postgres.iter().zip(parts).filter(|(_, part)| part.count > 0) {
                    let values = arguments::columns([part])?;
                    let found = sqlx::query_with(*text, values).fetch_all(&mut **connection).await?;
                    returned.extend(found.into_iter().map(Row::Postgres));
                }
                Ok(returned)
            }
        }
    }
}

/// What is in the database at one moment, however long it is read.
pub(super) enum Snapshot {
    /// Of SQLite.
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    /// Of Postgres: a connection of its own, in a transaction.
    Postgres(PgConnection),
}

impl Snapshot {
    /// Rows of a read.
    pub(super) async fn rows(&mut self, statement: &'static Statement) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => {
                let found = sqlx::query(statement.sqlite).fetch_all(&mut **transaction).await?;
                Ok(found.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(connection) => {
                let found = sqlx::query(statement.postgres).fetch_all(connection).await?;
                Ok(found.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Lets the engine forget that moment.
    pub(super) async fn end(self) {
        match self {
            Self::Sqlite(transaction) => transaction.rollback().await.ok(),
            Self::Postgres(connection) => connection.close().await.ok(),
        };
    }
}

/// How long a read waits for a connection, one that must be made included: as long as a statement may take.
pub(super) const READER_WAIT: Duration = Duration::from_secs(5);

/// Connections that read.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    /// Of SQLite.
    Sqlite(SqlitePool),
    /// Of Postgres.
    Postgres(PgPool),
}

/// How long a read of Postgres may take with its connection and the way there: past it the network swallows packets.
const PATIENCE: Duration = READER_WAIT.saturating_add(Duration::from_secs(8));

impl Pool {
    /// Rows of a read.
    pub(super) async fn rows(
        &self,
        statement: &'static Statement,
        values: Values<'_>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(pool) => {
                let found = sqlx::query_with(statement.sqlite, sqlite(values)?).fetch_all(pool).await?;
                Ok(found.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(pool) => {
                let values = arguments::of(values)?;
                // A server that was restarted leaves one dead connection after the other.
                for _ in 0..pool.options().get_max_connections() {
                    match postgres_rows(pool, statement, values.clone()).await {
                        Err(error) if is_dead(&error) => {}
                        outcome => return outcome,
                    }
                }
                postgres_rows(pool, statement, values).await
            }
        }
    }

    /// How many connections it has, how many of them rest, how many it may have.
    fn connections(&self) -> (u32, usize, u32) {
        match self {
            Self::Sqlite(pool) => (pool.size(), pool.num_idle(), pool.options().get_max_connections()),
            Self::Postgres(pool) => (pool.size(), pool.num_idle(), pool.options().get_max_connections()),
        }
    }

    /// Closes its connections when they are free.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

async fn postgres_rows(
    pool: &PgPool,
    statement: &'static Statement,
    values: PgArguments,
) -> Result<Vec<Row>, sqlx::Error> {
    let reading = sqlx::query_with(statement.postgres, values).fetch_all(pool);
    let found = timeout(PATIENCE, reading).await.map_err(|elapsed| sqlx::Error::Io(elapsed.into()))??;
    Ok(found.into_iter().map(Row::Postgres).collect())
}

/// Whether the connection had ended before it was asked, so that another one may do.
fn is_dead(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => {
            matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
        }
        sqlx::Error::Database(error) => error.code().is_some_and(|code| matches!(&*code, "57P01" | "57P02")),
        _ => false,
    }
}

/// The connections that read, by who reads, so that neither waits for the other.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    /// For the tree of actors.
    pub(super) workers: Pool,
    /// For people and retention.
    pub(super) people: Pool,
}

impl Readers {
    /// How many connections there are, how many of them rest, how many there may be.
    pub(super) fn connections(&self) -> (u32, usize, u32) {
        let (size, idle, max) = self.workers.connections();
        match &self.people {
            // One pool for both.
            Pool::Sqlite(_) => (size, idle, max),
            people @ Pool::Postgres(_) => {
                let (more_size, more_idle, more_max) = people.connections();
                (size + more_size, idle + more_idle, max + more_max)
            }
        }
    }

    /// Closes all.
    pub(super) async fn close(&self) {
        self.workers.close().await;
        self.people.close().await;
    }
}

/// Parameters as SQLite takes them.
pub(super) fn sqlite(values: Values<'_>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    add(&mut arguments, values.into_inner())?;
    Ok(arguments)
}

fn add<'v>(arguments: &mut SqliteArguments, values: impl IntoIterator<Item = Value<'v>>) -> Result<(), sqlx::Error> {
    for value in values {
        let added = match value {
            Value::Text(text) => arguments.add(text.as_deref()),
            Value::Bytes(bytes) => arguments.add(bytes.as_deref()),
            Value::Id(id) => arguments.add(id.as_ref().map(|id| id.as_bytes().as_slice())),
            Value::Int(number) => arguments.add(number),
            Value::Flag(flag) => arguments.add(flag),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}
