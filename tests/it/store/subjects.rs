//! What is kept of one subject, erased.

use sluice::{
    api::records::{AuditFilter, RecordFilter, Records, Scope},
    ingest::{EventStatus, NewEvent, Recorded},
};
use sluice_actors::domain::{DeadReason, JobResult, JobState};
use sluice_actors::ports::Verdict;

use super::{
    on_both,
    world::{World, audit, days, key},
};

on_both! {
    erased_events_are_gone_with_all_that_belongs_to_them_and_a_retry_does_not_bring_them_back
    an_event_with_a_job_that_could_still_run_is_left
}

fn of(world: &World, subject: &str) -> NewEvent {
    NewEvent {
        subject_id: Some(subject.into()),
        replay_key: Some(key(&format!("replay {subject} {}", world.now()))),
        ..world.event("acme/pay")
    }
}

async fn erased_events_are_gone_with_all_that_belongs_to_them_and_a_retry_does_not_bring_them_back(world: World) {
    let (done, other) = (of(&world, "ada"), of(&world, "bob"));
    world.record(done.clone()).await;
    world.run(done.jobs[0].id, Verdict::Succeeded(JobResult::default())).await;
    world.record(other.clone()).await;
    world.run(other.jobs[0].id, Verdict::Succeeded(JobResult::default())).await;
    world.clock.advance(days(1));
    let dead = of(&world, "ada");
    world.record(dead.clone()).await;
    let verdict = Verdict::Dead { reason: DeadReason::Rejected, detail: "no".into() };
    world.run(dead.jobs[0].id, verdict).await;
    world.clock.advance(days(1));
    let odd = NewEvent { status: EventStatus::Quarantined, form: None, jobs: Vec::new(), ..of(&world, "ada") };
    world.record(odd.clone()).await;

    let ids = vec![done.id, dead.id, odd.id];
    assert_eq!(world.store.erase(ids.clone(), audit()).await.unwrap(), 3);
    for table in ["events", "payloads", "forms", "jobs", "attempts", "results", "watermarks"] {
        assert_eq!(world.count(table).await, 1, "{table} keeps what is of the other subject");
    }
    assert_eq!(world.count("dead_letters").await, 0);
    let filter = RecordFilter { subject: Some("ada".into()), ..RecordFilter::default() };
    assert!(world.store.events(&Scope::All, &filter).await.unwrap().items.is_empty());
    let counted = world.store.backlog().await.unwrap();
    assert!(counted.iter().all(|lane| lane.jobs.iter().all(|(_, count)| *count == 0)), "{counted:?}");
    for event in [done, dead, odd] {
        let (id, again) = (event.id, NewEvent { id: world.event("acme/pay").id, ..event });
        let answer = world.record(again).await;
        assert!(matches!(answer, Recorded::Duplicate { first, .. } if first == id), "{answer:?}");
    }
    let lines = world.store.audit_page(&Scope::All, &AuditFilter::default()).await.unwrap().items;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(world.store.erase(ids, audit()).await.unwrap(), 0);
    let lines = world.store.audit_page(&Scope::All, &AuditFilter::default()).await.unwrap().items;
    assert_eq!(lines.len(), 1, "what changed nothing is not audited");
}

async fn an_event_with_a_job_that_could_still_run_is_left(world: World) {
    let (waiting, running) = (of(&world, "ada"), world.event("acme/pay"));
    world.record(waiting.clone()).await;
    world.record(running.clone()).await;
    world.begin(running.jobs[0].id).await;
    assert_eq!(world.store.erase(vec![waiting.id, running.id], audit()).await.unwrap(), 0);
    assert_eq!(world.state(waiting.jobs[0].id).await, JobState::Pending);
    for job in [&waiting.jobs[0], &running.jobs[0]] {
        assert!(world.store.cancel(&Scope::All, job.id, audit()).await.unwrap());
    }
    assert_eq!(world.store.erase(vec![waiting.id, running.id], audit()).await.unwrap(), 2);
    assert_eq!(world.pending("acme/pay").await, 0);
}
