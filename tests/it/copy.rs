//! `sluice copy` through the real binary, and the gateway on what it made.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use sluice::{
    standins::Fault,
    store::{
        copy::{LEFT_OUT, copied_columns},
        migrate_postgres,
    },
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    chaos::fast,
    harness::{Cluster, Folder, Process, Ran, SECRET, Sender, World, command, completed, eventually, run, sluice},
};

/// A copy to its end.
async fn copy(folder: &Path, from: &str, to: &str) -> Ran {
    sluice(folder, &["copy", "--from", from, "--to", to, "--json"]).await
}

/// A refusal: exit status, one line with these words.
fn refused(ran: &Ran, status: i32, words: &[&str]) {
    let line = ran.stderr.trim_end();
    assert!(ran.status == status && ran.stdout.is_empty() && !line.contains('\n'), "{ran:#?}");
    assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {ran:#?}");
}

async fn on(path: &Path, text: &str) {
    let mut connection = open(path).await;
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

/// Gives a folder's gateway another database.
pub(crate) fn move_to(world: &World, url: &str) {
    let reference = world.folder.secret("database.url", url);
    world.folder.main(&format!("[database]\nurl = \"{reference}\"\n"));
}

/// Jobs of every kind that is not over, on SQLite: the gateway was killed in the middle.
async fn killed_in_the_middle() -> (World, Vec<String>) {
    let world = World::new(&fast()).await;
    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    let mut events = Vec::new();
    for n in 0..10 {
        events.push(sender.send(&format!("done{n}"), &completed(&format!("done{n}"), n)).await.event().to_owned());
    }
    eventually("the first jobs are over", || async { (world.wordpress.effects().len() == 10).then_some(()) }).await;
    world.wordpress.fail_next(Fault::status(503));
    // The site does the work, and nobody answers: running when the process dies.
    world.wordpress.fail_always(Some(Fault::Hang));
    for n in 0..30 {
        events.push(sender.send(&format!("open{n}"), &completed(&format!("open{n}"), n)).await.event().to_owned());
    }
    eventually("all places are taken by running jobs", || async {
        let jobs = process.get("/api/v1/jobs?state=running&limit=100").await;
        (jobs["items"].as_array()?.len() >= 4).then_some(())
    })
    .await;
    process.kill();
    world.wordpress.fail_always(None);
    (world, events)
}

/// Every event is there and its job succeeded, each took effect once, and each is known when it comes again.
async fn goes_on(world: &World, events: &[String]) {
    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    for event in events {
        eventually("its job succeeded", || async {
            let found = process.get(&format!("/api/v1/events/{event}")).await;
            (found["jobs"][0]["state"] == "succeeded").then_some(())
        })
        .await;
    }
    let effects = world.wordpress.effects();
    assert!(effects.len() == events.len() && effects.values().all(|count| *count == 1), "{effects:?}");
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    for (id, second, at) in [("done3", 3, 3), ("open7", 7, 17)] {
        let answer = sender.send(id, &completed(id, second)).await;
        assert!(answer.is_duplicate() && answer.event() == events[at], "{answer:?}");
    }
    process.terminate();
    assert!(process.ended().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_goes_on_where_it_died_on_the_copy_and_on_the_copy_of_that() {
    let (world, mut events) = killed_in_the_middle().await;
    let folder = world.folder.path();
    // Text that Postgres cannot hold as it is.
    on(
        &folder.join("sluice.db"),
        "INSERT INTO watermarks VALUES ('acme', 'chat', 'summary', char(0) || 'a' || char(1114111) || '0', 4102444800007);
         INSERT INTO audit (at, actor, action, object, reason) VALUES (1, 'ops', 'x', 'y', 'a' || char(0) || 'b')",
    )
    .await;
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let url = cluster.url(&database);
    let there = copy(folder, "sqlite://sluice.db", &url).await.json();
    assert_eq!((&there["resumed"], there["tables"].as_array().unwrap().len()), (&Value::Null, 21));
    let running: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'running'")
        .fetch_one(&mut cluster.connect(&database).await)
        .await
        .unwrap();
    assert!(running >= 4, "{running}");
    let kept: String = sqlx::query_scalar("SELECT subject_id FROM watermarks WHERE occurred_at = 4102444800007")
        .fetch_one(&mut cluster.connect(&database).await)
        .await
        .unwrap();
    assert_eq!(kept, "\u{10FFFF}0a\u{10FFFF}10");

    move_to(&world, &url);
    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    // Suspects are tried again after a pause; what comes new gets numbers after those that were copied.
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    let answer = sender.send("new", &completed("new", 0)).await;
    assert!(answer.status == 200 && !answer.is_duplicate(), "{answer:?}");
    events.push(answer.event().to_owned());
    eventually("it tells of the suspects", || async {
        process.lines().iter().any(|line| line.contains("jobs were running")).then_some(())
    })
    .await;
    process.terminate();
    assert!(process.ended().await.0.success());
    goes_on(&world, &events).await;
    let numbers: Vec<i64> = sqlx::query_scalar("SELECT seq FROM events ORDER BY seq")
        .fetch_all(&mut cluster.connect(&database).await)
        .await
        .unwrap();
    assert_eq!(numbers, (1..=41).collect::<Vec<_>>());

    // And back, into a new file.
    let back = copy(folder, &url, "sqlite://back.db").await.json();
    assert!(back["rows"].as_u64() > there["rows"].as_u64(), "{back}");
    let mut connection = open(&folder.join("back.db")).await;
    let texts: (String, String) = sqlx::query_as(
        "SELECT (SELECT hex(subject_id) FROM watermarks WHERE occurred_at = 4102444800007),
                (SELECT hex(reason) FROM audit WHERE action = 'x')",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(texts, ("0061F48FBFBF30".to_owned(), "610062".to_owned()));
    connection.close().await.unwrap();
    move_to(&world, "sqlite://back.db");
    goes_on(&world, &events).await;

    // The same contents have the same digests on either engine.
    let other = cluster.database().await;
    let again = copy(folder, "sqlite://back.db", &cluster.url(&other)).await.json();
    let third = cluster.database().await;
    let within = copy(folder, &cluster.url(&other), &cluster.url(&third)).await.json();
    assert_eq!(again["tables"], within["tables"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_killed_again_and_again_ends_like_one_that_was_not() {
    let world = World::new(&fast()).await;
    let folder = world.folder.path();
    assert_eq!(sluice(folder, &["migrate"]).await.status, 0);
    // Enough for some seconds.
    let many = "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 16000)";
    on(
        &folder.join("sluice.db"),
        &format!(
            "INSERT INTO audit (seq, at, actor, action, object, reason) {many} SELECT n, n, 'ops', 'replay', 'it', 'because ' || n FROM n;
             INSERT INTO attempts {many} SELECT randomblob(16), n, n, 1, 'failed', NULL FROM n;
             INSERT INTO forms {many} SELECT n, n, randomblob(16), 1, hex(randomblob(400)) FROM n;"
        ),
    )
    .await;
    let cluster = Cluster::shared();
    let (straight, struck) = (cluster.database().await, cluster.database().await);
    let expected = copy(folder, "sqlite://sluice.db", &cluster.url(&straight)).await.json();
    let rows = async || -> i64 {
        let text =
            "SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM attempts) + (SELECT count(*) FROM forms)";
        sqlx::query_scalar(text).fetch_one(&mut cluster.connect(&struck).await).await.unwrap_or(0)
    };
    let url = cluster.url(&struck);
    for (nth, signal) in ["KILL", "INT", "KILL", "INT", "KILL"].into_iter().enumerate() {
        let mut child = command(folder, &["copy", "--from", "sqlite://sluice.db", "--to", &url]).spawn().unwrap();
        let enough = (nth as i64 + 1) * 5_500;
        eventually("so many rows are copied", || async { (rows().await >= enough).then_some(()) }).await;
        assert_eq!(child.try_wait().unwrap(), None, "it still copies");
        let strike = format!("kill -{signal} {}", child.id());
        assert!(std::process::Command::new("sh").args(["-c", &strike]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), (signal == "INT").then_some(1), "{signal}");
    }
    // No gateway starts on half a copy.
    move_to(&world, &url);
    let ran = sluice(folder, &["serve"]).await;
    assert!(ran.status == 1 && ran.stderr.contains("SLU13") && ran.stderr.contains("not finished"), "{ran:?}");
    let ended = copy(folder, "sqlite://sluice.db", &url).await.json();
    assert!(ended["resumed"].as_u64().unwrap() >= 27_500, "{ended}");
    assert_eq!(ended["tables"], expected["tables"]);

    // From a server into a file, killed as well.
    let mut child = command(folder, &["copy", "--from", &url, "--to", "sqlite://back.db"]).spawn().unwrap();
    let log = folder.join("back.db-wal");
    eventually("much is copied", || async { (fs::metadata(&log).ok()?.len() > 6_000_000).then_some(()) }).await;
    assert_eq!(child.try_wait().unwrap(), None, "it still copies");
    child.kill().unwrap();
    child.wait().unwrap();
    let back = copy(folder, &url, "sqlite://back.db").await.json();
    assert!(back["resumed"].as_u64().unwrap() > 0, "{back}");
    assert_eq!(back["tables"], expected["tables"]);
    let process = Process::start(&world.folder).await;
    process.terminate();
    assert!(process.ended().await.0.success());
}

#[tokio::test]
async fn every_table_and_column_of_postgres_is_copied_or_left_out_with_a_reason() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    migrate_postgres(&cluster.url(&database)).await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public'",
    )
    .fetch_all(&mut cluster.connect(&database).await)
    .await
    .unwrap();
    let left_out = |name: &str| LEFT_OUT.iter().any(|(what, why)| *what == name && !why.is_empty());
    let found = columns.into_iter().map(|(table, column)| (format!("{table}.{column}"), table));
    let found = found.filter(|(whole, table)| !left_out(whole) && !left_out(table)).map(|(whole, _)| whole);
    let copied: BTreeSet<String> = copied_columns().collect();
    assert_eq!(copied, found.collect(), "enter it in `store/copy/tables.rs`: copied, or left out with a reason");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_each_kind_comes_back_from_the_other_engine_as_it_was() {
    let cluster = Cluster::shared();
    let folder = Folder::new();
    let (first, second, third) = (cluster.database().await, cluster.database().await, cluster.database().await);
    let samples = |engine: &str| -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("migrations/{engine}/samples"));
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    };
    assert_eq!(sluice(folder.path(), &["migrate"]).await.status, 0);
    for sample in samples("sqlite") {
        on(&folder.path().join("sluice.db"), &sample).await;
    }
    migrate_postgres(&cluster.url(&first)).await.unwrap();
    for sample in samples("postgres") {
        sqlx::raw_sql(AssertSqlSafe(sample)).execute(&mut cluster.connect(&first).await).await.unwrap();
    }
    for chain in [
        ["sqlite://sluice.db".to_owned(), cluster.url(&second), "sqlite://one.db".to_owned()],
        [cluster.url(&first), "sqlite://two.db".to_owned(), cluster.url(&third)],
    ] {
        let there = copy(folder.path(), &chain[0], &chain[1]).await.json();
        let back = copy(folder.path(), &chain[1], &chain[2]).await.json();
        assert_eq!(there["tables"], back["tables"]);
        for table in there["tables"].as_array().unwrap() {
            assert!(table["rows"].as_u64().unwrap() > 0, "no sample of {table}");
        }
    }
    // Whatever the engine numbers goes on after what was copied.
    let next = "SELECT nextval(pg_get_serial_sequence(name, number)) FROM (VALUES ('events', 'seq'), ('forms', 'seq'),
                ('jobs', 'seq'), ('results', 'seq'), ('dead_letters', 'seq'), ('handshakes', 'seq'), ('refusals', 'id'),
                ('audit', 'seq')) AS numbered (name, number)";
    let next: Vec<i64> = sqlx::query_scalar(next).fetch_all(&mut cluster.connect(&second).await).await.unwrap();
    assert_eq!(next, [2, 2, 2, 2, 2, 2, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_in_one_line_and_nothing_is_changed() {
    let cluster = Cluster::shared();
    let (database, served) = (cluster.database().await, cluster.database().await);
    let url = cluster.url(&database);
    let on_server = World::on_url(&cluster.url(&served), &fast()).await;
    let world = World::new(&fast()).await;
    let folder = world.folder.path();

    let app = world.start().await;
    refused(&copy(folder, "sqlite://sluice.db", &url).await, 1, &["SLU07", "--from", "in use"]);
    refused(&copy(folder, &url, "sqlite://sluice.db").await, 1, &["SLU13", "--from", "nothing of sluice"]);
    app.finish().await;
    let server_app = on_server.start().await;
    refused(&copy(folder, "sqlite://sluice.db", &cluster.url(&served)).await, 1, &["SLU07", "--to", "served"]);
    refused(&copy(folder, &cluster.url(&served), "sqlite://to.db").await, 1, &["SLU07", "--from", "served"]);
    server_app.finish().await;

    // Usage: what names no database.
    for wrong in
        ["sluice.db", "sqlite://", "mysql://localhost/x", "postgres://u:pass-word@localhost/x", "env:NOT_SET", ""]
    {
        let ran = copy(folder, "sqlite://sluice.db", wrong).await;
        refused(&ran, 2, &["--to: "]);
        assert!(!ran.stderr.contains("pass-word"), "{ran:?}");
    }
    // The one place where a password may stand.
    let mut with_reference = command(folder, &["copy", "--from", "sqlite://sluice.db", "--to", "env:TARGET"]);
    with_reference.env("TARGET", "postgres://u:pass-word@127.0.0.1:1/x");
    refused(&run(with_reference).await, 1, &["SLU11", "--to: cannot reach postgres://127.0.0.1:1/x"]);

    refused(&copy(folder, "sqlite://none.db", &url).await, 1, &["SLU04", "--from", "none.db"]);
    refused(&copy(folder, "sqlite://sluice.db", "sqlite://./sluice.db").await, 1, &["SLU13", "the source itself"]);
    let by_name = cluster.tcp_url(&served, "sslmode=prefer");
    refused(&copy(folder, &cluster.url(&served), &by_name).await, 1, &["SLU13", "the source itself"]);
    let ran = copy(folder, "sqlite://sluice.db", "postgres://nobody@127.0.0.1:1/x").await;
    refused(&ran, 1, &["SLU11", "--to", "cannot reach"]);

    on(&folder.join("sluice.db"), "UPDATE _sqlx_migrations SET version = 999 WHERE version = 1").await;
    refused(&copy(folder, "sqlite://sluice.db", &url).await, 1, &["SLU06", "--from", "newer release"]);
    on(&folder.join("other.db"), "CREATE TABLE theirs (a)").await;
    refused(&copy(folder, "sqlite://other.db", &url).await, 1, &["SLU04", "--from", "another program"]);
    refused(&copy(folder, &cluster.url(&served), "sqlite://other.db").await, 1, &["SLU04", "--to", "another program"]);
    assert!(!folder.join("to.db").exists() && !folder.join("none.db").exists());
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relname IN ('events', 'sluice_copy')")
        .fetch_one(&mut cluster.connect(&database).await)
        .await
        .unwrap();
    assert_eq!(tables, 0, "nothing was made in the target");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_no_more_is_told_and_the_copy_goes_on_where_it_was() {
    let world = World::new(&fast()).await;
    let folder = world.folder.path();
    assert_eq!(sluice(folder, &["migrate"]).await.status, 0);
    let many = "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 8000)";
    on(
        &folder.join("sluice.db"),
        &format!("INSERT INTO audit (seq, at, actor, action, object, reason) {many} SELECT n, n, 'ops', 'replay', 'it', hex(randomblob(300)) FROM n"),
    )
    .await;
    let mut full = std::process::Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 4000; exec \"$0\" copy --from sqlite://sluice.db --to sqlite://to.db";
    full.args(["-c", script, env!("CARGO_BIN_EXE_sluice")]).current_dir(folder).env_clear();
    full.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    refused(&run(full).await, 1, &["SLU13", "cannot write", "to.db", "run the same command again"]);
    let ended = copy(folder, "sqlite://sluice.db", "sqlite://to.db").await.json();
    assert!(ended["resumed"].as_u64().unwrap() > 0 && ended["rows"] == 8000, "{ended}");
}
