//! The list of tables against the schema; copies that are cut off, that meet a full disk, that find
//! something else than they left.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};
use tempfile::TempDir;
use tokio::{sync::Notify, time::sleep};

use super::{
    side::{Link, Side},
    tables::TABLES,
    *,
};
use crate::store::{sql::sql, sqlite};

/// Rows of each table that has more than one: some batches, and a part of one.
const MANY: usize = 2 * BATCH_ROWS + 100;

/// A source with a row of each kind, and many of some.
async fn source(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("source.db");
    sqlite::open::migrate(&path).await.unwrap();
    let mut connection = sqlite::open::connect(&path).await.unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite/samples");
    let mut samples: Vec<_> = std::fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path()).collect();
    samples.sort();
    for sample in samples {
        run(&mut connection, &std::fs::read_to_string(sample).unwrap()).await;
    }
    let many = format!("WITH RECURSIVE n (n) AS (VALUES (10) UNION ALL SELECT n + 1 FROM n WHERE n < {})", MANY + 8);
    run(
        &mut connection,
        &format!(
            "INSERT INTO attempts {many} SELECT x'019376c0000070008000000000000002', n, n, 1, 'failed', NULL FROM n;
             INSERT INTO audit (seq, at, actor, action, object, reason) {many} SELECT n, n, 'ops', 'replay', 'it', 'because ' || n FROM n;
             INSERT INTO keys {many} SELECT 'acme', 'pay', randomblob(16), randomblob(16), 'k' FROM n;"
        ),
    )
    .await;
    connection.close().await.unwrap();
    path
}

async fn run(connection: &mut SqliteConnection, text: &str) {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.unwrap();
}

async fn on(path: &Path, text: &str) {
    let mut connection = sqlite::open::connect(path).await.unwrap();
    run(&mut connection, text).await;
    connection.close().await.unwrap();
}

fn quiet(_: Progress) {}

async fn whole(from: &Path, to: &Path) -> Result<Copied, CopyError> {
    copy(Place::Sqlite(from), Place::Sqlite(to), &quiet).await
}

#[tokio::test]
async fn every_table_and_column_is_copied_or_left_out_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.db");
    let _opened = sqlite::open::open(&path).await.unwrap();
    let mut connection = sqlite::open::connect(&path).await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT s.name, c.name FROM sqlite_schema AS s JOIN pragma_table_info(s.name) AS c
         WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite_%'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let left_out = |name: &str| LEFT_OUT.iter().any(|(what, why)| *what == name && !why.is_empty());
    let mut found = BTreeSet::new();
    for (table, column) in columns {
        let whole = format!("{table}.{column}");
        if !left_out(&table) && !left_out(&whole) {
            found.insert(whole);
        }
    }
    assert_eq!(
        copied_columns().collect::<BTreeSet<_>>(),
        found,
        "enter it in `store/copy/tables.rs`: copied, or left out with a reason"
    );
}

#[tokio::test]
async fn every_statement_prepares_for_every_table() {
    let folder = tempfile::tempdir().unwrap();
    let mut side = Side::target(Place::Sqlite(&folder.path().join("sluice.db"))).await.unwrap();
    side.prepare().await.unwrap();
    side.begin(&[]).await.unwrap();
    let mut texts = Vec::new();
    for statement in
        [sql!("copy/count"), sql!("copy/read"), sql!("copy/read_on"), sql!("copy/last"), sql!("copy/write")]
    {
        texts.extend(TABLES.iter().map(|table| side.text(statement, Some(table), 3)));
    }
    texts.extend([sql!("copy/marks"), sql!("copy/mark"), sql!("copy/drop_marks")].map(|it| side.text(it, None, 0)));
    let Link::Sqlite { connection, .. } = &mut side.link else { panic!("it is a file") };
    for text in texts {
        connection.prepare(text).await.unwrap();
    }
}

#[tokio::test]
async fn a_copy_that_is_cut_off_anywhere_goes_on_and_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let from = source(&folder).await;
    let steps = AtomicU64::new(0);
    let count = |_| {
        steps.fetch_add(1, Ordering::Relaxed);
    };
    let straight = folder.path().join("straight.db");
    let expected = copy(Place::Sqlite(&from), Place::Sqlite(&straight), &count).await.unwrap();
    assert!(expected.resumed.is_none() && expected.tables.iter().all(|table| table.rows > 0), "{expected:?}");
    // A step is told for each batch, and for each row that is compared: all of the first, some of those.
    let told = steps.load(Ordering::Relaxed);
    let cuts: Vec<u64> = (1..40).step_by(2).chain((40..told).step_by(2999)).collect();
    let mut resumed = 0;
    for cut in cuts {
        let to = folder.path().join(format!("{cut}.db"));
        let (seen, now) = (AtomicU64::new(0), Notify::new());
        let tell = |_| {
            if seen.fetch_add(1, Ordering::Relaxed) + 1 == cut {
                now.notify_one();
            }
        };
        tokio::select! {
            biased;
            () = now.notified() => {}
            copied = copy(Place::Sqlite(&from), Place::Sqlite(&to), &tell) => panic!("not cut off at {cut}: {copied:?}"),
        }
        let_go(folder.path()).await;
        let again = free(&from, &to).await;
        resumed += u64::from(again.resumed.is_some_and(|rows| rows > 0));
        assert_eq!(again.tables, expected.tables, "cut off at {cut}");
    }
    assert!(resumed > 10, "{resumed} went on after rows that were there");
}

/// Waits until what a copy that was cut off left behind is over: its connections end on threads of their own, the last
/// of a file with a checkpoint that locks it.
async fn let_go(folder: &Path) {
    for _ in 0..3000 {
        let logs = std::fs::read_dir(folder)
            .unwrap()
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with("-wal")));
        if logs.count() == 0 {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the files are held for ever");
}

/// Copies as soon as nobody holds the files any more. The last batch of a copy that was cut off may still be
/// committed by its connection's thread while this one begins: then it is to be run again, as the error says.
async fn free(from: &Path, to: &Path) -> Copied {
    for _ in 0..1000 {
        match whole(from, to).await {
            Err(
                CopyError::Source(OpenError::InUse { .. })
                | CopyError::Target(OpenError::InUse { .. })
                | CopyError::Write { .. },
            ) => tokio::task::yield_now().await,
            copied => return copied.unwrap(),
        }
    }
    panic!("the files are held for ever");
}

/// Cuts a copy off after its second batch of rows.
async fn begin(from: &Path, to: &Path) {
    let (seen, now) = (AtomicU64::new(0), Notify::new());
    let tell = |progress| {
        if matches!(progress, Progress::Copied(_)) && seen.fetch_add(1, Ordering::Relaxed) == 1 {
            now.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = now.notified() => {}
        _ = copy(Place::Sqlite(from), Place::Sqlite(to), &tell) => panic!("not cut off"),
    }
    let_go(to.parent().unwrap()).await;
}

#[tokio::test]
async fn a_source_that_was_written_since_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (source(&folder).await, folder.path().join("to.db"));
    begin(&from, &to).await;
    on(
        &from,
        "INSERT INTO audit (seq, at, actor, action, object, reason) VALUES (99999, 1, 'ops', 'replay', 'it', 'late')",
    )
    .await;
    let error = whole(&from, &to).await.unwrap_err().to_string();
    assert!(error.contains("was written since") && error.contains("source.db"), "{error}");

    // A change that leaves the number of rows and their keys is seen at the end, and named.
    let to = folder.path().join("other.db");
    begin(&from, &to).await;
    on(&from, "UPDATE watermarks SET occurred_at = occurred_at + 1; UPDATE jobs SET fence = fence + 1").await;
    on(&to, "UPDATE keys SET secret_version = 'other' WHERE tenant = (SELECT max(tenant) FROM keys)").await;
    let error = whole(&from, &to).await.unwrap_err();
    let CopyError::Differs { tables } = &error else { panic!("{error}") };
    assert!(tables.len() == 1 && tables[0].starts_with("`keys` ("), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[tokio::test]
async fn a_target_that_is_not_empty_or_half_copied_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (source(&folder).await, folder.path().join("to.db"));
    sqlite::open::migrate(&to).await.unwrap();
    on(&to, "INSERT INTO watermarks VALUES ('a', 'b', 'c', 'd', 1)").await;
    let error = whole(&from, &to).await.unwrap_err();
    assert!(matches!(error, CopyError::NotEmpty { table: "watermarks", .. }), "{error}");

    let half = folder.path().join("half.db");
    begin(&from, &half).await;
    let error = sqlite::inspect::inspect(&half).await.unwrap_err();
    assert!(matches!(error, OpenError::HalfCopied { .. }), "{error}");
    let error = whole(&half, &folder.path().join("third.db")).await.unwrap_err();
    assert!(matches!(error, CopyError::Source(OpenError::HalfCopied { .. })), "{error}");
    free(&from, &half).await;
    sqlite::inspect::inspect(&half).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_copy_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (source(&folder).await, folder.path().join("to.db"));
    let mut source = Side::source(Place::Sqlite(&from)).await.unwrap();
    let mut target = Side::target(Place::Sqlite(&to)).await.unwrap();
    // A file that may not grow gets the same answer from SQLite as one that cannot.
    let copied = Mutex::new(0);
    target.prepare().await.unwrap();
    let Link::Sqlite { connection, .. } = &mut target.link else { panic!("it is a file") };
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await.unwrap();
    run(connection, &format!("PRAGMA max_page_count = {}", pages + 15)).await;
    let tell = |progress| {
        if let Progress::Copied(rows) = progress {
            *copied.lock().unwrap() += rows;
        }
    };
    let error = super::run(&mut source, &mut target, &tell).await.unwrap_err().to_string();
    assert!(error.contains("full") && error.contains("run the same command again"), "{error}");
    source.close().await;
    target.close().await;
    let copied = *copied.lock().unwrap();
    assert!(copied > 0);
    assert_eq!(whole(&from, &to).await.unwrap().resumed, Some(copied));
}

#[tokio::test]
async fn a_database_is_not_copied_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let from = source(&folder).await;
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&from, &link).unwrap();
    let roundabout = folder.path().join(".").join("source.db");
    for to in [&from, &link, &roundabout] {
        let error = whole(&from, to).await.unwrap_err();
        assert!(matches!(error, CopyError::Same { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("none.db"), folder.path().join("to.db"));
    let error = whole(&from, &to).await.unwrap_err();
    assert!(matches!(error, CopyError::Source(OpenError::File { .. })), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
