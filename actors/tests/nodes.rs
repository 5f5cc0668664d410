//! Several nodes share a store: whose a lane is, and what a node does that may be taken for dead.

use std::time::Duration;

use sluice_actors::{
    domain::{CalleeId, JobState, Mandate},
    handle::LaneStatus,
    ports::{Acquired, Begin, DeadLetterFilter, Fenced, JobStore, Told},
    testing::{Act, Answer, Heard, NewJob, StoreOp, TestTree, lane_key},
};

const LANE: &str = "acme/payments";

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn crm() -> CalleeId {
    CalleeId::new("host", "crm.example")
}

/// A tree whose `call` jobs call somebody who takes ten seconds.
async fn calling() -> TestTree {
    let tree = TestTree::start().await;
    tree.action.calls("call", &[&crm()]);
    tree.action.answers(&crm(), Answer::Success, secs(10));
    tree
}

#[tokio::test(start_paused = true)]
async fn a_lane_of_another_node_is_left_to_it_until_it_is_given_back() {
    let tree = TestTree::start().await;
    let other = tree.store.another_node();
    let Ok(Acquired::Mine(owned)) = other.acquire_lane(&lane_key(LANE)).await else { panic!("nobody has it") };
    let job = tree.insert(NewJob::on(LANE));
    for _ in 0..30 {
        tree.gateway().wake(&lane_key(LANE));
        tree.pass(secs(1)).await;
    }
    assert_eq!(tree.store.job(job).job.claims, 0);
    assert!(tree.store.calls(StoreOp::Acquire) < 40, "hints about it cost little");
    let mine = tree.insert(NewJob::on("acme/other"));
    tree.until(|tree| tree.store.job(mine).job.state == JobState::Succeeded).await;
    other.release_lane(&lane_key(LANE), owned.epoch).await.unwrap();
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_goes_to_sleep_is_given_back() {
    let tree = TestTree::start().await;
    tree.insert(NewJob::on(LANE));
    tree.settle().await;
    assert!(tree.store.holds(&lane_key(LANE)));
    tree.until(|tree| !tree.store.holds(&lane_key(LANE))).await;
    assert_eq!(tree.gateway().footprint().await.unwrap().actors, 0);
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_taken_over_begins_with_an_empty_bucket() {
    let tree = TestTree::start().await;
    tree.pass(secs(3600)).await;
    let other = tree.store.another_node();
    let Ok(Acquired::Mine(owned)) = other.acquire_lane(&lane_key(LANE)).await else { panic!("nobody has it") };
    other.release_lane(&lane_key(LANE), owned.epoch).await.unwrap();
    let begun = tokio::time::Instant::now();
    let mut own = Vec::new();
    for _ in 0..10 {
        tree.insert(NewJob::on(LANE));
        own.push(tree.insert(NewJob::on("acme/own")));
    }
    tree.until(|tree| own.iter().all(|job| tree.store.job(*job).job.state == JobState::Succeeded)).await;
    assert!(begun.elapsed() < secs(1), "a full bucket");
    tree.settle().await;
    // Ten a second.
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_out_of_touch_cuts_its_calls_off_and_begins_nothing_until_it_is_trusted() {
    let tree = calling().await;
    let job = tree.insert(NewJob::on(LANE).kind("call"));
    tree.until(|tree| tree.action.running() == 1).await;
    tree.gateway().distrust();
    tree.pass(Duration::from_millis(100)).await;
    assert_eq!(tree.action.running(), 0, "the call was cut off");
    tree.until(|tree| tree.store.job(job).job.state == JobState::Pending).await;
    let beside = tree.insert(NewJob::on("acme/other").kind("call"));
    tree.pass(secs(60)).await;
    assert_eq!((tree.store.job(job).job.claims, tree.store.job(beside).job.claims), (1, 0));
    tree.gateway().trust();
    tree.settle().await;
    let stored = tree.store.job(job);
    assert_eq!((stored.job.state, stored.job.attempts, stored.job.suspicion), (JobState::Succeeded, 1, 0));
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_taken_for_dead_drops_its_results_and_takes_its_lanes_anew() {
    let tree = calling().await;
    let job = tree.insert(NewJob::on(LANE).kind("call"));
    tree.until(|tree| tree.action.running() == 1).await;
    let other = tree.store.another_node();
    tree.store.take_for_dead();
    assert_eq!(other.recover().await.unwrap().suspects, 1);
    tree.until(|tree| tree.recorder.count(|heard| matches!(heard, Heard::Ended(_, _, Fenced::Lost))) == 1).await;
    // Another one has work in the lane meanwhile.
    let Ok(Acquired::Mine(owned)) = other.acquire_lane(&lane_key(LANE)).await else { panic!("its owner is dead") };
    let Ok(Begin::Begun(_)) = other.begin(job, true, owned.epoch).await else { panic!("it is startable") };
    tree.pass(secs(60)).await;
    assert_eq!(tree.store.job(job).outcomes, 0, "what it did counts for nothing");

    tree.gateway().distrust();
    tree.gateway().lose_lanes().await;
    tree.store.rejoin();
    tree.gateway().trust();
    let waiting = tree.insert(NewJob::on(LANE).kind("call"));
    tree.pass(secs(60)).await;
    assert_eq!(tree.store.job(waiting).job.claims, 0, "the lane is the other's");
    other.take_for_dead();
    tree.store.recover().await.unwrap();
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_was_lost_without_a_word_is_noticed_by_its_next_begin() {
    let tree = calling().await;
    tree.insert(NewJob::on(LANE).kind("call"));
    tree.settle().await;
    assert!(tree.store.holds(&lane_key(LANE)));
    // The lane is awake and believes that it is this node's.
    let other = tree.store.another_node();
    tree.store.take_for_dead();
    let Ok(Acquired::Mine(owned)) = other.acquire_lane(&lane_key(LANE)).await else { panic!("its owner is dead") };
    tree.store.rejoin();
    let job = tree.insert(NewJob::on(LANE).kind("call"));
    tree.pass(secs(30)).await;
    assert_eq!(tree.store.job(job).job.claims, 0);
    other.release_lane(&lane_key(LANE), owned.epoch).await.unwrap();
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_paused_or_resumed_by_another_node_is_so_here_from_the_next_look_on() {
    let tree = calling().await;
    let other = tree.store.another_node();
    let running = tree.insert(NewJob::on(LANE).kind("call"));
    tree.until(|tree| tree.action.running() == 1).await;
    other.keep_pause(&lane_key(LANE), true, &Mandate::new("ops", "a test")).await.unwrap();
    tree.gateway().look_at_pauses().await;
    let waiting = tree.insert(NewJob::on(LANE).kind("call"));
    tree.pass(secs(3600)).await;
    assert_eq!(tree.store.job(running).job.state, JobState::Succeeded, "what was in flight ended");
    assert_eq!(tree.store.job(waiting).job.claims, 0);
    assert_eq!(tree.lane(LANE).await.map(|lane| lane.status), Some(LaneStatus::Paused));
    assert_eq!(tree.recorder.count(|heard| matches!(heard, Heard::Paused(_, true))), 1);

    other.keep_pause(&lane_key(LANE), false, &Mandate::new("ops", "a test")).await.unwrap();
    tree.gateway().told(&lane_key(LANE), Told::Pause);
    tree.until(|tree| tree.store.job(waiting).job.claims == 1).await;
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn looks_beside_pauses_of_this_node_change_nothing() {
    let (tree, lane) = (calling().await, lane_key(LANE));
    for _ in 0..20 {
        let ((), paused) =
            tokio::join!(tree.gateway().look_at_pauses(), tree.gateway().pause(&lane, Mandate::new("op", "")));
        paused.unwrap();
        assert_eq!(tree.lane(LANE).await.map(|lane| lane.status), Some(LaneStatus::Paused));
        let ((), resumed) =
            tokio::join!(tree.gateway().look_at_pauses(), tree.gateway().resume(&lane, Mandate::new("op", "")));
        resumed.unwrap();
        assert_ne!(tree.lane(LANE).await.map(|lane| lane.status), Some(LaneStatus::Paused));
    }
    let changes = tree.recorder.count(|heard| matches!(heard, Heard::Paused(..)));
    assert_eq!(changes, 40, "once each");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_parked_lane_starts_again_by_a_word_that_another_node_passes_on() {
    let mut tree = calling().await;
    tree.forgive_lane_panics();
    let parked = |tree: &TestTree| tree.recorder.count(|heard| matches!(heard, Heard::Parked(_)));
    while parked(&tree) == 0 {
        tree.panic_lane(LANE).await;
    }
    let job = tree.insert(NewJob::on(LANE).kind("call"));
    tree.pass(secs(60)).await;
    assert_eq!(tree.store.job(job).job.claims, 0);
    tree.gateway().told(&lane_key("acme/other"), Told::Pause);
    tree.pass(secs(30)).await;
    assert_eq!(tree.store.job(job).job.claims, 0, "another lane's word");
    tree.gateway().told(&lane_key(LANE), Told::Pause);
    tree.pass(secs(1)).await;
    assert_eq!(tree.store.job(job).job.claims, 1);
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_done_to_a_lane_is_told_to_the_node_that_has_it() {
    let tree = TestTree::start().await;
    let lane = lane_key(LANE);
    tree.action.does("die", Act::Die);
    let job = tree.insert(NewJob::on(LANE).kind("die"));
    assert_eq!(tree.store.told(), [(lane.clone(), Told::Work)]);
    tree.until(|tree| tree.store.job(job).job.state == JobState::DeadLetter).await;
    tree.store.told();
    tree.gateway().replay(DeadLetterFilter::default(), Mandate::new("op", ""), 100.0).await.unwrap();
    tree.until(|tree| tree.store.job(job).outcomes == 2).await;
    assert_eq!(tree.store.told(), [(lane.clone(), Told::Work)]);
    tree.gateway().pause(&lane, Mandate::new("op", "")).await.unwrap();
    tree.gateway().resume(&lane, Mandate::new("op", "")).await.unwrap();
    tree.gateway().probe(&lane).await.unwrap();
    assert_eq!(
        tree.store.told(),
        [(lane.clone(), Told::Pause), (lane.clone(), Told::Pause), (lane.clone(), Told::Probe)]
    );
    for what in [Told::Work, Told::Pause, Told::Probe] {
        tree.gateway().told(&lane, what);
    }
    tree.pass(secs(1)).await;
    assert_eq!(tree.store.told(), [], "what one was told is passed on to nobody");
    tree.finish().await;
}
