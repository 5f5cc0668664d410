//! Opening the file: its lock, its mode, its version, its schema.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, SqliteConnection,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::connection::Connection;
use crate::store::{
    OpenError,
    schema::{self, Applied, MIGRATIONS_TABLE, Migrated, Schema},
    session::{Pool, READER_WAIT, Readers, Snapshot},
    sql::own,
};

pub(in crate::store) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The first release that cannot lose committed WAL writes when a checkpoint meets a writer.
const MIN_LIBRARY: (u32, u32, u32) = (3, 51, 3);

/// `PRAGMA synchronous` of NORMAL: SQLite syncs the log before and the file after a checkpoint. That a
/// commit is on the disk before anybody learns of it is the writer's part (`log`).
pub(super) const SYNCHRONOUS_NORMAL: i64 = 1;

/// How long a write waits for another program's lock. Well below the 2 s in which a delivery is
/// answered.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Of a new file. Two or three payloads fill a page of 4 KiB badly.
const PAGE_BYTES: u32 = 8192;

/// Rows that its thread has ready: as many as sqlx lets it.
const READ_AHEAD: usize = 50;

/// Connections that read.
const READERS: u32 = 4;

/// The path in a `sqlite://PATH` URL, as it stands there (relative paths begin at the folder of the
/// configuration).
pub fn database_path(url: &str) -> Result<PathBuf, OpenError> {
    url.strip_prefix("sqlite://")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .ok_or_else(|| OpenError::Url(url.to_owned()))
}

/// Brings the file at `path` to the schema of this release; creates it where there is none.
pub async fn migrate(path: &Path) -> Result<Migrated, OpenError> {
    let _lock = lock(path)?;
    create(path)?;
    let mut connection = connect(path).await?;
    let migrated = async {
        let found = schema_of(path, &mut connection).await?.found(&MIGRATIONS);
        schema::run(&name(path), &mut connection, found, &MIGRATIONS).await?;
        Ok(Migrated { from: found, to: schema::newest(&MIGRATIONS).max(found) })
    }
    .await;
    // Also where it was refused: a connection that is not closed in order leaves its log behind.
    let closed = sqlx::Connection::close(connection).await.map_err(refused(path));
    migrated.and_then(|migrated| closed.map(|()| migrated))
}

/// The file, open for its one writer.
pub(in crate::store) struct Opened {
    /// Where it is.
    pub(in crate::store) path: PathBuf,
    /// Keeps other processes out for as long as it lives.
    pub(in crate::store) lock: File,
    /// The writer's connection.
    pub(in crate::store) connection: Connection,
    /// Which file it is, to notice that it was removed or replaced.
    pub(in crate::store) identity: Identity,
}

/// Which file a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of the file at `path` now.
    pub(in crate::store) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|found| Self { device: found.dev(), inode: found.ino() })
    }
}

/// Takes the lock, creates what is not there and checks the rest.
pub(in crate::store) async fn open(path: &Path) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    create(path)?;
    let mut connection = connect(path).await?;
    let fits = async {
        match schema_of(path, &mut connection).await? {
            Schema::Current | Schema::Newer(_) => Ok(()),
            Schema::Empty => schema::run(&name(path), &mut connection, 0, &MIGRATIONS).await,
            Schema::Older(found) => Err(schema::older(&name(path), found, &MIGRATIONS)),
        }
    }
    .await;
    if let Err(error) = fits {
        // A connection that is not closed in order leaves its log behind.
        let _ = sqlx::Connection::close(connection).await;
        return Err(error);
    }
    let identity = Identity::of(path).map_err(unreadable(path))?;
    let connection = for_writing(path, connection).await?;
    Ok(Opened { path: path.to_owned(), lock, connection, identity })
}

/// Opens the file again under the lock that is still held. Creates nothing.
pub(in crate::store) async fn reopen(path: &Path) -> Result<(Connection, Identity), OpenError> {
    let identity = Identity::of(path).map_err(unreadable(path))?;
    let mut connection = connect(path).await?;
    match schema_of(path, &mut connection).await? {
        Schema::Current | Schema::Newer(_) => Ok((for_writing(path, connection).await?, identity)),
        Schema::Empty => Err(OpenError::Foreign { store: name(path) }),
        Schema::Older(found) => Err(schema::older(&name(path), found, &MIGRATIONS)),
    }
}

/// The connection that writes, in place of the one that looked at the schema. The first goes last: the
/// last one of a file takes its log along.
async fn for_writing(path: &Path, looked: SqliteConnection) -> Result<Connection, OpenError> {
    let connection = Connection::open(path)?;
    sqlx::Connection::close(looked).await.map_err(refused(path))?;
    Ok(connection)
}

/// A pool of connections that cannot write. Connects when it is first asked.
pub(in crate::store) fn readers(path: &Path) -> Readers {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("query_only", "ON")
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READER_WAIT)
        .idle_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .connect_lazy_with(options);
    Readers { workers: Pool::Sqlite(pool.clone()), people: Pool::Sqlite(pool) }
}

/// What the file holds now.
pub(in crate::store) async fn snapshot(readers: &Readers) -> Result<Snapshot, sqlx::Error> {
    let Pool::Sqlite(pool) = &readers.people else { return Err(sqlx::Error::PoolClosed) };
    let mut transaction = pool.begin().await?;
    // The first read is the moment.
    sqlx::query(own!("sqlite", "applied_migrations")).fetch_all(&mut *transaction).await?;
    Ok(Snapshot::Sqlite(transaction))
}

/// The lock is on a file beside the database: closing any descriptor of the database itself would
/// drop the locks that SQLite holds on it.
pub(in crate::store) fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = beside(path, ".lock");
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(unreadable(&lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned(), lock: lock_path }),
        Err(TryLockError::Error(source)) => Err(OpenError::File { path: lock_path, source }),
    }
}

/// A file whose name begins with that of `path`.
pub(in crate::store) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// SQLite gives its log and its shared memory the mode of the file.
pub(in crate::store) fn create(path: &Path) -> Result<(), OpenError> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(OpenError::File { path: path.to_owned(), source }),
    }
}

/// Connects as the one that writes.
pub(in crate::store) async fn connect(path: &Path) -> Result<SqliteConnection, OpenError> {
    connect_reading_ahead(path, READ_AHEAD).await
}

/// As [`connect`]; its thread reads at most so many rows that nobody has taken yet.
pub(in crate::store) async fn connect_reading_ahead(path: &Path, rows: usize) -> Result<SqliteConnection, OpenError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(rows)
        .pragma("wal_autocheckpoint", "0")
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(refused(path))?;
    let library: String = sqlx::query_scalar(own!("sqlite", "library_version"))
        .fetch_one(&mut connection)
        .await
        .map_err(refused(path))?;
    if !is_durable(&library) {
        return Err(OpenError::Library { found: library });
    }
    Ok(connection)
}

fn is_durable(library: &str) -> bool {
    let mut parts = library.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= MIN_LIBRARY
}

/// Where the file's schema stands. Changes nothing.
pub(in crate::store) async fn schema_of(path: &Path, connection: &mut SqliteConnection) -> Result<Schema, OpenError> {
    let (tables, applied) = look(path, connection).await?;
    schema::judge(&name(path), &tables, applied.as_deref(), &MIGRATIONS)
}

/// The tables of a file; and its migrations, where it has a table of them.
pub(in crate::store) async fn look(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<(Vec<String>, Option<Vec<Applied>>), OpenError> {
    let tables: Vec<String> =
        sqlx::query_scalar(own!("sqlite", "tables")).fetch_all(&mut *connection).await.map_err(refused(path))?;
    if !tables.iter().any(|table| table == MIGRATIONS_TABLE) {
        return Ok((tables, None));
    }
    let applied = sqlx::query_as(own!("sqlite", "applied_migrations")).fetch_all(&mut *connection).await;
    Ok((tables, Some(applied.map_err(refused(path))?)))
}

/// The file in an error.
pub(in crate::store) fn name(path: &Path) -> String {
    path.display().to_string()
}

pub(in crate::store) fn refused(path: &Path) -> impl Fn(sqlx::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Sqlite { path: path.clone(), source }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::File { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_before_3_51_3_is_refused() {
        let table =
            [("3.51.3", true), ("3.51.2", false), ("3.50.9", false), ("3.52.0", true), ("4.0.0", true), ("", false)];
        for (version, durable) in table {
            assert_eq!(is_durable(version), durable, "{version}");
        }
    }

    #[test]
    fn a_url_names_a_path() {
        assert_eq!(database_path("sqlite://sluice.db").unwrap(), Path::new("sluice.db"));
        assert_eq!(database_path("sqlite:///var/lib/sluice.db").unwrap(), Path::new("/var/lib/sluice.db"));
        for wrong in ["sluice.db", "sqlite://", "postgres://localhost/sluice", ""] {
            assert!(matches!(database_path(wrong), Err(OpenError::Url(_))), "{wrong}");
        }
    }
}
