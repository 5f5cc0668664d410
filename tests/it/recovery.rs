//! The drills of docs/backup.md and docs/production.md: a Postgres server is lost and brought back to a moment, or
//! from a dump.

use std::time::Duration;

use sluice::standins::Fault;

use crate::{
    backup::{fences_only_rise, now},
    chaos::{Ledger, Load, acknowledged, fast, nothing_lost_and_nothing_doubled},
    copy::move_to,
    harness::{Archive, Cluster, Process, SECRET, Sender, World, completed, eventually, sluice},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_brought_back_to_a_moment_lost_nothing_acknowledged_before_it_and_doubles_nothing() {
    let cluster = Cluster::start(&["archive_mode=on"]);
    let archive = Archive::new();
    let database = cluster.database().await;
    let world = World::on_url(&cluster.url(&database), &fast()).await;
    let ledger = Ledger::default();
    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    let load = Load::begin(&sender, 0, &ledger);
    let at_least = async |count| acknowledged(&ledger, count).await;
    at_least(50).await;
    cluster.archive_to(&archive).await;

    // A slow site, so that at the moment many jobs still wait: they run before the server is lost, and
    // again after it was brought back.
    world.wordpress.fail_always(Some(Fault::Late(Duration::from_secs(2))));
    let mut server = cluster.connect(&database).await;
    let enough = ledger.lock().unwrap().len() + 100;
    at_least(enough).await;
    let before = now(&ledger);
    let moment: String = sqlx::query_scalar("SELECT clock_timestamp()::text").fetch_one(&mut server).await.unwrap();
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state IN ('pending', 'failed', 'running')")
        .fetch_one(&mut server)
        .await
        .unwrap();
    assert!(waiting > 10, "{waiting}");
    world.wordpress.fail_always(None);
    let stored = before.lock().unwrap().len();
    at_least(stored + 50).await;
    eventually("what waited at the moment ran", || async { (world.wordpress.effects().len() > stored).then_some(()) })
        .await;
    let segment: String =
        sqlx::query_scalar("SELECT pg_walfile_name(pg_switch_wal())").fetch_one(&mut server).await.unwrap();
    eventually("the log is archived", || async { archive.wal().join(&segment).exists().then_some(()) }).await;
    // The archive command writes a file under its name before it is whole.
    eventually("the server knows that it is", || async {
        let known = "SELECT last_archived_wal >= $1 FROM pg_stat_archiver";
        let known: Option<bool> =
            sqlx::query_scalar(known).bind(&segment).fetch_one(&mut cluster.connect(&database).await).await.unwrap();
        known.unwrap_or_default().then_some(())
    })
    .await;

    // The machine is lost, gateway and all.
    process.kill();
    load.end().await;
    drop(server);
    drop(cluster);
    let cluster = Cluster::recovered(&archive, &moment);
    eventually("the server has reached the moment", || async {
        let recovering = "SELECT pg_is_in_recovery()";
        let recovering: bool =
            sqlx::query_scalar(recovering).fetch_one(&mut cluster.connect(&database).await).await.unwrap();
        (!recovering).then_some(())
    })
    .await;
    move_to(&world, &cluster.url(&database));
    let told = sluice(world.folder.path(), &["restore", "--recovered", "--json"]).await.json();
    assert!(told["unfinished_jobs"].as_i64().unwrap() >= waiting / 2, "{told}, {waiting} waited");

    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    nothing_lost_and_nothing_doubled(&world, &process, &before).await;
    fences_only_rise(&world);

    what_came_later_is_taken_as_new(&world, &process, &before, &ledger).await;
    process.terminate();
    assert!(process.ended().await.0.success());
}

/// What came after the moment is gone; sent again it is taken as new, and updates the post of its subject instead of
/// making a second.
async fn what_came_later_is_taken_as_new(world: &World, process: &Process, before: &Ledger, ledger: &Ledger) {
    let (known, all) = (before.lock().unwrap().clone(), ledger.lock().unwrap().clone());
    let later: Vec<_> = all.iter().filter(|(id, _)| !known.contains_key(*id)).collect();
    let mut gone = 0;
    for (_, event) in &later {
        let answer = eventually("the API answers", || async {
            let answer = process.get(&format!("/api/v1/events/{event}")).await;
            (answer["error"] != "unavailable").then_some(answer)
        })
        .await;
        gone += usize::from(answer["event"].is_null());
    }
    assert!(gone > 0, "nothing came after the moment");
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    let mut taken = 0;
    for (id, _) in &later {
        let answer = sender.send(id, &completed(id, 0)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        taken += usize::from(!answer.is_duplicate());
    }
    assert_eq!(taken, gone, "of {}", later.len());
    nothing_lost_and_nothing_doubled(world, process, before).await;
    let mut subjects: Vec<_> = world.wordpress.posts().into_iter().map(|post| post.post_key).collect();
    let posts = subjects.len();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), posts, "two posts of one subject");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_taken_under_load_and_restored_holds_all_that_was_acknowledged_before_and_doubles_nothing() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let world = World::on_url(&cluster.url(&database), &fast()).await;
    let ledger = Ledger::default();
    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    let load = Load::begin(&sender, 0, &ledger);
    let at_least = async |count| acknowledged(&ledger, count).await;
    at_least(50).await;

    // A slow site, so that in the dump many jobs still wait: they run before the server is lost, and again from the
    // dump.
    world.wordpress.fail_always(Some(Fault::Late(Duration::from_secs(2))));
    let enough = ledger.lock().unwrap().len() + 100;
    at_least(enough).await;
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("database.dump");
    let mut before = now(&ledger);
    // Until deliveries were acknowledged while one was written.
    for _ in 0..50 {
        before = now(&ledger);
        cluster.dump_into(&database, &dump).await;
        if ledger.lock().unwrap().len() > before.lock().unwrap().len() {
            break;
        }
    }
    let after = ledger.lock().unwrap().len();
    assert!(after > before.lock().unwrap().len(), "the gateway went on meanwhile");
    world.wordpress.fail_always(None);
    at_least(after + 50).await;
    eventually("what waited in the dump ran", || async { (world.wordpress.effects().len() > after).then_some(()) })
        .await;

    // The database is lost, and the gateway with it.
    process.kill();
    load.end().await;
    let restored = cluster.restored(&dump).await;
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state IN ('pending', 'failed', 'running')")
        .fetch_one(&mut cluster.connect(&restored).await)
        .await
        .unwrap();
    assert!(waiting > 10, "{waiting}");
    move_to(&world, &cluster.url(&restored));
    let told = sluice(world.folder.path(), &["restore", "--recovered", "--json"]).await.json();
    assert!(told["unfinished_jobs"].as_i64().unwrap() >= waiting, "{told}, {waiting} waited");

    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    nothing_lost_and_nothing_doubled(&world, &process, &before).await;
    fences_only_rise(&world);
    what_came_later_is_taken_as_new(&world, &process, &before, &ledger).await;
    process.terminate();
    assert!(process.ended().await.0.success());
}
