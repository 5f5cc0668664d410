//! Where the schema of a database stands, by the migrations it says it has.

use sqlx::migrate::{Migrate, Migrator};

use super::{OpenError, copy::MARKS};

/// Where sqlx keeps which migrations were run.
pub(super) const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The newest migration before; 0 for an empty database.
    pub from: i64,
    /// The newest migration now.
    pub to: i64,
}

/// How a database stands to this release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Whether there is one.
    pub exists: bool,
    /// The newest migration it has; 0 for none.
    pub found: i64,
    /// The newest migration of this release.
    pub newest: i64,
    /// The migrations that `migrate` would run: number and name.
    pub missing: Vec<(i64, String)>,
}

impl Inspected {
    /// `found`: its newest migration; `None` where there is no database.
    pub(super) fn new(found: Option<i64>, migrations: &Migrator) -> Self {
        let had = found.unwrap_or(0);
        let missing = migrations.iter().filter(|migration| migration.version > had);
        Self {
            exists: found.is_some(),
            found: had,
            newest: newest(migrations),
            missing: missing.map(|migration| (migration.version, migration.description.to_string())).collect(),
        }
    }
}

/// Where a schema stands.
pub(super) enum Schema {
    Empty,
    Current,
    Older(i64),
}

/// The newest migration there is.
pub(super) fn newest(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Where the schema of `store` stands. `applied`: versions and checksums; `None` without a table of
/// them.
pub(super) fn judge(
    store: &str,
    tables: &[String],
    applied: Option<&[(i64, Vec<u8>)]>,
    migrations: &Migrator,
) -> Result<Schema, OpenError> {
    let store = || store.to_owned();
    if tables.iter().any(|table| table == MARKS) {
        return Err(OpenError::HalfCopied { store: store() });
    }
    let Some(applied) = applied else {
        return if tables.is_empty() { Ok(Schema::Empty) } else { Err(OpenError::Foreign { store: store() }) };
    };
    let mut found = 0;
    for (version, checksum) in applied {
        found = found.max(*version);
        match migrations.iter().find(|migration| migration.version == *version) {
            None => {
                let known = newest(migrations);
                return Err(OpenError::SchemaNewer { store: store(), found: *version, known });
            }
            Some(known) if known.checksum.as_ref() != checksum.as_slice() => {
                return Err(OpenError::SchemaDiffers { store: store(), version: *version });
            }
            Some(_) => {}
        }
    }
    Ok(match found {
        // The table of migrations alone: a first migration that was cut off.
        0 => Schema::Empty,
        found if found < newest(migrations) => Schema::Older(found),
        _ => Schema::Current,
    })
}

/// The refusal of a schema that is not the newest.
pub(super) fn older(store: &str, found: i64, migrations: &Migrator) -> OpenError {
    OpenError::SchemaOlder { store: store.to_owned(), found, needed: newest(migrations) }
}

/// Applies the migrations that the database does not have, each in a transaction of its own.
/// (`Migrator::run` does the same, but its future is not `Send`.)
pub(super) async fn run<C: Migrate + Send>(
    store: &str,
    connection: &mut C,
    found: i64,
    migrations: &Migrator,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Migrate { store: store.to_owned(), source };
    connection.ensure_migrations_table(MIGRATIONS_TABLE).await.map_err(failed)?;
    for migration in migrations.iter().filter(|migration| migration.version > found) {
        connection.apply(MIGRATIONS_TABLE, migration).await.map_err(failed)?;
    }
    Ok(())
}
