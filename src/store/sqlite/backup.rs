//! A copy of the file to keep, taken beside a gateway that serves it.
//!
//! `VACUUM INTO` reads one moment of the database: everything that was committed before it began is
//! in the copy. It holds no lock that a writer waits for; the log only grows until it is done.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempPath;
use tokio::time::{MissedTickBehavior, interval};

use super::open::{self, BUSY_TIMEOUT, MIGRATIONS, beside};
use crate::store::{
    OpenError,
    schema::{Schema, newest},
    sql::own,
};

/// Why no backup was made, or none was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database, or the backup, does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no such file.
    #[error("there is no file {}", .0.display())]
    Missing(PathBuf),
    /// The backup would replace a file.
    #[error("{} exists already; choose another name, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// Database and backup are one file.
    #[error("{} is the database itself; name another file", .0.display())]
    Itself(PathBuf),
    /// SQLite takes names in UTF-8 only.
    #[error("{} is no name that SQLite can write to; choose one in UTF-8", .0.display())]
    Name(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}: {source}; nothing was changed", path.display())]
    Write {
        /// The file, or its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite could not write the copy.
    #[error("cannot back {} up: {source}; nothing was changed", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The contents of a file are not in order.
    #[error("{} is damaged ({found}); nothing was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first thing that SQLite found.
        found: String,
    },
    /// What should be restored has a log beside it: a part of it is not in the file.
    #[error(
        "{} is a database in use, or one that was not closed: take a backup of it with `sluice backup`, and restore that",
        .0.display()
    )]
    NoBackup(PathBuf),
    /// Another program has the database open.
    #[error("another program has {} open; end it first (nothing was changed)", .0.display())]
    InUse(PathBuf),
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Events.
    pub events: i64,
    /// Jobs.
    pub jobs: i64,
    /// Its newest migration.
    pub schema: i64,
    /// The newest migration of this release.
    pub newest: i64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Told how many bytes of how many are written, about.
pub type Bytes<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// How often it is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Writes all that the database at `path` held when this began to the file `to`, which is there whole
/// or not at all. `force`: over a file that is there.
///
/// # Errors
/// Nothing was written, but for a kill: that leaves a file `.….partial` beside `to`.
pub async fn backup(path: &Path, to: &Path, force: bool, tell: Bytes<'_>) -> Result<Contents, BackupError> {
    let database = fs::canonicalize(path).map_err(|_| BackupError::Missing(path.to_owned()))?;
    if fs::canonicalize(to).is_ok_and(|to| to == database) {
        return Err(BackupError::Itself(to.to_owned()));
    }
    if !force && to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let partial = partial_beside(to)?;
    let name = partial.to_str().ok_or_else(|| BackupError::Name(to.to_owned()))?;

    let mut connection = look_at(&database, false).await?;
    let copied = async {
        if let Schema::Empty = open::schema_of(&database, &mut connection).await? {
            return Err(OpenError::Foreign { store: open::name(path) }.into());
        }
        let total = size(&database) + size(&beside(&database, "-wal"));
        let writing = sqlx::query(own!("sqlite", "vacuum_into")).bind(name).execute(&mut connection);
        let written = told_meanwhile(&partial, total, tell, writing).await;
        written.map_err(|source| BackupError::Sqlite { path: path.to_owned(), source })
    }
    .await;
    connection.close().await.ok();
    copied?;

    // Nobody can write it, so it is read without a log.
    let mut connection = look_at(&partial, true).await?;
    let contents = contents(&partial, to, &mut connection).await;
    connection.close().await.ok();
    let contents = contents?;
    put(partial, to, force)?;
    Ok(contents)
}

/// A new file of nobody else, in the folder of `to`; gone when it is dropped.
pub(super) fn partial_beside(to: &Path) -> Result<TempPath, BackupError> {
    let folder = folder_of(to);
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let made = tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(".partial").tempfile_in(folder);
    // Closed before SQLite opens it: closing it later would drop the locks of SQLite.
    Ok(made.map_err(|source| BackupError::Write { path: folder.to_owned(), source })?.into_temp_path())
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts a file that is complete in its place, durably.
fn put(partial: TempPath, to: &Path, force: bool) -> Result<(), BackupError> {
    let failed = |source| BackupError::Write { path: to.to_owned(), source };
    File::open(&partial).and_then(|file| file.sync_all()).map_err(failed)?;
    let put = if force { partial.persist(to) } else { partial.persist_noclobber(to) };
    put.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
        _ => failed(error.error),
    })?;
    sync_folder(to).map_err(failed)
}

/// Makes the names in the folder of `path` durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// A connection that reads. `alone`: nobody writes the file meanwhile.
async fn look_at(path: &Path, alone: bool) -> Result<SqliteConnection, OpenError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(alone)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    options.connect().await.map_err(open::refused(path))
}

/// Checks every page of the file at `path`, and says what it holds. `named`: what an error calls it.
pub(super) async fn contents(
    path: &Path,
    named: &Path,
    connection: &mut SqliteConnection,
) -> Result<Contents, BackupError> {
    let damaged = |found: String| BackupError::Damaged { path: named.to_owned(), found };
    let found: Result<String, _> =
        sqlx::query_scalar(own!("sqlite", "integrity_check")).fetch_one(&mut *connection).await;
    match found {
        Ok(found) if found == "ok" => {}
        // Its first line says which database; there is only one.
        Ok(found) => return Err(damaged(found.lines().last().unwrap_or_default().to_owned())),
        Err(error) => return Err(damaged(error.to_string())),
    }
    let newest = newest(&MIGRATIONS);
    let schema = match open::schema_of(named, connection).await? {
        Schema::Empty => return Err(OpenError::Foreign { store: open::name(named) }.into()),
        schema => schema.found(&MIGRATIONS),
    };
    let counted = sqlx::query_as(own!("sqlite", "contents")).fetch_one(connection).await;
    let (events, jobs) = counted.map_err(|error| damaged(error.to_string()))?;
    Ok(Contents { events, jobs, schema, newest, bytes: size(path) })
}

/// Tells the size of a growing file until the work that grows it is done.
async fn told_meanwhile<T>(growing: &Path, total: u64, tell: Bytes<'_>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut ticks = interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => tell(size(growing), total),
        }
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}
