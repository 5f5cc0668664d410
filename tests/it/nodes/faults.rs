//! What the database does to nodes that work: connections ended, a crash, a lock held long. Nothing is
//! acknowledged that is not kept, and no node needs a restart.

use std::time::Duration;

use tokio::time::Instant;

use super::{Site, ends, more_acknowledged, scrape, sender};
use crate::{
    chaos::{Ledger, Load, fast},
    harness::{Cluster, PATIENCE, Process, World, series},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_connections_end_again_and_again_lose_and_double_nothing() {
    let site = Site::new(&fast()).await;
    let ((_, owner), (_, other)) = site.owner_and_other().await;
    let ledger = Ledger::default();
    let loads = [Load::begin(&sender(&owner), 1, &ledger), Load::begin(&sender(&other), 2, &ledger)];
    for _ in 0..25 {
        let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name LIKE 'sluice%'";
        sqlx::query(all).execute(&mut site.connect().await).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    more_acknowledged(&ledger, 20).await;
    for load in loads {
        let others = load.end().await;
        assert!(others.iter().all(|status| *status == 503), "{others:?}");
    }
    site.nothing_lost_and_nothing_doubled(&other, &ledger).await;
    ends(owner).await;
    ends(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_under_several_nodes_loses_and_doubles_nothing() {
    let cluster = Cluster::start(&[]);
    let world = World::on_url(&cluster.url(&cluster.database().await), &fast()).await;
    let folders = [world.folder.twin(), world.folder.twin()];
    let ledger = Ledger::default();
    let mut nodes = Vec::new();
    let mut loads = Vec::new();
    for (nth, folder) in folders.iter().enumerate() {
        let process = Process::start(folder).await;
        world.trust(&process.runtime.public).await;
        loads.push(Load::begin(&sender(&process), nth, &ledger));
        nodes.push(process);
    }
    for _ in 0..2 {
        more_acknowledged(&ledger, 20).await;
        cluster.crash();
    }
    more_acknowledged(&ledger, 40).await;
    for load in loads {
        let others = load.end().await;
        assert!(others.iter().all(|status| *status == 503), "{others:?}");
    }
    crate::chaos::nothing_lost_and_nothing_doubled(&world, &nodes[0], &ledger).await;
    for process in nodes {
        ends(process).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_the_jobs_that_is_held_ten_seconds_costs_answers_and_nothing_else() {
    let site = Site::new(&fast()).await;
    let ((_, owner), (_, other)) = site.owner_and_other().await;
    let ledger = Ledger::default();
    let loads = [Load::begin(&sender(&owner), 1, &ledger), Load::begin(&sender(&other), 2, &ledger)];
    more_acknowledged(&ledger, 20).await;
    let mut holder = site.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
    let held = Instant::now();
    // Whoever got it before the lock may still be told so.
    let stored = "SELECT count(*) FROM events";
    let known: i64 = sqlx::query_scalar(stored).fetch_one(&mut holder).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let acknowledged = ledger.lock().unwrap().len();
    assert!(acknowledged as i64 <= known, "nothing can be stored meanwhile: {acknowledged} of {known}");
    assert_eq!(sqlx::query_scalar::<_, i64>(stored).fetch_one(&mut holder).await.unwrap(), known);
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    assert!(held.elapsed() >= Duration::from_secs(10));
    let released = Instant::now();
    more_acknowledged(&ledger, 20).await;
    let recovered = released.elapsed();
    assert!(recovered < PATIENCE, "without a restart: {recovered:?}");
    let mut refused = 0;
    for load in loads {
        let others = load.end().await;
        refused += others.len();
        assert!(others.iter().all(|status| *status == 503), "{others:?}");
    }
    assert!(refused > 0, "the lock struck");
    site.nothing_lost_and_nothing_doubled(&other, &ledger).await;
    for node in [owner, other] {
        let dead = series(&scrape(&node).await, "sluice_node_taken_for_dead_total", &[]);
        assert_eq!(dead, 0, "its lease does not hang on the jobs");
        ends(node).await;
    }
}
