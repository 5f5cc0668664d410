//! Noisy tenants and quiet ones, and who goes first.

use std::time::Duration;

use sluice_actors::{
    domain::{CalleeId, JobClass, JobId, JobState},
    ports::{CalleePolicy, LanePolicy, Rate},
    testing::{Answer, Heard, NewJob, Setup, TestTree, default_callee, default_lane},
};
use tokio::time::Instant;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A small node with fast lanes.
fn sized(concurrency: usize) -> Setup {
    let lane = LanePolicy { rate: Rate { per_second: 100.0, burst: 100 }, ..default_lane() };
    let mut setup = Setup { lane, ..Setup::default() };
    setup.limits.concurrency = concurrency;
    setup
}

/// How long each quiet job waited, from its insertion to its success.
async fn quiet_waits(tree: &TestTree, jobs: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..jobs {
        let began = Instant::now();
        let job = tree.insert(NewJob::on("quiet/one").kind("quick"));
        tree.until(|tree| tree.store.job(job).job.state == JobState::Succeeded).await;
        waits.push(began.elapsed());
        tree.pass(secs(1)).await;
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_many_busy_lanes_gets_one_tenants_share() {
    let tree = sized(4).start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Success, secs(1));
    for n in 0..600 {
        tree.insert(NewJob::on(&format!("noisy/s{}", n % 60)).kind("call"));
    }
    for _ in 0..200 {
        tree.insert(NewJob::on("quiet/one").kind("call"));
    }
    tree.pass(secs(61)).await;
    let served =
        |tenant: &str| tree.action.calls_to(&crm).iter().filter(|call| call.lane.tenant.as_str() == tenant).count();
    let (quiet, noisy) = (served("quiet"), served("noisy"));
    assert!(quiet * 10 >= noisy * 8, "quiet {quiet}, noisy {noisy}");
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn hanging_calls_of_one_tenant_leave_room_for_the_others() {
    let tree = sized(32).start().await;
    let hole = CalleeId::new("host", "hole.example");
    tree.action.calls("hang", &[&hole]);
    tree.action.answers(&hole, Answer::Hang, Duration::ZERO);
    for n in 0..400 {
        tree.insert(NewJob::on(&format!("noisy/s{}", n % 50)).kind("hang"));
    }
    tree.pass(secs(2)).await;
    assert!(tree.action.running() >= 28, "it has taken what it may: {}", tree.action.running());
    let waits = quiet_waits(&tree, 20).await;
    assert!(waits.iter().all(|wait| *wait < Duration::from_millis(200)), "{waits:?}");
    tree.action.answers(&hole, Answer::Success, Duration::ZERO);
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_noisy_tenant_does_not_slow_the_quiet_ones_down() {
    let tree = sized(32).start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Success, Duration::from_millis(200));
    for n in 0..4000 {
        tree.store.insert(NewJob::on(&format!("noisy/s{}", n % 40)).kind("call"));
    }
    tree.pass(secs(3)).await;
    let waits = quiet_waits(&tree, 15).await;
    assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(250)), "{waits:?}");
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn tenants_behind_one_key_share_its_rate() {
    let callee = CalleePolicy { rate: Some(Rate { per_second: 10.0, burst: 1 }), ..default_callee() };
    let tree = Setup { callee, ..Setup::default() }.start().await;
    let llm = CalleeId::new("llm", "0123abcd");
    tree.action.calls("llm", &[&llm]);
    tree.action.answers(&llm, Answer::Success, Duration::from_millis(100));
    for n in 0..900 {
        tree.insert(NewJob::on(&format!("big/s{}", n % 90)).kind("llm"));
    }
    for _ in 0..200 {
        tree.insert(NewJob::on("small/one").kind("llm"));
    }
    tree.pass(secs(30)).await;
    let small = tree.action.calls_to(&llm).iter().filter(|call| call.lane.tenant.as_str() == "small").count();
    assert!(small >= 120, "of 300 calls {small} were the small tenant's");
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_never_goes_ahead_of_fresh_work_of_its_lane() {
    let tree = TestTree::start().await;
    let crm = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&crm]);
    tree.action.answers(&crm, Answer::Success, Duration::from_millis(10));
    let replays: Vec<JobId> =
        (0..50).map(|_| tree.store.insert(NewJob::on("acme/crm").kind("call").class(JobClass::Replay))).collect();
    let fresh: Vec<JobId> = (0..100).map(|_| tree.store.insert(NewJob::on("acme/crm").kind("call"))).collect();
    tree.settle().await;
    let order: Vec<JobId> = tree.recorder.select(|heard| match heard {
        Heard::Began(job) => Some(*job),
        _ => None,
    });
    let last_fresh = order.iter().rposition(|job| fresh.contains(job)).unwrap();
    let first_replay = order.iter().position(|job| replays.contains(job)).unwrap();
    assert!(last_fresh < first_replay, "{first_replay} before {last_fresh}");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn retries_get_their_share_beside_a_flood_of_fresh_work() {
    let tree = TestTree::start().await;
    let retries: Vec<JobId> =
        (0..20).map(|_| tree.store.insert(NewJob::on("acme/crm").kind("old").class(JobClass::Retry))).collect();
    for _ in 0..400 {
        tree.store.insert(NewJob::on("acme/crm").kind("new"));
    }
    tree.pass(secs(20)).await;
    let done = retries.iter().filter(|job| tree.store.job(**job).job.state == JobState::Succeeded).count();
    let fresh = tree.store.count(JobState::Succeeded) - done;
    assert!(done >= 15 && fresh > 100, "{done} retries, {fresh} fresh");
    tree.settle().await;
    tree.finish().await;
}
