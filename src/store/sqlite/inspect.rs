//! Looks at a database file without changing it and without taking its lock: beside a gateway that
//! serves it, too.

use std::{
    fs::{self, TryLockError},
    io,
    path::Path,
};

use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use super::open::{self, BUSY_TIMEOUT, MIGRATIONS, beside};
use crate::store::{OpenError, schema::Inspected};

/// Says how the file at `path` stands.
///
/// # Errors
/// It cannot be read, is of another program, or of a newer release.
pub async fn inspect(path: &Path) -> Result<Inspected, OpenError> {
    let found = match fs::metadata(path) {
        Ok(_) => Some(found(path).await?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(OpenError::File { path: path.to_owned(), source }),
    };
    Ok(Inspected::new(found, &MIGRATIONS))
}

async fn found(path: &Path) -> Result<i64, OpenError> {
    // Without a log beside it nobody writes it, and it can be read without making one.
    let untouched = !beside(path, "-wal").exists();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(untouched)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(open::refused(path))?;
    let schema = open::schema_of(path, &mut connection).await;
    sqlx::Connection::close(connection).await.map_err(open::refused(path))?;
    Ok(schema?.found(&MIGRATIONS))
}

/// Whether a process holds the file at `path` for itself.
///
/// # Errors
/// Its lock cannot be read.
pub fn is_held(path: &Path) -> io::Result<bool> {
    let lock = match fs::File::open(beside(path, ".lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // A shared lock, and only for the moment: it does not keep a second look out.
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::store::migrate;

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_look_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sluice.db");
        let none = inspect(&path).await.unwrap();
        assert!(!none.exists && none.missing.len() as i64 == none.newest, "{none:?}");
        assert!(!is_held(&path).unwrap());
        assert!(names(dir.path()).is_empty());

        migrate(&path).await.unwrap();
        let (before, bytes) = (names(dir.path()), fs::read(&path).unwrap());
        let current = inspect(&path).await.unwrap();
        assert_eq!(current, Inspected { exists: true, found: none.newest, newest: none.newest, missing: Vec::new() });
        assert_eq!((names(dir.path()), fs::read(&path).unwrap()), (before, bytes));
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sluice.db");
        fs::write(&path, "not a database, and precious").unwrap();
        inspect(&path).await.unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"not a database, and precious");
    }

    #[test]
    fn a_held_file_is_told_from_a_free_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sluice.db");
        let lock = fs::File::create(beside(&path, ".lock")).unwrap();
        assert!(!is_held(&path).unwrap());
        lock.lock().unwrap();
        assert!(is_held(&path).unwrap());
    }
}
