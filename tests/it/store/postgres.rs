//! What only a server can do: be shared, warn, vanish, be set up to lose what it acknowledged.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sluice::{
    api::records::{Records, Scope},
    ids,
    ingest::{EventStore, NewEvent, RecordError, Recorded},
    store::{OpenError, Store, migrate_postgres},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr};

use super::world::{World, options};
use crate::harness::{Cluster, PATIENCE, eventually};

/// Where the writer of a store stands in its server's list of connections.
const WRITER: &str = "datname = current_database() AND application_name LIKE 'sluice%' \
     AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)";

async fn connect(world: &World) -> PgConnection {
    PgConnection::connect(&world.url()).await.unwrap()
}

async fn run(connection: &mut PgConnection, text: &str) {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.unwrap();
}

/// The store's writer waits for a lock.
async fn writer_waits(world: &World) {
    let mut connection = connect(world).await;
    let asked = format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {WRITER}");
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let waits: i64 =
            sqlx::query_scalar(AssertSqlSafe(&*asked).into_sql_str()).fetch_one(&mut connection).await.unwrap();
        if waits > 0 {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "the writer waits for nothing");
        tokio::task::yield_now().await;
    }
}

/// Tries anew where a case took longer than the writer waits for a lock: then it shows nothing.
async fn in_time<F: Future<Output = Option<()>>>(mut case: impl FnMut() -> F) {
    for _ in 0..5 {
        if case().await.is_some() {
            return;
        }
    }
    panic!("the writer did not wait long enough in five tries");
}

/// Another node inserts the same event; its transaction stays open.
async fn insert_elsewhere(connection: &mut PgConnection, event: &NewEvent, id: sluice_actors::domain::EventId) {
    run(connection, "BEGIN").await;
    sqlx::query(
        "INSERT INTO events VALUES (nextval('events_seq'), $1, $2, $3, 'generic', $4, $5, $5, $6, NULL, 'invoice.paid', NULL, 0, 0,
         true, 'current', NULL, NULL, 'stored', $7, true)",
    )
    .bind(id.as_uuid())
    .bind(event.lane.tenant.as_str())
    .bind(event.lane.source.as_str())
    .bind(&event.external_id)
    .bind(&event.payload_hash[..])
    .bind(&event.dedupe_key[..])
    .bind(&event.trace_id.as_bytes()[..])
    .execute(connection)
    .await
    .unwrap();
}

#[tokio::test]
async fn an_event_that_another_node_is_first_with_is_a_duplicate() {
    for (end, theirs) in [("COMMIT", true), ("ROLLBACK", false)] {
        in_time(|| first_elsewhere(end, theirs)).await;
    }
}

async fn first_elsewhere(end: &str, theirs: bool) -> Option<()> {
    let world = World::postgres().await;
    let (event, beside) = (world.event("acme/pay"), world.event("acme/pay"));
    let elsewhere = ids::event_id(world.now());
    let mut other_node = connect(&world).await;
    insert_elsewhere(&mut other_node, &event, elsewhere).await;
    let store = world.store.clone();
    let delivery = vec![beside.clone(), event.clone()];
    let handed_in = tokio::spawn(async move { store.record(delivery).await });
    writer_waits(&world).await;
    run(&mut other_node, end).await;
    let expected =
        if theirs { Recorded::Duplicate { first: elsewhere, conflict: false } } else { Recorded::New(event.id) };
    let recorded = match handed_in.await.unwrap() {
        Err(RecordError::Unavailable(_)) => return None,
        recorded => recorded.unwrap(),
    };
    assert_eq!(recorded, [Recorded::New(beside.id), expected], "{end}");
    assert_eq!(world.count("events").await, 2);
    assert_eq!(world.count("jobs").await, if theirs { 1 } else { 2 });
    Some(())
}

#[tokio::test]
async fn transactions_that_are_in_each_others_way_are_run_again() {
    let world = World::postgres().await;
    let mut other = connect(&world).await;
    run(
        &mut other,
        "CREATE SEQUENCE tries;
         CREATE FUNCTION fails_twice() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('tries') < 3 THEN
                 RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
             END IF;
             RETURN new;
         END $$;
         CREATE TRIGGER fails_twice BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION fails_twice()",
    )
    .await;
    let event = world.event("acme/pay");
    assert_eq!(world.record(event.clone()).await, Recorded::New(event.id));
    assert_eq!((world.count("events").await, world.pending("acme/pay").await), (1, 1));
}

/// A trigger on new events that runs at the commit.
async fn at_commit(world: &World, does: &str) {
    run(
        &mut connect(world).await,
        &format!(
            "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION at_commit()"
        ),
    )
    .await;
}

#[tokio::test]
async fn a_commit_with_a_warning_is_unknown_and_the_retry_finds_what_became_of_it() {
    let world = World::postgres().await;
    at_commit(&world, "RAISE WARNING 'canceling wait for synchronous replication due to user request'").await;
    let event = world.event("acme/pay");
    let unknown = world.store.record(vec![event.clone()]).await;
    assert!(matches!(unknown, Err(RecordError::Unknown(_))), "{unknown:?}");
    // It had committed all the same.
    let retry = NewEvent { id: ids::event_id(world.now()), ..event.clone() };
    assert_eq!(
        world.store.record(vec![retry]).await.unwrap(),
        [Recorded::Duplicate { first: event.id, conflict: false }]
    );
    eventually("the counters are read anew", || async { (world.pending("acme/pay").await == 1).then_some(()) }).await;
}

#[tokio::test]
async fn a_commit_that_loses_the_connection_is_unknown_and_the_retry_finds_what_became_of_it() {
    let world = World::postgres().await;
    at_commit(&world, "PERFORM pg_terminate_backend(pg_backend_pid())").await;
    let event = world.event("acme/pay");
    let unknown = world.store.record(vec![event.clone()]).await;
    assert!(matches!(unknown, Err(RecordError::Unknown(_))), "{unknown:?}");
    run(&mut connect(&world).await, "DROP TRIGGER at_commit ON events").await;
    assert_eq!(world.record(event.clone()).await, Recorded::New(event.id), "it had not");
    assert_eq!(world.pending("acme/pay").await, 1);
}

#[tokio::test]
async fn a_row_that_is_refused_at_the_commit_does_not_fail_its_neighbours() {
    let world = World::postgres().await;
    at_commit(&world, "IF new.event_type = 'bad' THEN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END IF").await;
    let handed_in = (0..20).map(|nth| {
        let event_type = if nth == 10 { "bad" } else { "good" };
        let event = NewEvent { event_type: event_type.into(), ..world.event("acme/pay") };
        let store = world.store.clone();
        tokio::spawn(async move { store.record(vec![event]).await })
    });
    for (nth, answer) in handed_in.collect::<Vec<_>>().into_iter().enumerate() {
        let answer = answer.await.unwrap();
        if nth == 10 {
            assert!(matches!(answer, Err(RecordError::Unavailable(_))), "{answer:?}");
        } else {
            assert!(answer.is_ok(), "{answer:?}");
        }
    }
    assert_eq!((world.count("events").await, world.pending("acme/pay").await), (19, 19));
}

#[tokio::test]
async fn a_connection_lost_before_the_commit_loses_nothing_acknowledged() {
    in_time(lost_before_the_commit).await;
}

async fn lost_before_the_commit() -> Option<()> {
    let world = World::postgres().await;
    let mut other = connect(&world).await;
    run(&mut other, "BEGIN; LOCK TABLE events IN EXCLUSIVE MODE").await;
    let event = world.event("acme/pay");
    let (store, delivery) = (world.store.clone(), vec![event.clone()]);
    let handed_in = tokio::spawn(async move { store.record(delivery).await });
    writer_waits(&world).await;
    run(&mut other, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {WRITER}")).await;
    let answer = handed_in.await.unwrap();
    if matches!(answer, Err(RecordError::Unavailable(_))) {
        return None;
    }
    // What a delivery stores is its own transaction: nobody says whether it was over.
    assert!(matches!(answer, Err(RecordError::Unknown(_))), "{answer:?}");
    run(&mut other, "ROLLBACK").await;
    assert_eq!(world.count("events").await, 0);
    eventually("the store is back", || async { world.store.ping().await.ok() }).await;
    assert_eq!(world.record(event.clone()).await, Recorded::New(event.id));
    assert!(world.store.event(&Scope::All, event.id).await.unwrap().is_some());
    Some(())
}

#[tokio::test]
async fn a_server_that_ends_is_unavailable_until_it_is_back() {
    let world = World::postgres().await;
    world.record(world.event("acme/pay")).await;
    let mut other = connect(&world).await;
    // All connections, as a server that is restarted ends them: those that read as well.
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    world.store.backlog().await.unwrap();
    run(&mut other, all).await;
    let event = world.event("acme/pay");
    eventually("deliveries are taken again", || async { world.store.record(vec![event.clone()]).await.ok() }).await;
    eventually("people can read again", || async { world.store.backlog().await.ok() }).await;
    assert_eq!(world.count("events").await, 2);
}

/// Why a database of the shared cluster does not open.
async fn refused(url: &str) -> OpenError {
    let clock = std::sync::Arc::default();
    Store::postgres(url, options(&clock)).await.err().expect("it does not open")
}

#[tokio::test]
async fn a_database_that_could_lose_what_it_acknowledged_is_refused() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    run(&mut cluster.connect(&database).await, &format!("ALTER DATABASE {database} SET synchronous_commit = off"))
        .await;
    let error = refused(&cluster.url(&database)).await;
    assert!(matches!(error, OpenError::Unsafe { setting: "synchronous_commit", .. }), "{error}");
    assert!(error.to_string().contains(&database) && error.to_string().contains("ALTER ROLE"), "{error}");

    let careless = Cluster::start(&["fsync=off"]);
    let database = careless.database().await;
    let error = refused(&careless.url(&database)).await;
    assert!(matches!(error, OpenError::Unsafe { setting: "fsync", .. }), "{error}");
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let cluster = Cluster::shared();
    let create = "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    run(&mut cluster.connect("postgres").await, create).await;
    let error = refused(&cluster.url("latin")).await;
    assert!(matches!(error, OpenError::Unsuitable { what: "encoding", .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    let url = "postgres://sluice:pass-word@127.0.0.1:1/hooks";
    let error = refused(url).await;
    let text = error.to_string();
    assert!(text.contains("postgres://127.0.0.1:1/hooks") && !text.contains("pass-word"), "{text}");
    let error = refused(&Cluster::shared().url("nowhere")).await;
    assert!(matches!(error, OpenError::Unreachable { .. }) && error.to_string().contains("nowhere"), "{error}");
}

#[tokio::test]
async fn only_the_server_that_its_certificate_names_is_trusted() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let folder = tempfile::tempdir().unwrap();
    let (own, others) = (folder.path().join("own.pem"), folder.path().join("others.pem"));
    fs::write(&own, &cluster.authority).unwrap();
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(&others, stranger.cert.pem()).unwrap();
    let url = |root: &Path| cluster.tcp_url(&database, &format!("sslmode=verify-full&sslrootcert={}", root.display()));
    let error = refused(&url(&others)).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    let by_address = url(&own).replace("localhost", "127.0.0.1");
    assert!(matches!(refused(&by_address).await, OpenError::Unreachable { .. }), "another name");
    let clock = std::sync::Arc::default();
    let store = Store::postgres(&url(&own), options(&clock)).await.unwrap();
    let encrypted: bool = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE {WRITER}"
    )))
    .fetch_one(&mut cluster.connect(&database).await)
    .await
    .unwrap();
    assert!(encrypted);
    store.close().await;
}

#[tokio::test]
async fn a_schema_of_another_release_is_refused_and_nothing_changes() {
    for (change, expected) in [
        ("UPDATE _sqlx_migrations SET checksum = '\\x00'", "is not the one this release knows"),
        (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', true, '\\x00', 0)",
            "run the newer release",
        ),
        ("DROP TABLE _sqlx_migrations", "database of another program"),
    ] {
        let world = World::postgres().await;
        world.store.close().await;
        run(&mut connect(&world).await, change).await;
        let error = world.open_again().await.err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
        let error = migrate_postgres(&world.url()).await.err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn several_processes_that_migrate_at_once_migrate_once() {
    let cluster = Cluster::shared();
    let url = cluster.url(&cluster.database().await);
    let migrations = (0..4).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { migrate_postgres(&url).await.unwrap() })
    });
    let mut migrated = Vec::new();
    for migration in migrations.collect::<Vec<_>>() {
        migrated.push(migration.await.unwrap().from);
    }
    migrated.sort_unstable();
    assert_eq!((migrated[0], migrated[1] > 0, migrated[3] > 0), (0, true, true));
}

#[tokio::test]
async fn every_migration_takes_its_sample_data() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let cluster = Cluster::shared();
    let mut connection = cluster.connect(&cluster.database().await).await;
    let migrations = sqlx::migrate!("migrations/postgres");
    let names = |migrations: &sqlx::migrate::Migrator| {
        migrations.iter().map(|it| (it.version, it.description.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(names(&migrations), names(&sqlx::migrate!("migrations/sqlite")), "equal numbers and names");
    for migration in migrations.iter() {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut connection).await.unwrap();
        let name = format!("{:04}_{}.sql", migration.version, migration.description.replace(' ', "_"));
        let samples = fs::read_to_string(folder.join("samples").join(&name))
            .unwrap_or_else(|error| panic!("migrations/postgres/samples/{name}: {error}"));
        run(&mut connection, &samples).await;
    }
}

/// The statement files of a folder, by name.
fn statements(folder: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sql").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path)).collect()
}

#[tokio::test]
async fn every_statement_prepares_on_postgres_and_has_a_twin_on_sqlite() {
    let names = |folder| statements(folder).into_iter().map(|(name, _)| name).collect::<BTreeSet<String>>();
    assert_eq!(names("postgres"), names("sqlite"));
    let world = World::postgres().await;
    let mut connection = connect(&world).await;
    let mut wrong = Vec::new();
    for (name, path) in [statements("postgres"), statements("postgres/own")].concat() {
        let text = AssertSqlSafe(fs::read_to_string(path).unwrap()).into_sql_str();
        if let Err(error) = connection.prepare(text).await {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_due_is_found_through_the_index_however_much_waits() {
    let world = World::postgres().await;
    let mut connection = connect(&world).await;
    run(
        &mut connection,
        "INSERT INTO jobs (id, event_id, tenant, source, route, type, state, class, next_run_at, created_at, updated_at)
         SELECT gen_random_uuid(), gen_random_uuid(), 'acme', 'lane' || n % 50, 'main', 'log', 'pending', 0, n, 0, 0
         FROM generate_series(1, 20000) AS n",
    )
    .await;
    for (name, values) in [
        ("lanes_due", "'', '', 1000, 'me'"),
        ("next_due", "'acme', 'lane7'"),
        ("due", "'acme', 'lane7', 9223372036854775807, 100, '[]'"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/store/sql/postgres/{name}.sql"));
        let types = match name {
            "lanes_due" => "text, text, bigint, text",
            "next_due" => "text, text",
            _ => "text, text, bigint, bigint, text",
        };
        run(&mut connection, "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan").await;
        run(&mut connection, &format!("PREPARE {name} ({types}) AS {}", fs::read_to_string(path).unwrap())).await;
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN (ANALYZE, TIMING OFF) EXECUTE {name} ({values})")))
                .fetch_all(&mut connection)
                .await
                .unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains("jobs_due"), "{name}:\n{plan}");
        let read = plan.match_indices("actual rows=").map(|(at, found)| {
            let rest = &plan[at + found.len()..];
            rest[..rest.find(' ').unwrap()].parse::<f64>().unwrap()
        });
        // 50 lanes of 400 jobs, each read as far as it is wanted.
        assert!(read.fold(0.0, f64::max) <= 100.0, "{name}:\n{plan}");
    }
}

#[tokio::test]
async fn a_plan_that_was_made_while_the_store_was_empty_is_one_for_many_events() {
    let world = World::postgres().await;
    let mut connection = connect(&world).await;
    run(
        &mut connection,
        "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
         SET plan_cache_mode = force_generic_plan",
    )
    .await;
    for (name, types, values, indexes) in [
        (
            "find_duplicates",
            "bigint[], text[], text[], bytea[], bytea[], text[]",
            "'{1}', '{a}', '{b}', '{c}', '{d}', '{e}'",
            &[("events_dedupe", "dedupe_key"), ("events_replay", "replay_key"), ("events_external", "external_id")][..],
        ),
        (
            "find_begins",
            "bigint[], uuid[], text[], bigint[]",
            "'{1}', '{00000000-0000-0000-0000-000000000000}', '{a}', '{1}'",
            &[("jobs_id_key", "id"), ("events_id_key", "id"), ("forms_event", "event_seq")],
        ),
        (
            "begin_jobs",
            "uuid[], boolean[], text[], bigint[]",
            "'{00000000-0000-0000-0000-000000000000}', '{true}', '{a}', '{1}'",
            &[("jobs_id_key", "id")],
        ),
        (
            "checkpoint_jobs",
            "uuid[], bigint[], bigint[], text[]",
            "'{00000000-0000-0000-0000-000000000000}', '{1}', '{1}', '{a}'",
            &[("jobs_id_key", "id")],
        ),
        (
            "end_jobs",
            "uuid[], bigint[], text[], bigint[], text[], bigint[]",
            "'{00000000-0000-0000-0000-000000000000}', '{1}', '{a}', '{1}', '{a}', '{1}'",
            &[("jobs_id_key", "id")],
        ),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/store/sql/postgres/{name}.sql"));
        run(&mut connection, &format!("PREPARE {name} ({types}) AS {}", fs::read_to_string(path).unwrap())).await;
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN EXECUTE {name} ({values})")))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        for (index, column) in indexes {
            let at = plan.iter().position(|line| line.contains(index));
            let at = at.unwrap_or_else(|| panic!("{index} is not used:\n{}", plan.join("\n")));
            assert!(plan[at + 1].contains(&format!("({column} = ")), "{index}:\n{}", plan.join("\n"));
        }
        // What a row found by its id must be besides is no reading of many.
        let fit = |line: &String| line.contains("state") || line.contains("fence");
        let filtered = plan.iter().any(|line| line.contains("Filter:") && !fit(line));
        assert!(!filtered, "{name} reads what it throws away:\n{}", plan.join("\n"));
    }
}
