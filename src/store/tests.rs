//! What can only be seen from inside: every statement file, on its engine.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sqlx::{AssertSqlSafe, ConnectOptions, Executor, SqlSafeStr, sqlite::SqliteConnectOptions};

use super::{
    sql::{SIZES, repeat},
    sqlite,
};

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store")
}

/// The statement files of a folder below `sql/`, by name.
fn statements(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(sources().join("sql").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// All code of the store.
fn code() -> String {
    let mut code = String::new();
    for folder in ["", "sqlite", "postgres", "postgres/node", "copy"] {
        for entry in fs::read_dir(sources().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                code.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    code
}

/// Steps of SQLite's machine that a statement takes with so many jobs waiting in each of four lanes.
fn steps(name: &str, waiting: i64) -> i32 {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite/0001_spine.sql");
    connection.execute_batch(&fs::read_to_string(schema).unwrap()).unwrap();
    let jobs = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT ?1)
        INSERT INTO jobs (id, event_id, tenant, source, route, type, state, class, next_run_at, created_at, updated_at)
        SELECT randomblob(16), randomblob(16), 'acme', 'app' || (n % 4), 'route' || (n % 3), 'log', 'pending', n % 2, n, n, n
        FROM n";
    connection.execute(jobs, [4 * waiting]).unwrap();
    let text = fs::read_to_string(sources().join("sql/sqlite").join(format!("{name}.sql"))).unwrap();
    let mut statement = connection.prepare(&text).unwrap();
    for (nth, value) in ["acme", "app1", "99999999", "8", "[]"].iter().enumerate().take(statement.parameter_count()) {
        statement.raw_bind_parameter(nth + 1, value).unwrap();
    }
    let mut rows = statement.raw_query();
    while rows.next().unwrap().is_some() {}
    drop(rows);
    statement.get_status(rusqlite::StatementStatus::VmStep)
}

#[test]
fn what_a_lane_reads_costs_the_same_however_many_jobs_wait() {
    for name in ["due", "next_due", "lanes_due"] {
        let (few, many) = (steps(name, 100), steps(name, 20_000));
        assert!(few > 0 && many <= few + few / 4, "{name}: {few} steps, then {many}");
    }
}

#[tokio::test]
async fn every_statement_prepares_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.db");
    let _opened = sqlite::open::open(&path).await.unwrap();
    let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let mut wrong = Vec::new();
    for (name, text) in [statements("sqlite"), statements("sqlite/own")].concat() {
        let texts = if text.contains("-- repeated") {
            SIZES.iter().map(|rows| repeat(&text, *rows)).collect()
        } else {
            vec![text]
        };
        for text in texts {
            // Statements of one file are prepared one by one; only pragmas share a file.
            if let Err(error) = connection.prepare(AssertSqlSafe(text).into_sql_str()).await {
                wrong.push(format!("{name}: {error}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_statement_file_is_used() {
    let code = code();
    let named = |folder| statements(folder).into_iter().map(|(name, _)| name);
    let copying = named("sqlite/copy").map(|name| format!("copy/{name}"));
    let own = named("sqlite/own").chain(named("postgres/own"));
    let unused: BTreeSet<String> =
        named("sqlite").chain(own).chain(copying).filter(|name| !code.contains(&format!("\"{name}\""))).collect();
    assert!(unused.is_empty(), "{unused:?}");
}
