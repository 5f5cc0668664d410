//! What crashes and what it costs: attempts, lanes, the store.

use std::time::Duration;

use sluice_actors::{
    domain::{CalleeId, JobState, Mandate},
    handle::LaneStatus,
    policy::retry::MAX_RETRIES,
    ports::Fenced,
    testing::{Act, Answer, Heard, NewJob, Setup, StoreOp, TestTree, lane_key},
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_is_an_outcome_and_is_tried_again() {
    let tree = TestTree::start().await;
    tree.action.does("log", Act::Panic);
    let job = tree.insert(NewJob::on("acme/payments"));
    tree.until(|tree| tree.store.job(job).job.attempts == 2).await;
    tree.action.mend("log");
    tree.settle().await;
    let stored = tree.store.job(job);
    assert_eq!((stored.job.state, stored.job.attempts), (JobState::Succeeded, 3));
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_cut_off_by_its_deadline() {
    let tree = TestTree::start().await;
    tree.action.does("log", Act::Hang);
    let job = tree.insert(NewJob::on("acme/payments"));
    tree.until(|tree| tree.store.job(job).job.attempts == 1).await;
    assert_eq!(tree.store.job(job).last_error.as_deref(), Some("the attempt was cut off by its deadline"));
    tree.action.mend("log");
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_never_succeeds_dies_after_its_retries() {
    let tree = TestTree::start().await;
    tree.action.does("log", Act::Retry);
    let job = tree.insert(NewJob::on("acme/payments"));
    tree.settle().await;
    let stored = tree.store.job(job);
    assert_eq!((stored.job.state, stored.outcomes), (JobState::DeadLetter, 1 + MAX_RETRIES));
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_that_panics_when_asked_for_its_callees_costs_the_job_an_attempt_and_its_lane_nothing() {
    let tree = TestTree::start().await;
    tree.action.does("bad", Act::PanicCallees);
    let bad = tree.insert(NewJob::on("acme/payments").kind("bad"));
    let good = tree.insert(NewJob::on("acme/payments"));
    tree.until(|tree| tree.store.job(bad).job.attempts == 2).await;
    assert_eq!(tree.store.job(bad).last_error.as_deref(), Some("the action panicked"));
    tree.until(|tree| tree.store.job(good).job.state == JobState::Succeeded).await;
    tree.action.mend("bad");
    tree.settle().await;
    assert_eq!(tree.store.job(bad).job.state, JobState::Succeeded);
    // It demands that no lane panicked.
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_panics_is_restarted_and_loses_nothing() {
    let mut tree = TestTree::start().await;
    tree.forgive_lane_panics();
    let callee = CalleeId::new("host", "slow.example");
    tree.action.calls("slow", &[&callee]);
    tree.action.answers(&callee, Answer::Success, secs(3));
    let jobs: Vec<_> = (0..10).map(|_| tree.insert(NewJob::on("acme/payments").kind("slow"))).collect();
    tree.until(|tree| tree.action.running() == 4).await;
    tree.panic_lane("acme/payments").await;
    tree.panic_lane("acme/payments").await;
    assert!(tree.action.running() <= 4, "the cap holds over a restart");
    tree.settle().await;
    for job in jobs {
        assert_eq!(tree.store.job(job).outcomes, 1, "neither lost nor doubled");
    }
    tree.finish().await;
}

/// Lets a lane panic until it is parked.
async fn park(tree: &TestTree, lane: &str) {
    while tree.recorder.count(|heard| matches!(heard, Heard::Parked(_))) == 0 {
        tree.panic_lane(lane).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_panics_on_and_on_is_parked_and_its_neighbour_is_not_touched() {
    let mut tree = TestTree::start().await;
    tree.forgive_lane_panics();
    park(&tree, "acme/payments").await;
    assert_eq!(tree.lane("acme/payments").await.unwrap().status, LaneStatus::Parked);
    let waiting = tree.insert(NewJob::on("acme/payments"));
    let neighbour = tree.insert(NewJob::on("acme/crm"));
    tree.until(|tree| tree.store.job(neighbour).job.state == JobState::Succeeded).await;
    tree.pass(secs(240)).await;
    assert_eq!(tree.store.job(waiting).job.state, JobState::Pending, "it rests for five minutes");
    assert_eq!(tree.lane("acme/payments").await.unwrap().restarts, 6);
    tree.settle().await;
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_ends_a_parking() {
    let mut tree = TestTree::start().await;
    tree.forgive_lane_panics();
    park(&tree, "acme/payments").await;
    let job = tree.insert(NewJob::on("acme/payments"));
    tree.gateway().resume(&lane_key("acme/payments"), Mandate::new("op", "")).await.unwrap();
    tree.pass(secs(3)).await;
    assert_eq!(tree.store.job(job).job.state, JobState::Succeeded);
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn many_lanes_that_panic_at_once_are_a_fault_of_the_node() {
    let mut tree = TestTree::start().await;
    tree.forgive_lane_panics();
    for lane in 0..10 {
        tree.panic_lane(&format!("acme/l{lane}")).await;
    }
    assert!(tokio::time::timeout(secs(3), tree.gateway().broken()).await.is_err(), "ten are not enough");
    tree.panic_lane("acme/one-more").await;
    assert!(tokio::time::timeout(secs(3), tree.gateway().broken()).await.is_ok());
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_in_ten_attempts_dropped_at_random_and_all_jobs_converge() {
    for seed in 1..=3 {
        let tree = Setup { seed, ..Setup::default() }.start().await;
        tree.action.drops(0.1, seed);
        for n in 0..600 {
            tree.insert(NewJob::on(&format!("t{}/s{}", n % 5, n % 7)));
        }
        tree.settle().await;
        assert_eq!(tree.store.count(JobState::Succeeded), 600, "seed {seed}");
        let dropped = tree.store.jobs().iter().filter(|stored| stored.job.attempts > 1).count();
        assert!(dropped > 30, "seed {seed}: {dropped} were dropped");
        tree.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_loses_and_doubles_nothing() {
    let tree = TestTree::start().await;
    let callee = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&callee]);
    tree.action.answers(&callee, Answer::Success, secs(1));
    for n in 0..40 {
        tree.insert(NewJob::on(&format!("acme/s{}", n % 4)).kind("call"));
    }
    tree.until(|tree| tree.action.running() > 0).await;
    for op in StoreOp::ALL {
        tree.store.refuse(op);
    }
    tree.pass(secs(60)).await;
    assert_eq!(tree.store.count(JobState::Succeeded), 0);
    tree.store.mend();
    tree.settle().await;
    assert_eq!(tree.action.calls_to(&callee).len(), 40, "each was called once");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_answer_is_lost_counts_once() {
    let tree = TestTree::start().await;
    tree.store.lose_answers(StoreOp::End, 3);
    let job = tree.insert(NewJob::on("acme/payments"));
    tree.settle().await;
    tree.pass(secs(10)).await;
    assert_eq!(tree.store.job(job).outcomes, 1);
    let lost = tree.recorder.count(|heard| matches!(heard, Heard::Ended(_, _, Fenced::Lost)));
    assert_eq!(lost, 0, "the write had taken effect");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_cancelled_while_it_runs_stays_cancelled() {
    let tree = TestTree::start().await;
    let callee = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&callee]);
    tree.action.answers(&callee, Answer::Success, secs(5));
    let job = tree.insert(NewJob::on("acme/payments").kind("call"));
    tree.until(|tree| tree.action.running() == 1).await;
    tree.store.cancel(job);
    tree.until(|tree| tree.recorder.count(|heard| matches!(heard, Heard::Ended(_, _, Fenced::Lost))) == 1).await;
    assert_eq!(tree.store.job(job).job.state, JobState::Cancelled);
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_begin_whose_answer_is_lost_runs_soon_without_a_restart_and_is_no_suspect() {
    let tree = TestTree::start().await;
    let callee = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&callee]);
    tree.action.answers(&callee, Answer::Success, secs(1));
    tree.store.lose_answers(StoreOp::Begin, 5);
    // Its undoing is refused at first, and its answer lost then.
    tree.store.fail_next(StoreOp::Abandon, 2);
    tree.store.lose_answers(StoreOp::Abandon, 2);
    let jobs: Vec<_> = (0..8).map(|_| tree.insert(NewJob::on("acme/payments").kind("call"))).collect();
    tree.pass(secs(20)).await;
    for job in jobs {
        let stored = tree.store.job(job);
        assert_eq!((stored.job.state, stored.outcomes), (JobState::Succeeded, 1), "{:?}", stored.job);
        assert_eq!(stored.job.deaths, 0);
    }
    assert_eq!(tree.action.calls_to(&callee).len(), 8, "each was called once");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_panics_while_a_begin_is_undone_does_not_run_the_job_twice() {
    let mut tree = TestTree::start().await;
    tree.forgive_lane_panics();
    let callee = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&callee]);
    tree.action.answers(&callee, Answer::Success, secs(5));
    // Nothing is committed, but the tree cannot know.
    tree.store.fail_next(StoreOp::Begin, 1);
    tree.store.fail_next(StoreOp::Abandon, 5);
    let job = tree.insert(NewJob::on("acme/payments").kind("call"));
    tree.until(|tree| tree.store.calls(StoreOp::Abandon) >= 1).await;
    tree.panic_lane("acme/payments").await;
    tree.settle().await;
    assert_eq!((tree.store.job(job).outcomes, tree.action.calls_to(&callee).len()), (1, 1));
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_is_a_store_that_does_not_answer() {
    let tree = TestTree::start().await;
    for op in [StoreOp::LanesDue, StoreOp::LoadLane, StoreOp::Due, StoreOp::Begin, StoreOp::End] {
        tree.store.panic_next(op, 2);
    }
    for n in 0..20 {
        tree.insert(NewJob::on(&format!("acme/s{}", n % 4)));
    }
    tree.settle().await;
    assert!(tree.store.jobs().iter().all(|stored| stored.outcomes == 1));
    tree.pass(secs(300)).await;
    assert_eq!(tree.gateway().footprint().await.unwrap().actors, 0, "no lane believes that something is on its way");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_gone_is_a_tree_that_is_broken_and_a_drain_still_ends() {
    let mut tree = TestTree::start().await;
    tree.insert(NewJob::on("acme/payments"));
    tree.settle().await;
    assert!(tokio::time::timeout(secs(60), tree.gateway().broken()).await.is_err(), "all is well");
    tree.kill_supervisor();
    assert!(tokio::time::timeout(secs(1), tree.gateway().broken()).await.is_ok());
    let began = tokio::time::Instant::now();
    tree.drain(secs(25)).await;
    assert!(began.elapsed() < secs(30), "{:?}", began.elapsed());
}
