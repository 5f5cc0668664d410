//! Opening the database: its URL, its server, its schema.

use std::{fmt, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Row,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{sleep, timeout};

use crate::store::{
    OpenError,
    recovered::raise_fences,
    schema::{self, Applied, Inspected, MIGRATIONS_TABLE, Migrated, Schema},
    session::{Pool, READER_WAIT, Readers, Session, Snapshot},
    sql::{own, sql},
};

pub(in crate::store) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The first release with all that the statements use and that is still maintained.
const MIN_VERSION: i64 = 150_000;

/// How long a server may take to answer a new connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a starting node waits for a program that wants the database for itself.
const SHARE: Duration = Duration::from_secs(5);

/// How long a program that wants it waits for the end of a connection that just ended to be noticed.
const END: Duration = Duration::from_secs(1);

/// Connections that read, of each kind.
const READERS: u32 = 4;

/// Statements kept prepared by a connection: more than there are.
const STATEMENTS: usize = 256;

/// Keys of the advisory locks ("sluice" in ASCII, and a number).
const SERVING: i64 = 0x73_6c75_6963_6500;
const MIGRATING: i64 = SERVING + 1;

/// Settings of every connection. The server gives up on a client that is gone, so that nobody waits
/// for its locks.
const COMMON: &[(&str, &str)] = &[
    ("client_min_messages", "warning"),
    ("client_connection_check_interval", "1s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10s"),
    ("jit", "off"),
];

/// Settings where every statement goes by a key: its plan must not change its mind with a table that
/// was empty when it was made.
const BY_KEY: &[(&str, &str)] = &[
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// Well below the 2 s in which a delivery is answered.
const WRITER: &[(&str, &str)] = &[("lock_timeout", "1s"), ("statement_timeout", "5s")];
const READER: &[(&str, &str)] =
    &[("lock_timeout", "1s"), ("statement_timeout", "5s"), ("default_transaction_read_only", "on")];
/// Counting many millions of jobs takes longer than any other read may.
const COUNTING: &[(&str, &str)] = &[("statement_timeout", "5min")];
/// Far below the lease of a node.
const NODE: &[(&str, &str)] = &[("lock_timeout", "500ms"), ("statement_timeout", "1500ms")];
/// An index that is built takes one processor, not all: deliveries go on meanwhile.
const MIGRATION: &[(&str, &str)] =
    &[("lock_timeout", "2s"), ("statement_timeout", "0"), ("max_parallel_maintenance_workers", "0")];

/// For a copy: a table is read for as long as the other side takes to write it.
const LONG: &[(&str, &str)] = &[
    ("lock_timeout", "2s"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("tcp_user_timeout", "0"),
];

/// What connections are called in the server's list; those of a node end with its id.
const PROGRAM: &str = "sluice";

/// A database by its URL.
pub(in crate::store) struct Database {
    options: PgConnectOptions,
}

impl fmt::Display for Database {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.options.get_database().unwrap_or(self.options.get_username());
        match self.options.get_socket() {
            Some(folder) => write!(f, "postgres:///{name}?host={}", folder.display()),
            None => write!(f, "postgres://{}:{}/{name}", self.options.get_host(), self.options.get_port()),
        }
    }
}

impl Database {
    /// From its URL.
    pub(in crate::store) fn of(url: &str) -> Result<Self, OpenError> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("postgres" | "postgresql")) {
            return Err(OpenError::PostgresUrl("another scheme".into()));
        }
        // The error could quote the URL, and that a password.
        let options =
            PgConnectOptions::from_str(url).map_err(|_| OpenError::PostgresUrl("it does not parse".into()))?;
        let options = options.application_name(PROGRAM).statement_cache_capacity(STATEMENTS);
        Ok(Self { options: options.disable_statement_logging() })
    }

    /// Its connections say that they are of this node, for those that find it dead.
    pub(in crate::store) fn of_node(self, id: &str) -> Self {
        Self { options: self.options.application_name(&format!("{PROGRAM} {id}")) }
    }

    fn options(&self, settings: &[&[(&str, &str)]]) -> PgConnectOptions {
        settings.iter().fold(self.options.clone(), |options, settings| options.options(settings.iter().copied()))
    }

    async fn connect(&self, settings: &[&[(&str, &str)]]) -> Result<PgConnection, OpenError> {
        let options = self.options(settings);
        match timeout(CONNECT, options.connect()).await {
            Ok(connected) => connected.map_err(|error| self.unreachable(error)),
            Err(_) => Err(OpenError::Unreachable {
                store: self.to_string(),
                source: format!("no answer within {} s", CONNECT.as_secs()).into(),
            }),
        }
    }

    fn unreachable(&self, error: sqlx::Error) -> OpenError {
        OpenError::Unreachable { store: self.to_string(), source: error.into() }
    }
}

/// The URL of a database without user and password.
///
/// # Errors
/// It is the URL of no Postgres database.
pub fn name(url: &str) -> Result<String, OpenError> {
    Ok(Database::of(url)?.to_string())
}

/// Brings the database to the schema of this release. Waits for nobody long: a migration that cannot
/// get its locks is rolled back.
pub async fn migrate(url: &str) -> Result<Migrated, OpenError> {
    let database = Database::of(url)?;
    let mut connection = database.connect(&[COMMON, MIGRATION]).await?;
    check_server(&database, &mut connection).await?;
    let migrated = run_migrations(&database, &mut connection).await;
    connection.close().await.ok();
    migrated
}

/// Says how the database of `url` stands. Changes nothing; may look beside a gateway that serves it.
///
/// # Errors
/// As opening it, but for its schema being older.
pub async fn inspect(url: &str) -> Result<Inspected, OpenError> {
    let database = Database::of(url)?;
    let mut connection = database.connect(&[COMMON, READER]).await?;
    check_server(&database, &mut connection).await?;
    let found = schema_of(&database, &mut connection).await?.found(&MIGRATIONS);
    connection.close().await.ok();
    Ok(Inspected::new(Some(found), &MIGRATIONS))
}

/// Whether a process serves the database of `url`.
///
/// # Errors
/// It cannot be reached.
pub async fn is_served(url: &str) -> Result<bool, OpenError> {
    let database = Database::of(url)?;
    let mut connection = database.connect(&[COMMON, READER]).await?;
    let free = try_lock(&database, &mut connection, own!("postgres", "try_lock")).await?;
    connection.close().await.ok();
    Ok(!free)
}

/// A connection for as long as it takes, to a database that no gateway serves meanwhile.
pub(in crate::store) async fn connect_alone(database: &Database) -> Result<PgConnection, OpenError> {
    let mut connection = database.connect(&[COMMON, LONG]).await?;
    check_server(database, &mut connection).await?;
    if lock_within(END, database, &mut connection, own!("postgres", "try_lock")).await? {
        return Ok(connection);
    }
    Err(OpenError::Served { store: database.to_string() })
}

/// Which database of which server a URL leads to.
pub(in crate::store) async fn identity(url: &str) -> Result<String, OpenError> {
    let database = Database::of(url)?;
    let mut connection = database.connect(&[COMMON, READER]).await?;
    let found = sqlx::query_scalar(own!("postgres", "identity")).fetch_one(&mut connection).await;
    connection.close().await.ok();
    found.map_err(|error| database.unreachable(error))
}

/// Tells the database of `url`, which the server brought back to an earlier moment, that it was: raises
/// its fences. Returns how many jobs can still run.
///
/// # Errors
/// A gateway serves it, or it does not open.
pub async fn recovered(url: &str) -> Result<u64, OpenError> {
    let database = Database::of(url)?;
    let mut connection = connect_alone(&database).await?;
    let raised = match schema_of(&database, &mut connection).await? {
        Schema::Empty => Err(OpenError::Foreign { store: database.to_string() }),
        Schema::Current | Schema::Older(_) | Schema::Newer(_) => {
            raise_fences(&mut Session::Postgres(&mut connection)).await.map_err(|error| database.unreachable(error))
        }
    };
    connection.close().await.ok();
    raised
}

/// The writer's connection to a database whose schema is of this release; an empty one gets it.
pub(in crate::store) async fn open(database: &Database) -> Result<PgConnection, OpenError> {
    let mut connection = connect_writer(database).await?;
    share(database, &mut connection).await?;
    match schema_of(database, &mut connection).await? {
        Schema::Current => {}
        Schema::Newer(found) => {
            let known = schema::newest(&MIGRATIONS);
            tracing::info!(found, known, "the schema is of a newer release, which left this one what it needs");
        }
        Schema::Empty => {
            let mut migrating = database.connect(&[COMMON, MIGRATION]).await?;
            run_migrations(database, &mut migrating).await?;
            migrating.close().await.ok();
        }
        Schema::Older(found) => return Err(schema::older(&database.to_string(), found, &MIGRATIONS)),
    }
    Ok(connection)
}

/// The writer's connection again, after one was lost. Creates nothing.
pub(in crate::store) async fn reopen(database: &Database) -> Result<PgConnection, OpenError> {
    let mut connection = connect_writer(database).await?;
    share(database, &mut connection).await?;
    match schema_of(database, &mut connection).await? {
        Schema::Current | Schema::Newer(_) => Ok(connection),
        Schema::Empty => Err(OpenError::Foreign { store: database.to_string() }),
        Schema::Older(found) => Err(schema::older(&database.to_string(), found, &MIGRATIONS)),
    }
}

/// Pools of connections that cannot write. They connect when they are first asked.
pub(in crate::store) fn readers(database: &Database) -> Readers {
    let pool = || {
        PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READER_WAIT)
            .idle_timeout(Duration::from_secs(60))
            .test_before_acquire(false)
            // One that rested may be dead; one that was just used need not be asked.
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > Duration::from_secs(1) {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(database.options(&[COMMON, READER, BY_KEY]))
    };
    Readers { workers: Pool::Postgres(pool()), people: Pool::Postgres(pool()) }
}

/// A connection of the node itself, for its lease and its lanes.
pub(super) async fn connect_node(database: &Database) -> Result<PgConnection, sqlx::Error> {
    database.options(&[COMMON, NODE, BY_KEY]).connect().await
}

/// For the one connection that listens to other nodes.
pub(super) fn listener(database: &Database) -> PgPool {
    PgPoolOptions::new().max_connections(1).connect_lazy_with(database.options(&[COMMON]))
}

/// What the database holds now, through a connection of its own that may take long.
pub(super) async fn snapshot(database: &Database) -> Result<Snapshot, OpenError> {
    let mut connection = database.connect(&[COMMON, COUNTING, BY_KEY]).await?;
    for text in [own!("postgres", "begin_snapshot"), sql!("ping").postgres] {
        sqlx::raw_sql(text).execute(&mut connection).await.map_err(|error| database.unreachable(error))?;
    }
    Ok(Snapshot::Postgres(connection))
}

async fn connect_writer(database: &Database) -> Result<PgConnection, OpenError> {
    let mut connection = database.connect(&[COMMON, WRITER, BY_KEY]).await?;
    check_server(database, &mut connection).await?;
    Ok(connection)
}

/// Refuses a server on which an acknowledged delivery could be lost, or that cannot hold one.
async fn check_server(database: &Database, connection: &mut PgConnection) -> Result<(), OpenError> {
    let failed = |error| database.unreachable(error);
    let row = sqlx::query(own!("postgres", "server")).fetch_one(connection).await.map_err(failed)?;
    let text = |column: &str| row.try_get::<String, _>(column).map_err(failed);
    let unsuitable = |what, found, cure| OpenError::Unsuitable { store: database.to_string(), what, found, cure };
    if row.try_get::<i64, _>("version").map_err(failed)? < MIN_VERSION {
        return Err(unsuitable("server version", text("version_name")?, "15 or newer is needed"));
    }
    if text("encoding")? != "UTF8" {
        return Err(unsuitable("encoding", text("encoding")?, "create a database with ENCODING 'UTF8'"));
    }
    if text("schema")?.is_empty() {
        return Err(unsuitable("no schema", "in its search_path".into(), "create one, or correct `search_path`"));
    }
    if row.try_get::<bool, _>("standby").map_err(failed)? {
        return Err(unsuitable("a server", "that is a standby".into(), "name the primary in [database] url"));
    }
    for (setting, good, cure) in [
        (
            "synchronous_commit",
            &["on", "remote_apply"][..],
            "set it to `on` in postgresql.conf, or with ALTER ROLE or ALTER DATABASE",
        ),
        ("fsync", &["on"], "set it to `on` in postgresql.conf"),
        ("full_page_writes", &["on"], "set it to `on` in postgresql.conf"),
    ] {
        let found = text(setting)?;
        if !good.contains(&&*found) {
            return Err(OpenError::Unsafe { store: database.to_string(), setting, found, cure });
        }
    }
    Ok(())
}

/// Says that a node serves the database, for programs that want it for themselves.
async fn share(database: &Database, connection: &mut PgConnection) -> Result<(), OpenError> {
    if lock_within(SHARE, database, connection, own!("postgres", "try_lock_shared")).await? {
        return Ok(());
    }
    Err(OpenError::Claimed { store: database.to_string() })
}

/// Waits for a lock.
async fn lock_within(
    patience: Duration,
    database: &Database,
    connection: &mut PgConnection,
    lock: &'static str,
) -> Result<bool, OpenError> {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..patience.as_millis() / PAUSE.as_millis() {
        if try_lock(database, connection, lock).await? {
            return Ok(true);
        }
        sleep(PAUSE).await;
    }
    Ok(false)
}

async fn try_lock(database: &Database, connection: &mut PgConnection, lock: &'static str) -> Result<bool, OpenError> {
    let taken = sqlx::query_scalar(lock).bind(SERVING).fetch_one(connection).await;
    taken.map_err(|error| database.unreachable(error))
}

/// Where the schema stands. Changes nothing.
async fn schema_of(database: &Database, connection: &mut PgConnection) -> Result<Schema, OpenError> {
    let (tables, applied) = look(database, connection).await?;
    schema::judge(&database.to_string(), &tables, applied.as_deref(), &MIGRATIONS)
}

/// The tables of a database; and its migrations, where it has a table of them.
pub(in crate::store) async fn look(
    database: &Database,
    connection: &mut PgConnection,
) -> Result<(Vec<String>, Option<Vec<Applied>>), OpenError> {
    let failed = |error| database.unreachable(error);
    let tables: Vec<String> =
        sqlx::query_scalar(own!("postgres", "tables")).fetch_all(&mut *connection).await.map_err(failed)?;
    if !tables.iter().any(|table| table == MIGRATIONS_TABLE) {
        return Ok((tables, None));
    }
    let applied = sqlx::query_as(own!("postgres", "applied_migrations")).fetch_all(&mut *connection).await;
    Ok((tables, Some(applied.map_err(failed)?)))
}

/// Runs what is missing, one process at a time.
pub(in crate::store) async fn run_migrations(
    database: &Database,
    connection: &mut PgConnection,
) -> Result<Migrated, OpenError> {
    let waited = sqlx::query(own!("postgres", "wait_for_lock")).bind(MIGRATING).execute(&mut *connection).await;
    waited.map_err(|error| OpenError::Migrate { store: database.to_string(), source: error.into() })?;
    let from = schema_of(database, connection).await?.found(&MIGRATIONS);
    if from > 0 && MIGRATIONS.iter().any(|it| it.version > from && schema::floor(it.version, &it.description) > 0) {
        // What it takes away a node may be using.
        if !lock_within(END, database, connection, own!("postgres", "try_lock")).await? {
            return Err(OpenError::Served { store: database.to_string() });
        }
    }
    schema::run(&database.to_string(), connection, from, &MIGRATIONS).await?;
    Ok(Migrated { from, to: schema::newest(&MIGRATIONS).max(from) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_named_without_its_credentials() {
        for (url, name) in [
            ("postgres://sluice:pass-word@db.example:5433/hooks", "postgres://db.example:5433/hooks"),
            ("postgresql:///hooks?host=/run/postgresql&user=sluice", "postgres:///hooks?host=/run/postgresql"),
        ] {
            assert_eq!(Database::of(url).ok().unwrap().to_string(), name);
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_quoted() {
        for url in ["sqlite://a.db", "postgres", "", "postgres://u:pass-word@host:notaport/db"] {
            let error = Database::of(url).err().unwrap();
            assert!(matches!(error, OpenError::PostgresUrl(_)) && !error.to_string().contains("pass-word"), "{error}");
        }
    }
}
