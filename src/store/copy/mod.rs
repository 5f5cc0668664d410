//! Moves a store from one database to another, on the same engine or not.
//!
//! Nobody may serve either database meanwhile: what a gateway acknowledged on the source while it is
//! copied would be missing in the target. The locks of both are held, and the source is read as of
//! one moment, whatever else writes it.
//!
//! Rows go in batches, in the order of their keys; each transaction also writes how far its table has
//! come (the table `sluice_copy`, which is there only until the copy is finished, and with which no
//! gateway starts). So a copy that was cut off anywhere goes on where it was. At the end both sides
//! are read again and compared, table by table, by count and digest; only then the marks go.
//!
//! A new table or column must be entered in `tables.rs`: a test compares them with the schemas.

mod row;
mod side;
mod tables;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use sha2::{Digest as _, Sha256};

use self::{
    row::Digest,
    side::Side,
    tables::{TABLES, Table},
};
use super::{OpenError, postgres};

pub(super) use side::MARKS;
pub use tables::{LEFT_OUT, copied_columns};

/// A database.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// The SQLite file at this path.
    Sqlite(&'a Path),
    /// The Postgres database of this URL.
    Postgres(&'a str),
}

/// Why a copy was not made, or not finished.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source does not open.
    #[error("--from: {0}")]
    Source(#[source] OpenError),
    /// The target does not open.
    #[error("--to: {0}")]
    Target(#[source] OpenError),
    /// The source is an empty database.
    #[error("--from: {store} holds nothing of sluice; name the database that the gateway used")]
    NothingThere {
        /// The database.
        store: String,
    },
    /// Both are one database.
    #[error("--to: {store} is the source itself; name another database")]
    Same {
        /// The database.
        store: String,
    },
    /// The target holds rows that no copy has put there.
    #[error("--to: {store} is not empty (`{table}` has rows); name an empty database, nothing was changed")]
    NotEmpty {
        /// The database.
        store: String,
        /// A table with rows.
        table: &'static str,
    },
    /// The target holds the beginning of a copy of something else.
    #[error(
        "--to: {store} holds an unfinished copy of {of}, which is another database or was written since; name an empty one"
    )]
    OtherCopy {
        /// The database.
        store: String,
        /// What was copied.
        of: String,
    },
    /// Reading failed.
    #[error("cannot read {store}: {source}; mend it and run the same command again, it goes on where it was")]
    Read {
        /// The database.
        store: String,
        /// Why.
        source: sqlx::Error,
    },
    /// Writing failed.
    #[error("cannot write {store}: {source}; mend it and run the same command again, it goes on where it was")]
    Write {
        /// The database.
        store: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The two sides differ after all rows were copied.
    #[error("the copy differs from its source in {}: one of them was written meanwhile; begin again with an empty target", tables.join(", "))]
    Differs {
        /// Each such table, with the rows of either side.
        tables: Vec<String>,
    },
}

/// What a copy tells while it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// There are so many rows to copy; so many of them are there from an earlier run.
    Begun {
        /// Of the source.
        rows: u64,
        /// Of the target.
        done: u64,
    },
    /// The rows of this table come next.
    Copying(&'static str),
    /// So many more rows were copied.
    Copied(u64),
    /// All are copied; so many rows are read and compared next.
    Comparing {
        /// Of both sides.
        rows: u64,
    },
    /// So many more rows were read.
    Compared(u64),
}

/// Who is told.
pub type Tell<'a> = &'a (dyn Fn(Progress) + Sync);

/// A table that was copied and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: &'static str,
    /// Rows.
    pub rows: u64,
    /// A digest of all of them.
    pub digest: String,
}

/// A finished copy.
#[derive(Debug)]
pub struct Copied {
    /// All tables.
    pub tables: Vec<CopiedTable>,
    /// Rows that were there from an earlier run that was cut off; `None`: this run made all of it.
    pub resumed: Option<u64>,
}

/// Rows of one transaction. With the most columns there are, they bind 11 776 of SQLite's 32 766
/// parameters.
const BATCH_ROWS: usize = 512;

/// Bytes after which a transaction takes no more rows.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The mark that says what the copy is of: its name for people.
const OF: &str = "of";
/// The mark that tells a source from others, and from itself after it was written.
const PRINT: &str = "print";

/// Copies all that `from` holds to `to`, which is empty or the beginning of this copy.
///
/// # Errors
/// Nothing of the source was changed. A copy that was begun goes on when it is run again.
pub async fn copy(from: Place<'_>, to: Place<'_>, tell: Tell<'_>) -> Result<Copied, CopyError> {
    different(from, to).await?;
    let mut source = Side::source(from).await?;
    let mut target = match Side::target(to).await {
        Ok(target) => target,
        Err(error) => {
            source.close().await;
            return Err(error);
        }
    };
    let copied = run(&mut source, &mut target, tell).await;
    source.close().await;
    target.close().await;
    copied
}

/// Refuses a copy of a database to itself, by whatever name.
async fn different(from: Place<'_>, to: Place<'_>) -> Result<(), CopyError> {
    match (from, to) {
        (Place::Sqlite(from), Place::Sqlite(to)) => {
            let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
            let is_same = |(from, to): (PathBuf, PathBuf)| from == to;
            if real(from).ok().zip(real(to).ok()).is_some_and(is_same) {
                return Err(CopyError::Same { store: to.display().to_string() });
            }
        }
        (Place::Postgres(from), Place::Postgres(to)) => {
            let one = postgres::open::identity(from).await.map_err(CopyError::Source)?;
            let other = postgres::open::identity(to).await.map_err(CopyError::Target)?;
            if one == other {
                let store = postgres::open::name(to).map_err(CopyError::Target)?;
                return Err(CopyError::Same { store });
            }
        }
        _ => {}
    }
    Ok(())
}

async fn run(source: &mut Side, target: &mut Side, tell: Tell<'_>) -> Result<Copied, CopyError> {
    source.snapshot().await?;
    target.prepare().await?;
    let (rows, print) = look(source).await?;
    let marks = match target.marks().await? {
        Some(marks) => marks,
        None => {
            for table in TABLES {
                if target.count(table).await? > 0 {
                    return Err(CopyError::NotEmpty { store: target.name.clone(), table: table.name });
                }
            }
            target.begin(&[(OF, &source.name), (PRINT, &print)]).await?;
            Vec::new()
        }
    };
    let mark = |name: &str| marks.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str());
    if !marks.is_empty() && mark(PRINT) != Some(&print) {
        let of = mark(OF).unwrap_or("another database").to_owned();
        return Err(CopyError::OtherCopy { store: target.name.clone(), of });
    }
    let mut done = 0;
    for table in TABLES.iter().filter(|table| mark(table.name).is_some()) {
        done += target.count(table).await?;
    }
    tell(Progress::Begun { rows, done });
    for table in TABLES {
        tell(Progress::Copying(table.name));
        copy_table(source, target, table, mark(table.name), tell).await?;
    }
    tell(Progress::Comparing { rows: 2 * rows });
    let (tables, last) = compare(source, target, tell).await?;
    target.finish(&last).await?;
    Ok(Copied { tables, resumed: (!marks.is_empty()).then_some(done) })
}

/// How many rows a source has, and what tells it from others: the number of rows and the last key of
/// each table.
async fn look(source: &mut Side) -> Result<(u64, String), CopyError> {
    let mut all = 0;
    let mut print = Sha256::new();
    for table in TABLES {
        let rows = source.count(table).await?;
        all += rows;
        print.update(format!("{} {rows} {}\n", table.name, source.last(table).await?));
    }
    Ok((all, hex::encode(print.finalize())))
}

/// Copies the rows of a table that come after the key `mark`.
async fn copy_table(
    source: &mut Side,
    target: &mut Side,
    table: &Table,
    mark: Option<&str>,
    tell: Tell<'_>,
) -> Result<(), CopyError> {
    let after = match mark {
        Some(text) => Some(row::key_of(text, table).ok_or_else(|| {
            target.unreadable(sqlx::Error::Decode(format!("`{MARKS}` has no key of `{}`", table.name).into()))
        })?),
        None => None,
    };
    let store = source.name.clone();
    let unreadable = |source| CopyError::Read { store: store.clone(), source };
    let mut rows = source.rows(table, after).map_err(unreadable)?;
    loop {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(row) = rows.try_next().await.map_err(unreadable)? else { break };
            bytes += row::size(&row::values(&row, table).map_err(|bad| unreadable(bad.into()))?);
            batch.push(row);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let values = batch.iter().map(|row| row::values(row, table)).collect::<Result<Vec<_>, _>>();
        let written = target.write(table, values.map_err(|bad| unreadable(bad.into()))?).await;
        written.map_err(|error| target.unwritable(error))?;
        tell(Progress::Copied(batch.len() as u64));
    }
}

/// The highest number of a column that the engine numbers: table, column, number.
type Last = (&'static str, &'static str, i64);

/// Reads both sides again and compares them.
async fn compare(
    source: &mut Side,
    target: &mut Side,
    tell: Tell<'_>,
) -> Result<(Vec<CopiedTable>, Vec<Last>), CopyError> {
    let read = |rows| tell(Progress::Compared(rows));
    let (mut tables, mut last, mut differing) = (Vec::new(), Vec::new(), Vec::new());
    for table in TABLES {
        let ((one, _), (other, highest)) = tokio::try_join!(source.digest(table, &read), target.digest(table, &read))?;
        if one != other {
            differing.push(difference(table.name, &one, &other));
        }
        if table.numbered {
            last.push((table.name, table.columns[0].0, highest));
        }
        tables.push(CopiedTable { name: table.name, rows: other.rows, digest: other.hex() });
    }
    if differing.is_empty() { Ok((tables, last)) } else { Err(CopyError::Differs { tables: differing }) }
}

fn difference(table: &str, source: &Digest, target: &Digest) -> String {
    if source.rows == target.rows {
        format!("`{table}` ({} rows on both sides, of other contents)", source.rows)
    } else {
        format!("`{table}` ({} rows there, {} copied)", source.rows, target.rows)
    }
}
