//! Why a store does not open; an operator reads it.

use std::{io, path::PathBuf};

use sqlx::migrate::MigrateError;

/// Why the store did not open. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not of this engine.
    #[error("`{0}` is not a SQLite URL: expected sqlite://PATH")]
    Url(String),
    /// The file cannot be created or read.
    #[error("cannot open {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process serves this file.
    #[error("{} is in use by another sluice process (it holds {}); stop that one first", path.display(), lock.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// The file that carries the lock.
        lock: PathBuf,
    },
    /// The SQLite library is too old to be durable.
    #[error("SQLite {found} can lose committed writes; 3.51.3 or newer is needed: build with the bundled library")]
    Library {
        /// Its version.
        found: String,
    },
    /// The connection does not wait for the disk.
    #[error("{}: `synchronous` is {found}, not NORMAL", path.display())]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// The value of the pragma.
        found: i64,
    },
    /// The database has tables, and they are not ours.
    #[error("{store} is a database of another program; name another one in [database] url")]
    Foreign {
        /// The file, or the database.
        store: String,
    },
    /// The database is the beginning of a copy.
    #[error("{store} holds a copy that is not finished; run the same `sluice copy` again, or name another database")]
    HalfCopied {
        /// The file, or the database.
        store: String,
    },
    /// The schema is of an older release.
    #[error(
        "{store} has schema {found}, this release needs {needed}; stop sluice, back the database up and run `sluice migrate`"
    )]
    SchemaOlder {
        /// The file, or the database.
        store: String,
        /// The newest migration it has.
        found: i64,
        /// The newest migration there is.
        needed: i64,
    },
    /// The schema is of a newer release.
    #[error("{store} has schema {found}, this release knows {known}; run the newer release (nothing was changed)")]
    SchemaNewer {
        /// The file, or the database.
        store: String,
        /// The newest migration it has.
        found: i64,
        /// The newest migration this release knows.
        known: i64,
    },
    /// A migration of the database is not the one of that number that this release knows.
    #[error("{store}: migration {version} is not the one this release knows; the database is of another build")]
    SchemaDiffers {
        /// The file, or the database.
        store: String,
        /// Its number.
        version: i64,
    },
    /// A migration failed and was rolled back.
    #[error("cannot migrate {store}")]
    Migrate {
        /// The file, or the database.
        store: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// SQLite refused.
    #[error("cannot open {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The URL is none of a Postgres database. Does not carry the URL: it may hold a password.
    #[error("the URL is not one of a Postgres database ({0}): write postgres://USER@HOST:PORT/DATABASE")]
    PostgresUrl(String),
    /// The server does not answer, does not let us in or does not have the database.
    #[error("cannot reach {store}: {source}; start the server, or correct host, user and database of [database] url")]
    Unreachable {
        /// The database.
        store: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A setting of the server with which an acknowledged delivery could be lost.
    #[error("{store} would lose acknowledged deliveries: `{setting}` is {found}; {cure}")]
    Unsafe {
        /// The database.
        store: String,
        /// Which.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What to do.
        cure: &'static str,
    },
    /// A server or a database on which this release does not work.
    #[error("{store} has {what} {found}; {cure}")]
    Unsuitable {
        /// The database.
        store: String,
        /// What does not fit.
        what: &'static str,
        /// What was found.
        found: String,
        /// What to do.
        cure: &'static str,
    },
    /// A gateway serves this database.
    #[error("{store} is served by a gateway; stop every node of it first")]
    Served {
        /// The database.
        store: String,
    },
    /// Another program has this database for itself.
    #[error("another sluice command has {store} for itself; wait until it ends")]
    Claimed {
        /// The database.
        store: String,
    },
}
