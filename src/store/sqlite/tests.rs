//! What can only be seen from inside: every statement on its engine, durability, failures of the
//! file under the writer.

use std::{collections::BTreeSet, fs, path::Path};

use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

use super::open;

/// Every statement file, by name.
fn statement_files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sql/sqlite");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn every_statement_prepares_on_its_engine() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open::open(&folder.path().join("sluice.db")).await.unwrap();
    let mut wrong = Vec::new();
    for (name, text) in statement_files() {
        let texts: Vec<String> = if text.contains("-- repeated") {
            crate::store::sql::Bulk::new(&text).texts().iter().map(ToString::to_string).collect()
        } else {
            vec![text]
        };
        for text in texts {
            // Statements of one file are prepared one by one; only pragmas share a file.
            if let Err(error) = opened.connection.prepare(AssertSqlSafe(text).into_sql_str()).await {
                wrong.push(format!("{name}: {error}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_statement_file_is_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite");
    let sources: String =
        fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    let unused: BTreeSet<String> = statement_files()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !sources.contains(&format!("\"{name}\"")))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}
