//! Rates, caps and what idle lanes cost.

use std::time::Duration;

use sluice_actors::{
    domain::{CalleeId, JobState, Mandate},
    handle::{LaneStatus, NodeLimits},
    ports::{CalleePolicy, LanePolicy, Rate},
    testing::{Act, Answer, Call, NewJob, Setup, StoreOp, TestTree, default_callee, default_lane, lane_key},
};
use tokio::time::Instant;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The most calls within any ten seconds.
fn most_in_ten_seconds(calls: &[Call]) -> usize {
    let within = |n: usize| calls[n..].iter().take_while(|call| call.at - calls[n].at < secs(10)).count();
    (0..calls.len()).map(within).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_lane_keeps_its_rate_and_its_cap() {
    let tree = TestTree::start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Success, Duration::from_millis(50));
    for _ in 0..400 {
        tree.insert(NewJob::on("acme/crm").kind("call"));
    }
    let began = Instant::now();
    tree.settle().await;
    let most = most_in_ten_seconds(&tree.action.calls_to(&crm));
    assert!(most <= 101, "10 a second, the bucket begins empty: {most}");
    assert!(tree.action.most_at_once(&crm) <= 4);
    assert!(began.elapsed() < secs(42), "and the rate is used: {:?}", began.elapsed());
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_lanes_behind_one_key_never_exceed_its_rate() {
    let rate = Rate { per_second: 5.0, burst: 5 };
    let callee = CalleePolicy { rate: Some(rate), concurrency: Some(3), ..default_callee() };
    let tree = Setup { callee, ..Setup::default() }.start().await;
    let llm = CalleeId::new("llm", "0123abcd");
    tree.action.calls("llm", &[&llm]);
    tree.action.answers(&llm, Answer::Success, Duration::from_millis(300));
    for n in 0..500 {
        tree.insert(NewJob::on(&format!("t{}/s{}", n % 10, n % 100)).kind("llm"));
    }
    let began = Instant::now();
    tree.settle().await;
    let calls = tree.action.calls_to(&llm);
    assert_eq!(calls.len(), 500);
    assert!(most_in_ten_seconds(&calls) <= 55);
    assert!(tree.action.most_at_once(&llm) <= 3);
    assert!(began.elapsed() < secs(105), "and the rate is used: {:?}", began.elapsed());
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_empties_the_shared_bucket() {
    let callee = CalleePolicy { rate: Some(Rate { per_second: 100.0, burst: 10 }), ..default_callee() };
    let tree = Setup { callee, ..Setup::default() }.start().await;
    let llm = CalleeId::new("llm", "0123abcd");
    tree.action.calls("llm", &[&llm]);
    tree.action.answers(&llm, Answer::Failure(Some(secs(120))), Duration::from_millis(10));
    tree.insert(NewJob::on("acme/one").kind("llm"));
    tree.until(|tree| tree.store.jobs()[0].job.attempts == 1).await;
    tree.action.answers(&llm, Answer::Success, Duration::from_millis(10));
    let other = tree.insert(NewJob::on("other/two").kind("llm"));
    tree.pass(secs(119)).await;
    assert_eq!(tree.store.job(other).job.state, JobState::Pending);
    tree.pass(secs(2)).await;
    assert_eq!(tree.store.job(other).job.state, JobState::Succeeded);
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_node_never_runs_more_than_its_slots() {
    let mut setup = Setup::default();
    setup.limits.concurrency = 10;
    let tree = setup.start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Success, secs(1));
    for n in 0..200 {
        tree.insert(NewJob::on(&format!("t{}/s{}", n % 10, n % 20)).kind("call"));
    }
    let began = Instant::now();
    tree.settle().await;
    assert!(tree.action.most_at_once(&crm) <= 10);
    assert!(began.elapsed() < secs(25), "and it uses them: {:?}", began.elapsed());
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_the_limits_of_a_lane_that_is_awake() {
    let tree = TestTree::start().await;
    for _ in 0..1000 {
        tree.insert(NewJob::on("acme/crm"));
    }
    tree.pass(secs(10)).await;
    let before = tree.store.count(JobState::Succeeded);
    assert!((90..=105).contains(&before), "{before}");
    let fast = LanePolicy { rate: Rate { per_second: 100.0, burst: 20 }, ..default_lane() };
    tree.policies.set_lane(&lane_key("acme/crm"), Some(fast));
    tree.gateway().reload();
    tree.pass(secs(10)).await;
    assert!(tree.store.count(JobState::Succeeded) > 900);
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_switched_off_waits_and_goes_on_when_it_is_back() {
    let tree = TestTree::start().await;
    let lane = lane_key("acme/crm");
    tree.policies.set_lane(&lane, None);
    let job = tree.insert(NewJob::on("acme/crm"));
    tree.pass(secs(60)).await;
    assert_eq!(tree.store.job(job).job.state, JobState::Pending);
    tree.policies.set_lane(&lane, Some(default_lane()));
    tree.gateway().reload();
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_switched_off_and_on_keeps_its_cap_while_its_calls_are_in_flight() {
    let tree = TestTree::start().await;
    let (lane, crm) = (lane_key("acme/crm"), CalleeId::new("host", "crm.example"));
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Success, secs(30));
    for _ in 0..20 {
        tree.insert(NewJob::on("acme/crm").kind("call"));
    }
    tree.until(|tree| tree.action.running() == 4).await;
    for policy in [None, Some(default_lane())] {
        tree.policies.set_lane(&lane, policy);
        tree.gateway().reload();
        tree.pass(secs(3)).await;
    }
    tree.settle().await;
    assert_eq!(tree.action.most_at_once(&crm), 4);
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_a_lane_over_a_restart_until_it_is_resumed() {
    let mut tree = TestTree::start().await;
    let lane = lane_key("acme/crm");
    tree.gateway().pause(&lane, Mandate::new("op", "")).await.unwrap();
    let job = tree.insert(NewJob::on("acme/crm"));
    tree.pass(secs(60)).await;
    tree.die_and_restart().await;
    tree.pass(secs(60)).await;
    assert_eq!(tree.store.job(job).job.state, JobState::Pending);
    tree.gateway().resume(&lane, Mandate::new("op", "")).await.unwrap();
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_cannot_be_kept_is_refused() {
    let tree = TestTree::start().await;
    tree.store.refuse(StoreOp::KeepPause);
    assert!(tree.gateway().pause(&lane_key("acme/crm"), Mandate::new("op", "")).await.is_err());
    tree.store.mend();
    tree.insert(NewJob::on("acme/crm"));
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn lanes_that_sleep_with_an_empty_bucket_keep_it_and_little_else() {
    let lane = LanePolicy { rate: Rate { per_second: 0.001, burst: 1 }, ..default_lane() };
    let tree = Setup { lane, ..Setup::default() }.start().await;
    tree.pass(secs(1000)).await;
    for n in 0..1000 {
        tree.insert(NewJob::on(&format!("t{}/s{n}", n % 100)));
    }
    tree.settle().await;
    tree.pass(secs(65)).await;
    let left = tree.gateway().footprint().await.unwrap();
    assert_eq!((left.actors, left.records), (0, 1000), "{left:?}");
    assert!(left.record_bytes <= 128, "{left:?}");
    let again = tree.insert(NewJob::on("t0/s0"));
    tree.pass(secs(600)).await;
    assert_eq!(tree.store.job(again).job.state, JobState::Pending, "sleep fills no bucket");
    tree.settle().await;
    tree.finish().await;
}

/// Lanes that are awake after each of forty steps, each with 25 new lanes.
async fn awake_while_lanes_come(room: usize, step_takes: Duration) -> Vec<usize> {
    let limits = NodeLimits { awake: room, ..NodeLimits::default() };
    let tree = Setup { limits, ..Setup::default() }.start().await;
    let mut awake = Vec::new();
    for step in 0..40 {
        for n in 0..25 {
            tree.insert(NewJob::on(&format!("t{n}/s{step}")));
        }
        tree.pass(step_takes).await;
        awake.push(tree.gateway().footprint().await.expect("the tree runs").actors);
    }
    tree.settle().await;
    tree.finish().await;
    awake
}

#[tokio::test(start_paused = true)]
async fn where_many_lanes_are_awake_those_without_work_sleep_early() {
    let quarter = Duration::from_millis(250);
    let roomy = awake_while_lanes_come(10_000, quarter).await;
    assert_eq!(roomy.last(), Some(&1000), "with room they stay: {roomy:?}");
    let crowded = awake_while_lanes_come(100, quarter).await;
    // Those within the room stay; of the others as many as come within the second, and a step.
    assert!(crowded.iter().all(|awake| *awake <= 100 + 5 * 25), "{crowded:?}");
    // However fast they come: hardly twice the room, and those of the last steps.
    let flood = awake_while_lanes_come(100, Duration::from_millis(20)).await;
    assert!(flood.iter().all(|awake| *awake <= 2 * 100 + 3 * 25), "{flood:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_wake_hints_costs_few_reads() {
    let tree = TestTree::start().await;
    let lane = lane_key("acme/crm");
    tree.insert(NewJob::on("acme/crm"));
    tree.settle().await;
    let before = tree.store.calls(StoreOp::Due);
    for _ in 0..1_000_000 {
        tree.gateway().wake(&lane);
    }
    tree.pass(secs(1)).await;
    let reads = tree.store.calls(StoreOp::Due) - before;
    assert!(reads <= 3, "{reads}");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_lane_reads_the_store_in_batches() {
    let lane = LanePolicy { rate: Rate { per_second: 1000.0, burst: 1000 }, ..default_lane() };
    let tree = Setup { lane, ..Setup::default() }.start().await;
    for _ in 0..2000 {
        tree.store.insert(NewJob::on("acme/crm"));
    }
    tree.gateway().wake(&lane_key("acme/crm"));
    let began = Instant::now();
    tree.settle().await;
    assert!(began.elapsed() < secs(4), "1000 a second, the bucket begins empty: {:?}", began.elapsed());
    let reads = tree.store.calls(StoreOp::Due);
    assert!(reads <= 45, "{reads} reads for 2000 jobs");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_that_is_not_configured_does_not_hide_what_stands_behind_it() {
    let lane = LanePolicy { queue: 16, ..default_lane() };
    let tree = Setup { lane, ..Setup::default() }.start().await;
    tree.action.does("gone", Act::NotConfigured);
    for _ in 0..100 {
        tree.insert(NewJob::on("acme/crm").route("gone").kind("gone"));
    }
    tree.pass(secs(5)).await;
    let good = tree.insert(NewJob::on("acme/crm"));
    tree.pass(secs(5)).await;
    assert_eq!(tree.store.job(good).job.state, JobState::Succeeded);
    let before = tree.store.calls(StoreOp::Due);
    tree.pass(secs(60)).await;
    let reads = tree.store.calls(StoreOp::Due) - before;
    assert!(reads <= 10, "{reads} reads in a minute of waiting");
    assert_eq!(tree.lane("acme/crm").await.unwrap().status, LaneStatus::Unconfigured);
    tree.action.mend("gone");
    tree.gateway().reload();
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_without_a_hint_is_found_by_the_poll() {
    let tree = TestTree::start().await;
    for n in 0..1000 {
        tree.store.insert(NewJob::on(&format!("t{}/s{n}", n % 10)));
    }
    tree.pass(secs(5)).await;
    assert_eq!(tree.store.count(JobState::Succeeded), 1000);
    tree.finish().await;
}
