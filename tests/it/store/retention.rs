//! What retention takes and what it leaves.

use sluice::{
    api::records::{Records, Retention, Scope, Swept},
    ids,
    ingest::{EventStatus, EventStore, NewEvent, Recorded},
};
use sluice_actors::{
    domain::{DeadReason, JobResult, JobState, LaneKey},
    ports::Verdict,
    testing::lane_key,
};

use super::{
    on_both,
    world::{World, days, key},
};

on_both! {
    retention_removes_what_is_old_and_over
    retention_keeps_what_a_live_dead_or_quarantined_job_may_need
    keys_without_a_signed_time_live_as_long_as_their_secret
    watermarks_of_silent_subjects_are_swept
}

async fn retention_removes_what_is_old_and_over(world: World) {
    let retention = Retention { batch: 3, ..Retention::default() };
    let events: Vec<NewEvent> = (0..10).map(|_| world.event("acme/pay")).collect();
    world.store.record(events.clone()).await.unwrap();
    for event in &events {
        world.run(event.jobs[0].id, Verdict::Succeeded(JobResult::default())).await;
    }
    assert_eq!(world.sweep(&retention).await, Swept::default());
    world.clock.advance(days(15));
    let young = world.event("acme/pay");
    world.record(young.clone()).await;
    assert_eq!(world.sweep(&retention).await, Swept { payloads: 10, ..Swept::default() });
    let detail = world.store.event(&Scope::All, events[0].id).await.unwrap().unwrap();
    assert_eq!((detail.raw, detail.forms.len()), (None, 1), "the form outlives the payload");
    world.clock.advance(days(16));
    let swept = world.sweep(&retention).await;
    assert_eq!((swept.payloads, swept.events), (0, 10), "the young one has a job that waits");
    for table in ["events", "jobs", "forms", "payloads"] {
        assert_eq!(world.count(table).await, 1, "{table}");
    }
    for table in ["attempts", "results"] {
        assert_eq!(world.count(table).await, 0, "{table}");
    }
}

async fn retention_keeps_what_a_live_dead_or_quarantined_job_may_need(world: World) {
    let live = world.event("acme/pay");
    let dead = world.event("acme/pay");
    let quarantined = NewEvent {
        status: EventStatus::Quarantined,
        form: None,
        quarantine_reason: Some("amount is missing".into()),
        jobs: Vec::new(),
        ..world.event("acme/pay")
    };
    let failed = world.event("acme/pay");
    world.store.record(vec![live.clone(), dead.clone(), quarantined.clone(), failed.clone()]).await.unwrap();
    world.run(dead.jobs[0].id, Verdict::Dead { reason: DeadReason::Rejected, detail: "422".into() }).await;
    world
        .run(failed.jobs[0].id, Verdict::Failed { next_run_at: world.now().plus(days(60)), error: "503".into() })
        .await;
    world.clock.advance(days(31));
    assert_eq!(world.sweep(&Retention::default()).await, Swept::default());
    // A dead letter goes after 90 days, and its event with it.
    world.clock.advance(days(60));
    let swept = world.sweep(&Retention::default()).await;
    assert_eq!((swept.dead_letters, swept.events), (1, 1));
    assert!(world.store.event(&Scope::All, dead.id).await.unwrap().is_none());
    assert!(world.store.backlog().await.unwrap()[0].jobs.contains(&(JobState::DeadLetter, 0)));
    for id in [live.id, quarantined.id, failed.id] {
        assert!(world.store.event(&Scope::All, id).await.unwrap().unwrap().raw.is_some());
    }
}

async fn keys_without_a_signed_time_live_as_long_as_their_secret(world: World) {
    let old = |keys_expire| NewEvent {
        keys_expire,
        replay_key: Some(key(&format!("signed bytes {keys_expire}"))),
        jobs: Vec::new(),
        status: EventStatus::Unrouted,
        ..world.event("acme/hub")
    };
    let (kept, expired) = (old(false), old(true));
    world.store.record(vec![kept.clone(), expired.clone()]).await.unwrap();
    world.clock.advance(days(31));
    let lane: LaneKey = lane_key("acme/hub");
    let retention = |secrets: &[&str]| Retention {
        live_secrets: vec![(lane.clone(), secrets.iter().map(|secret| (*secret).into()).collect())],
        ..Retention::default()
    };
    assert_eq!(world.sweep(&retention(&["next", "current"])).await.events, 2);
    assert_eq!(world.count("events").await, 0);

    let again = |event: &NewEvent| NewEvent { id: ids::event_id(world.now()), ..event.clone() };
    let fresh_id = |event: &NewEvent| NewEvent { dedupe_key: key("a fresh id"), ..again(event) };
    let duplicate = Recorded::Duplicate { first: kept.id, conflict: false };
    assert_eq!(world.record(again(&kept)).await, duplicate);
    assert_eq!(world.record(fresh_id(&kept)).await, duplicate, "the replay key is kept too");
    let after_expiry = again(&expired);
    assert_eq!(world.record(after_expiry.clone()).await, Recorded::New(after_expiry.id));

    // The secret is retired: nobody can sign with it any more.
    world.sweep(&retention(&["next"])).await;
    assert_eq!(world.count("keys").await, 0);
    let after_retirement = again(&kept);
    assert_eq!(world.record(after_retirement.clone()).await, Recorded::New(after_retirement.id));
}

async fn watermarks_of_silent_subjects_are_swept(world: World) {
    let event = NewEvent { subject_id: Some("in_1".into()), ..world.event("acme/pay") };
    world.record(event.clone()).await;
    world.run(event.jobs[0].id, Verdict::Succeeded(JobResult::default())).await;
    world.clock.advance(days(31));
    world.record(NewEvent { subject_id: Some("in_2".into()), ..world.event("acme/pay") }).await;
    world.sweep(&Retention::default()).await;
    assert_eq!(world.count("watermarks").await, 1);
}
