//! The contract of the store on SQLite: jobs through the shared suite, events and what people read
//! of them here.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use sluice::{
    api::records::{AuditEntry, HandshakeRow, RecordFilter, Records, RefusalRow, Retention, RoutedEvent, Scope, Swept},
    ids,
    ingest::{EventStatus, EventStore, NewEvent, NewForm, NewJob, RecordError, Recorded},
    store::{OpenError, OpenOptions, Store, migrate},
    vendors::{OnConflict, Refusal},
};
use sluice_actors::{
    domain::{DeadReason, EventId, JobId, JobResult, JobState, LaneKey, Timestamp},
    job_store_contract,
    ports::{AttemptEnd, Begin, Clock, DeadLetterFilter, Fenced, JobStore, Verdict},
    testing::{
        NewJob as Seed,
        contract::{Fixture, SteppedClock},
        lane_key,
    },
};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

/// A store in a folder of its own, with a clock that a test moves.
struct World {
    folder: tempfile::TempDir,
    clock: Arc<SteppedClock>,
    store: Store,
    events: AtomicU32,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SteppedClock::default());
        let store = open(&folder.path().join("sluice.db"), &clock).await.unwrap();
        Self { folder, clock, store, events: AtomicU32::new(0) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("sluice.db")
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An event with one job on route `main`; every one has its own keys.
    fn event(&self, lane: &str) -> NewEvent {
        let nth = self.events.fetch_add(1, Ordering::SeqCst);
        let now = self.now();
        let raw = format!(r#"{{"nth":{nth}}}"#);
        NewEvent {
            id: ids::event_id(now),
            lane: lane_key(lane),
            vendor: "generic".into(),
            external_id: format!("ext-{nth}"),
            payload_hash: Sha256::digest(&raw).into(),
            stored_hash: Sha256::digest(&raw).into(),
            dedupe_key: key(&format!("dedupe {nth}")),
            replay_key: None,
            on_conflict: OnConflict::Ignore,
            keys_expire: true,
            event_type: "invoice.paid".into(),
            subject_id: None,
            occurred_at: now,
            received_at: now,
            secret_version: "current".into(),
            api_version: None,
            status: EventStatus::Stored,
            trace_id: ids::trace_id(),
            trace_link: None,
            raw: raw.into(),
            redacted: false,
            headers: r#"{"content-type":"application/json"}"#.into(),
            form: Some(NewForm { schema_version: 1, json: "{}".into() }),
            quarantine_reason: None,
            jobs: vec![self.job("main")],
        }
    }

    fn job(&self, route: &str) -> NewJob {
        NewJob { id: ids::job_id(self.now()), route: route.parse().unwrap(), kind: "log".into() }
    }

    async fn record(&self, event: NewEvent) -> Recorded {
        self.store.record(vec![event]).await.unwrap()[0]
    }

    async fn state(&self, job: JobId) -> JobState {
        self.store.job(&Scope::All, job).await.unwrap().unwrap().job.state
    }

    async fn begin(&self, job: JobId) -> sluice_actors::domain::Fence {
        match self.store.begin(job, false).await.unwrap() {
            Begin::Begun(begun) => begun.job.fence,
            other => panic!("it should begin: {other:?}"),
        }
    }

    async fn run(&self, job: JobId, verdict: Verdict) {
        let fence = self.begin(job).await;
        let end = AttemptEnd { job, fence, started_at: self.now(), duration: Duration::from_millis(3), verdict };
        assert_eq!(self.store.end(end).await.unwrap(), Fenced::Applied);
    }

    /// A connection of another program.
    async fn other_program(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).busy_timeout(Duration::from_secs(5)).connect().await.unwrap()
    }

    async fn count(&self, table: &'static str) -> i64 {
        let mut connection = self.other_program().await;
        let text = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(text).fetch_one(&mut connection).await.unwrap()
    }

    async fn pending(&self, lane: &str) -> u64 {
        let lane = lane_key(lane);
        self.store.pending(lane.tenant.as_str(), lane.source.as_str()).await.unwrap()
    }

    async fn sweep(&self, retention: &Retention) -> Swept {
        let mut all = Swept::default();
        loop {
            let swept = self.store.sweep(retention, self.now()).await.unwrap();
            if swept == Swept::default() {
                return all;
            }
            all.payloads += swept.payloads;
            all.events += swept.events;
            all.dead_letters += swept.dead_letters;
            all.other += swept.other;
        }
    }
}

async fn open(path: &Path, clock: &Arc<SteppedClock>) -> Result<Store, OpenError> {
    let owner = ids::trace_id().to_string();
    Store::sqlite(path, OpenOptions::new(clock.clone(), owner)).await
}

fn key(text: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(text).into();
    digest[..16].try_into().unwrap()
}

fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

fn audit() -> AuditEntry {
    AuditEntry { actor: "ops".into(), action: "test".into(), object: "it".into(), reason: "because".into() }
}

#[async_trait]
impl Fixture for World {
    fn store(&self) -> Arc<dyn JobStore> {
        Arc::new(self.store.clone())
    }

    fn clock(&self) -> Arc<SteppedClock> {
        self.clock.clone()
    }

    async fn insert(&self, new: Seed) -> JobId {
        let mut event = self.event(&new.lane.to_string());
        event.vendor = new.vendor;
        event.event_type = new.event_type;
        event.subject_id = new.subject_id;
        event.occurred_at = new.occurred_at.unwrap_or(event.occurred_at);
        event.form = Some(NewForm { schema_version: 1, json: new.data.to_string() });
        event.jobs[0].route = new.route;
        event.jobs[0].kind = new.kind;
        let job = event.jobs[0].id;
        self.record(event).await;
        job
    }

    async fn next_life(&mut self) {
        // The file lock ends with the process; in one process it ends with `close`.
        self.store.close().await;
        self.store = open(&self.path(), &self.clock).await.unwrap();
    }
}

mod jobs {
    use super::{World, job_store_contract};

    job_store_contract!(World::new());
}

#[tokio::test]
async fn a_new_event_is_stored_with_its_jobs() {
    let world = World::new().await;
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

#[tokio::test]
async fn a_hundred_identical_deliveries_at_once_make_one_event() {
    let world = World::new().await;
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

#[tokio::test]
async fn one_delivery_with_many_events_is_one_transaction_with_an_answer_each() {
    let world = World::new().await;
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

#[tokio::test]
async fn the_same_key_in_another_source_is_another_event() {
    let world = World::new().await;
    let event = world.event("acme/pay");
    for lane in ["acme/pay", "acme/other", "bravo/pay"] {
        let same = NewEvent { id: ids::event_id(world.now()), lane: lane_key(lane), jobs: Vec::new(), ..event.clone() };
        assert_eq!(world.record(same.clone()).await, Recorded::New(same.id), "{lane}");
    }
}

#[tokio::test]
async fn other_content_under_a_signed_id_is_a_counted_conflict() {
    let world = World::new().await;
    let event = world.event("acme/pay");
    world.record(event.clone()).await;
    let other = NewEvent { id: ids::event_id(world.now()), payload_hash: [9; 32], ..event.clone() };
    assert_eq!(world.record(other).await, Recorded::Duplicate { first: event.id, conflict: true });
}

#[tokio::test]
async fn other_content_under_an_unsigned_id_revises_the_first() {
    let world = World::new().await;
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

#[tokio::test]
async fn signed_bytes_under_a_fresh_id_are_a_duplicate() {
    let world = World::new().await;
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

#[tokio::test]
async fn an_older_event_is_stored_and_its_job_superseded() {
    let world = World::new().await;
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

#[tokio::test]
async fn an_event_far_in_the_future_never_supersedes() {
    let world = World::new().await;
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

#[tokio::test]
async fn a_bad_row_does_not_fail_its_neighbours() {
    let world = World::new().await;
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

#[tokio::test]
async fn an_event_never_changes_and_a_form_is_never_rewritten() {
    let world = World::new().await;
    world.record(world.event("acme/pay")).await;
    world.store.audit(audit()).await.unwrap();
    let mut other = world.other_program().await;
    for (text, refused) in [
        ("UPDATE events SET occurred_at = 0", true),
        ("UPDATE events SET external_id = 'forged'", true),
        ("UPDATE events SET subject_id = 'x'", true),
        ("UPDATE events SET status = 'quarantined'", true),
        ("UPDATE events SET status = 'released', trace_id = x'00'", true),
        ("UPDATE forms SET form = '[]'", true),
        ("UPDATE audit SET actor = 'nobody'", true),
        ("DELETE FROM audit", true),
        ("UPDATE events SET status = 'released'", false),
    ] {
        assert_eq!(sqlx::query(text).execute(&mut other).await.is_err(), refused, "{text}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_nothing() {
    let world = World::new().await;
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

#[tokio::test]
async fn a_locked_store_is_unavailable_and_then_is_not() {
    let world = World::new().await;
    let mut other = world.other_program().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let event = world.event("acme/pay");
    let refused = world.store.record(vec![event.clone()]).await;
    assert!(matches!(refused, Err(RecordError::Unavailable(_))), "{refused:?}");
    assert!(world.store.ping().await.is_err());
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(world.record(event.clone()).await, Recorded::New(event.id));
    world.store.ping().await.unwrap();
}

#[tokio::test]
async fn a_removed_file_is_unavailable_until_it_is_back() {
    let world = World::new().await;
    world.record(world.event("acme/pay")).await;
    let aside = world.folder.path().join("aside.db");
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    for (from, to) in [(world.path(), aside.clone()), (log(&world.path()), log(&aside))] {
        std::fs::rename(from, to).unwrap();
    }
    for _ in 0..2 {
        let refused = world.store.record(vec![world.event("acme/pay")]).await;
        assert!(matches!(refused, Err(RecordError::Unavailable(_))), "{refused:?}");
    }
    assert!(!world.path().exists(), "no empty file takes its place");
    for (from, to) in [(aside.clone(), world.path()), (log(&aside), log(&world.path()))] {
        std::fs::rename(from, to).unwrap();
    }
    let event = world.event("acme/pay");
    assert_eq!(world.record(event.clone()).await, Recorded::New(event.id));
    assert!(world.store.event(&Scope::All, event.id).await.unwrap().is_some(), "the readers see the file that is back");
}

#[tokio::test]
async fn a_second_process_cannot_serve_the_same_file() {
    let world = World::new().await;
    let second = open(&world.path(), &world.clock).await.err().unwrap();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    assert!(second.to_string().contains("sluice.db is in use by another sluice process"), "{second}");
    assert!(matches!(migrate(&world.path()).await, Err(OpenError::InUse { .. })));
    world.store.close().await;
    open(&world.path(), &world.clock).await.unwrap();
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let world = World::new().await;
    world.store.close().await;
    let refused = world.store.record(vec![world.event("acme/pay")]).await;
    assert!(matches!(refused, Err(RecordError::Unavailable(_))), "{refused:?}");
    assert!(world.store.recover().await.is_err());
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    let world = World::new().await;
    world.record(world.event("acme/pay")).await;
    let mut seen = 0;
    for entry in std::fs::read_dir(world.folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 3, "the file, its log and its lock");
}

#[tokio::test]
async fn a_schema_of_another_release_is_refused_and_nothing_changes() {
    let world = World::new().await;
    world.store.close().await;
    let mut other = world.other_program().await;
    for (text, expected) in [
        ("UPDATE _sqlx_migrations SET checksum = x'00'", "is not the one this release knows"),
        (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', 1, x'00', 0)",
            "run the newer release",
        ),
        ("DELETE FROM _sqlx_migrations; DROP TABLE _sqlx_migrations", "database of another program"),
    ] {
        let mut before = other.begin().await.unwrap();
        sqlx::raw_sql(text).execute(&mut *before).await.unwrap();
        before.commit().await.unwrap();
        let bytes = std::fs::read(world.path()).unwrap();
        let error = open(&world.path(), &world.clock).await.err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains("sluice.db"), "{error}");
        assert_eq!(bytes, std::fs::read(world.path()).unwrap());
        if text.starts_with("UPDATE") {
            let known = sqlx::migrate!("migrations/sqlite");
            for migration in known.iter() {
                sqlx::query("UPDATE _sqlx_migrations SET checksum = ? WHERE version = ?")
                    .bind(migration.checksum.as_ref())
                    .bind(migration.version)
                    .execute(&mut other)
                    .await
                    .unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let world = World::new().await;
    let error = open(&world.folder.path().join("nowhere/sluice.db"), &world.clock).await.err().unwrap();
    assert!(error.to_string().contains("nowhere/sluice.db"), "{error}");
}

#[tokio::test]
async fn the_counters_agree_with_the_rows_after_every_kind_of_change() {
    let mut world = World::new().await;
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
    world.store.replay(jobs[3], "ops", world.now()).await.unwrap();
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

#[tokio::test]
async fn a_job_has_its_history() {
    let world = World::new().await;
    let event = world.event("acme/pay");
    let job = event.jobs[0].id;
    world.record(event).await;
    world.run(job, Verdict::Failed { next_run_at: world.now(), error: "503".into() }).await;
    world.run(job, Verdict::Dead { reason: DeadReason::Rejected, detail: "422".into() }).await;
    let dead = world.store.job(&Scope::All, job).await.unwrap().unwrap();
    assert_eq!(dead.dead_letter.as_ref().unwrap().reason, "rejected");
    assert_eq!(dead.job.last_error.as_deref(), Some("422"));
    world.store.replay(job, "ops", world.now()).await.unwrap();
    let result = JobResult { summary: Some("short".into()), post_id: Some(7), ..JobResult::default() };
    world.run(job, Verdict::Succeeded(result)).await;
    let detail = world.store.job(&Scope::All, job).await.unwrap().unwrap();
    let attempts: Vec<_> = detail.attempts.iter().map(|attempt| (attempt.number, attempt.outcome.as_str())).collect();
    assert_eq!(attempts, [(1, "failed"), (2, "deadletter"), (3, "succeeded")], "numbers go on through replays");
    assert_eq!(detail.result.unwrap()["post_id"], 7);
    assert_eq!(detail.dead_letter.unwrap().replayed_by.as_deref(), Some("ops"));
    assert!(detail.job.finished_at.is_some());
}

#[tokio::test]
async fn events_are_found_by_every_part_of_the_filter() {
    let world = World::new().await;
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

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let world = World::new().await;
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

#[tokio::test]
async fn a_foreign_object_is_not_found() {
    let world = World::new().await;
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
        assert_eq!(!world.store.refusals(scope, None, None, 10).await.unwrap().is_empty(), found);
        assert_eq!(world.store.refusal(scope, 1).await.unwrap().is_some(), found);
    }
    assert!(!world.store.cancel(&foreign, job, audit()).await.unwrap());
    world.run(job, Verdict::Dead { reason: DeadReason::Rejected, detail: "422".into() }).await;
    let all = DeadLetterFilter::default();
    assert!(Records::dead_letters(&world.store, &foreign, &all, 10, None).await.unwrap().items.is_empty());
    assert_eq!(Records::dead_letters(&world.store, &own, &all, 10, None).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_quarantined_event_is_released_once() {
    let world = World::new().await;
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

#[tokio::test]
async fn past_events_run_through_a_route_once() {
    let world = World::new().await;
    let event = NewEvent { status: EventStatus::Unrouted, jobs: Vec::new(), ..world.event("acme/pay") };
    world.record(event.clone()).await;
    let again = |world: &World| vec![RoutedEvent { event: event.id, jobs: vec![world.job("main"), world.job("crm")] }];
    assert_eq!(world.store.record_jobs(again(&world), audit()).await.unwrap(), 2);
    assert_eq!(world.store.record_jobs(again(&world), audit()).await.unwrap(), 0);
    let detail = world.store.event(&Scope::All, event.id).await.unwrap().unwrap();
    assert_eq!((detail.event.status.as_str(), detail.jobs.len()), ("released", 2));
    assert_eq!(world.pending("acme/pay").await, 2);
}

#[tokio::test]
async fn a_cancelled_job_is_over_and_its_attempt_lost() {
    let world = World::new().await;
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

#[tokio::test]
async fn a_job_whose_form_is_gone_is_a_dead_letter() {
    let world = World::new().await;
    let event = NewEvent { form: None, ..world.event("acme/pay") };
    let job = event.jobs[0].id;
    world.record(event).await;
    assert!(matches!(world.store.begin(job, false).await.unwrap(), Begin::Gone));
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

#[tokio::test]
async fn the_last_50_refusals_of_a_source_are_kept() {
    let world = World::new().await;
    world.store.keep_refusal(refusal(&world, "bravo", 0)).await.unwrap();
    for nth in 0..60 {
        world.store.keep_refusal(refusal(&world, "acme", nth)).await.unwrap();
    }
    let kept = world.store.refusals(&Scope::All, Some("acme"), Some("pay"), 100).await.unwrap();
    assert_eq!((kept.len(), kept[0].request.as_str(), kept[49].request.as_str()), (50, "POST /59", "POST /10"));
    assert_eq!(world.store.refusals(&Scope::All, Some("bravo"), None, 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_handed_over_token_is_shown_once() {
    let world = World::new().await;
    let row = HandshakeRow {
        at: world.now(),
        tenant: "acme".into(),
        source: "pages".into(),
        token: Some("secret_token".into()),
    };
    world.store.keep_handshake(row).await.unwrap();
    assert!(world.store.take_handshake("bravo", "pages").await.unwrap().is_none());
    let taken = world.store.take_handshake("acme", "pages").await.unwrap().unwrap();
    assert_eq!(taken.token.as_deref(), Some("secret_token"));
    assert!(world.store.take_handshake("acme", "pages").await.unwrap().is_none());
}

#[tokio::test]
async fn retention_removes_what_is_old_and_over() {
    let world = World::new().await;
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

#[tokio::test]
async fn retention_keeps_what_a_live_dead_or_quarantined_job_may_need() {
    let world = World::new().await;
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

#[tokio::test]
async fn keys_without_a_signed_time_live_as_long_as_their_secret() {
    let world = World::new().await;
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

#[tokio::test]
async fn watermarks_of_silent_subjects_are_swept() {
    let world = World::new().await;
    let event = NewEvent { subject_id: Some("in_1".into()), ..world.event("acme/pay") };
    world.record(event.clone()).await;
    world.run(event.jobs[0].id, Verdict::Succeeded(JobResult::default())).await;
    world.clock.advance(days(31));
    world.record(NewEvent { subject_id: Some("in_2".into()), ..world.event("acme/pay") }).await;
    world.sweep(&Retention::default()).await;
    assert_eq!(world.count("watermarks").await, 1);
}

#[tokio::test]
async fn every_migration_takes_its_sample_data() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("sluice.db");
    let mut connection = SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
    let migrations = sqlx::migrate!("migrations/sqlite");
    for migration in migrations.iter() {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut connection).await.unwrap();
        let name = format!("{:04}_{}.sql", migration.version, migration.description.replace(' ', "_"));
        let samples = std::fs::read_to_string(folder.join("samples").join(&name))
            .unwrap_or_else(|error| panic!("migrations/sqlite/samples/{name}: {error}"));
        sqlx::raw_sql(sqlx::AssertSqlSafe(samples)).execute(&mut connection).await.unwrap();
    }
    let broken: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await.unwrap();
    assert_eq!(broken, ["ok"]);
}

#[tokio::test]
async fn binary_bodies_and_odd_text_come_back_as_they_were() {
    let world = World::new().await;
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
    let Begin::Begun(begun) = world.store.begin(event.jobs[0].id, false).await.unwrap() else { panic!("it is due") };
    assert_eq!(begun.event.subject_id.as_deref(), Some(text));
}
