//! Databases with a million events: a start does not wait for the jobs in them to be read, and what is
//! old goes while deliveries come. The figures are for `docs/performance.md`.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sluice::clock::SystemClock;
use sluice_actors::ports::Clock;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::Instant;

use crate::harness::{Cluster, Engine, Folder, Process, SECRET, Sender, completed, eventually, series, sluice};

/// Events there are, each with a job.
const EVENTS: usize = 1_000_000;
/// How soon the first delivery is acknowledged and the first job begun, of a release build.
const SOON: Duration = Duration::from_secs(1);

/// How the copies of an event are.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Its job waits.
    Waits,
    /// It was received so long ago and its job is done.
    Done { days: i64 },
}

/// A database with a tenant `acme` that has sources `s0`, `s1` …, each with a route that only logs.
struct Site {
    folder: Folder,
    engine: Engine,
    database: String,
    sources: usize,
}

/// A connection of another program.
enum Other {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Site {
    async fn new(engine: Engine, sources: usize) -> Self {
        let folder = Folder::on_disk();
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
        Self { folder, engine, database, sources }
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

    /// Takes in one delivery and ends; what is copied has the form that a gateway gives it.
    async fn first(&self) {
        let process = Process::start(&self.folder).await;
        let mut body = completed("first", 0);
        body["data"]["answer"] = (0..100).map(|n| format!("{:08x} ", n * 0x9e37_79b9_u64 % 0xffff_ffff)).collect();
        assert_eq!(sender(&process).send("first", &body).await.status, 200);
        let done = "SELECT count(*) FROM jobs WHERE state = 'succeeded'";
        eventually("its job is done", || async {
            self.connect().await.number(done.into()).await.filter(|it| *it == 1)
        })
        .await;
        process.terminate();
        assert!(process.ended().await.0.success());
    }

    /// Copies of the one delivery there is, spread over the sources.
    async fn fill(&self, count: usize, state: State) {
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
        let source = format!("'s' || (n % {})", self.sources);
        let (word, ago) = match state {
            State::Waits => ("pending", 0),
            State::Done { days } => ("succeeded", days * 86_400_000),
        };
        let numbers = format!(
            "(WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {count}) SELECT n FROM up) AS up"
        );
        let copies = [
            format!(
                "INSERT INTO events (seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key,
                 replay_key, event_type, subject_id, occurred_at, received_at, signature_ok, secret_version, status,
                 trace_id, keys_expire)
                 SELECT seq + n, {event}, tenant, {source}, vendor, external_id || n, payload_hash, stored_hash, {dedupe},
                 {replay}, event_type, subject_id || n, occurred_at, received_at - {ago}, signature_ok, secret_version, status,
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
                 SELECT {job}, {event}, tenant, {source}, route, type, '{word}', 0, next_run_at, created_at, created_at
                 FROM jobs, {numbers}"
            ),
        ];
        let mut other = self.connect().await;
        for copy in copies {
            other.run(copy).await;
        }
        if matches!(state, State::Done { .. }) {
            // Retention looks in the order of storing, and stops at what is young.
            for original in ["payloads WHERE seq", "forms WHERE event_seq", "events WHERE seq"] {
                other.run(format!("DELETE FROM {original} = (SELECT min(seq) FROM events)")).await;
            }
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
    site.first().await;
    site.fill(EVENTS, State::Waits).await;

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
            "{EVENTS} jobs in {sources} lanes, {engine:?}: ready after {} ms, first acknowledgement {} ms, first begin {} ms",
            started.as_millis(),
            acknowledged.as_millis(),
            begun.as_millis()
        );
        assert!(acknowledged < SOON && begun < SOON, "not soon");
        process.kill();
    }
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

/// Deliveries a second, and for how many seconds, while old events go.
const LOAD: [&str; 2] = ["200", "20"];

/// The longest transaction and the longest wait for a lock that another program saw, in milliseconds.
#[derive(Default)]
struct Longest {
    transaction: AtomicU64,
    lock: AtomicU64,
    over: AtomicBool,
}

impl Longest {
    /// Looks every few milliseconds until it is over.
    async fn watch(&self, mut other: PgConnection) {
        let asked = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) * 1000, 0)::bigint,
            coalesce(max(extract(epoch FROM clock_timestamp() - state_change))
                FILTER (WHERE wait_event_type = 'Lock') * 1000, 0)::bigint
            FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'sluice%'";
        while !self.over.load(Ordering::Relaxed) {
            let (transaction, lock): (i64, i64) = sqlx::query_as(asked).fetch_one(&mut other).await.unwrap();
            self.transaction.fetch_max(u64::try_from(transaction).unwrap_or(0), Ordering::Relaxed);
            self.lock.fetch_max(u64::try_from(lock).unwrap_or(0), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

/// The same load on a database with a million old events and on one with as many young ones.
#[expect(clippy::print_stdout, reason = "the figures")]
async fn old_events_go_while_deliveries_come(engine: Engine) {
    for days in [1, 31] {
        let site = Site::new(engine, 100).await;
        site.first().await;
        site.fill(EVENTS, State::Done { days }).await;
        let process = Process::start_in(site.folder.path(), &[("SLUICE_TELEMETRY__FILTER", "warn")]).await;
        let longest = Arc::new(Longest::default());
        let watching = match site.connect().await {
            Other::Postgres(other) => Some(tokio::spawn({
                let longest = longest.clone();
                async move { longest.watch(other).await }
            })),
            Other::Sqlite(_) => None,
        };
        let urls: Vec<String> = (0..100).map(|n| format!("{}/webhooks/acme/s{n}", process.runtime.public)).collect();
        let mut arguments = vec!["send", "generic", "--json", "--secret", SECRET];
        arguments.extend(["--rate", LOAD[0], "--seconds", LOAD[1], "--connections", "32"]);
        arguments.extend(urls.iter().flat_map(|url| ["--url", url]));
        let report = sluice(site.folder.path(), &arguments).await.json();
        longest.over.store(true, Ordering::Relaxed);
        if let Some(watching) = watching {
            watching.await.unwrap();
        }
        let scrape = reqwest::get(format!("{}/metrics", process.runtime.admin)).await.unwrap().text().await.unwrap();
        let swept = |kind| series(&scrape, "sluice_retention_swept_total", &[&*format!("kind=\"{kind}\"")]);
        let (events, payloads) = (swept("events"), swept("payloads"));
        let (transaction, lock) = (longest.transaction.load(Ordering::Relaxed), longest.lock.load(Ordering::Relaxed));
        println!(
            "{engine:?}, {EVENTS} events {days} days old, {} deliveries a second for {} s: {events} events and \
             {payloads} payloads removed; acknowledgements in ms {}; longest transaction {transaction} ms, longest \
             wait for a lock {lock} ms",
            LOAD[0], LOAD[1], report["latency_ms"]
        );
        assert_eq!(report["accepted"], report["offered"], "{report}");
        assert_eq!(events > 0, days > 30, "{events}");
        assert!(transaction < 1000 && lock < 1000, "somebody holds others up");
        process.terminate();
        assert!(process.ended().await.0.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes gigabytes; scripts/test --long runs it"]
async fn a_million_old_events_go_while_deliveries_come_on_sqlite() {
    old_events_go_while_deliveries_come(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes gigabytes; scripts/test --long runs it"]
async fn a_million_old_events_go_while_deliveries_come_on_postgres() {
    old_events_go_while_deliveries_come(Engine::Postgres).await;
}
