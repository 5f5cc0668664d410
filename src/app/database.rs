//! The database of a configuration, whichever engine it is on.

use std::sync::Arc;

use sluice_actors::ports::Clock;

use super::Refused;
use crate::{
    config::Database,
    ids,
    store::{self, Inspected, Migrated, OpenOptions, Store},
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
pub(super) async fn open(database: &Database, clock: Arc<dyn Clock>) -> Result<Store, Refused> {
    let options = OpenOptions::new(clock, hex::encode(ids::nonce()));
    Ok(match database {
        Database::Sqlite(path) => Store::sqlite(path, options).await?,
        Database::Postgres { url: secret, .. } => Store::postgres(url(secret), options).await?,
    })
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
