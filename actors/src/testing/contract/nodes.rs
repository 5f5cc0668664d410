//! What a store promises that several nodes share. A lane is one node's at a time; what a node
//! begins and ends counts only while the others do not take it for dead.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::{Fixture, LANE, begin, due_ids, minutes, take, taken};
use crate::{
    domain::{CheckpointStage, Epoch, JobResult, LaneKey, Mandate},
    ports::{Acquired, AttemptEnd, Begin, Begun, Clock, Fenced, JobStore, LaneMemory, Verdict},
    testing::{NewJob, lane_key},
};

/// A store that several nodes share.
#[async_trait]
pub trait Nodes: Fixture {
    /// Another node on the same store; it lives until the test ends.
    async fn another(&mut self) -> Arc<dyn JobStore>;
    /// The others take the first node for dead. `recover` is not called yet.
    async fn take_for_dead(&mut self);
}

/// Makes a test of each case. `$fixture` is an expression that gives a future of a
/// [`Nodes`](crate::testing::contract::nodes::Nodes).
#[macro_export]
macro_rules! several_nodes_contract {
    ($fixture:expr) => {
        $crate::several_nodes_contract!(@cases $fixture;
            a_lane_is_one_nodes_at_a_time
            a_lane_that_was_given_back_is_anyones
            an_older_epoch_begins_nothing
            what_a_live_node_runs_is_not_recovered
            what_a_dead_node_had_is_taken_over_and_its_late_writes_change_nothing
        );
    };
    (@cases $fixture:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::testing::contract::nodes::$case(&mut $fixture.await).await;
            }
        )*
    };
}

/// Lanes with work that this node may have.
async fn lanes(store: &dyn JobStore) -> Vec<LaneKey> {
    let due = store.lanes_due(None, 10).await.expect("the store answers");
    due.into_iter().filter(|due| !due.elsewhere).map(|due| due.lane).collect()
}

async fn end(fixture: &impl Fixture, store: &dyn JobStore, begun: &Begun) -> Fenced {
    let end = AttemptEnd {
        job: begun.job.id,
        fence: begun.job.fence,
        started_at: fixture.clock().now(),
        duration: std::time::Duration::ZERO,
        verdict: Verdict::Succeeded(JobResult::default()),
    };
    store.end(end).await.expect("the store answers")
}

async fn is_not_owner(store: &dyn JobStore, job: crate::domain::JobId, epoch: Epoch) {
    let answer = store.begin(job, false, epoch).await.expect("the store answers");
    assert!(matches!(answer, Begin::NotOwner), "{answer:?}");
}

async fn is_elsewhere(store: &dyn JobStore, lane: &LaneKey) {
    assert_eq!(store.acquire_lane(lane).await.expect("the store answers"), Acquired::Elsewhere);
}

/// A case.
pub async fn a_lane_is_one_nodes_at_a_time(fixture: &mut impl Nodes) {
    let (one, other) = (fixture.store(), fixture.another().await);
    let lane = lane_key(LANE);
    let job = fixture.insert(NewJob::on(LANE)).await;
    assert_eq!((lanes(&*one).await, lanes(&*other).await), (vec![lane.clone()], vec![lane.clone()]), "nobody has it");
    let owned = take(&*one, &lane).await;
    assert!(!owned.taken_over);
    is_elsewhere(&*other, &lane).await;
    assert_eq!((lanes(&*one).await, lanes(&*other).await), (vec![lane.clone()], vec![]));
    is_not_owner(&*other, job, owned.epoch).await;
    other.release_lane(&lane, owned.epoch).await.expect("the store answers");
    is_elsewhere(&*other, &lane).await;
    let begun = one.begin(job, false, owned.epoch).await.expect("the store answers");
    assert!(matches!(begun, Begin::Begun(_)), "{begun:?}");
}

/// A case.
pub async fn a_lane_that_was_given_back_is_anyones(fixture: &mut impl Nodes) {
    let (one, other) = (fixture.store(), fixture.another().await);
    let lane = lane_key(LANE);
    let job = fixture.insert(NewJob::on(LANE)).await;
    let first = take(&*one, &lane).await;
    let memory = LaneMemory { paused: true, ..LaneMemory::default() };
    one.keep_pause(&lane, true, &Mandate::new("ops", "a test")).await.expect("the store answers");
    one.release_lane(&lane, first.epoch).await.expect("the store answers");
    assert_eq!(lanes(&*other).await, std::slice::from_ref(&lane));
    let second = take(&*other, &lane).await;
    assert!(second.epoch > first.epoch && second.taken_over, "{second:?}");
    assert_eq!(second.memory, memory);
    is_not_owner(&*one, job, first.epoch).await;
    is_not_owner(&*one, job, second.epoch).await;
}

/// A case.
pub async fn an_older_epoch_begins_nothing(fixture: &mut impl Nodes) {
    let store = fixture.store();
    let job = fixture.insert(NewJob::on(LANE)).await;
    let older = taken(&*store, job).await;
    let newer = taken(&*store, job).await;
    assert!(newer > older);
    is_not_owner(&*store, job, older).await;
    store.release_lane(&lane_key(LANE), older).await.expect("the store answers");
    let begun = store.begin(job, false, newer).await.expect("the store answers");
    assert!(matches!(begun, Begin::Begun(_)), "{begun:?}");
}

/// A case.
pub async fn what_a_live_node_runs_is_not_recovered(fixture: &mut impl Nodes) {
    let other = fixture.another().await;
    let job = fixture.insert(NewJob::on(LANE)).await;
    let begun = begin(fixture, job).await;
    assert_eq!(other.recover().await.expect("the store answers").suspects, 0);
    assert!(!other.abandon(job).await.expect("the store answers"), "nor is it the other's to give back");
    assert_eq!(end(fixture, &*fixture.store(), &begun).await, Fenced::Applied);
}

/// A case.
pub async fn what_a_dead_node_had_is_taken_over_and_its_late_writes_change_nothing(fixture: &mut impl Nodes) {
    let (one, other) = (fixture.store(), fixture.another().await);
    let lane = lane_key(LANE);
    let (job, waiting) = (fixture.insert(NewJob::on(LANE)).await, fixture.insert(NewJob::on(LANE)).await);
    let owned = take(&*one, &lane).await;
    let Begin::Begun(begun) = one.begin(job, false, owned.epoch).await.expect("the store answers") else {
        panic!("it is due")
    };
    fixture.take_for_dead().await;
    assert_eq!(other.recover().await.expect("the store answers").suspects, 1);
    let taken_over = take(&*other, &lane).await;
    assert!(taken_over.epoch > owned.epoch && taken_over.taken_over, "{taken_over:?}");
    assert_eq!(end(fixture, &*one, &begun).await, Fenced::Lost);
    let (id, fence) = (begun.job.id, begun.job.fence);
    let kept = one.checkpoint(id, fence, CheckpointStage::Answered, &Value::Null).await.expect("the store answers");
    assert_eq!(kept, Fenced::Lost);
    is_not_owner(&*one, waiting, owned.epoch).await;
    assert!(!one.abandon(job).await.expect("the store answers"));
    fixture.clock().advance(minutes(30));
    assert_eq!(due_ids(fixture, LANE).await.len(), 2, "nothing is lost");
    let again = other.begin(job, true, taken_over.epoch).await.expect("the store answers");
    let Begin::Begun(again) = again else { panic!("it is due: {again:?}") };
    assert!(again.job.fence > fence && again.job.suspicion == 1 && again.checkpoint.is_none());
    assert_eq!(end(fixture, &*other, &again).await, Fenced::Applied);
}
