//! A start with a million jobs that wait: the first acknowledgement and the first begin do not wait
//! for them to be read.

use std::{fmt::Write as _, time::Duration};

use sluice::clock::SystemClock;
use sluice_actors::ports::Clock;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::Instant;

use crate::harness::{Cluster, Engine, Folder, Process, SECRET, Sender, completed, eventually};

/// Jobs that wait.
const JOBS: usize = 1_000_000;
/// How soon the first delivery is acknowledged and the first job begun, of a release build.
const SOON: Duration = Duration::from_secs(1);

/// A database with a tenant `acme` that has sources `s0`, `s1` …, each with a route that only logs.
struct Site {
    folder: Folder,
    engine: Engine,
    database: String,
}

/// A connection of another program.
enum Other {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Site {
    async fn new(engine: Engine, sources: usize) -> Self {
        let folder = Folder::new();
        let mut database = String::new();
        if engine == Engine::Postgres {
            database = Cluster::shared().database().await;
            let url = folder.secret("database.url", &Cluster::shared().url(&database));
            folder.main(&format!("[database]\nurl = \"{url}\"\n"));
        }
        let secret = folder.secret("vendor.secret", SECRET);
        let mut tenant = String::new();
        for n in 0..sources {
            let source = format!(
                "[sources.s{n}]\nvendor = \"generic\"\nsecrets = [\"{secret}\"]\n\
                 [[sources.s{n}.routes]]\nname = \"log\"\naction = \"log\"\n"
            );
            tenant.write_str(&source).unwrap();
        }
        folder.tenant("acme", &tenant);
        Self { folder, engine, database }
    }

    async fn connect(&self) -> Other {
        match self.engine {
            Engine::Sqlite => {
                let options = SqliteConnectOptions::new().filename(self.folder.path().join("sluice.db"));
                Other::Sqlite(options.connect().await.unwrap())
            }
            Engine::Postgres => Other::Postgres(Cluster::shared().connect(&self.database).await),
        }
    }

    /// `count` copies of the one delivery there is, spread over the sources; their jobs wait.
    async fn fill(&self, count: usize, sources: usize) {
        // The `number`th id and digest of a kind, as the engine writes bytes.
        let id = |kind: u8| match self.engine {
            Engine::Sqlite => format!("unhex(printf('0000000{kind}000070008000%012x', n))"),
            Engine::Postgres => format!("('0000000{kind}-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"),
        };
        let digest = |kind: u8| match self.engine {
            Engine::Sqlite => format!("unhex(printf('0{kind}%030x', n))"),
            Engine::Postgres => format!("decode('0{kind}' || lpad(to_hex(n), 30, '0'), 'hex')"),
        };
        let (event, job, dedupe, replay) = (id(1), id(2), digest(1), digest(2));
        let source = format!("'s' || (n % {sources})");
        let numbers = format!(
            "(WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {count}) SELECT n FROM up) AS up"
        );
        let copies = [
            format!(
                "INSERT INTO events (seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key,
                 replay_key, event_type, subject_id, occurred_at, received_at, signature_ok, secret_version, status,
                 trace_id, keys_expire)
                 SELECT seq + n, {event}, tenant, {source}, vendor, external_id || n, payload_hash, stored_hash, {dedupe},
                 {replay}, event_type, subject_id || n, occurred_at, received_at, signature_ok, secret_version, status,
                 trace_id, keys_expire FROM events, {numbers} WHERE external_id = 'first'"
            ),
            format!(
                "INSERT INTO payloads (seq, event_id, raw, headers, redacted)
                 SELECT seq + n, {event}, raw, headers, redacted FROM payloads, {numbers}"
            ),
            format!(
                "INSERT INTO forms (event_seq, event_id, schema_version, form)
                 SELECT event_seq + n, {event}, schema_version, form FROM forms, {numbers}"
            ),
            format!(
                "INSERT INTO jobs (id, event_id, tenant, source, route, type, state, class, next_run_at, created_at, updated_at)
                 SELECT {job}, {event}, tenant, {source}, route, type, 'pending', 0, next_run_at, created_at, created_at
                 FROM jobs, {numbers}"
            ),
        ];
        let mut other = self.connect().await;
        for copy in copies {
            other.run(copy).await;
        }
        if self.engine == Engine::Postgres {
            other.run("SELECT setval('events_seq', max(seq)) FROM events".into()).await;
        }
        other.close().await;
    }
}

impl Other {
    async fn run(&mut self, text: String) {
        let text = AssertSqlSafe(text);
        match self {
            Self::Sqlite(connection) => drop(sqlx::raw_sql(text).execute(connection).await.unwrap()),
            Self::Postgres(connection) => drop(sqlx::raw_sql(text).execute(connection).await.unwrap()),
        }
    }

    async fn number(&mut self, text: String) -> Option<i64> {
        let text = AssertSqlSafe(text);
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(text).fetch_one(connection).await.unwrap(),
            Self::Postgres(connection) => sqlx::query_scalar(text).fetch_one(connection).await.unwrap(),
        }
    }

    async fn close(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}

fn sender(process: &Process) -> Sender {
    Sender::new(&process.runtime.public, "acme", "s0", "generic", SECRET)
}

#[expect(clippy::print_stdout, reason = "the figures")]
async fn starts_soon(engine: Engine, sources: usize) {
    let site = Site::new(engine, sources).await;
    let first = Process::start(&site.folder).await;
    assert_eq!(sender(&first).send("first", &completed("first", 0)).await.status, 200);
    let mut other = site.connect().await;
    while other.number("SELECT count(*) FROM jobs WHERE state = 'succeeded'".into()).await != Some(1) {
        tokio::task::yield_now().await;
    }
    first.terminate();
    assert!(first.ended().await.0.success());
    site.fill(JOBS, sources).await;

    // Its configuration, its code and an empty database cost something as well.
    for round in 0..3 {
        let (began, wall) = (Instant::now(), SystemClock.now().as_millis());
        let process = Process::start(&site.folder).await;
        let started = began.elapsed();
        let id = format!("next-{round}");
        assert_eq!(sender(&process).send(&id, &completed(&id, 0)).await.status, 200);
        let acknowledged = began.elapsed();
        let asked = format!("SELECT min(started_at) FROM attempts WHERE started_at >= {wall}");
        let begun = eventually("a job is begun", || async { site.connect().await.number(asked.clone()).await }).await;
        let begun = Duration::from_millis(u64::try_from(begun - wall).unwrap());
        println!(
            "{JOBS} jobs in {sources} lanes, {engine:?}: ready after {started:.0?}, first acknowledgement \
             {acknowledged:.0?}, first begin {begun:.0?}"
        );
        assert!(acknowledged < SOON && begun < SOON, "not soon");
        process.kill();
    }
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes gigabytes; scripts/test --long runs it"]
async fn a_million_jobs_of_a_hundred_lanes_do_not_delay_a_start_on_sqlite() {
    starts_soon(Engine::Sqlite, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes gigabytes; scripts/test --long runs it"]
async fn a_million_jobs_of_a_hundred_lanes_do_not_delay_a_start_on_postgres() {
    starts_soon(Engine::Postgres, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes gigabytes; scripts/test --long runs it"]
async fn a_million_jobs_of_ten_thousand_lanes_do_not_delay_a_start_on_sqlite() {
    starts_soon(Engine::Sqlite, 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes gigabytes; scripts/test --long runs it"]
async fn a_million_jobs_of_ten_thousand_lanes_do_not_delay_a_start_on_postgres() {
    starts_soon(Engine::Postgres, 10_000).await;
}
