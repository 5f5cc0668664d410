//! Encryption at rest: what is sealed is nowhere in plain, opens only where it belongs, and is gone with its key.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;
use sluice::{
    api::{
        encryption::{DataKeys, SealStep},
        records::{AuditFilter, Records, RefusalFilter, RefusalRow, Scope},
    },
    ingest::{EventStatus, EventStore, NewEvent, NewForm, RecordError, Recorded},
    seal::{Encryption, WrappingKey},
    store::{KeysRefused, Store},
};
use sluice_actors::{
    domain::{CheckpointStage, DeadReason, EventId, Fence, JobResult, JobState},
    ports::{Begin, Fenced, JobStore, Verdict},
    testing::contract::taken,
};
use sqlx::{AssertSqlSafe, Row};

use super::{
    on_both,
    world::{Other, World, audit},
};

on_both! {
    what_is_sealed_is_in_no_byte_of_the_database_and_reads_as_it_was
    a_value_that_was_moved_does_not_open
    keys_that_do_not_open_what_is_there_are_refused_and_name_the_key
    nothing_is_stored_plain_while_the_key_cannot_be_had
    what_was_erased_reads_as_erased_and_what_comes_next_has_another_key
    a_delivery_sealed_by_a_key_that_was_erased_meanwhile_is_refused_and_its_retry_stored
    data_keys_are_wrapped_anew_and_nothing_else_changes
    a_rewrap_that_was_cut_off_is_made_by_the_next_start
    what_was_plain_is_sealed_step_by_step_and_may_begin_anew
    what_is_sealed_opens_while_new_rows_are_plain
    a_new_data_key_seals_what_comes_next
}

const MARKER: &str = "canary-4711-of-a-payload";

fn wrapping(byte: u8) -> WrappingKey {
    let text = format!("{}a5", hex::encode([byte; 31]));
    WrappingKey::parse(text.as_bytes(), format!("env:KEY{byte}")).unwrap()
}

type Settings = BTreeMap<String, Option<Arc<Encryption>>>;

fn settings(tenants: &[&str], keys: &[u8], seal: bool) -> Settings {
    let encryption = || Some(Arc::new(Encryption { keys: keys.iter().map(|byte| wrapping(*byte)).collect(), seal }));
    tenants.iter().map(|tenant| ((*tenant).to_owned(), encryption())).collect()
}

async fn seals(world: &World) {
    world.store.use_keys(settings(&["acme"], &[1], true)).await.unwrap();
}

/// An event that quotes the marker wherever it can.
fn telling(world: &World, lane: &str) -> NewEvent {
    NewEvent {
        raw: json!({ "text": MARKER }).to_string().into(),
        headers: json!({ "x-note": MARKER }).to_string(),
        form: Some(NewForm { schema_version: 3, json: json!({ "text": MARKER }).to_string() }),
        ..world.event(lane)
    }
}

fn refusal(world: &World) -> RefusalRow {
    RefusalRow {
        id: 0,
        at: world.now(),
        tenant: "acme".into(),
        source: "pay".into(),
        reason: "bad_signature".into(),
        peer: "192.0.2.1".into(),
        request: "POST /".into(),
        headers: json!({ "x-note": MARKER }),
        body: format!("{{\"text\":\"{MARKER}\"}}"),
        body_bytes: 2,
        hint: "another key".into(),
    }
}

/// Runs its job: one checkpoint, one result. Returns the event.
async fn told(world: &World, lane: &str) -> NewEvent {
    let event = telling(world, lane);
    world.record(event.clone()).await;
    let job = event.jobs[0].id;
    let fence = world.begin(job).await;
    let stage = CheckpointStage::Answered;
    let kept = world.store.checkpoint(job, fence, stage, &json!({ "answer": MARKER })).await.unwrap();
    assert_eq!(kept, Fenced::Applied);
    let held = Verdict::Failed { next_run_at: world.now(), error: "answered 503".into() };
    end(world, &event, fence, held).await;
    let epoch = taken(&world.store, job).await;
    let Begin::Begun(begun) = world.store.begin(job, false, epoch).await.unwrap() else { panic!("it begins") };
    assert_eq!(begun.event.data, json!({ "text": MARKER }));
    assert_eq!(begun.checkpoint, Some(json!({ "answer": MARKER })));
    event
}

async fn end(world: &World, event: &NewEvent, fence: Fence, verdict: Verdict) {
    let duration = std::time::Duration::from_millis(3);
    let end =
        sluice_actors::ports::AttemptEnd { job: event.jobs[0].id, fence, started_at: world.now(), duration, verdict };
    assert_eq!(world.store.end(end).await.unwrap(), Fenced::Applied);
}

/// One event whose job is running with a checkpoint, one that succeeded, one that was released, a refusal.
async fn all_kinds(world: &World) -> [EventId; 3] {
    let running = told(world, "acme/pay").await;
    let done = telling(world, "acme/pay");
    world.record(done.clone()).await;
    let result = JobResult { summary: Some(MARKER.into()), ..JobResult::default() };
    world.run(done.jobs[0].id, Verdict::Succeeded(result)).await;
    let odd = NewEvent { status: EventStatus::Quarantined, form: None, jobs: Vec::new(), ..telling(world, "acme/pay") };
    world.record(odd.clone()).await;
    let form = NewForm { schema_version: 3, json: json!({ "text": MARKER }).to_string() };
    assert!(world.store.release(odd.id, form, vec![world.job("main")], audit()).await.unwrap());
    world.store.keep_refusal(refusal(world)).await.unwrap();
    [running.id, done.id, odd.id]
}

async fn reads_as_it_was(world: &World, events: &[EventId]) {
    for id in events {
        let event = world.store.event(&Scope::All, *id).await.unwrap().unwrap();
        assert_eq!(event.raw.as_deref(), Some(&*json!({ "text": MARKER }).to_string()));
        assert_eq!(event.headers, Some(json!({ "x-note": MARKER })));
        assert_eq!(event.forms, [(3, json!({ "text": MARKER }))]);
        assert!(!event.erased);
    }
    let done = world.store.event(&Scope::All, events[1]).await.unwrap().unwrap();
    let job = world.store.job(&Scope::All, done.jobs[0].id).await.unwrap().unwrap();
    assert_eq!(job.result.unwrap()["summary"], MARKER);
    let refusal = world
        .store
        .refusals(&Scope::All, &RefusalFilter { tenant: Some("acme".into()), ..RefusalFilter::default() }, 1)
        .await
        .unwrap()
        .remove(0);
    assert!(refusal.body.contains(MARKER) && refusal.headers["x-note"] == MARKER);
}

/// Whether the database holds these bytes anywhere.
async fn holds(world: &World, needle: &[u8]) -> bool {
    let contains = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    match world.other_program().await {
        Other::Sqlite(_) => {
            let folder = world.path().parent().unwrap().to_owned();
            let mut files = std::fs::read_dir(folder).unwrap();
            files.any(|entry| contains(&std::fs::read(entry.unwrap().path()).unwrap_or_default()))
        }
        Other::Postgres(mut connection) => {
            let tables: Vec<String> =
                sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()")
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            assert!(tables.len() > 15, "{tables:?}");
            let hexadecimal = hex::encode(needle);
            let mut found = false;
            for table in tables {
                // Bytes show as hexadecimal digits.
                let rows = sqlx::query(AssertSqlSafe(format!("SELECT t::text FROM {table} AS t")));
                for row in rows.fetch_all(&mut connection).await.unwrap() {
                    let text: String = row.get(0);
                    found |= contains(text.as_bytes()) || text.contains(&hexadecimal);
                }
            }
            found
        }
    }
}

/// One number of the database.
async fn number(world: &World, asked: &str) -> i64 {
    let asked = AssertSqlSafe(asked.to_owned());
    match world.other_program().await {
        Other::Sqlite(mut connection) => sqlx::query_scalar(asked).fetch_one(&mut connection).await.unwrap(),
        Other::Postgres(mut connection) => sqlx::query_scalar(asked).fetch_one(&mut connection).await.unwrap(),
    }
}

async fn run(world: &World, text: &str) {
    world.other_program().await.run(text).await.unwrap();
}

async fn what_is_sealed_is_in_no_byte_of_the_database_and_reads_as_it_was(world: World) {
    seals(&world).await;
    let events = all_kinds(&world).await;
    reads_as_it_was(&world, &events).await;
    assert!(!holds(&world, MARKER.as_bytes()).await);
    // A tenant without a key beside it: what is looked for is found.
    world.record(telling(&world, "bravo/pay")).await;
    assert!(holds(&world, MARKER.as_bytes()).await);
}

async fn a_value_that_was_moved_does_not_open(world: World) {
    world.store.use_keys(settings(&["acme", "bravo"], &[1], true)).await.unwrap();
    let (one, two) = (telling(&world, "acme/pay"), telling(&world, "acme/pay"));
    let other = telling(&world, "bravo/pay");
    let untouched = telling(&world, "acme/pay");
    for event in [&one, &two, &other, &untouched] {
        world.record(event.clone()).await;
    }
    // From another event of the tenant; of a column of the event itself; from another tenant.
    run(
        &world,
        "UPDATE payloads SET raw = (SELECT raw FROM payloads ORDER BY seq LIMIT 1 OFFSET 1)
         WHERE seq = (SELECT min(seq) FROM payloads)",
    )
    .await;
    run(
        &world,
        "UPDATE payloads SET headers = (SELECT form FROM forms ORDER BY seq LIMIT 1 OFFSET 1)
         WHERE seq = (SELECT seq FROM payloads ORDER BY seq LIMIT 1 OFFSET 1)",
    )
    .await;
    run(
        &world,
        "UPDATE payloads SET raw = (SELECT raw FROM payloads ORDER BY seq LIMIT 1 OFFSET 3)
         WHERE seq = (SELECT seq FROM payloads ORDER BY seq LIMIT 1 OFFSET 2)",
    )
    .await;
    for (event, column) in [(&one, "payloads.raw"), (&two, "payloads.headers"), (&other, "payloads.raw")] {
        let error = world.store.event(&Scope::All, event.id).await.unwrap_err().to_string();
        assert!(error.contains(&format!("a sealed value of {column} does not open")), "{error}");
        assert!(!error.contains(MARKER));
    }
    assert!(world.store.event(&Scope::All, untouched.id).await.unwrap().unwrap().raw.is_some());
}

async fn keys_that_do_not_open_what_is_there_are_refused_and_name_the_key(mut world: World) {
    seals(&world).await;
    let event = telling(&world, "acme/pay");
    world.record(event.clone()).await;
    world.store.close().await;
    world.store = world.open_again().await.unwrap();
    let refused = world.store.use_keys(settings(&["acme"], &[2], true)).await.unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, KeysRefused::Locked(_)) && text.contains(wrapping(1).fingerprint()), "{text}");
    let none: Settings = BTreeMap::from([("acme".to_owned(), None)]);
    let refused = world.store.use_keys(none).await.unwrap_err();
    assert!(matches!(&refused, KeysRefused::NoKeys { tenant, keys: 1 } if tenant == "acme"), "{refused}");
    // A tenant that is not configured (any more) stands in nobody's way, and what is its own does not open.
    world.store.use_keys(settings(&["bravo"], &[2], true)).await.unwrap();
    assert!(world.store.event(&Scope::All, event.id).await.is_err());
    seals(&world).await;
    assert!(world.store.event(&Scope::All, event.id).await.unwrap().unwrap().raw.is_some());
}

async fn nothing_is_stored_plain_while_the_key_cannot_be_had(world: World) {
    seals(&world).await;
    let literal = match world.other_program().await {
        Other::Sqlite(_) => ["x'01ff'", "x'00000000000070008000000000000001'"],
        Other::Postgres(_) => ["'\\x01ff'", "'00000000-0000-7000-8000-000000000001'"],
    };
    let [wrapped, id] = literal;
    // A key of another node, wrapped by one that this node does not have.
    run(
        &world,
        &format!(
            "INSERT INTO data_keys (id, tenant, wrapped, wrapped_by, created_at)
             VALUES ({id}, 'acme', {wrapped}, '0123456789abcdef', 1)"
        ),
    )
    .await;
    let refused = world.store.record(vec![telling(&world, "acme/pay")]).await.unwrap_err();
    assert!(
        matches!(&refused, RecordError::Unavailable(why) if why.contains("0123456789abcdef") && why.contains("SLU16")),
        "{refused}"
    );
    assert!(world.store.keep_refusal(refusal(&world)).await.is_err());
    assert_eq!((world.count("events").await, world.count("refusals").await), (0, 0));
    assert!(!holds(&world, MARKER.as_bytes()).await);
    let other = world.event("bravo/pay");
    assert_eq!(world.record(other.clone()).await, Recorded::New(other.id), "others are not touched");
}

async fn what_was_erased_reads_as_erased_and_what_comes_next_has_another_key(world: World) {
    world.store.use_keys(settings(&["acme", "bravo"], &[1], true)).await.unwrap();
    let events = all_kinds(&world).await;
    let waiting = telling(&world, "acme/pay");
    world.record(waiting.clone()).await;
    let neighbour = telling(&world, "bravo/pay");
    world.record(neighbour.clone()).await;
    assert_eq!(world.store.erase_keys("acme", audit()).await.unwrap(), 1);
    assert_eq!(world.store.erase_keys("acme", audit()).await.unwrap(), 0);
    let lines = world.store.audit_page(&Scope::All, &AuditFilter::default()).await.unwrap().items;
    assert_eq!(lines.len(), 2, "the release and one erasure: {lines:?}");
    for id in events.iter().chain([&waiting.id]) {
        let event = world.store.event(&Scope::All, *id).await.unwrap().unwrap();
        assert!(event.erased && event.raw.is_none() && event.headers.is_none() && event.forms.is_empty());
        assert_eq!(event.event.event_type, "invoice.paid", "what it was about stays");
    }
    let done = world.store.event(&Scope::All, events[1]).await.unwrap().unwrap();
    let job = world.store.job(&Scope::All, done.jobs[0].id).await.unwrap().unwrap();
    assert!(job.erased && job.result.is_none() && job.job.state == JobState::Succeeded);
    let refusal = world
        .store
        .refusals(&Scope::All, &RefusalFilter { tenant: Some("acme".into()), ..RefusalFilter::default() }, 1)
        .await
        .unwrap()
        .remove(0);
    assert!(refusal.body.contains("erased") && !refusal.body.contains(MARKER));

    let job = waiting.jobs[0].id;
    let epoch = taken(&world.store, job).await;
    assert!(matches!(world.store.begin(job, false, epoch).await.unwrap(), Begin::Gone));
    let dead = world.store.job(&Scope::All, job).await.unwrap().unwrap();
    let letter = dead.dead_letter.unwrap();
    assert_eq!((dead.job.state, letter.reason.as_str()), (JobState::DeadLetter, DeadReason::Gone.as_str()));
    assert!(letter.detail.contains("erased with the key of its tenant"), "{}", letter.detail);

    let next = telling(&world, "acme/pay");
    assert_eq!(world.record(next.clone()).await, Recorded::New(next.id));
    assert!(!holds(&world, MARKER.as_bytes()).await);
    for id in [next.id, neighbour.id] {
        assert!(world.store.event(&Scope::All, id).await.unwrap().unwrap().raw.unwrap().contains(MARKER));
    }
    let keys = world.store.data_keys(Some("acme")).await.unwrap();
    assert_eq!(keys.iter().map(|key| key.erased_at.is_some()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(number(&world, "SELECT count(*) FROM data_keys WHERE wrapped IS NULL").await, 1);
}

async fn a_delivery_sealed_by_a_key_that_was_erased_meanwhile_is_refused_and_its_retry_stored(world: World) {
    world.store.use_keys(settings(&["acme", "bravo"], &[1], true)).await.unwrap();
    world.record(telling(&world, "acme/pay")).await;
    // By another node, of which this one has not heard yet.
    run(&world, "UPDATE data_keys SET wrapped = NULL, erased_at = 1").await;
    let event = telling(&world, "acme/pay");
    let (refused, other) =
        tokio::join!(world.store.record(vec![event.clone()]), world.store.record(vec![telling(&world, "bravo/pay")]));
    assert!(matches!(refused, Err(RecordError::Unavailable(_))), "{refused:?}");
    assert!(matches!(other.unwrap()[0], Recorded::New(_)));
    assert_eq!(world.count("events").await, 2);
    assert_eq!(world.record(event.clone()).await, Recorded::New(event.id));
    assert!(world.store.event(&Scope::All, event.id).await.unwrap().unwrap().raw.unwrap().contains(MARKER));
}

/// What wraps the data keys, and a digest of what is sealed.
async fn wrapped_by(world: &World) -> Vec<String> {
    world.store.data_keys(None).await.unwrap().into_iter().map(|key| key.wrapped_by).collect()
}

async fn payloads(world: &World) -> Vec<Vec<u8>> {
    let text = "SELECT raw FROM payloads ORDER BY seq";
    match world.other_program().await {
        Other::Sqlite(mut connection) => sqlx::query_scalar(text).fetch_all(&mut connection).await.unwrap(),
        Other::Postgres(mut connection) => sqlx::query_scalar(text).fetch_all(&mut connection).await.unwrap(),
    }
}

async fn data_keys_are_wrapped_anew_and_nothing_else_changes(mut world: World) {
    seals(&world).await;
    let events = all_kinds(&world).await;
    let before = payloads(&world).await;
    assert!(before.iter().all(|raw| raw.starts_with(b"\xffsl\x01")));
    for _ in 0..2 {
        world.store.use_keys(settings(&["acme"], &[2, 1], true)).await.unwrap();
        assert_eq!(wrapped_by(&world).await, [wrapping(2).fingerprint()]);
    }
    assert_eq!(payloads(&world).await, before);
    reads_as_it_was(&world, &events).await;
    world.store.close().await;
    world.store = world.open_again().await.unwrap();
    assert!(world.store.use_keys(settings(&["acme"], &[1], true)).await.is_err(), "the old key is of no use any more");
    world.store.use_keys(settings(&["acme"], &[2], true)).await.unwrap();
    reads_as_it_was(&world, &events).await;
    assert_eq!(world.store.rewrap("acme", audit()).await.unwrap(), 0);
    assert_eq!(world.count("audit").await, 2, "the release, and the order");
}

async fn a_rewrap_that_was_cut_off_is_made_by_the_next_start(mut world: World) {
    seals(&world).await;
    let event = telling(&world, "acme/pay");
    world.record(event.clone()).await;
    let mut other = world.other_program().await;
    let lock = match &other {
        Other::Sqlite(_) => "BEGIN IMMEDIATE",
        Other::Postgres(_) => "BEGIN; LOCK TABLE data_keys IN EXCLUSIVE MODE",
    };
    other.run(lock).await.unwrap();
    // The configuration is in force all the same: both keys open.
    world.store.use_keys(settings(&["acme"], &[2, 1], true)).await.unwrap();
    assert_eq!(wrapped_by(&world).await, [wrapping(1).fingerprint()]);
    assert!(world.store.event(&Scope::All, event.id).await.unwrap().unwrap().raw.is_some());
    other.run("ROLLBACK").await.unwrap();
    world.store.close().await;
    world.store = world.open_again().await.unwrap();
    world.store.use_keys(settings(&["acme"], &[2, 1], true)).await.unwrap();
    assert_eq!(wrapped_by(&world).await, [wrapping(2).fingerprint()]);
    assert!(world.store.event(&Scope::All, event.id).await.unwrap().unwrap().raw.is_some());
}

/// Goes through all rows of `acme`.
async fn walk(store: &Store, dry_run: bool) -> SealStep {
    let mut all = SealStep::default();
    let mut cursor = None;
    loop {
        let step = store.seal_step("acme", cursor.as_deref(), dry_run).await.unwrap();
        assert!(step.done >= all.done && step.done <= step.total, "{step:?} after {all:?}");
        all.sealed += step.sealed;
        all.plain += step.plain;
        all.newly_sealed += step.newly_sealed;
        (all.done, all.total) = (step.done, step.total);
        let Some(next) = step.next else { return all };
        cursor = Some(next);
    }
}

async fn what_was_plain_is_sealed_step_by_step_and_may_begin_anew(mut world: World) {
    let events = all_kinds(&world).await;
    let neighbour = world.event("bravo/pay");
    world.record(neighbour.clone()).await;
    // More than one step of rows.
    for _ in 0..450 {
        let event = NewEvent { jobs: Vec::new(), ..world.event("acme/pay") };
        world.record(event).await;
    }
    seals(&world).await;
    world.record(telling(&world, "acme/pay")).await;
    let counted = walk(&world.store, true).await;
    // Payloads, forms, a checkpoint, a result, a refusal; of the last event payload and form are sealed.
    assert_eq!((counted.plain, counted.sealed, counted.newly_sealed), (453 + 453 + 1 + 1 + 1, 2, 0));
    assert_eq!(counted.done, counted.total);
    // Broken off after its first step.
    let first = world.store.seal_step("acme", None, false).await.unwrap();
    assert_eq!(first.newly_sealed, 200);
    let rest = walk(&world.store, false).await;
    assert_eq!(rest.newly_sealed, counted.plain - 200);
    assert_eq!(walk(&world.store, false).await.newly_sealed, 0);
    let counted = walk(&world.store, true).await;
    assert_eq!((counted.plain, counted.sealed), (0, 911));
    reads_as_it_was(&world, &events).await;
    assert!(world.store.event(&Scope::All, neighbour.id).await.unwrap().unwrap().raw.is_some());
    // A row that is gone, or was never there.
    assert!(world.store.seal_step("acme", Some("results:99999"), false).await.is_ok());
    world.store.close().await;
    // What a file frees it does not overwrite; a backup, which is a `VACUUM INTO`, takes none of it along.
    run(&world, "VACUUM").await;
    assert!(!holds(&world, MARKER.as_bytes()).await);
    world.store = world.open_again().await.unwrap();
    seals(&world).await;
    reads_as_it_was(&world, &events).await;
}

async fn what_is_sealed_opens_while_new_rows_are_plain(world: World) {
    seals(&world).await;
    let events = all_kinds(&world).await;
    world.store.use_keys(settings(&["acme"], &[1], false)).await.unwrap();
    reads_as_it_was(&world, &events).await;
    let plain = telling(&world, "acme/pay");
    world.record(plain.clone()).await;
    assert!(holds(&world, MARKER.as_bytes()).await);
    assert!(world.store.event(&Scope::All, plain.id).await.unwrap().unwrap().raw.is_some());
    assert_eq!(world.store.rotate("acme", audit()).await.unwrap(), None);
}

async fn a_new_data_key_seals_what_comes_next(world: World) {
    seals(&world).await;
    let events = all_kinds(&world).await;
    let made = world.store.rotate("acme", audit()).await.unwrap().unwrap();
    let next = telling(&world, "acme/pay");
    world.record(next.clone()).await;
    let keys = world.store.data_keys(Some("acme")).await.unwrap();
    assert_eq!((keys.len(), keys[1].id), (2, made));
    let last = payloads(&world).await.pop().unwrap();
    assert_eq!(last[4..20], made.as_bytes()[..]);
    reads_as_it_was(&world, &events).await;
    assert_eq!(world.store.erase_keys("acme", audit()).await.unwrap(), 2, "all of them go");
}

#[tokio::test]
async fn what_one_node_erases_the_other_drops_and_both_may_rewrap_at_once() {
    let world = World::postgres().await;
    let (one, two) = (&world.store, world.open_as("two").await.unwrap());
    let both = |keys: &'static [u8]| async {
        let settings = || settings(&["acme"], keys, true);
        let (first, second) = tokio::join!(one.use_keys(settings()), two.use_keys(settings()));
        first.unwrap();
        second.unwrap();
    };
    let plain = telling(&world, "acme/pay");
    world.record(plain.clone()).await;
    both(&[1]).await;
    let event = telling(&world, "acme/pay");
    world.record(event.clone()).await;
    let seen = async |store: &Store| store.event(&Scope::All, event.id).await.unwrap().unwrap();
    assert!(seen(&two).await.raw.is_some(), "it reads the key that the other made");
    both(&[2, 1]).await;
    assert_eq!(wrapped_by(&world).await, [wrapping(2).fingerprint()]);

    let made = one.rotate("acme", audit()).await.unwrap().unwrap();
    let since = world.now();
    two.follow_keys(since).await.unwrap();
    let next = telling(&world, "acme/pay");
    two.record(vec![next.clone()]).await.unwrap();
    assert_eq!(payloads(&world).await.pop().unwrap()[4..20], made.as_bytes()[..], "both seal by the newest");

    one.erase_keys("acme", audit()).await.unwrap();
    assert!(seen(one).await.erased);
    assert!(seen(&two).await.raw.is_some(), "it has not heard of it yet");
    let step = two.seal_step("acme", None, false).await.unwrap();
    assert_eq!((step.newly_sealed, step.plain > 0), (0, true), "what is plain is not sealed by a key that is gone");
    assert!(one.event(&Scope::All, plain.id).await.unwrap().unwrap().raw.is_some());
    two.follow_keys(since).await.unwrap();
    assert!(seen(&two).await.erased);
    let after = telling(&world, "acme/pay");
    two.record(vec![after.clone()]).await.unwrap();
    assert!(two.event(&Scope::All, after.id).await.unwrap().unwrap().raw.is_some());
    // One that was cut off forgets them, and reads them again.
    two.forget_keys();
    assert!(two.event(&Scope::All, after.id).await.unwrap().unwrap().raw.is_some());
    assert!(seen(&two).await.erased);
    two.close().await;
}
