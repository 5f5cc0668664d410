//! `sluice backup` beside a gateway that serves, and `sluice restore`: through the real binary.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::{
    chaos::{Ledger, Load, acknowledged, fast, nothing_lost_and_nothing_doubled},
    harness::{Folder, Process, Ran, SECRET, Sender, World, command, completed, eventually, run, sluice},
};

/// A refusal: exit status, code, one line with these words.
fn refused(ran: &Ran, code: &str, words: &[&str]) {
    let line = ran.stderr.trim_end();
    assert!(ran.status == 1 && ran.stdout.is_empty() && !line.contains('\n'), "{ran:#?}");
    assert!(line.starts_with(&format!("error: {code}: ")), "{ran:#?}");
    assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {ran:#?}");
}

/// What is beside the configuration, by name.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A copy of a ledger at this moment.
pub(crate) fn now(ledger: &Ledger) -> Ledger {
    Arc::new(Mutex::new(ledger.lock().unwrap().clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_holds_all_that_was_acknowledged_before_and_doubles_nothing() {
    let world = World::new(&fast()).await;
    let folder = world.folder.path();
    let ledger = Ledger::default();
    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    let load = Load::begin(&sender, 0, &ledger);
    let at_least = async |count| acknowledged(&ledger, count).await;
    at_least(100).await;

    let backup = folder.join("backup.db");
    let mut before = now(&ledger);
    let mut held = 0;
    // Until deliveries were acknowledged while one was written.
    for _ in 0..50 {
        before = now(&ledger);
        let told = sluice(folder, &["backup", "backup.db", "--force", "--json"]).await.json();
        held = told["events"].as_u64().unwrap();
        assert!(held >= before.lock().unwrap().len() as u64, "{told}");
        if ledger.lock().unwrap().len() > before.lock().unwrap().len() {
            break;
        }
    }
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let after = ledger.lock().unwrap().len();
    assert!(after > before.lock().unwrap().len(), "the gateway went on meanwhile");
    at_least(after + 100).await;
    // What ran after the backup took effect, and the backup does not know.
    eventually("jobs that are not in the backup run", || async {
        (world.wordpress.effects().len() as u64 > held).then_some(())
    })
    .await;

    refused(&sluice(folder, &["restore", "backup.db"]).await, "SLU07", &["in use"]);
    process.kill();
    load.end().await;
    let kept = fs::read(&backup).unwrap();
    let restored = sluice(folder, &["restore", "backup.db", "--json"]).await.json();
    assert_eq!(restored["events"].as_u64(), Some(held));
    assert_eq!(fs::read(&backup).unwrap(), kept, "the backup itself stays as it was");

    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    nothing_lost_and_nothing_doubled(&world, &process, &before).await;
    fences_only_rise(&world);
    let lanes = process.get("/api/v1/lanes").await;
    assert_eq!(lanes["items"].as_array().unwrap().len(), 1);
    process.terminate();
    assert!(process.ended().await.0.success());

    // The way back: the replaced file, with all that was acknowledged until the kill.
    let replaced = restored["replaced"].as_str().unwrap();
    let back = sluice(folder, &["restore", replaced, "--json"]).await.json();
    assert!(back["events"].as_u64().unwrap() >= ledger.lock().unwrap().len() as u64, "{back}");
    let process = Process::start(&world.folder).await;
    nothing_lost_and_nothing_doubled(&world, &process, &ledger).await;
    process.terminate();
    assert!(process.ended().await.0.success());
}

/// No attempt of a job came with a fence that the site had seen before, or a lower one.
pub(crate) fn fences_only_rise(world: &World) {
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let mut jumps = 0;
    for request in world.wordpress.requests() {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let (job, fence) = (body["job_id"].as_str().unwrap().to_owned(), body["fence"].as_i64().unwrap());
        if let Some(before) = last.insert(job.clone(), fence) {
            assert!(fence > before, "{job}: {fence} after {before}");
            jumps += usize::from(fence > before + 1000);
        }
    }
    assert!(jumps > 0, "no job ran before and after");
}

/// A folder whose database holds an event, and that no gateway serves.
async fn at_rest() -> (World, String) {
    let world = World::new(&fast()).await;
    let app = world.start().await;
    let answer = app.acme("chat", "generic").send("e1", &completed("thread", 0)).await;
    let event = answer.event().to_owned();
    app.settled(&event).await;
    app.finish().await;
    (world, event)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_never_replaces_a_file_unasked_and_leaves_none_behind_that_is_not_whole() {
    let (world, _) = at_rest().await;
    let folder = world.folder.path();
    let written = sluice(folder, &["backup", "one.db"]).await;
    assert!(written.status == 0 && written.stdout.contains("1 events and 1 jobs"), "{written:#?}");
    refused(&sluice(folder, &["backup", "one.db"]).await, "SLU14", &["exists already", "--force"]);
    refused(&sluice(folder, &["backup", "--force", "sluice.db"]).await, "SLU14", &["the database itself"]);
    refused(&sluice(folder, &["backup", "nowhere/one.db"]).await, "SLU14", &["nowhere"]);
    fs::write(folder.join("old.db"), "old").unwrap();
    assert_eq!(sluice(folder, &["backup", "--force", "old.db"]).await.status, 0);
    assert_eq!(fs::metadata(folder.join("old.db")).unwrap().len(), fs::metadata(folder.join("one.db")).unwrap().len());

    // A disk that takes no more: a limit on the size of a file gets the same answer.
    let before = names(folder);
    let mut full = std::process::Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_sluice");
    full.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" backup two.db", binary]).current_dir(folder);
    full.env_clear().stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    refused(&run(full).await, "SLU14", &["cannot back", "nothing was changed"]);
    assert_eq!(names(folder), before);

    let empty = Folder::new();
    refused(&sluice(empty.path(), &["backup", "one.db"]).await, "SLU14", &["there is no file", "sluice.db"]);
    assert!(!names(empty.path()).iter().any(|name| name.contains(".db")), "{:?}", names(empty.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_sound_backup_replaces_nothing() {
    let (world, _) = at_rest().await;
    let folder = world.folder.path();
    assert_eq!(sluice(folder, &["backup", "good.db"]).await.status, 0);
    let good = fs::read(folder.join("good.db")).unwrap();

    fs::write(folder.join("short.db"), &good[..good.len() / 2]).unwrap();
    let mut torn = good.clone();
    // Pages in the middle, whose headers then say nothing that can be.
    let middle = torn.len() / 2 / 4096 * 4096;
    torn[middle..middle + 8192].fill(0xA5);
    fs::write(folder.join("torn.db"), torn).unwrap();
    fs::write(folder.join("text.db"), "no database at all").unwrap();
    fs::write(folder.join("empty.db"), "").unwrap();
    fs::write(folder.join("open.db"), &good).unwrap();
    fs::write(folder.join("open.db-wal"), "what was written last").unwrap();
    fs::write(folder.join("newer.db"), &good).unwrap();
    let newer = "INSERT INTO _sqlx_migrations VALUES (999, 'later', CURRENT_TIMESTAMP, true, x'00', 0)";
    on(&folder.join("newer.db"), newer).await;
    fs::write(folder.join("other.db"), "").unwrap();
    on(&folder.join("other.db"), "CREATE TABLE theirs (a)").await;

    let before = world.folder.stored_bytes();
    for (file, code, words) in [
        ("none.db", "SLU14", "there is no file"),
        ("short.db", "SLU14", "is damaged"),
        ("torn.db", "SLU14", "is damaged"),
        ("text.db", "SLU14", "is damaged"),
        ("empty.db", "SLU04", "another program"),
        ("other.db", "SLU04", "another program"),
        ("open.db", "SLU14", "sluice backup"),
        ("newer.db", "SLU06", "run the newer release"),
        ("sluice.db", "SLU14", "the database itself"),
    ] {
        refused(&sluice(folder, &["restore", file]).await, code, &[file, words]);
        assert_eq!(world.folder.stored_bytes(), before, "{file}");
    }
    assert!(
        !names(folder).iter().any(|name| name.contains("partial") || name.contains("replaced")),
        "{:?}",
        names(folder)
    );

    // Where there is none, there is none to keep.
    for name in names(folder).iter().filter(|name| name.starts_with("sluice.db")) {
        fs::remove_file(folder.join(name)).unwrap();
    }
    assert_eq!(sluice(folder, &["restore", "good.db", "--json"]).await.json()["replaced"], Value::Null);
    assert_eq!(fs::metadata(folder.join("sluice.db")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_beyond_reading_is_kept_with_its_log_and_replaced() {
    let (world, event) = at_rest().await;
    let folder = world.folder.path();
    assert_eq!(sluice(folder, &["backup", "good.db"]).await.status, 0);
    let (path, log) = (folder.join("sluice.db"), folder.join("sluice.db-wal"));
    let (bytes, logged) = (vec![0xA5; 8192], b"its log".to_vec());
    fs::write(&path, &bytes).unwrap();
    fs::write(&log, &logged).unwrap();

    let restored = sluice(folder, &["restore", "good.db", "--json"]).await.json();
    let replaced = restored["replaced"].as_str().unwrap();
    assert!(fs::read(replaced).unwrap() == bytes && fs::read(format!("{replaced}-wal")).unwrap() == logged);
    assert!(!log.exists(), "the log of another file");
    let app = world.start().await;
    assert_eq!(app.get(&format!("/api/v1/events/{event}")).await["jobs"][0]["state"], "succeeded");
    assert!(app.acme("chat", "generic").send("e1", &completed("thread", 0)).await.is_duplicate());
    app.finish().await;
}

async fn on(path: &Path, text: &str) {
    use sqlx::{ConnectOptions, Connection};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_anywhere_leaves_the_old_database_or_the_new_one_whole() {
    let (world, event) = at_rest().await;
    let folder = world.folder.path();
    assert_eq!(sluice(folder, &["backup", "backup.db"]).await.status, 0);
    let app = world.start().await;
    let later = app.acme("chat", "generic").send("e2", &completed("other", 1)).await.event().to_owned();
    app.finish().await;
    // Killed as soon as the folder shows that it has come so far.
    let stages: [fn(&str) -> bool; 4] = [
        |name| name.ends_with(".partial"),
        |name| name.ends_with(".partial-wal"),
        |name| name.contains(".replaced-"),
        |_| false,
    ];
    let (mut old, mut new) = (0, 0);
    for stage in stages.into_iter().cycle().take(16) {
        let before = names(folder);
        let mut child = command(folder, &["restore", "backup.db"]).spawn().unwrap();
        while child.try_wait().unwrap().is_none()
            && !names(folder).iter().any(|name| !before.contains(name) && stage(name))
        {}
        child.kill().unwrap();
        child.wait().unwrap();
        let app = world.start().await;
        assert_eq!(app.get(&format!("/api/v1/events/{event}")).await["jobs"][0]["state"], "succeeded");
        let answer = app.request(reqwest::Method::GET, &format!("/api/v1/events/{later}")).send().await.unwrap();
        let is_old = answer.status().is_success();
        (old, new) = (old + usize::from(is_old), new + usize::from(!is_old));
        app.finish().await;
        // Back to the database with both.
        if !is_old {
            let kept = names(folder).into_iter().filter(|name| name.contains(".replaced-")).max().unwrap();
            assert_eq!(sluice(folder, &["restore", &kept]).await.status, 0);
        }
    }
    assert!(old > 0 && new >= 4, "old {old}, new {new}");
}
