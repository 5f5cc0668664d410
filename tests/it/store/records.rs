//! What people read and do: pages, history, release, cancel, refusals.

use std::time::Duration;

use sluice::{
    api::{
        records::{HandshakeRow, RecordFilter, Records, RefusalFilter, RefusalRow, RoutedEvent, Scope},
        traffic::{ACK_BOUNDS, Counts, KeptTraffic, LaneMinute, Uses, Whose, minute},
    },
    ingest::{EventStatus, EventStore, NewEvent, NewForm},
    vendors::Refusal,
};
use sluice_actors::{
    domain::{DeadReason, EventId, JobId, JobResult, JobState, LaneKey, Mandate, Timestamp},
    ports::{AttemptEnd, Begin, DeadLetterFilter, Fenced, JobStore, Verdict},
    testing::{
        NewJob,
        contract::{Fixture, taken},
    },
};

use super::{
    on_both,
    world::{World, audit},
};

on_both! {
    the_counters_agree_with_the_rows_after_every_kind_of_change
    a_job_has_its_history
    events_are_found_by_every_part_of_the_filter
    pages_follow_each_other_without_gap_or_overlap
    a_foreign_object_is_not_found
    a_quarantined_event_is_released_once
    past_events_run_through_a_route_once
    a_cancelled_job_is_over_and_its_attempt_lost
    a_job_whose_form_is_gone_is_a_dead_letter
    dead_letters_are_found_by_the_type_and_the_subject_of_their_event
    the_last_50_refusals_of_a_source_are_kept
    a_handed_over_token_is_shown_once
    minutes_of_several_nodes_are_one_and_old_ones_are_forgotten
}

async fn the_counters_agree_with_the_rows_after_every_kind_of_change(mut world: World) {
    let jobs: Vec<JobId> = {
        let events: Vec<NewEvent> = (0..6).map(|_| world.event("acme/pay")).collect();
        let jobs = events.iter().map(|event| event.jobs[0].id).collect();
        world.store.record(events).await.unwrap();
        jobs
    };
    world.run(jobs[0], Verdict::Succeeded(JobResult::default())).await;
    world.run(jobs[1], Verdict::Failed { next_run_at: world.now(), error: "503".into() }).await;
    world.run(jobs[2], Verdict::Dead { reason: DeadReason::Rejected, detail: "422".into() }).await;
    world.run(jobs[3], Verdict::Dead { reason: DeadReason::Rejected, detail: "422".into() }).await;
    world.store.replay(jobs[3], &Mandate::new("ops", ""), world.now()).await.unwrap();
    world.begin(jobs[4]).await;
    assert!(world.store.cancel(&Scope::All, jobs[5], audit()).await.unwrap());
    let expected = [(JobState::Pending, 1), (JobState::Running, 1), (JobState::Failed, 1), (JobState::DeadLetter, 1)];
    let counted = world.store.backlog().await.unwrap();
    assert_eq!(counted[0].jobs, expected);
    assert_eq!(counted[0].oldest_due, Some(world.now()));
    assert_eq!(world.pending("acme/pay").await, 3);
    // Read anew from the file they are the same.
    world.next_life().await;
    assert_eq!(world.store.backlog().await.unwrap()[0].jobs, expected);
    assert_eq!(world.pending("nobody/here").await, 0);
}

async fn minutes_of_several_nodes_are_one_and_old_ones_are_forgotten(mut world: World) {
    let lane = |name: &str| {
        let (tenant, source) = name.split_once('/').unwrap();
        LaneKey::new(tenant.parse().unwrap(), source.parse().unwrap())
    };
    let at = minute(world.now());
    let keep = async |world: &World, at: Timestamp, events: u64, waiting: u64| {
        let counts = Counts { events, acks: events, within: [events; ACK_BOUNDS.len()], ..Counts::default() };
        let of = |lane| LaneMinute { lane, at, counts, waiting };
        let minutes = vec![of(None), of(Some(lane("acme/pay"))), of(Some(lane("bravo/pay")))];
        let secrets = vec![(lane("acme/pay"), "env:NEW".into(), Uses { count: events, first: at, last: at })];
        let forget_before = at.minus(Duration::from_mins(60));
        world.store.keep_traffic(KeptTraffic { minutes, secrets, forget_before }).await.unwrap();
    };
    keep(&world, at.minus(Duration::from_mins(61)), 100, 1).await;
    keep(&world, at, 2, 7).await;
    // The same node again within the minute: more came, and what waits is what waits now.
    keep(&world, at, 1, 5).await;
    world.next_life().await;
    keep(&world, at, 4, 6).await;
    let of = async |whose: Whose| {
        let found = world.store.traffic(&whose, Timestamp::from_secs(0)).await.unwrap();
        found
            .into_iter()
            .map(|(at, minute)| (at, minute.counts.events, minute.counts.within[0], minute.waiting))
            .collect::<Vec<_>>()
    };
    let (acme, bravo) = ("acme".parse().unwrap(), "bravo".parse().unwrap());
    assert_eq!(of(Whose::All).await, [(at, 7, 7, 6)], "what waits is the same for each node");
    assert_eq!(of(Whose::Lanes(vec![acme], Some("pay".parse().unwrap()))).await, [(at, 7, 7, 6)]);
    let both = vec!["acme".parse().unwrap(), bravo];
    assert_eq!(of(Whose::Lanes(both, None)).await, [(at, 14, 14, 12)]);
    assert_eq!(of(Whose::Lanes(vec!["nobody".parse().unwrap()], None)).await, [(at, 0, 0, 0)]);
    let uses = world.store.secret_uses(&Scope::All).await.unwrap();
    assert_eq!(uses.iter().map(|used| used.uses).collect::<Vec<_>>(), [107]);
    assert_eq!((uses[0].last, uses[0].first), (at, at.minus(Duration::from_mins(61))));
}

async fn a_job_has_its_history(world: World) {
    let event = world.event("acme/pay");
    let job = event.jobs[0].id;
    world.record(event).await;
    world.run(job, Verdict::Failed { next_run_at: world.now(), error: "503".into() }).await;
    world.run(job, Verdict::Dead { reason: DeadReason::Rejected, detail: "422".into() }).await;
    let dead = world.store.job(&Scope::All, job).await.unwrap().unwrap();
    assert_eq!(dead.dead_letter.as_ref().unwrap().reason, "rejected");
    assert_eq!(dead.job.last_error.as_deref(), Some("422"));
    world.store.replay(job, &Mandate::new("ops", ""), world.now()).await.unwrap();
    let result = JobResult { summary: Some("short".into()), post_id: Some(7), ..JobResult::default() };
    world.run(job, Verdict::Succeeded(result)).await;
    let detail = world.store.job(&Scope::All, job).await.unwrap().unwrap();
    let attempts: Vec<_> = detail.attempts.iter().map(|attempt| (attempt.number, attempt.outcome.as_str())).collect();
    assert_eq!(attempts, [(1, "failed"), (2, "deadletter"), (3, "succeeded")], "numbers go on through replays");
    assert_eq!(detail.result.unwrap()["post_id"], 7);
    assert_eq!(detail.dead_letter.unwrap().replayed_by.as_deref(), Some("ops"));
    assert!(detail.job.finished_at.is_some());
}

async fn events_are_found_by_every_part_of_the_filter(world: World) {
    let first = NewEvent { subject_id: Some("in_1".into()), ..world.event("acme/pay") };
    world.record(first.clone()).await;
    world.clock.advance(Duration::from_secs(60));
    let later = world.now();
    let second = NewEvent {
        event_type: "customer.created".into(),
        status: EventStatus::Unrouted,
        jobs: Vec::new(),
        ..world.event("bravo/crm")
    };
    world.record(second.clone()).await;
    let all = RecordFilter::default;
    let some = |text: &str| Some(text.to_owned());
    let table = [
        (all(), vec![second.id, first.id]),
        (RecordFilter { tenant: some("acme"), ..all() }, vec![first.id]),
        (RecordFilter { source: some("crm"), ..all() }, vec![second.id]),
        (RecordFilter { event_type: some("invoice.paid"), ..all() }, vec![first.id]),
        (RecordFilter { event_type: some("invoice.*"), ..all() }, vec![first.id]),
        (RecordFilter { event_type: some("customer.*"), ..all() }, vec![second.id]),
        (RecordFilter { event_type: some("invoice"), ..all() }, vec![]),
        (RecordFilter { event_type: some("*"), ..all() }, vec![second.id, first.id]),
        (RecordFilter { state: some("unrouted"), ..all() }, vec![second.id]),
        (RecordFilter { subject: some("in_1"), ..all() }, vec![first.id]),
        (RecordFilter { external_id: Some(first.external_id.clone()), ..all() }, vec![first.id]),
        (RecordFilter { external_id: Some(first.external_id.clone()), tenant: some("bravo"), ..all() }, vec![]),
        (RecordFilter { external_id: Some(first.external_id.clone()), state: some("unrouted"), ..all() }, vec![]),
        (RecordFilter { trace_id: Some(second.trace_id.to_string()), ..all() }, vec![second.id]),
        (RecordFilter { trace_id: some("no trace"), ..all() }, vec![]),
        (RecordFilter { since: Some(later), ..all() }, vec![second.id]),
        (RecordFilter { until: Some(later), ..all() }, vec![first.id]),
    ];
    for (filter, expected) in table {
        let page = world.store.events(&Scope::All, &filter).await.unwrap();
        assert_eq!(page.items.iter().map(|row| row.id).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(page.next, None);
    }
    let jobs = world.store.jobs(&Scope::All, &RecordFilter { event_type: some("invoice.*"), ..all() }).await.unwrap();
    assert_eq!(jobs.items.iter().map(|row| row.id).collect::<Vec<_>>(), [first.jobs[0].id]);
    let jobs = RecordFilter { external_id: Some(first.external_id.clone()), state: some("pending"), ..all() };
    assert_eq!(world.store.jobs(&Scope::All, &jobs).await.unwrap().items.len(), 1);
}

async fn pages_follow_each_other_without_gap_or_overlap(world: World) {
    let events: Vec<NewEvent> = (0..25).map(|_| world.event("acme/pay")).collect();
    let expected: Vec<EventId> = events.iter().rev().map(|event| event.id).collect();
    world.store.record(events).await.unwrap();
    let mut filter = RecordFilter { limit: Some(10), ..RecordFilter::default() };
    let mut seen = Vec::new();
    loop {
        let page = world.store.events(&Scope::All, &filter).await.unwrap();
        seen.extend(page.items.iter().map(|row| row.id));
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, expected);
}

async fn a_foreign_object_is_not_found(world: World) {
    let event = world.event("acme/pay");
    let (id, job) = (event.id, event.jobs[0].id);
    world.record(event.clone()).await;
    let refusal = refusal(&world, "acme", 1);
    world.store.keep_refusal(refusal).await.unwrap();
    let foreign = Scope::Tenants(vec!["bravo".parse().unwrap()]);
    let own = Scope::Tenants(vec!["acme".parse().unwrap(), "bravo".parse().unwrap()]);
    for (scope, found) in [(&foreign, false), (&own, true), (&Scope::All, true), (&Scope::Tenants(vec![]), false)] {
        let all = RecordFilter::default();
        let by_id = RecordFilter { external_id: Some(event.external_id.clone()), ..all.clone() };
        assert_eq!(world.store.event(scope, id).await.unwrap().is_some(), found);
        assert_eq!(world.store.job(scope, job).await.unwrap().is_some(), found);
        assert_eq!(!world.store.events(scope, &all).await.unwrap().items.is_empty(), found);
        assert_eq!(!world.store.events(scope, &by_id).await.unwrap().items.is_empty(), found);
        assert_eq!(!world.store.jobs(scope, &all).await.unwrap().items.is_empty(), found);
        assert_eq!(!world.store.refusals(scope, &RefusalFilter::default(), 10).await.unwrap().is_empty(), found);
        assert_eq!(world.store.refusal(scope, 1).await.unwrap().is_some(), found);
    }
    assert!(!world.store.cancel(&foreign, job, audit()).await.unwrap());
    world.run(job, Verdict::Dead { reason: DeadReason::Rejected, detail: "422".into() }).await;
    let all = DeadLetterFilter::default();
    assert!(Records::dead_letters(&world.store, &foreign, &all, 10, None).await.unwrap().items.is_empty());
    assert_eq!(Records::dead_letters(&world.store, &own, &all, 10, None).await.unwrap().items.len(), 1);
}

async fn a_quarantined_event_is_released_once(world: World) {
    let event = NewEvent {
        status: EventStatus::Quarantined,
        form: None,
        quarantine_reason: Some("amount is missing".into()),
        jobs: Vec::new(),
        ..world.event("acme/pay")
    };
    world.record(event.clone()).await;
    let detail = world.store.event(&Scope::All, event.id).await.unwrap().unwrap();
    assert_eq!(detail.quarantine_reason.as_deref(), Some("amount is missing"));
    let form = NewForm { schema_version: 2, json: r#"{"amount":1}"#.into() };
    for expected in [true, false] {
        let jobs = vec![world.job("main")];
        assert_eq!(world.store.release(event.id, form.clone(), jobs, audit()).await.unwrap(), expected);
    }
    let detail = world.store.event(&Scope::All, event.id).await.unwrap().unwrap();
    assert_eq!((detail.event.status.as_str(), detail.forms.len(), detail.jobs.len()), ("released", 1, 1));
    assert_eq!(world.count("audit").await, 1, "what changed nothing is not in the audit");
    world.begin(detail.jobs[0].id).await;
}

async fn past_events_run_through_a_route_once(world: World) {
    let event = NewEvent { status: EventStatus::Unrouted, jobs: Vec::new(), ..world.event("acme/pay") };
    world.record(event.clone()).await;
    let again = |world: &World| vec![RoutedEvent { event: event.id, jobs: vec![world.job("main"), world.job("crm")] }];
    assert_eq!(world.store.record_jobs(again(&world), audit()).await.unwrap(), 2);
    assert_eq!(world.store.record_jobs(again(&world), audit()).await.unwrap(), 0);
    let detail = world.store.event(&Scope::All, event.id).await.unwrap().unwrap();
    assert_eq!((detail.event.status.as_str(), detail.jobs.len()), ("released", 2));
    assert_eq!(world.pending("acme/pay").await, 2);
}

async fn a_cancelled_job_is_over_and_its_attempt_lost(world: World) {
    let event = world.event("acme/pay");
    let job = event.jobs[0].id;
    world.record(event).await;
    let fence = world.begin(job).await;
    assert!(world.store.cancel(&Scope::All, job, audit()).await.unwrap());
    assert!(!world.store.cancel(&Scope::All, job, audit()).await.unwrap());
    let end = AttemptEnd {
        job,
        fence,
        started_at: world.now(),
        duration: Duration::ZERO,
        verdict: Verdict::Succeeded(JobResult::default()),
    };
    assert_eq!(world.store.end(end).await.unwrap(), Fenced::Lost);
    assert_eq!(world.state(job).await, JobState::Cancelled);
}

async fn a_job_whose_form_is_gone_is_a_dead_letter(world: World) {
    let event = NewEvent { form: None, ..world.event("acme/pay") };
    let job = event.jobs[0].id;
    world.record(event).await;
    let epoch = taken(&world.store, job).await;
    assert!(matches!(world.store.begin(job, false, epoch).await.unwrap(), Begin::Gone));
    assert_eq!(world.state(job).await, JobState::DeadLetter);
    let gone = DeadLetterFilter { reason: Some(DeadReason::Gone), ..DeadLetterFilter::default() };
    assert_eq!(world.store.count_dead_letters(&gone).await.unwrap(), 1);
}

fn refusal(world: &World, tenant: &str, nth: u32) -> RefusalRow {
    RefusalRow {
        id: 0,
        at: world.now(),
        tenant: tenant.into(),
        source: "pay".into(),
        reason: Refusal::BadSignature.as_str().into(),
        peer: "192.0.2.1".into(),
        request: format!("POST /{nth}"),
        headers: serde_json::json!({"x-signature": "redacted"}),
        body: "{}".into(),
        body_bytes: 2,
        hint: "another key".into(),
    }
}

async fn dead_letters_are_found_by_the_type_and_the_subject_of_their_event(world: World) {
    let mut jobs = Vec::new();
    for (event_type, subject) in [("invoice.paid", Some("in_1")), ("invoice.void", Some("in_2")), ("invoices", None)] {
        let mut new = NewJob::on("acme/pay").event_type(event_type);
        if let Some(subject) = subject {
            new = new.about(subject, world.now());
        }
        let job = world.insert(new).await;
        world.run(job, Verdict::Dead { reason: DeadReason::Rejected, detail: "no".to_owned() }).await;
        jobs.push(job);
    }
    for (event_type, subject, found) in [
        (None, None, &jobs[..]),
        (Some("invoice.paid"), None, &jobs[..1]),
        (Some("invoice.*"), None, &jobs[..2]),
        (Some("*"), Some("in_2"), &jobs[1..2]),
        (Some("invoice.paid"), Some("in_2"), &[]),
        (None, Some("in_1"), &jobs[..1]),
        // No wildcards of the database.
        (Some("invoice%"), None, &[]),
        (Some(""), None, &[]),
    ] {
        let (event_type, subject) = (event_type.map(str::to_owned), subject.map(str::to_owned));
        let filter = DeadLetterFilter { event_type, subject, ..DeadLetterFilter::default() };
        let open: Vec<_> =
            JobStore::dead_letters(&world.store, &filter, 10).await.unwrap().into_iter().map(|(job, _)| job).collect();
        assert_eq!(open, found, "{filter:?}");
        assert_eq!(world.store.count_dead_letters(&filter).await.unwrap(), found.len() as u64, "{filter:?}");
        let page = Records::dead_letters(&world.store, &Scope::All, &filter, 10, None).await.unwrap();
        let mut shown: Vec<_> = page.items.iter().map(|letter| letter.job.id).collect();
        shown.reverse();
        assert_eq!(shown, found, "{filter:?}");
    }
}

async fn the_last_50_refusals_of_a_source_are_kept(world: World) {
    world.store.keep_refusal(refusal(&world, "bravo", 0)).await.unwrap();
    for nth in 0..60 {
        world.store.keep_refusal(refusal(&world, "acme", nth)).await.unwrap();
    }
    let kept = world.store.refusals(&Scope::All, &RefusalFilter::of("acme", "pay"), 100).await.unwrap();
    assert_eq!((kept.len(), kept[0].request.as_str(), kept[49].request.as_str()), (50, "POST /59", "POST /10"));
    let bravo = RefusalFilter { tenant: Some("bravo".into()), ..RefusalFilter::default() };
    assert_eq!(world.store.refusals(&Scope::All, &bravo, 100).await.unwrap().len(), 1);
    // Page by page, and by their time.
    let requests = async |filter: RefusalFilter, limit: usize| -> Vec<String> {
        let rows = world.store.refusals(&Scope::All, &filter, limit).await.unwrap();
        rows.into_iter().map(|row| row.request).collect()
    };
    let of_acme = RefusalFilter::of("acme", "pay");
    let next = requests(RefusalFilter { before: Some(kept[1].id), ..of_acme.clone() }, 2).await;
    assert_eq!(next, ["POST /57", "POST /56"]);
    let (now, later) = (kept[0].at, Timestamp::from_millis(kept[0].at.as_millis() + 1));
    for (since, until, found) in [(Some(now), None, true), (Some(later), None, false), (None, Some(now), false)] {
        let filter = RefusalFilter { since, until, ..of_acme.clone() };
        assert_eq!(!requests(filter, 1).await.is_empty(), found, "{since:?} {until:?}");
    }
}

async fn a_handed_over_token_is_shown_once(world: World) {
    let row = HandshakeRow {
        at: world.now(),
        tenant: "acme".into(),
        source: "pages".into(),
        token: Some("secret_token".into()),
    };
    world.store.keep_handshake(row).await.unwrap();
    assert!(world.store.take_handshake("bravo", "pages", audit()).await.unwrap().is_none());
    let taken = world.store.take_handshake("acme", "pages", audit()).await.unwrap().unwrap();
    assert_eq!(taken.token.as_deref(), Some("secret_token"));
    assert!(world.store.take_handshake("acme", "pages", audit()).await.unwrap().is_none());
}
