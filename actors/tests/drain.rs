//! The end of a node's work.

use std::time::Duration;

use sluice_actors::{
    domain::{CalleeId, JobState, Mandate},
    handle::{DrainReport, GatewayError},
    ports::DeadLetterFilter,
    testing::{Answer, NewJob, StoreOp, TestTree, lane_key},
};
use tokio::time::Instant;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn tree_with_slow_calls(latency: Duration, jobs: usize) -> (TestTree, CalleeId) {
    let tree = TestTree::start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Success, latency);
    for _ in 0..jobs {
        tree.insert(NewJob::on("acme/crm").kind("call"));
    }
    tree.until(|tree| tree.action.running() == 4).await;
    (tree, crm)
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_attempts_end_and_begins_nothing_more() {
    let (mut tree, crm) = tree_with_slow_calls(secs(10), 20).await;
    let began = Instant::now();
    let report = tree.drain(secs(25)).await;
    assert_eq!(report, DrainReport { finished: 4, released: Vec::new() });
    assert!(began.elapsed() < secs(11), "it does not wait for its deadline: {:?}", began.elapsed());
    assert_eq!(tree.action.calls_to(&crm).len(), 4);
    assert_eq!((tree.store.count(JobState::Succeeded), tree.store.count(JobState::Pending)), (4, 16));
    tree.finish_with_jobs_left().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_released_and_not_suspected() {
    let (mut tree, _) = tree_with_slow_calls(secs(50), 4).await;
    let report = tree.drain(secs(25)).await;
    assert_eq!((report.finished, report.released.len()), (0, 4));
    assert_eq!(tree.action.running(), 0, "they were cut off");
    for stored in tree.store.jobs() {
        assert_eq!((stored.job.state, stored.job.attempts), (JobState::Pending, 0));
    }
    assert_eq!(tree.die_and_restart().await.suspects, 0);
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_reported_and_found_by_the_next_life() {
    let (mut tree, _) = tree_with_slow_calls(secs(1), 4).await;
    tree.store.refuse(StoreOp::End);
    let began = Instant::now();
    let report = tree.drain(secs(10)).await;
    assert_eq!(report.released.len(), 4);
    assert!(began.elapsed() < secs(15), "{:?}", began.elapsed());
    tree.store.mend();
    assert_eq!(tree.die_and_restart().await.suspects, 4);
    tree.settle().await;
    assert!(tree.store.jobs().iter().all(|stored| stored.outcomes == 1));
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_drain_waits_for_the_first_and_says_the_same() {
    let (mut tree, _) = tree_with_slow_calls(secs(10), 4).await;
    let gateway = tree.gateway().clone();
    let second = tokio::spawn(async move { gateway.drain(secs(1)).await });
    let first = tree.drain(secs(25)).await;
    assert_eq!(second.await.unwrap(), first);
    tree.finish_with_jobs_left().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_drain_every_verb_says_that_it_drains() {
    let mut tree = TestTree::start().await;
    let gateway = tree.gateway().clone();
    tree.drain(secs(1)).await;
    let lane = lane_key("acme/crm");
    gateway.wake(&lane);
    gateway.reload();
    assert!(matches!(gateway.pause(&lane, Mandate::new("op", "")).await, Err(GatewayError::Draining)));
    assert!(matches!(gateway.probe(&lane).await, Err(GatewayError::Draining)));
    assert!(matches!(gateway.snapshot().await, Err(GatewayError::Draining)));
    assert!(matches!(
        gateway.replay(DeadLetterFilter::default(), Mandate::new("op", ""), 1.0).await,
        Err(GatewayError::Draining)
    ));
    tree.finish().await;
}
