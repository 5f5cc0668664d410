//! Outages of callees: what they cost and how they end.

use std::time::Duration;

use sluice_actors::{
    domain::{CalleeId, JobState},
    handle::LaneStatus,
    ports::{BreakerState, JobStore, LanePolicy},
    testing::{Answer, Heard, NewJob, Setup, StoreOp, TestTree, default_lane, lane_key},
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const QUICK: Duration = Duration::from_millis(10);

fn lane_states(tree: &TestTree, lane: &str) -> Vec<BreakerState> {
    let key = lane_key(lane);
    tree.recorder.select(|heard| match heard {
        Heard::LaneBreaker(lane, _, state) if *lane == key => Some(*state),
        _ => None,
    })
}

fn shared_states(tree: &TestTree) -> Vec<BreakerState> {
    tree.recorder.select(|heard| match heard {
        Heard::CalleeBreaker(_, state) => Some(*state),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_lanes_breaker_opens_probes_and_closes_and_no_attempt_is_burned_meanwhile() {
    let tree = TestTree::start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Failure(None), QUICK);
    for _ in 0..20 {
        tree.insert(NewJob::on("acme/crm").kind("call"));
    }
    tree.until(|tree| lane_states(tree, "acme/crm").contains(&BreakerState::Open)).await;
    tree.pass(secs(1)).await;
    let before = tree.action.calls_to(&crm).len();
    assert!((5..=9).contains(&before), "five in a row, and those in flight: {before}");
    let lane = tree.lane("acme/crm").await.unwrap();
    assert_eq!(lane.status, LaneStatus::Held);
    assert_eq!(lane.reason.as_deref(), Some("breaker of host:crm.example is open"));
    tree.pass(secs(300)).await;
    let probes = tree.action.calls_to(&crm).len() - before;
    assert!((2..=4).contains(&probes), "30, 60, 120 s of cooldown: {probes}");
    tree.action.answers(&crm, Answer::Success, QUICK);
    tree.settle().await;
    assert_eq!(tree.store.count(JobState::Succeeded), 20);
    let states = lane_states(&tree, "acme/crm");
    assert_eq!(states[..3], [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Open]);
    assert_eq!(states[states.len() - 2..], [BreakerState::HalfOpen, BreakerState::Closed]);
    let burned: u32 = tree.store.jobs().iter().map(|stored| stored.outcomes - 1).sum();
    assert_eq!(burned as usize + 20, tree.action.calls_to(&crm).len(), "only calls that were made count");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_lanes_behind_one_key_cost_one_probe_per_cooldown() {
    let tree = TestTree::start().await;
    let llm = CalleeId::new("llm", "0123abcd");
    tree.action.calls("llm", &[&llm]);
    tree.action.answers(&llm, Answer::Failure(None), Duration::from_millis(100));
    for n in 0..300 {
        tree.insert(NewJob::on(&format!("t{}/s{}", n % 10, n % 100)).kind("llm"));
    }
    tree.until(|tree| shared_states(tree).contains(&BreakerState::Open)).await;
    tree.pass(secs(1)).await;
    let before = tree.action.calls_to(&llm).len();
    tree.pass(secs(900)).await;
    let probes = tree.action.calls_to(&llm).len() - before;
    let half_open = shared_states(&tree).iter().filter(|state| **state == BreakerState::HalfOpen).count();
    assert_eq!(probes, half_open, "each half-open state is one call");
    assert!((4..=6).contains(&probes), "30, 60, 120, 240, 480 s of cooldown: {probes}");
    tree.action.answers(&llm, Answer::Success, Duration::from_millis(100));
    tree.settle().await;
    assert_eq!(tree.store.count(JobState::Succeeded), 300);
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_one_lane_does_not_hold_the_others() {
    let tree = TestTree::start().await;
    let shared = CalleeId::new("host", "shared.example");
    tree.action.calls("call", &[&shared]);
    tree.action.answers(&shared, Answer::Failure(None), QUICK);
    for _ in 0..10 {
        tree.insert(NewJob::on("acme/one").kind("call"));
    }
    tree.until(|tree| lane_states(tree, "acme/one").contains(&BreakerState::Open)).await;
    tree.action.answers(&shared, Answer::Success, QUICK);
    let job = tree.insert(NewJob::on("other/two").kind("call"));
    tree.pass(secs(1)).await;
    assert_eq!(tree.store.job(job).job.state, JobState::Succeeded);
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_held_for_its_callee_does_not_block_jobs_of_its_lane_for_others() {
    let lane = LanePolicy { queue: 16, ..default_lane() };
    let tree = Setup { lane, ..Setup::default() }.start().await;
    let (down, up) = (CalleeId::new("host", "down.example"), CalleeId::new("host", "up.example"));
    tree.action.calls("down", &[&down]);
    tree.action.calls("up", &[&up]);
    tree.action.answers(&down, Answer::Failure(None), QUICK);
    for _ in 0..200 {
        tree.insert(NewJob::on("acme/crm").route("down").kind("down"));
    }
    tree.until(|tree| lane_states(tree, "acme/crm").contains(&BreakerState::Open)).await;
    let others: Vec<_> = (0..50).map(|_| tree.insert(NewJob::on("acme/crm").route("up").kind("up"))).collect();
    tree.pass(secs(20)).await;
    for job in others {
        assert_eq!(tree.store.job(job).job.state, JobState::Succeeded);
    }
    tree.action.answers(&down, Answer::Success, QUICK);
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_hold_the_callee_for_five_minutes_and_one_job_asks_again() {
    let tree = TestTree::start().await;
    let site = CalleeId::new("wordpress", "blog.example");
    tree.action.calls("publish", &[&site]);
    tree.action.answers(&site, Answer::Unauthorized, QUICK);
    for n in 0..30 {
        tree.insert(NewJob::on(&format!("acme/s{}", n % 3)).kind("publish"));
    }
    tree.pass(secs(60)).await;
    let first = tree.action.calls_to(&site).len();
    assert!(first <= 12, "only those already in flight: {first}");
    assert_eq!(tree.lane("acme/s0").await.unwrap().status, LaneStatus::Held);
    tree.pass(secs(300)).await;
    assert_eq!(tree.action.calls_to(&site).len(), first + 1, "one asked again");
    tree.action.answers(&site, Answer::Success, QUICK);
    tree.settle().await;
    assert!(tree.store.jobs().iter().all(|stored| stored.outcomes == 1), "no attempt was burned");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_can_have_the_probe_at_once() {
    let tree = TestTree::start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Failure(None), QUICK);
    for _ in 0..6 {
        tree.insert(NewJob::on("acme/crm").kind("call"));
    }
    tree.until(|tree| lane_states(tree, "acme/crm").contains(&BreakerState::Open)).await;
    tree.action.answers(&crm, Answer::Success, QUICK);
    tree.pass(secs(10)).await;
    assert!(!lane_states(&tree, "acme/crm").contains(&BreakerState::HalfOpen), "it cools down");
    tree.gateway().probe(&lane_key("acme/crm")).await.unwrap();
    tree.pass(secs(1)).await;
    assert_eq!(lane_states(&tree, "acme/crm").last(), Some(&BreakerState::Closed));
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_callee_that_is_down_holds_the_job_and_the_first_is_not_paid_twice() {
    let tree = TestTree::start().await;
    let (llm, site) = (CalleeId::new("llm", "0123abcd"), CalleeId::new("wordpress", "blog.example"));
    tree.action.calls("both", &[&llm, &site]);
    tree.action.answers(&site, Answer::Failure(None), QUICK);
    for _ in 0..30 {
        tree.insert(NewJob::on("acme/assistant").kind("both"));
    }
    tree.until(|tree| lane_states(tree, "acme/assistant").contains(&BreakerState::Open)).await;
    tree.pass(secs(120)).await;
    let paid = tree.action.calls_to(&llm).len();
    assert!(paid < 20, "no model is asked for what cannot be published: {paid}");
    tree.action.answers(&site, Answer::Success, QUICK);
    tree.settle().await;
    assert_eq!(tree.action.calls_to(&llm).len(), 30, "each once");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_breaker_knows_survives_sleep_and_death() {
    let mut tree = TestTree::start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Failure(None), QUICK);
    for _ in 0..5 {
        tree.insert(NewJob::on("acme/crm").kind("call"));
    }
    tree.until(|tree| lane_states(tree, "acme/crm").contains(&BreakerState::Open)).await;
    // Without work the lane goes to sleep before its cooldown is over.
    for stored in tree.store.jobs() {
        tree.store.cancel(stored.job.id);
    }
    tree.gateway().reload();
    tree.until(|tree| tree.recorder.count(|heard| matches!(heard, Heard::Passivated(_))) == 1).await;
    tree.pass(secs(1)).await;
    assert_eq!(tree.store.lane_memory(&lane_key("acme/crm")).breakers.len(), 1);
    tree.die_and_restart().await;
    tree.action.answers(&crm, Answer::Success, QUICK);
    tree.insert(NewJob::on("acme/crm").kind("call"));
    tree.settle().await;
    let states = lane_states(&tree, "acme/crm");
    assert_eq!(states[states.len() - 2..], [BreakerState::HalfOpen, BreakerState::Closed]);
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_in_an_outage_asks_the_dead_callee_once_per_cooldown_and_not_once_per_lane() {
    let mut tree = TestTree::start().await;
    let llm = CalleeId::new("llm", "0123abcd");
    tree.action.calls("llm", &[&llm]);
    tree.action.answers(&llm, Answer::Failure(None), Duration::from_millis(100));
    for n in 0..100 {
        tree.insert(NewJob::on(&format!("t{}/s{n}", n % 10)).kind("llm"));
    }
    tree.until(|tree| shared_states(tree).contains(&BreakerState::Open)).await;
    // No lane goes to sleep: what is kept is kept when it changes.
    tree.pass(secs(5)).await;
    let before = tree.action.calls_to(&llm).len();
    tree.die_and_restart().await;
    tree.pass(secs(15)).await;
    assert_eq!(tree.action.calls_to(&llm).len(), before, "it cools down as it would have");
    tree.pass(secs(25)).await;
    assert_eq!(tree.action.calls_to(&llm).len(), before + 1, "one probe");
    tree.action.answers(&llm, Answer::Success, Duration::from_millis(100));
    tree.settle().await;
    let remembered = tree.store.remembered_lanes().await.unwrap();
    assert_eq!(remembered, [], "what is well again is not remembered");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_lanes_open_breaker_is_kept_though_the_store_refuses_at_first() {
    let mut tree = TestTree::start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Failure(None), QUICK);
    tree.store.fail_next(StoreOp::KeepBreakers, 3);
    for _ in 0..5 {
        tree.insert(NewJob::on("acme/crm").kind("call"));
    }
    tree.until(|tree| lane_states(tree, "acme/crm").contains(&BreakerState::Open)).await;
    tree.pass(secs(5)).await;
    assert_eq!(tree.store.lane_memory(&lane_key("acme/crm")).breakers.len(), 1);
    let before = tree.action.calls_to(&crm).len();
    tree.die_and_restart().await;
    tree.pass(secs(15)).await;
    assert_eq!(tree.action.calls_to(&crm).len(), before);
    tree.action.answers(&crm, Answer::Success, QUICK);
    tree.settle().await;
    tree.pass(secs(1)).await;
    assert_eq!(tree.store.lane_memory(&lane_key("acme/crm")).breakers, []);
    tree.finish().await;
}
