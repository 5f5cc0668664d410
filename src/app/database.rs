//! The database of a configuration, whichever engine it is on.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use sluice_actors::ports::Clock;

use super::refused::{Refused, code, with_causes};
use crate::{
    clock::SystemClock,
    config::Database,
    error_code::ErrorCode,
    ids,
    store::{
        self, BackupError, Bytes, Contents, Inspected, Migrated, OpenOptions, Restored, Store,
        copy::{Copied, CopyError, Place, Tell},
    },
};

fn url(url: &crate::secrets::Secret) -> &str {
    // The configuration read it as text.
    url.expose_str().unwrap_or_default()
}

/// Its name for people: a path, or a URL without user and password.
pub fn shown(database: &Database) -> String {
    match database {
        Database::Sqlite(path) => path.display().to_string(),
        Database::Postgres { url: secret, .. } => {
            store::postgres_name(url(secret)).unwrap_or_else(|_| "the database".to_owned())
        }
    }
}

/// Opens it for one life of the process.
pub(super) async fn open(database: &Database, clock: Arc<dyn Clock>, folder: Option<String>) -> Result<Store, Refused> {
    let options = OpenOptions { folder, ..OpenOptions::new(clock, hex::encode(ids::nonce())) };
    Ok(match database {
        Database::Sqlite(path) => {
            let store = Store::sqlite(path, options).await?;
            if let Some(mode) = shared_mode(path) {
                // Who let others read it may have had a reason: it is said, not changed.
                tracing::warn!(
                    path = %path.display(),
                    mode = format!("{mode:04o}"),
                    cure = format!("chmod 600 {}*", path.display()),
                    "others can read or write the database, which holds what vendors sent"
                );
            }
            store
        }
        Database::Postgres { url: secret, .. } => Store::postgres(url(secret), options).await?,
    })
}

/// The mode of a file that is not its owner's alone; what `serve` creates is.
fn shared_mode(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Brings it to the schema of this release.
///
/// # Errors
/// Why not, for the operator.
pub async fn migrate(database: &Database) -> Result<Migrated, Refused> {
    Ok(match database {
        Database::Sqlite(path) => store::migrate(path).await?,
        Database::Postgres { url: secret, .. } => store::migrate_postgres(url(secret)).await?,
    })
}

/// Says how it stands to this release; changes nothing.
///
/// # Errors
/// It cannot be read, is of another program, or of a newer release.
pub async fn inspect(database: &Database) -> Result<Inspected, Refused> {
    Ok(match database {
        Database::Sqlite(path) => store::inspect(path).await?,
        Database::Postgres { url: secret, .. } => store::inspect_postgres(url(secret)).await?,
    })
}

/// Whether a process holds it for itself; `false` where that cannot be said.
pub async fn is_held(database: &Database) -> bool {
    match database {
        Database::Sqlite(path) => store::is_held(path).unwrap_or(false),
        Database::Postgres { url: secret, .. } => store::is_served_postgres(url(secret)).await.unwrap_or(false),
    }
}

/// Copies all of one database to another.
///
/// # Errors
/// Why not, for the operator.
pub async fn copy(from: &Database, to: &Database, tell: Tell<'_>) -> Result<Copied, Refused> {
    let copied = store::copy::copy(place(from), place(to), tell).await;
    copied.map_err(|error| {
        let code = match &error {
            CopyError::Source(error) | CopyError::Target(error) => code(error),
            _ => ErrorCode::Copy,
        };
        Refused::new(code, with_causes(&error))
    })
}

fn place(database: &Database) -> Place<'_> {
    match database {
        Database::Sqlite(path) => Place::Sqlite(path),
        Database::Postgres { url: secret, .. } => Place::Postgres(url(secret)),
    }
}

/// Writes all that it holds to a file, while a gateway may serve it.
///
/// # Errors
/// It is on a server, or cannot be read, or the file cannot be written.
pub async fn backup(database: &Database, to: &Path, force: bool, tell: Bytes<'_>) -> Result<Contents, Refused> {
    Ok(store::backup(file(database, "backed up")?, to, force, tell).await?)
}

/// Puts a backup in its place.
///
/// # Errors
/// It is on a server, a gateway serves it, or the backup is not in order.
pub async fn restore(database: &Database, from: &Path, tell: Bytes<'_>) -> Result<Restored, Refused> {
    Ok(store::restore(from, file(database, "restored")?, SystemClock.now(), tell).await?)
}

/// Tells it that other means brought it back to an earlier moment. Returns how many of its jobs can
/// still run.
///
/// # Errors
/// A gateway serves it, or it does not open.
pub async fn recovered(database: &Database) -> Result<u64, Refused> {
    Ok(match database {
        Database::Sqlite(path) => store::recovered(path).await?,
        Database::Postgres { url: secret, .. } => store::recovered_postgres(url(secret)).await?,
    })
}

fn file<'d>(database: &'d Database, done: &str) -> Result<&'d Path, Refused> {
    match database {
        Database::Sqlite(path) => Ok(path),
        Database::Postgres { .. } => Err(Refused::new(
            ErrorCode::Backup,
            format!("{} is on a Postgres server and is {done} by its own means: see docs/backup.md", shown(database)),
        )),
    }
}

impl From<BackupError> for Refused {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Open(error) => Self::new(code(&error), with_causes(&error)),
            error => Self::new(ErrorCode::Backup, with_causes(&error)),
        }
    }
}
