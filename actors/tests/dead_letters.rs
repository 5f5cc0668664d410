//! Dead letters: none lost, none doubled, no lane blocked by them.

use std::{collections::HashSet, time::Duration};

use sluice_actors::{
    domain::{DeadReason, JobClass, JobState, Mandate},
    ports::DeadLetterFilter,
    testing::{Act, Heard, NewJob, StoreOp, TestTree},
};
use tokio::time::Instant;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn alarms(tree: &TestTree) -> Vec<sluice_actors::domain::JobId> {
    tree.recorder.select(|heard| match heard {
        Heard::DeadLettered(job, DeadReason::Rejected) => Some(*job),
        _ => None,
    })
}

/// A tree with this many dead letters on `acme/crm`.
async fn tree_with_letters(count: usize) -> TestTree {
    let tree = TestTree::start().await;
    tree.action.does("dies", Act::Die);
    for _ in 0..count {
        tree.insert(NewJob::on("acme/crm").kind("dies"));
    }
    tree.settle().await;
    assert_eq!(tree.store.count(JobState::DeadLetter), count);
    tree
}

#[tokio::test(start_paused = true)]
async fn each_letter_raises_one_alarm() {
    let tree = tree_with_letters(25).await;
    tree.pass(secs(1)).await;
    let raised = alarms(&tree);
    assert_eq!(raised.len(), 25);
    assert_eq!(raised.into_iter().collect::<HashSet<_>>().len(), 25);
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_actor_killed_and_the_store_refusing_writes_lose_double_and_block_nothing() {
    let tree = TestTree::start().await;
    tree.action.does("dies", Act::Die);
    let dying: Vec<_> = (0..30).map(|_| tree.insert(NewJob::on("acme/crm").kind("dies"))).collect();
    tree.until(|tree| tree.store.count(JobState::DeadLetter) >= 5).await;
    tree.store.refuse(StoreOp::EndDead);
    tree.kill_dead_letter_actor();
    let living: Vec<_> = (0..30).map(|_| tree.insert(NewJob::on("acme/crm").kind("lives"))).collect();
    tree.pass(secs(20)).await;
    for job in &living {
        assert_eq!(tree.store.job(*job).job.state, JobState::Succeeded, "the lane goes on");
    }
    tree.kill_dead_letter_actor();
    tree.store.mend();
    tree.settle().await;
    for job in &dying {
        let stored = tree.store.job(*job);
        assert_eq!((stored.job.state, stored.outcomes), (JobState::DeadLetter, 1));
    }
    tree.pass(secs(60)).await;
    let raised = alarms(&tree);
    assert_eq!(raised.len(), 30, "one alarm each");
    assert_eq!(raised.into_iter().collect::<HashSet<_>>().len(), 30);
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_keeps_its_rate() {
    let tree = tree_with_letters(50).await;
    tree.action.mend("dies");
    let began = Instant::now();
    let matched = tree.gateway().replay(DeadLetterFilter::default(), Mandate::new("op", ""), 5.0).await.unwrap();
    assert_eq!(matched, 50);
    tree.pass(secs(5)).await;
    let back = tree.store.jobs().iter().filter(|stored| stored.job.class == JobClass::Replay).count();
    assert!((24..=27).contains(&back), "{back} in 5 s");
    tree.until(|tree| tree.store.count(JobState::Succeeded) == 50).await;
    assert!(began.elapsed() < secs(12), "{:?}", began.elapsed());
    assert!(tree.store.jobs().iter().all(|stored| stored.replayed_by == ["op"]));
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_survives_the_actor_and_a_store_that_refuses() {
    let tree = tree_with_letters(50).await;
    tree.action.mend("dies");
    tree.gateway().replay(DeadLetterFilter::default(), Mandate::new("op", ""), 10.0).await.unwrap();
    tree.pass(secs(1)).await;
    tree.kill_dead_letter_actor();
    tree.store.refuse(StoreOp::Replay);
    tree.pass(secs(10)).await;
    tree.kill_dead_letter_actor();
    tree.store.mend();
    tree.until(|tree| tree.store.count(JobState::Succeeded) == 50).await;
    assert!(tree.store.jobs().iter().all(|stored| stored.replayed_by.len() == 1), "none was brought back twice");
    let told: u64 = tree
        .recorder
        .select(|heard| match heard {
            Heard::Replayed(count) => Some(*count),
            _ => None,
        })
        .iter()
        .sum();
    assert_eq!(told, 50);
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn only_what_matches_is_replayed_and_what_dies_again_is_not_replayed_for_ever() {
    let tree = tree_with_letters(10).await;
    for _ in 0..10 {
        tree.insert(NewJob::on("other/crm").kind("dies"));
    }
    tree.settle().await;
    let filter = DeadLetterFilter { tenant: Some("acme".into()), ..DeadLetterFilter::default() };
    assert_eq!(tree.gateway().replay(filter, Mandate::new("op", ""), 100.0).await.unwrap(), 10);
    tree.pass(secs(60)).await;
    assert_eq!(tree.store.count(JobState::DeadLetter), 20, "they died again");
    for stored in tree.store.jobs() {
        let times = usize::from(stored.job.lane.tenant.as_str() == "acme");
        assert_eq!(stored.replayed_by.len(), times);
    }
    tree.finish().await;
}
