//! Everything at once, at random: whatever happens, every job ends, none runs twice at once, and
//! nothing is left over.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sluice_actors::{
    domain::{CalleeId, JobState, Mandate},
    ports::{CalleePolicy, Rate},
    testing::{Answer, NewJob, Setup, StoreOp, TestTree, default_callee, default_lane, lane_key},
};

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

const FAULTY: [StoreOp; 9] = [
    StoreOp::LanesDue,
    StoreOp::Due,
    StoreOp::Begin,
    StoreOp::Abandon,
    StoreOp::Checkpoint,
    StoreOp::End,
    StoreOp::KeepPause,
    StoreOp::KeepBreakers,
    StoreOp::PausedLanes,
];

fn any_lane(rng: &mut StdRng) -> String {
    format!("t{}/s{}", rng.random_range(0..4), rng.random_range(0..5))
}

/// One thing that may happen at any time.
async fn something(tree: &mut TestTree, rng: &mut StdRng, callees: &[CalleeId], may_die: bool) {
    let lane = any_lane(rng);
    let op = FAULTY[rng.random_range(0..FAULTY.len())];
    let times = rng.random_range(1..4);
    match rng.random_range(0..12) {
        0 => tree.store.fail_next(op, times),
        1 => tree.store.lose_answers(op, times),
        2 => tree.store.panic_next(op, times),
        // One that is paused or not configured has no actor to panic.
        3 => drop(tokio::time::timeout(millis(200), tree.panic_lane(&lane)).await),
        4 => {
            // A pause that is undone before the lane's actor has ended.
            let gateway = tree.gateway().clone();
            let key = lane_key(&lane);
            let _ =
                tokio::join!(gateway.pause(&key, Mandate::new("op", "")), gateway.resume(&key, Mandate::new("op", "")));
        }
        5 => {
            let policy = rng.random_bool(0.5).then(default_lane);
            tree.policies.set_lane(&lane_key(&lane), policy);
            tree.gateway().reload();
        }
        6 => {
            let answers = [
                Answer::Success,
                Answer::Failure(None),
                Answer::Failure(Some(millis(20_000))),
                Answer::Unauthorized,
                Answer::Hang,
            ];
            let answer = answers[rng.random_range(0..answers.len())];
            tree.action.answers(
                &callees[rng.random_range(0..callees.len())],
                answer,
                millis(rng.random_range(0..2000)),
            );
        }
        7 => {
            let _ = tree.gateway().probe(&lane_key(&lane)).await;
        }
        8 => tree.kill_dead_letter_actor(),
        9 if may_die => {
            tree.die_and_restart().await;
        }
        _ => tree.pass(millis(rng.random_range(0..30_000))).await,
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_every_job_ends_and_none_runs_twice_at_once() {
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let rate = rng.random_bool(0.5).then_some(Rate { per_second: 5.0, burst: 5 });
        let callee = CalleePolicy { rate, concurrency: rng.random_bool(0.5).then_some(2), ..default_callee() };
        let mut setup = Setup { callee, seed, ..Setup::default() };
        setup.limits.concurrency = rng.random_range(2..20);
        let mut tree = setup.start().await;
        tree.forgive_lane_panics();
        let callees = ["a", "b", "c"].map(|name| CalleeId::new("host", &format!("{name}.example")));
        tree.action.calls("one", &[&callees[0]]);
        tree.action.calls("two", &[&callees[1], &callees[0]]);
        tree.action.calls("three", &[&callees[2], &callees[1], &callees[0]]);
        for step in 0..150 {
            for _ in 0..rng.random_range(0..4) {
                let kind = ["log", "one", "two", "three"][rng.random_range(0..4)];
                tree.insert(NewJob::on(&any_lane(&mut rng)).route(kind).kind(kind));
            }
            // Towards the end no death of the process hides what was left lying about.
            something(&mut tree, &mut rng, &callees, step < 75).await;
            tree.pass(millis(rng.random_range(0..500))).await;
        }
        tree.store.mend();
        for callee in &callees {
            tree.action.answers(callee, Answer::Success, millis(10));
        }
        for tenant in 0..4 {
            for source in 0..5 {
                let lane = lane_key(&format!("t{tenant}/s{source}"));
                tree.policies.set_lane(&lane, Some(default_lane()));
                tree.gateway().resume(&lane, Mandate::new("op", "")).await.unwrap();
            }
        }
        tree.gateway().reload();
        tree.settle().await;
        let ended = tree.store.count(JobState::Succeeded) + tree.store.count(JobState::DeadLetter);
        assert_eq!(ended, tree.store.jobs().len(), "seed {seed}");
        tree.pass(millis(200_000)).await;
        let left = tree.gateway().footprint().await.unwrap();
        assert_eq!(left.actors, 0, "seed {seed}: {left:?}");
        let node = tree.snapshot().await;
        assert_eq!(node.in_flight, 0, "seed {seed}: a slot is lost");
        assert!(node.callees.iter().all(|callee| callee.in_flight == 0), "seed {seed}: {:?}", node.callees);
        tree.finish().await;
    }
}
