//! Where the schema of a database stands, by the migrations it says it has.
//!
//! A migration says by its name what it asks of the releases before it, so that they can tell: one that is
//! called `expand …` only adds, and they go on; `contract NNNN …` takes away what releases need that do
//! not know migration NNNN. Any other asks for a release that knows it.

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
    /// Of a newer release, which left this one all that it needs.
    Newer(i64),
}

impl Schema {
    /// The newest migration it has.
    pub(super) fn found(&self, migrations: &Migrator) -> i64 {
        match self {
            Self::Empty => 0,
            Self::Current => newest(migrations),
            Self::Older(found) | Self::Newer(found) => *found,
        }
    }
}

/// A migration of a database: version, checksum, name.
pub(super) type Applied = (i64, Vec<u8>, String);

/// The newest migration that a release must know to go on after this one.
pub(super) fn floor(version: i64, name: &str) -> i64 {
    let mut words = name.split(' ');
    match words.next() {
        Some("expand") => 0,
        Some("contract") => words.next().and_then(|number| number.parse().ok()).unwrap_or(version).min(version),
        _ => version,
    }
}

/// The newest migration there is.
pub(super) fn newest(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Where the schema of `store` stands. `applied`: `None` without a table of them.
pub(super) fn judge(
    store: &str,
    tables: &[String],
    applied: Option<&[Applied]>,
    migrations: &Migrator,
) -> Result<Schema, OpenError> {
    let store = || store.to_owned();
    if tables.iter().any(|table| table == MARKS) {
        return Err(OpenError::HalfCopied { store: store() });
    }
    let Some(applied) = applied else {
        return if tables.is_empty() { Ok(Schema::Empty) } else { Err(OpenError::Foreign { store: store() }) };
    };
    let (mut found, known) = (0, newest(migrations));
    for (version, checksum, name) in applied {
        found = found.max(*version);
        match migrations.iter().find(|migration| migration.version == *version) {
            None if floor(*version, name) <= known && *version > known => {}
            None => return Err(OpenError::SchemaNewer { store: store(), found: *version, known }),
            Some(known) if known.checksum.as_ref() != checksum.as_slice() => {
                return Err(OpenError::SchemaDiffers { store: store(), version: *version });
            }
            Some(_) => {}
        }
    }
    Ok(match found {
        // The table of migrations alone: a first migration that was cut off.
        0 => Schema::Empty,
        found if found < known => Schema::Older(found),
        found if found > known => Schema::Newer(found),
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

#[cfg(test)]
mod tests {
    use super::*;

    static KNOWN: Migrator = sqlx::migrate!("migrations/sqlite");

    fn judged(newer: &[(i64, &str)]) -> Result<Schema, OpenError> {
        let known = KNOWN.iter().map(|migration| (migration.version, migration.checksum.to_vec(), "known".to_owned()));
        let newer = newer.iter().map(|(version, name)| (newest(&KNOWN) + version, Vec::new(), (*name).to_owned()));
        judge("it", &["events".to_owned()], Some(&known.chain(newer).collect::<Vec<_>>()), &KNOWN)
    }

    #[test]
    fn a_release_goes_on_after_newer_migrations_that_leave_what_it_needs_and_after_no_other() {
        let known = newest(&KNOWN);
        let (needs_this, needs_next) = (format!("contract {known:04} gone"), format!("contract {:04} gone", known + 1));
        let fits = |newer: &[(i64, &str)]| matches!(judged(newer), Ok(Schema::Newer(_)));
        assert!(fits(&[(1, "expand notes")]));
        assert!(fits(&[(1, "expand notes"), (2, "expand more"), (3, &needs_this)]));
        for refused in [&needs_next, "contract", "contract soon", "notes", "expanded", "", "contract 9999 gone"] {
            assert!(!fits(&[(1, "expand notes"), (2, refused), (3, "expand more")]), "{refused}");
        }
        assert!(matches!(judged(&[]), Ok(Schema::Current)));
    }

    #[test]
    fn migrations_say_by_their_names_what_they_ask_of_older_releases() {
        for migration in KNOWN.iter().filter(|migration| migration.version > 1) {
            let name = &migration.description;
            assert!(floor(migration.version, name) < migration.version, "`expand …` or `contract NNNN …`: {name}");
        }
    }
}
