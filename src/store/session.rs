//! Connections of either engine: where statements meet it.

use std::time::Duration;

use sqlx::{Arguments, PgConnection, PgPool, SqliteConnection, SqlitePool, sqlite::SqliteArguments};
use tokio::time::timeout;

use super::{
    postgres::arguments,
    rows::Row,
    sql::{Bulk, Statement},
    value::{Value, Values},
};

/// The writer's connection, in a transaction.
pub(super) enum Session<'a> {
    /// Of SQLite.
    Sqlite(&'a mut SqliteConnection),
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
                let found = sqlx::query_with(statement.sqlite, sqlite(values)?).fetch_all(&mut **connection).await?;
                Ok(found.into_iter().map(Row::Sqlite).collect())
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
            Self::Sqlite(connection) => {
                let done = sqlx::query_with(statement.sqlite, sqlite(values)?).execute(&mut **connection).await?;
                Ok(done.rows_affected())
            }
            Self::Postgres(connection) => {
                let values = arguments::of(values)?;
                let done = sqlx::query_with(statement.postgres, values).execute(&mut **connection).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Runs a statement for many rows; returns the rows it returned.
    pub(super) async fn bulk<'v, T>(
        &mut self,
        statement: &Bulk,
        rows: &'v [T],
        bind: impl Fn(&'v T, &mut Values<'v>),
    ) -> Result<Vec<Row>, sqlx::Error> {
        let bound = |rows: &'v [T]| {
            let mut values = Values::default();
            for row in rows {
                bind(row, &mut values);
            }
            values
        };
        match self {
            Self::Sqlite(connection) => {
                let mut returned = Vec::new();
                for (text, chunk) in statement.chunks(rows) {
                    let values = sqlite(bound(chunk))?;
                    let found = sqlx::query_with(text, values).fetch_all(&mut **connection).await?;
                    returned.extend(found.into_iter().map(Row::Sqlite));
                }
                Ok(returned)
            }
            Self::Postgres(connection) => {
                let values = arguments::columns(bound(rows), rows.len())?;
                let found = sqlx::query_with(statement.postgres, values).fetch_all(&mut **connection).await?;
                Ok(found.into_iter().map(Row::Postgres).collect())
            }
        }
    }
}

/// Connections that read.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    /// Of SQLite.
    Sqlite(SqlitePool),
    /// Of Postgres.
    Postgres(PgPool),
}

/// How long a read of Postgres may take with the way there: past it the network swallows packets.
const PATIENCE: Duration = Duration::from_secs(8);

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
                let reading = sqlx::query_with(statement.postgres, arguments::of(values)?).fetch_all(pool);
                let found = timeout(PATIENCE, reading).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
                Ok(found.into_iter().map(Row::Postgres).collect())
            }
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

/// The connections that read, by who reads, so that neither waits for the other.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    /// For the tree of actors.
    pub(super) workers: Pool,
    /// For people and retention.
    pub(super) people: Pool,
}

impl Readers {
    /// Closes all.
    pub(super) async fn close(&self) {
        self.workers.close().await;
        self.people.close().await;
    }
}

fn sqlite(values: Values<'_>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in values.into_inner() {
        let added = match value {
            Value::Text(text) => arguments.add(text.as_deref()),
            Value::Bytes(bytes) => arguments.add(bytes.as_deref()),
            Value::Id(id) => arguments.add(id.as_ref().map(|id| id.as_bytes().as_slice())),
            Value::Int(number) => arguments.add(number),
            Value::Flag(flag) => arguments.add(flag),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
