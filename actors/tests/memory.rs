//! What lanes cost that have nothing to do, as the operating system sees it. A program of its own: a
//! test beside it would be measured as well.

use std::{fs, time::Duration};

use sluice_actors::testing::{NewJob, TestTree};

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// `lanes` lanes run one job each and go to sleep, `at_once` of them awake at once.
async fn live(tree: &TestTree, name: &str, lanes: usize, at_once: usize) {
    for wave in 0..lanes / at_once {
        for n in 0..at_once {
            tree.insert(NewJob::on(&format!("t{}/{name}{wave}-{n}", n % 100)));
        }
        tree.settle().await;
        tree.pass(Duration::from_secs(130)).await;
        tree.store.forget_finished();
        tree.recorder.forget();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn ten_thousand_lanes_that_ran_one_job_and_went_to_sleep_cost_no_more_than_20_mib() {
    let tree = TestTree::start().await;
    live(&tree, "warm", 500, 500).await;
    let base = resident();
    live(&tree, "lane", 10_000, 500).await;
    let left = tree.gateway().footprint().await.unwrap();
    assert_eq!((left.actors, left.records), (0, 0), "{left:?}");
    let cost = resident().saturating_sub(base);
    assert!(cost <= 20 * 1024, "{cost} KiB over the {base} KiB before");
    // All awake at once, as after a long outage. The allocator keeps what it had to ask for then, but
    // once more costs nothing more: nothing was lost.
    for storm in ["first", "second"] {
        live(&tree, storm, 4000, 4000).await;
    }
    let before = resident();
    live(&tree, "third", 4000, 4000).await;
    let more = resident().saturating_sub(before);
    assert!(more <= 4 * 1024, "{more} KiB more than the {before} KiB before");
    tree.finish().await;
}
