//! Deliveries: what is new, what is a duplicate, what a batch does to its neighbours.

use std::time::Duration;

use bytes::Bytes;
use sluice::{
    api::records::{RecordFilter, Records, Scope},
    ids,
    ingest::{EventStore, NewEvent, NewForm, RecordError, Recorded},
    vendors::OnConflict,
};
use sluice_actors::{
    domain::JobState,
    ports::{Begin, JobStore},
    testing::{contract::taken, lane_key},
};

use super::{
    on_both,
    world::{World, audit, key},
};

on_both! {
    a_new_event_is_stored_with_its_jobs
    a_hundred_identical_deliveries_at_once_make_one_event
    the_same_signed_bytes_under_many_ids_at_once_make_one_event
    one_delivery_with_many_events_is_one_transaction_with_an_answer_each
    the_same_key_in_another_source_is_another_event
    other_content_under_a_signed_id_is_a_counted_conflict
    other_content_under_an_unsigned_id_revises_the_first
    signed_bytes_under_a_fresh_id_are_a_duplicate
    an_older_event_is_stored_and_its_job_superseded
    an_event_far_in_the_future_never_supersedes
    a_bad_row_does_not_fail_its_neighbours
    an_event_never_changes_and_a_form_is_never_rewritten
    a_client_that_hangs_up_cancels_nothing
    a_locked_store_is_unavailable_and_then_is_not
    a_closed_store_is_unavailable
    binary_bodies_and_odd_text_come_back_as_they_were
}

async fn a_new_event_is_stored_with_its_jobs(world: World) {
    let mut event = world.event("acme/pay");
    event.jobs.push(world.job("second"));
    let (id, jobs) = (event.id, event.jobs.clone());
    assert_eq!(world.record(event).await, Recorded::New(id));
    let detail = world.store.event(&Scope::All, id).await.unwrap().unwrap();
    assert_eq!(detail.raw.as_deref(), Some(r#"{"nth":0}"#));
    assert_eq!(detail.forms.len(), 1);
    assert_eq!(detail.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[0].id, jobs[1].id]);
    assert_eq!(world.pending("acme/pay").await, 2);
}

async fn a_hundred_identical_deliveries_at_once_make_one_event(world: World) {
    let event = world.event("acme/pay");
    let deliveries = (0..100).map(|_| {
        let store = world.store.clone();
        let copy = NewEvent { id: ids::event_id(world.now()), jobs: vec![world.job("main")], ..event.clone() };
        tokio::spawn(async move { store.record(vec![copy]).await.unwrap()[0] })
    });
    let mut new = Vec::new();
    let mut first = Vec::new();
    for delivery in deliveries.collect::<Vec<_>>() {
        match delivery.await.unwrap() {
            Recorded::New(id) => new.push(id),
            Recorded::Duplicate { first: id, conflict } => {
                assert!(!conflict);
                first.push(id);
            }
        }
    }
    assert_eq!((new.len(), first.len()), (1, 99));
    assert!(first.iter().all(|id| *id == new[0]));
    assert_eq!((world.count("events").await, world.count("jobs").await), (1, 1));
    assert_eq!(world.pending("acme/pay").await, 1);
}

async fn the_same_signed_bytes_under_many_ids_at_once_make_one_event(world: World) {
    let deliveries = (0..50).map(|_| {
        let event = NewEvent { replay_key: Some(key("signed bytes")), ..world.event("acme/app") };
        let store = world.store.clone();
        tokio::spawn(async move { store.record(vec![event]).await.unwrap().remove(0) })
    });
    let mut ids = std::collections::HashSet::new();
    let mut new = 0;
    for delivery in deliveries.collect::<Vec<_>>() {
        match delivery.await.unwrap() {
            Recorded::New(id) => {
                new += 1;
                ids.insert(id);
            }
            Recorded::Duplicate { first, .. } => {
                ids.insert(first);
            }
        }
    }
    assert_eq!((new, ids.len()), (1, 1));
    assert_eq!((world.count("events").await, world.count("jobs").await), (1, 1));
    assert_eq!(world.pending("acme/app").await, 1);
}

async fn one_delivery_with_many_events_is_one_transaction_with_an_answer_each(world: World) {
    let events: Vec<NewEvent> = (0..300).map(|_| world.event("acme/crm")).collect();
    let mut delivery = events.clone();
    // The vendor put one of them in twice.
    delivery
        .insert(100, NewEvent { id: ids::event_id(world.now()), jobs: vec![world.job("main")], ..events[7].clone() });
    let answers = world.store.record(delivery).await.unwrap();
    assert_eq!(answers.len(), 301);
    assert_eq!(answers[7], Recorded::New(events[7].id));
    assert_eq!(answers[100], Recorded::Duplicate { first: events[7].id, conflict: false });
    assert_eq!(answers[300], Recorded::New(events[299].id));
    assert_eq!(world.count("events").await, 300);
}

async fn the_same_key_in_another_source_is_another_event(world: World) {
    let event = world.event("acme/pay");
    for lane in ["acme/pay", "acme/other", "bravo/pay"] {
        let same = NewEvent { id: ids::event_id(world.now()), lane: lane_key(lane), jobs: Vec::new(), ..event.clone() };
        assert_eq!(world.record(same.clone()).await, Recorded::New(same.id), "{lane}");
    }
}

async fn other_content_under_a_signed_id_is_a_counted_conflict(world: World) {
    let event = world.event("acme/pay");
    world.record(event.clone()).await;
    let other = NewEvent { id: ids::event_id(world.now()), payload_hash: [9; 32], ..event.clone() };
    assert_eq!(world.record(other).await, Recorded::Duplicate { first: event.id, conflict: true });
}

async fn other_content_under_an_unsigned_id_revises_the_first(world: World) {
    let first = NewEvent { on_conflict: OnConflict::Revision, ..world.event("acme/app") };
    let revision = |world: &World| NewEvent {
        external_id: first.external_id.clone(),
        on_conflict: OnConflict::Revision,
        ..world.event("acme/app")
    };
    let (second, third) = (revision(&world), revision(&world));
    // The first two arrive together, the third alone.
    world.store.record(vec![first.clone(), second.clone()]).await.unwrap();
    world.record(third.clone()).await;
    for id in [second.id, third.id] {
        assert_eq!(world.store.event(&Scope::All, id).await.unwrap().unwrap().event.revises, Some(first.id));
    }
    assert_eq!(world.store.event(&Scope::All, first.id).await.unwrap().unwrap().event.revises, None);
}

async fn signed_bytes_under_a_fresh_id_are_a_duplicate(world: World) {
    let event = NewEvent { replay_key: Some(key("signed bytes")), ..world.event("acme/app") };
    world.record(event.clone()).await;
    let fresh_id = NewEvent { replay_key: Some(key("signed bytes")), ..world.event("acme/app") };
    assert_eq!(world.record(fresh_id).await, Recorded::Duplicate { first: event.id, conflict: false });
    // In one delivery as well.
    let one = NewEvent { replay_key: Some(key("others")), ..world.event("acme/app") };
    let two = NewEvent { replay_key: Some(key("others")), ..world.event("acme/app") };
    let answers = world.store.record(vec![one.clone(), two]).await.unwrap();
    assert_eq!(answers, [Recorded::New(one.id), Recorded::Duplicate { first: one.id, conflict: false }]);
}

async fn an_older_event_is_stored_and_its_job_superseded(world: World) {
    let now = world.now();
    let about = |occurred_at| NewEvent { subject_id: Some("in_1".into()), occurred_at, ..world.event("acme/pay") };
    world.record(about(now)).await;
    let older = about(now.minus(Duration::from_millis(1)));
    let same = about(now);
    let answers = world.store.record(vec![older.clone(), same.clone()]).await.unwrap();
    assert_eq!(answers, [Recorded::New(older.id), Recorded::New(same.id)]);
    assert_eq!(world.state(older.jobs[0].id).await, JobState::Superseded);
    assert_eq!(world.state(same.jobs[0].id).await, JobState::Pending, "equal is not older");
    assert_eq!(world.pending("acme/pay").await, 2);
}

async fn an_event_far_in_the_future_never_supersedes(world: World) {
    let now = world.now();
    let about = |occurred_at| NewEvent { subject_id: Some("in_1".into()), occurred_at, ..world.event("acme/pay") };
    world.record(about(now.plus(Duration::from_secs(301)))).await;
    let sane = about(now);
    world.record(sane.clone()).await;
    assert_eq!(world.state(sane.jobs[0].id).await, JobState::Pending);
    world.record(about(now.plus(Duration::from_secs(300)))).await;
    let older = about(now);
    world.record(older.clone()).await;
    assert_eq!(world.state(older.jobs[0].id).await, JobState::Superseded, "5 minutes ahead is within reason");
}

async fn a_bad_row_does_not_fail_its_neighbours(world: World) {
    let mut twice = world.event("acme/pay");
    // Two jobs of one route: the store's own rule refuses the second.
    twice.jobs = vec![world.job("main"), world.job("main")];
    let mut handed_in = Vec::new();
    for nth in 0..20 {
        let event = if nth == 10 { twice.clone() } else { world.event("acme/pay") };
        let store = world.store.clone();
        handed_in.push(tokio::spawn(async move { store.record(vec![event]).await }));
    }
    let mut failed = 0;
    for (nth, answer) in handed_in.into_iter().enumerate() {
        match answer.await.unwrap() {
            Ok(_) => assert_ne!(nth, 10),
            Err(RecordError::Unavailable(_)) => failed += 1,
            Err(error @ RecordError::Unknown(_)) => panic!("{error}"),
        }
    }
    assert_eq!((failed, world.count("events").await, world.count("jobs").await), (1, 19, 19));
}

async fn an_event_never_changes_and_a_form_is_never_rewritten(world: World) {
    world.record(world.event("acme/pay")).await;
    world.store.audit(audit()).await.unwrap();
    let mut other = world.other_program().await;
    for (text, refused) in [
        ("UPDATE events SET occurred_at = 0", true),
        ("UPDATE events SET external_id = 'forged'", true),
        ("UPDATE events SET subject_id = 'x'", true),
        ("UPDATE events SET status = 'quarantined'", true),
        ("UPDATE events SET status = 'released', trace_id = stored_hash", true),
        ("UPDATE events SET status = 'released', sampled = NOT sampled", true),
        ("UPDATE forms SET form = '[]'", true),
        ("UPDATE audit SET actor = 'nobody'", true),
        ("DELETE FROM audit", true),
        ("UPDATE events SET status = 'released'", false),
    ] {
        assert_eq!(other.run(text).await.is_err(), refused, "{text}");
    }
}

async fn a_client_that_hangs_up_cancels_nothing(world: World) {
    let event = world.event("acme/pay");
    let id = event.id;
    {
        let handed_in = world.store.record(vec![event]);
        let mut handed_in = std::pin::pin!(handed_in);
        // Polled once, so that it is in the writer's hands, then dropped.
        assert!(futures_util::poll!(&mut handed_in).is_pending());
    }
    world.record(world.event("acme/pay")).await;
    assert!(world.store.event(&Scope::All, id).await.unwrap().is_some());
}

async fn a_locked_store_is_unavailable_and_then_is_not(world: World) {
    let mut other = world.other_program().await;
    other.lock().await;
    let event = world.event("acme/pay");
    let refused = world.store.record(vec![event.clone()]).await;
    assert!(matches!(refused, Err(RecordError::Unavailable(_))), "{refused:?}");
    assert!(world.store.ping().await.is_err());
    other.run("ROLLBACK").await.unwrap();
    assert_eq!(world.record(event.clone()).await, Recorded::New(event.id));
    world.store.ping().await.unwrap();
}

async fn a_closed_store_is_unavailable(world: World) {
    world.store.close().await;
    let refused = world.store.record(vec![world.event("acme/pay")]).await;
    assert!(matches!(refused, Err(RecordError::Unavailable(_))), "{refused:?}");
    assert!(world.store.recover().await.is_err());
}

async fn binary_bodies_and_odd_text_come_back_as_they_were(world: World) {
    let text = "\u{0}null, \u{1F980}, 'quotes' and \u{202e}bidi";
    let event = NewEvent {
        raw: Bytes::from_static(b"\x00\xff\xfe"),
        external_id: text.into(),
        subject_id: Some(text.into()),
        form: Some(NewForm { schema_version: 1, json: serde_json::json!({ "text": text }).to_string() }),
        ..world.event("acme/pay")
    };
    world.record(event.clone()).await;
    let detail = world.store.event(&Scope::All, event.id).await.unwrap().unwrap();
    assert_eq!((detail.event.external_id.as_str(), detail.raw), (text, None), "what is not text is not shown");
    assert_eq!(detail.forms[0].1["text"], text);
    let found = RecordFilter { external_id: Some(text.into()), ..RecordFilter::default() };
    assert_eq!(world.store.events(&Scope::All, &found).await.unwrap().items.len(), 1);
    let job = event.jobs[0].id;
    let epoch = taken(&world.store, job).await;
    let Begin::Begun(begun) = world.store.begin(job, false, epoch).await.unwrap() else { panic!("it is due") };
    assert_eq!(begun.event.subject_id.as_deref(), Some(text));
}
