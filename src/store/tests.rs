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
