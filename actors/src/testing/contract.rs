//! What every [`JobStore`] promises, as tests. One suite for all stores: a new rule of the store
//! begins as a new case here.
//!
//! Implement [`Fixture`] for the store and hand a constructor to
//! [`job_store_contract!`](crate::job_store_contract); each case becomes a `#[tokio::test]`.

pub mod nodes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;

use super::{NewJob, lane_key};
use crate::{
    domain::{
        CheckpointStage, DeadReason, Epoch, Fence, HoldReason, Job, JobClass, JobId, JobResult, JobState, LaneKey,
        Mandate, Timestamp,
    },
    ports::{
        Acquired, AttemptEnd, Begin, Begun, BreakerMemory, Clock, DeadLetterFilter, Fenced, HeldWork, JobStore,
        LaneDue, LaneMemory, Owned, Verdict,
    },
};

/// Wall time that stands until it is moved. (A store with threads of its own cannot live in tokio's
/// paused time, which jumps ahead whenever only those threads work.)
#[derive(Debug)]
pub struct SteppedClock(AtomicI64);

impl Default for SteppedClock {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self(AtomicI64::new(1_767_225_600_000))
    }
}

impl SteppedClock {
    /// Moves it.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A store under test, empty at first.
#[async_trait]
pub trait Fixture: Send {
    /// The store.
    fn store(&self) -> Arc<dyn JobStore>;
    /// Its wall time.
    fn clock(&self) -> Arc<SteppedClock>;
    /// Stores an event with one fresh job, due now, as ingest does.
    async fn insert(&self, new: NewJob) -> JobId;
    /// The process dies and another one opens the same store; `recover` is not called yet.
    async fn next_life(&mut self);
}

/// Makes a test of each case of the contract. `$fixture` is an expression that gives a future of a
/// [`Fixture`](crate::testing::contract::Fixture).
#[macro_export]
macro_rules! job_store_contract {
    ($fixture:expr) => {
        $crate::job_store_contract!(@cases $fixture;
            a_job_begins_once_and_takes_a_new_fence
            a_begin_brings_the_event
            an_unknown_job_does_not_begin
            a_success_ends_the_job
            a_failure_counts_and_waits
            a_hold_counts_nothing_and_gives_back_the_state
            a_begin_whose_answer_was_lost_is_undone
            only_what_this_life_runs_is_abandoned
            a_stale_fence_changes_nothing
            two_ends_at_once_are_one_end
            a_checkpoint_is_there_for_the_next_attempt
            a_death_is_a_dead_letter_until_it_is_replayed
            dead_letters_are_found_by_every_part_of_the_filter
            fresh_work_comes_before_retries_before_replays
            what_is_held_is_passed_over
            only_what_is_due_is_due
            lanes_with_work_come_in_key_order
            what_was_running_becomes_a_suspect
            an_outcome_clears_a_suspect
            three_deaths_alone_are_poison
            deaths_in_company_are_never_poison
            an_attempt_of_an_earlier_life_changes_nothing
            an_older_event_of_a_subject_does_not_run
            an_event_of_the_same_moment_runs
            another_route_has_its_own_watermark
            a_lane_remembers
            a_lane_is_taken_with_what_it_remembers_and_given_back
        );
    };
    (@cases $fixture:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::testing::contract::$case(&mut $fixture.await).await;
            }
        )*
    };
}

const LANE: &str = "acme/payments";

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

async fn due(fixture: &impl Fixture, lane: &str) -> Vec<Job> {
    let now = fixture.clock().now();
    fixture.store().due(&lane_key(lane), now, 100, &[]).await.expect("the store answers")
}

async fn due_ids(fixture: &impl Fixture, lane: &str) -> Vec<JobId> {
    due(fixture, lane).await.into_iter().map(|job| job.id).collect()
}

/// Takes the lane of a waiting job; returns under which epoch.
///
/// # Panics
/// If no job of that id waits, or another node has its lane.
pub async fn taken(store: &dyn JobStore, job: JobId) -> Epoch {
    let ever = Timestamp::from_millis(i64::MAX);
    for LaneDue { lane, .. } in store.lanes_due(None, usize::MAX).await.expect("the store answers") {
        let jobs = store.due(&lane, ever, usize::MAX, &[]).await.expect("the store answers");
        if jobs.iter().any(|due| due.id == job) {
            return take(store, &lane).await.epoch;
        }
    }
    panic!("{job} waits in no lane that this node may have")
}

/// Takes a lane.
async fn take(store: &dyn JobStore, lane: &LaneKey) -> Owned {
    match store.acquire_lane(lane).await.expect("the store answers") {
        Acquired::Mine(owned) => owned,
        Acquired::Elsewhere => panic!("another node has {lane}"),
    }
}

async fn begin_as(fixture: &impl Fixture, job: JobId, alone: bool) -> Begun {
    let epoch = taken(&*fixture.store(), job).await;
    match fixture.store().begin(job, alone, epoch).await.expect("the store answers") {
        Begin::Begun(begun) => *begun,
        other => panic!("it should begin: {other:?}"),
    }
}

async fn begin(fixture: &impl Fixture, job: JobId) -> Begun {
    begin_as(fixture, job, false).await
}

async fn end_with(fixture: &impl Fixture, job: JobId, fence: Fence, verdict: Verdict) -> Fenced {
    let started_at = fixture.clock().now();
    let end = AttemptEnd { job, fence, started_at, duration: Duration::from_millis(5), verdict };
    fixture.store().end(end).await.expect("the store answers")
}

async fn end(fixture: &impl Fixture, begun: &Begun, verdict: Verdict) {
    assert_eq!(end_with(fixture, begun.job.id, begun.job.fence, verdict).await, Fenced::Applied);
}

fn failed(fixture: &impl Fixture, after: Duration) -> Verdict {
    Verdict::Failed { next_run_at: fixture.clock().now().plus(after), error: "503".into() }
}

fn dead(reason: DeadReason) -> Verdict {
    Verdict::Dead { reason, detail: "it is over".into() }
}

async fn bury(fixture: &impl Fixture, job: JobId, reason: DeadReason) {
    let begun = begin(fixture, job).await;
    end(fixture, &begun, dead(reason)).await;
}

async fn letters(fixture: &impl Fixture, filter: &DeadLetterFilter) -> Vec<JobId> {
    let found = fixture.store().dead_letters(filter, 100).await.expect("the store answers");
    let count = fixture.store().count_dead_letters(filter).await.expect("the store answers");
    assert_eq!(count, found.len() as u64, "the count agrees with the list");
    found.into_iter().map(|(job, _)| job).collect()
}

async fn is_not_startable(fixture: &impl Fixture, job: JobId) {
    let epoch = take(&*fixture.store(), &lane_key(LANE)).await.epoch;
    let answer = fixture.store().begin(job, false, epoch).await.expect("the store answers");
    assert!(matches!(answer, Begin::NotStartable), "{answer:?}");
}

/// A case.
pub async fn a_job_begins_once_and_takes_a_new_fence(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    assert_eq!(due_ids(fixture, LANE).await, [job]);
    let first = begin(fixture, job).await;
    assert_eq!((first.job.state, first.job.claims, first.job.attempts), (JobState::Running, 1, 0));
    assert!(due(fixture, LANE).await.is_empty());
    is_not_startable(fixture, job).await;
    end(fixture, &first, failed(fixture, Duration::ZERO)).await;
    let second = begin(fixture, job).await;
    assert!(second.job.fence > first.job.fence);
    assert_eq!((second.job.claims, second.job.attempts), (2, 1));
}

/// A case.
pub async fn a_begin_brings_the_event(fixture: &mut impl Fixture) {
    let at = fixture.clock().now();
    let new = NewJob::on(LANE).event_type("invoice.paid").about("in_1", at).data(json!({"amount": 7}));
    let job = fixture.insert(new).await;
    let begun = begin(fixture, job).await;
    assert_eq!(begun.event.id, begun.job.event_id);
    assert_eq!(begun.event.event_type, "invoice.paid");
    assert_eq!(begun.event.subject_id.as_deref(), Some("in_1"));
    assert_eq!(begun.event.occurred_at, at);
    assert_eq!(begun.event.data, json!({"amount": 7}));
    assert_eq!(begun.event.lane, lane_key(LANE));
    assert_eq!(begun.checkpoint, None);
}

/// A case.
pub async fn an_unknown_job_does_not_begin(fixture: &mut impl Fixture) {
    is_not_startable(fixture, JobId::from_uuid(uuid::Uuid::from_u128(1 << 100))).await;
}

/// A case.
pub async fn a_success_ends_the_job(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    let begun = begin(fixture, job).await;
    let result = JobResult { title: Some("done".into()), ..JobResult::default() };
    end(fixture, &begun, Verdict::Succeeded(result)).await;
    assert!(due(fixture, LANE).await.is_empty());
    is_not_startable(fixture, job).await;
    assert_eq!(end_with(fixture, job, begun.job.fence, failed(fixture, Duration::ZERO)).await, Fenced::Lost);
}

/// A case.
pub async fn a_failure_counts_and_waits(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    let begun = begin(fixture, job).await;
    end(fixture, &begun, failed(fixture, minutes(5))).await;
    assert!(due(fixture, LANE).await.is_empty());
    let next = fixture.store().next_due(&lane_key(LANE)).await.expect("the store answers");
    assert_eq!(next, Some(fixture.clock().now().plus(minutes(5))));
    fixture.clock().advance(minutes(5));
    let waiting = due(fixture, LANE).await;
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].state, waiting[0].class, waiting[0].attempts), (JobState::Failed, JobClass::Retry, 1));
}

/// A case.
pub async fn a_hold_counts_nothing_and_gives_back_the_state(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    let verdict = |fixture: &_| Verdict::Held {
        next_run_at: Fixture::clock(fixture).now(),
        reason: HoldReason::NotConfigured("route".into()),
    };
    let begun = begin(fixture, job).await;
    end(fixture, &begun, verdict(&*fixture)).await;
    let held = due(fixture, LANE).await;
    assert_eq!((held[0].state, held[0].class, held[0].attempts), (JobState::Pending, JobClass::Fresh, 0));

    let begun = begin(fixture, job).await;
    end(fixture, &begun, failed(fixture, Duration::ZERO)).await;
    let begun = begin(fixture, job).await;
    end(fixture, &begun, verdict(&*fixture)).await;
    let held = due(fixture, LANE).await;
    assert_eq!((held[0].state, held[0].class, held[0].attempts), (JobState::Failed, JobClass::Retry, 1));
}

/// A case.
pub async fn a_begin_whose_answer_was_lost_is_undone(fixture: &mut impl Fixture) {
    let fresh = fixture.insert(NewJob::on(LANE)).await;
    let tried = fixture.insert(NewJob::on(LANE)).await;
    let begun = begin(fixture, tried).await;
    end(fixture, &begun, failed(fixture, Duration::ZERO)).await;
    for (job, state, class, attempts) in
        [(fresh, JobState::Pending, JobClass::Fresh, 0), (tried, JobState::Failed, JobClass::Retry, 1)]
    {
        let lost = begin_as(fixture, job, true).await;
        let store = fixture.store();
        assert!(store.abandon(job).await.expect("the store answers"));
        assert!(!store.abandon(job).await.expect("the store answers"), "it does not run any more");
        let back = due(fixture, LANE).await.into_iter().find(|it| it.id == job).expect("it is due at once");
        assert_eq!((back.state, back.class, back.attempts), (state, class, attempts));
        assert_eq!((back.suspicion, back.deaths), (0, 0), "that was no death");
        assert_eq!(end_with(fixture, job, lost.job.fence, failed(fixture, Duration::ZERO)).await, Fenced::Lost);
        let again = begin(fixture, job).await;
        assert!(again.job.fence > lost.job.fence);
        end(fixture, &again, Verdict::Succeeded(JobResult::default())).await;
    }
}

/// A case.
pub async fn only_what_this_life_runs_is_abandoned(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    assert!(!fixture.store().abandon(job).await.expect("the store answers"), "it does not run");
    begin(fixture, job).await;
    fixture.next_life().await;
    assert!(!fixture.store().abandon(job).await.expect("the store answers"), "another life ran it");
    assert_eq!(fixture.store().recover().await.expect("the store answers").suspects, 1);
    let again = begin(fixture, job).await;
    end(fixture, &again, Verdict::Succeeded(JobResult::default())).await;
    assert!(!fixture.store().abandon(job).await.expect("the store answers"), "it is over");
}

/// A case.
pub async fn a_stale_fence_changes_nothing(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    let first = begin(fixture, job).await;
    end(fixture, &first, failed(fixture, Duration::ZERO)).await;
    let second = begin(fixture, job).await;
    let store = fixture.store();
    let late = store
        .checkpoint(job, first.job.fence, CheckpointStage::Answered, &json!("late"))
        .await
        .expect("the store answers");
    assert_eq!(late, Fenced::Lost);
    for verdict in [Verdict::Succeeded(JobResult::default()), dead(DeadReason::Rejected), failed(fixture, minutes(1))] {
        assert_eq!(end_with(fixture, job, first.job.fence, verdict).await, Fenced::Lost);
    }
    assert!(letters(fixture, &DeadLetterFilter::default()).await.is_empty());
    end(fixture, &second, failed(fixture, Duration::ZERO)).await;
    let third = begin(fixture, job).await;
    assert_eq!((third.job.attempts, third.checkpoint), (2, None));
}

/// A case.
pub async fn two_ends_at_once_are_one_end(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    let begun = begin(fixture, job).await;
    let fence = begun.job.fence;
    let (one, other) = tokio::join!(
        end_with(fixture, job, fence, dead(DeadReason::Rejected)),
        end_with(fixture, job, fence, dead(DeadReason::Invalid)),
    );
    assert_ne!(one, other);
    assert_eq!(letters(fixture, &DeadLetterFilter::default()).await, [job]);
}

/// A case.
pub async fn a_checkpoint_is_there_for_the_next_attempt(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    let begun = begin(fixture, job).await;
    assert_eq!(begun.job.stage, CheckpointStage::None);
    for (stage, paid) in [(CheckpointStage::Fetched, "first"), (CheckpointStage::Answered, "paid")] {
        let kept = fixture.store().checkpoint(job, begun.job.fence, stage, &json!({"answer": paid})).await;
        assert_eq!(kept.expect("the store answers"), Fenced::Applied);
    }
    end(fixture, &begun, failed(fixture, Duration::ZERO)).await;
    assert_eq!(due(fixture, LANE).await[0].stage, CheckpointStage::Answered);
    assert_eq!(begin(fixture, job).await.checkpoint, Some(json!({"answer": "paid"})));
}

/// A case.
pub async fn a_death_is_a_dead_letter_until_it_is_replayed(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    bury(fixture, job, DeadReason::Rejected).await;
    assert!(due(fixture, LANE).await.is_empty());
    is_not_startable(fixture, job).await;
    assert_eq!(letters(fixture, &DeadLetterFilter::default()).await, [job]);

    let now = fixture.clock().now();
    let store = fixture.store();
    assert!(store.replay(job, &Mandate::new("ops", "mended"), now).await.expect("the store answers"));
    assert!(
        !store.replay(job, &Mandate::new("ops", "mended"), now).await.expect("the store answers"),
        "it is no dead letter any more"
    );
    assert!(letters(fixture, &DeadLetterFilter::default()).await.is_empty());
    let back = due(fixture, LANE).await;
    assert_eq!((back[0].state, back[0].class, back[0].attempts), (JobState::Pending, JobClass::Replay, 0));

    // It dies again: one dead letter, not two.
    bury(fixture, job, DeadReason::Invalid).await;
    assert_eq!(letters(fixture, &DeadLetterFilter::default()).await, [job]);
    let rejected = DeadLetterFilter { reason: Some(DeadReason::Rejected), ..DeadLetterFilter::default() };
    assert!(letters(fixture, &rejected).await.is_empty(), "the newest death counts");
}

/// A case.
pub async fn dead_letters_are_found_by_every_part_of_the_filter(fixture: &mut impl Fixture) {
    let began = fixture.clock().now();
    let first = fixture.insert(NewJob::on("acme/payments").route("one")).await;
    bury(fixture, first, DeadReason::Rejected).await;
    fixture.clock().advance(minutes(1));
    let middle = fixture.clock().now();
    let second = fixture.insert(NewJob::on("bravo/chat").route("two")).await;
    bury(fixture, second, DeadReason::Invalid).await;

    let all = DeadLetterFilter::default;
    let table = [
        (all(), vec![first, second]),
        (DeadLetterFilter { job: Some(second), ..all() }, vec![second]),
        (DeadLetterFilter { tenant: Some("acme".into()), ..all() }, vec![first]),
        (DeadLetterFilter { source: Some("chat".into()), ..all() }, vec![second]),
        (DeadLetterFilter { route: Some("one".into()), ..all() }, vec![first]),
        (DeadLetterFilter { reason: Some(DeadReason::Invalid), ..all() }, vec![second]),
        (DeadLetterFilter { since: Some(middle), ..all() }, vec![second]),
        (DeadLetterFilter { until: Some(middle), ..all() }, vec![first]),
        (DeadLetterFilter { since: Some(began), until: Some(middle.plus(minutes(1))), ..all() }, vec![first, second]),
        (DeadLetterFilter { tenant: Some("acme".into()), source: Some("chat".into()), ..all() }, vec![]),
        (DeadLetterFilter { scope: Some(vec!["acme".parse().expect("a name")]), ..all() }, vec![first]),
        (DeadLetterFilter { scope: Some(vec![]), ..all() }, vec![]),
    ];
    for (filter, expected) in table {
        assert_eq!(letters(fixture, &filter).await, expected, "{filter:?}");
    }
    let oldest = fixture.store().dead_letters(&all(), 1).await.expect("the store answers");
    assert_eq!(oldest, [(first, lane_key("acme/payments"))]);
}

/// A case.
pub async fn fresh_work_comes_before_retries_before_replays(fixture: &mut impl Fixture) {
    let replayed = fixture.insert(NewJob::on(LANE)).await;
    bury(fixture, replayed, DeadReason::Rejected).await;
    let now = fixture.clock().now();
    fixture.store().replay(replayed, &Mandate::new("ops", "mended"), now).await.expect("the store answers");
    let retried = fixture.insert(NewJob::on(LANE)).await;
    let begun = begin(fixture, retried).await;
    end(fixture, &begun, failed(fixture, Duration::ZERO)).await;
    fixture.clock().advance(Duration::from_millis(1));
    let early = fixture.insert(NewJob::on(LANE)).await;
    fixture.clock().advance(Duration::from_millis(1));
    // Another route is no other queue.
    let late = fixture.insert(NewJob::on(LANE).route("a")).await;
    assert_eq!(due_ids(fixture, LANE).await, [early, late, retried, replayed]);
    let now = fixture.clock().now();
    let some = fixture.store().due(&lane_key(LANE), now, 2, &[]).await.expect("the store answers");
    assert_eq!(some.iter().map(|job| job.id).collect::<Vec<_>>(), [early, late]);
}

/// A case.
pub async fn what_is_held_is_passed_over(fixture: &mut impl Fixture) {
    let held = fixture.insert(NewJob::on(LANE).route("summaries")).await;
    let other = fixture.insert(NewJob::on(LANE).route("forward")).await;
    let paid = fixture.insert(NewJob::on(LANE).route("summaries")).await;
    let begun = begin(fixture, paid).await;
    let stage = CheckpointStage::Answered;
    fixture.store().checkpoint(paid, begun.job.fence, stage, &json!("paid")).await.expect("the store answers");
    end(fixture, &begun, failed(fixture, Duration::ZERO)).await;

    let now = fixture.clock().now();
    // Never tried, and tried before: what is held is named by class too.
    let work = |stage| {
        let class = if stage == CheckpointStage::None { JobClass::Fresh } else { JobClass::Retry };
        HeldWork { route: "summaries".parse().expect("a name"), stage, class }
    };
    let (none, answered) = (CheckpointStage::None, CheckpointStage::Answered);
    for (holding, expected) in [
        (vec![], vec![held, other, paid]),
        (vec![work(none)], vec![other, paid]),
        (vec![work(answered)], vec![held, other]),
        (vec![work(none), work(answered)], vec![other]),
        (vec![work(CheckpointStage::Fetched)], vec![held, other, paid]),
        (vec![HeldWork { class: JobClass::Replay, ..work(none) }], vec![held, other, paid]),
    ] {
        let found = fixture.store().due(&lane_key(LANE), now, 10, &holding).await.expect("the store answers");
        let mut found: Vec<JobId> = found.into_iter().map(|job| job.id).collect();
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{holding:?}");
    }
}

/// A case.
pub async fn only_what_is_due_is_due(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    fixture.insert(NewJob::on("bravo/chat")).await;
    let begun = begin(fixture, job).await;
    end(fixture, &begun, failed(fixture, minutes(1))).await;
    fixture.clock().advance(Duration::from_millis(59_999));
    assert!(due(fixture, LANE).await.is_empty());
    fixture.clock().advance(Duration::from_millis(1));
    assert_eq!(due_ids(fixture, LANE).await, [job]);
    assert_eq!(fixture.store().next_due(&lane_key("nobody/here")).await.expect("the store answers"), None);
}

/// A case.
pub async fn lanes_with_work_come_in_key_order(fixture: &mut impl Fixture) {
    let lanes = ["acme/chat", "acme/payments", "bravo/chat", "charlie/app"];
    let mut first = None;
    for lane in lanes.iter().rev() {
        for route in ["a", "b"] {
            let job = fixture.insert(NewJob::on(lane).route(route)).await;
            first.get_or_insert(job);
        }
    }
    let keys = |found: Vec<crate::ports::LaneDue>| -> Vec<String> {
        found.into_iter().map(|due| due.lane.to_string()).collect()
    };
    let store = fixture.store();
    let all = store.lanes_due(None, 10).await.expect("the store answers");
    let now = fixture.clock().now();
    assert!(all.iter().all(|due| due.next_run_at == now));
    assert_eq!(keys(all), lanes);
    assert_eq!(keys(store.lanes_due(None, 2).await.expect("the store answers")), lanes[..2]);
    let after: LaneKey = lane_key(lanes[1]);
    assert_eq!(keys(store.lanes_due(Some(&after), 10).await.expect("the store answers")), lanes[2..]);

    // A lane whose work all waits is named with the time of the earliest.
    for job in due(fixture, "charlie/app").await {
        let begun = begin(fixture, job.id).await;
        let wait = if Some(job.id) == first { minutes(2) } else { minutes(3) };
        end(fixture, &begun, failed(fixture, wait)).await;
    }
    let last = store.lanes_due(Some(&lane_key(lanes[2])), 10).await.expect("the store answers");
    assert_eq!(last.len(), 1);
    assert_eq!(last[0].next_run_at, now.plus(minutes(2)));
}

/// A case.
pub async fn what_was_running_becomes_a_suspect(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    let waiting = fixture.insert(NewJob::on("bravo/chat")).await;
    begin(fixture, job).await;
    fixture.next_life().await;
    let recovered = fixture.store().recover().await.expect("the store answers");
    assert_eq!((recovered.suspects, recovered.poisoned), (1, 0));
    assert!(due(fixture, LANE).await.is_empty(), "a suspect waits a little");
    assert_eq!(due_ids(fixture, "bravo/chat").await, [waiting], "what was not running is no suspect");
    fixture.clock().advance(minutes(5));
    let suspect = &due(fixture, LANE).await[0];
    assert_eq!((suspect.state, suspect.suspicion, suspect.attempts, suspect.deaths), (JobState::Pending, 1, 0, 0));

    let again = fixture.store().recover().await.expect("the store answers");
    assert_eq!((again.suspects, again.poisoned), (0, 0), "nothing is running");
}

/// A case.
pub async fn an_outcome_clears_a_suspect(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    begin(fixture, job).await;
    fixture.next_life().await;
    fixture.store().recover().await.expect("the store answers");
    let begun = begin(fixture, job).await;
    let hold = Verdict::Held { next_run_at: fixture.clock().now(), reason: HoldReason::Draining };
    end(fixture, &begun, hold).await;
    assert_eq!(due(fixture, LANE).await[0].suspicion, 1, "a hold is no outcome");
    let begun = begin(fixture, job).await;
    end(fixture, &begun, failed(fixture, Duration::ZERO)).await;
    assert_eq!(due(fixture, LANE).await[0].suspicion, 0);
}

/// A case.
pub async fn three_deaths_alone_are_poison(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    for death in 1..=3 {
        begin_as(fixture, job, true).await;
        fixture.next_life().await;
        let recovered = fixture.store().recover().await.expect("the store answers");
        let expected = if death == 3 { (0, 1) } else { (1, 0) };
        assert_eq!((recovered.suspects, recovered.poisoned), expected, "death {death}");
    }
    let poison = DeadLetterFilter { reason: Some(DeadReason::Poison), ..DeadLetterFilter::default() };
    assert_eq!(letters(fixture, &poison).await, [job]);
}

/// A case.
pub async fn deaths_in_company_are_never_poison(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    for _ in 0..5 {
        begin(fixture, job).await;
        fixture.next_life().await;
        assert_eq!(fixture.store().recover().await.expect("the store answers").suspects, 1);
    }
    fixture.clock().advance(minutes(60));
    let suspect = &due(fixture, LANE).await[0];
    assert_eq!((suspect.suspicion, suspect.deaths), (5, 0));
}

/// A case.
pub async fn an_attempt_of_an_earlier_life_changes_nothing(fixture: &mut impl Fixture) {
    let job = fixture.insert(NewJob::on(LANE)).await;
    let before = begin(fixture, job).await;
    fixture.next_life().await;
    fixture.store().recover().await.expect("the store answers");
    let late = end_with(fixture, job, before.job.fence, Verdict::Succeeded(JobResult::default())).await;
    assert_eq!(late, Fenced::Lost);
    let now = begin(fixture, job).await;
    let late = end_with(fixture, job, before.job.fence, Verdict::Succeeded(JobResult::default())).await;
    assert_eq!(late, Fenced::Lost);
    end(fixture, &now, Verdict::Succeeded(JobResult::default())).await;
}

/// A case.
pub async fn an_older_event_of_a_subject_does_not_run(fixture: &mut impl Fixture) {
    let now = fixture.clock().now();
    let before = fixture.insert(NewJob::on(LANE).about("in_1", now.minus(minutes(2)))).await;
    let newest = fixture.insert(NewJob::on(LANE).about("in_1", now)).await;
    let after = fixture.insert(NewJob::on(LANE).about("in_1", now.minus(minutes(1)))).await;
    for older in [before, after] {
        let epoch = take(&*fixture.store(), &lane_key(LANE)).await.epoch;
        let answer = fixture.store().begin(older, false, epoch).await.expect("the store answers");
        assert!(matches!(answer, Begin::Superseded | Begin::NotStartable), "{answer:?}");
        is_not_startable(fixture, older).await;
    }
    assert_eq!(due_ids(fixture, LANE).await, [newest]);
    begin(fixture, newest).await;
}

/// A case.
pub async fn an_event_of_the_same_moment_runs(fixture: &mut impl Fixture) {
    let now = fixture.clock().now();
    for _ in 0..2 {
        let job = fixture.insert(NewJob::on(LANE).about("in_1", now)).await;
        begin(fixture, job).await;
    }
}

/// A case.
pub async fn another_route_has_its_own_watermark(fixture: &mut impl Fixture) {
    let now = fixture.clock().now();
    fixture.insert(NewJob::on(LANE).route("one").about("in_1", now)).await;
    for other in [
        NewJob::on(LANE).route("two").about("in_1", now.minus(minutes(1))),
        NewJob::on(LANE).route("one").about("in_2", now.minus(minutes(1))),
        NewJob::on("bravo/payments").route("one").about("in_1", now.minus(minutes(1))),
    ] {
        let job = fixture.insert(other).await;
        begin(fixture, job).await;
    }
}

/// A case.
pub async fn a_lane_remembers(fixture: &mut impl Fixture) {
    let lane = lane_key(LANE);
    let store = fixture.store();
    assert_eq!(store.load_lane(&lane).await.expect("the store answers"), LaneMemory::default());
    let memory = LaneMemory {
        paused: true,
        breakers: vec![BreakerMemory {
            callee: crate::domain::CalleeId::new("host", "crm.example"),
            probe_at: fixture.clock().now().plus(minutes(1)),
            opens: 3,
            shared: true,
        }],
    };
    store.keep_pause(&lane, true, &Mandate::new("ops", "a test")).await.expect("the store answers");
    store.keep_breakers(&lane, &memory.breakers).await.expect("the store answers");
    fixture.next_life().await;
    let store = fixture.store();
    assert_eq!(store.load_lane(&lane).await.expect("the store answers"), memory);
    assert_eq!(store.remembered_lanes().await.expect("the store answers"), [(lane.clone(), memory.clone())]);
    assert_eq!(store.paused_lanes().await.expect("the store answers"), std::slice::from_ref(&lane));
    let resumed = LaneMemory { paused: false, ..memory };
    store.keep_pause(&lane, false, &Mandate::new("ops", "a test")).await.expect("the store answers");
    assert_eq!(store.paused_lanes().await.expect("the store answers"), []);
    assert_eq!(store.remembered_lanes().await.expect("the store answers"), [(lane.clone(), resumed)]);
    store.keep_pause(&lane, true, &Mandate::new("ops", "a test")).await.expect("the store answers");
    store.keep_breakers(&lane, &[]).await.expect("the store answers");
    let paused = LaneMemory { paused: true, breakers: Vec::new() };
    assert_eq!(store.load_lane(&lane).await.expect("the store answers"), paused, "each is kept by itself");
    store.keep_pause(&lane, false, &Mandate::new("ops", "a test")).await.expect("the store answers");
    assert_eq!(store.remembered_lanes().await.expect("the store answers"), []);
}

/// A case.
pub async fn a_lane_is_taken_with_what_it_remembers_and_given_back(fixture: &mut impl Fixture) {
    let (lane, store) = (lane_key(LANE), fixture.store());
    let memory = LaneMemory { paused: true, ..LaneMemory::default() };
    store.keep_pause(&lane, true, &Mandate::new("ops", "a test")).await.expect("the store answers");
    let owned = take(&*store, &lane).await;
    assert_eq!((&owned.memory, owned.taken_over), (&memory, false));
    store.release_lane(&lane, owned.epoch).await.expect("the store answers");
    assert_eq!(take(&*store, &lane).await.memory, memory, "and taken again");
}
