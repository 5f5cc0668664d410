//! Jobs that take the process with them, and their innocent neighbours.

use std::time::Duration;

use sluice_actors::{
    domain::{CalleeId, DeadReason, JobState},
    testing::{Act, Answer, NewJob, TestTree},
};
use tokio::time::Instant;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn poison_runs(tree: &TestTree) -> bool {
    tree.store.jobs().iter().any(|it| it.job.state == JobState::Running && &*it.job.kind == "poison")
}

/// The process dies whenever a `poison` job runs. Returns how often.
async fn live_and_die(tree: &mut TestTree) -> usize {
    for deaths in 0..20 {
        let began = Instant::now();
        while !poison_runs(tree) {
            if began.elapsed() > secs(600) {
                return deaths;
            }
            tree.pass(Duration::from_millis(10)).await;
        }
        tree.die_and_restart().await;
    }
    panic!("the process dies for ever");
}

#[tokio::test(start_paused = true)]
async fn a_poison_job_is_buried_alone() {
    let mut tree = TestTree::start().await;
    let callee = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&callee]);
    tree.action.answers(&callee, Answer::Success, secs(2));
    tree.action.does("poison", Act::Hang);
    let innocent: Vec<_> = (0..12).map(|n| tree.insert(NewJob::on(&format!("acme/s{}", n % 4)).kind("call"))).collect();
    let poison = tree.insert(NewJob::on("acme/s0").kind("poison"));
    let deaths = live_and_die(&mut tree).await;
    tree.settle().await;
    let buried = tree.store.job(poison);
    assert_eq!(buried.dead.map(|dead| dead.0), Some(DeadReason::Poison));
    assert_eq!(deaths, 5, "one beside others, one in quarantine, three alone");
    for job in innocent {
        assert_eq!(tree.store.job(job).job.state, JobState::Succeeded);
        assert_eq!(tree.store.job(job).job.deaths, 0);
    }
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn first_suspects_run_one_at_a_time_beside_other_work() {
    let mut tree = TestTree::start().await;
    let callee = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&callee]);
    tree.action.answers(&callee, Answer::Success, secs(10));
    for _ in 0..4 {
        tree.insert(NewJob::on("acme/s0").kind("call"));
    }
    tree.until(|tree| tree.action.running() == 4).await;
    assert_eq!(tree.die_and_restart().await.suspects, 4);
    for _ in 0..2 {
        tree.insert(NewJob::on("acme/s1").kind("call"));
    }
    tree.pass(secs(5)).await;
    assert_eq!(tree.action.running(), 3, "one suspect and the two others");
    tree.settle().await;
    assert!(tree.store.jobs().iter().all(|stored| stored.job.suspicion == 0), "an outcome clears");
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_suspicion_runs_truly_alone_and_then_the_others_go_on() {
    let mut tree = TestTree::start().await;
    let callee = CalleeId::new("host", "crm.example");
    tree.action.calls("call", &[&callee]);
    tree.action.answers(&callee, Answer::Success, secs(10));
    let suspect = tree.insert(NewJob::on("acme/s0").kind("call"));
    for _ in 0..2 {
        tree.until(|tree| tree.store.job(suspect).job.state == JobState::Running).await;
        tree.die_and_restart().await;
    }
    assert_eq!(tree.store.job(suspect).job.suspicion, 2);
    let others: Vec<_> = (0..30).map(|n| tree.insert(NewJob::on(&format!("acme/o{n}")).kind("call"))).collect();
    tree.until(|tree| tree.store.job(suspect).job.state == JobState::Running).await;
    assert_eq!(tree.action.running(), 1, "what was in flight has ended, nothing else began");
    tree.insert(NewJob::on("acme/o1").kind("call"));
    tree.pass(secs(9)).await;
    assert_eq!(tree.action.running(), 1, "and nothing joins it");
    tree.until(|tree| tree.store.job(suspect).job.state == JobState::Succeeded).await;
    tree.settle().await;
    for job in others {
        assert_eq!(tree.store.job(job).job.state, JobState::Succeeded);
    }
    tree.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_hangs_alone_holds_the_node_no_longer_than_its_deadline() {
    let mut tree = TestTree::start().await;
    tree.action.does("hang", Act::Hang);
    let suspect = tree.insert(NewJob::on("acme/s0").kind("hang"));
    for _ in 0..2 {
        tree.until(|tree| tree.store.job(suspect).job.state == JobState::Running).await;
        tree.die_and_restart().await;
    }
    tree.until(|tree| tree.store.job(suspect).job.state == JobState::Running).await;
    let other = tree.insert(NewJob::on("acme/s1"));
    let began = Instant::now();
    tree.until(|tree| tree.store.job(other).job.state == JobState::Succeeded).await;
    assert!(began.elapsed() > secs(59) && began.elapsed() < secs(62), "{:?}", began.elapsed());
    assert_eq!(tree.store.job(suspect).job.suspicion, 0, "its deadline was an outcome");
    tree.action.mend("hang");
    tree.settle().await;
    tree.finish().await;
}
