//! A store of either engine with a clock that a test moves.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use sluice::{
    api::records::{AuditEntry, Records, Retention, Scope, Swept},
    ids,
    ingest::{EventStatus, EventStore, NewEvent, NewForm, NewJob, Recorded},
    store::{OpenError, OpenOptions, Store},
    vendors::OnConflict,
};
use sluice_actors::{
    domain::{Fence, JobId, JobState, Timestamp},
    ports::{AttemptEnd, Begin, Clock, Fenced, JobStore, Verdict},
    testing::{
        NewJob as Seed,
        contract::{Fixture, SteppedClock, taken},
        lane_key,
    },
};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::harness::{Cluster, root};

/// Where the store is.
enum Home {
    /// In a file of this folder.
    Sqlite(tempfile::TempDir),
    /// In a database of the shared cluster.
    Postgres(String),
}

/// A connection of another program.
pub(super) enum Other {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Other {
    /// Locks out all who write, until a `ROLLBACK`.
    pub(super) async fn lock(&mut self) {
        let text = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN; LOCK TABLE events, jobs IN EXCLUSIVE MODE",
        };
        self.run(text).await.unwrap();
    }

    /// Runs SQL that both engines understand.
    pub(super) async fn run(&mut self, text: &str) -> Result<(), sqlx::Error> {
        let text = AssertSqlSafe(text.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(text).execute(connection).await.map(|_| ()),
            Self::Postgres(connection) => sqlx::raw_sql(text).execute(connection).await.map(|_| ()),
        }
    }
}

/// A store of its own, with a clock that a test moves.
pub(super) struct World {
    home: Home,
    pub(super) clock: Arc<SteppedClock>,
    pub(super) store: Store,
    events: AtomicU32,
}

impl World {
    /// In a file.
    pub(super) async fn sqlite() -> Self {
        Self::at(Home::Sqlite(tempfile::tempdir_in(root()).unwrap())).await
    }

    /// In a database of the shared cluster.
    pub(super) async fn postgres() -> Self {
        Self::at(Home::Postgres(Cluster::shared().database().await)).await
    }

    async fn at(home: Home) -> Self {
        let clock = Arc::new(SteppedClock::default());
        let store = open(&home, &clock).await.unwrap();
        Self { home, clock, store, events: AtomicU32::new(0) }
    }

    /// The file of a store on SQLite.
    pub(super) fn path(&self) -> PathBuf {
        match &self.home {
            Home::Sqlite(folder) => folder.path().join("sluice.db"),
            Home::Postgres(_) => panic!("this store is no file"),
        }
    }

    /// The URL of a store on Postgres.
    pub(super) fn url(&self) -> String {
        match &self.home {
            Home::Sqlite(_) => panic!("this store is a file"),
            Home::Postgres(database) => Cluster::shared().url(database),
        }
    }

    /// Opens the store a second time.
    pub(super) async fn open_again(&self) -> Result<Store, OpenError> {
        open(&self.home, &self.clock).await
    }

    /// Opens the store a second time, as a process of this data folder.
    pub(super) async fn open_as(&self, folder: &str) -> Result<Store, OpenError> {
        let options = OpenOptions { folder: Some(folder.to_owned()), ..options(&self.clock) };
        Store::postgres(&self.url(), options).await
    }

    /// A connection of another program.
    pub(super) async fn other_program(&self) -> Other {
        match &self.home {
            Home::Sqlite(_) => {
                let options = SqliteConnectOptions::new().filename(self.path()).busy_timeout(Duration::from_secs(5));
                Other::Sqlite(options.connect().await.unwrap())
            }
            Home::Postgres(database) => Other::Postgres(Cluster::shared().connect(database).await),
        }
    }

    pub(super) async fn count(&self, table: &'static str) -> i64 {
        let text = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        match self.other_program().await {
            Other::Sqlite(mut connection) => sqlx::query_scalar(text).fetch_one(&mut connection).await.unwrap(),
            Other::Postgres(mut connection) => sqlx::query_scalar(text).fetch_one(&mut connection).await.unwrap(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An event with one job on route `main`; every one has its own keys.
    pub(super) fn event(&self, lane: &str) -> NewEvent {
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
            sampled: false,
            trace_link: None,
            raw: raw.into(),
            redacted: false,
            headers: r#"{"content-type":"application/json"}"#.into(),
            form: Some(NewForm { schema_version: 1, json: "{}".into() }),
            quarantine_reason: None,
            jobs: vec![self.job("main")],
        }
    }

    pub(super) fn job(&self, route: &str) -> NewJob {
        NewJob { id: ids::job_id(self.now()), route: route.parse().unwrap(), kind: "log".into() }
    }

    pub(super) async fn record(&self, event: NewEvent) -> Recorded {
        self.store.record(vec![event]).await.unwrap()[0]
    }

    pub(super) async fn state(&self, job: JobId) -> JobState {
        self.store.job(&Scope::All, job).await.unwrap().unwrap().job.state
    }

    pub(super) async fn begin(&self, job: JobId) -> Fence {
        let epoch = taken(&self.store, job).await;
        match self.store.begin(job, false, epoch).await.unwrap() {
            Begin::Begun(begun) => begun.job.fence,
            other => panic!("it should begin: {other:?}"),
        }
    }

    pub(super) async fn run(&self, job: JobId, verdict: Verdict) {
        let fence = self.begin(job).await;
        let end = AttemptEnd { job, fence, started_at: self.now(), duration: Duration::from_millis(3), verdict };
        assert_eq!(self.store.end(end).await.unwrap(), Fenced::Applied);
    }

    pub(super) async fn pending(&self, lane: &str) -> u64 {
        let lane = lane_key(lane);
        self.store.pending(lane.tenant.as_str(), lane.source.as_str()).await.unwrap()
    }

    pub(super) async fn sweep(&self, retention: &Retention) -> Swept {
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

async fn open(home: &Home, clock: &Arc<SteppedClock>) -> Result<Store, OpenError> {
    let options = options(clock);
    match home {
        Home::Sqlite(folder) => Store::sqlite(&folder.path().join("sluice.db"), options).await,
        Home::Postgres(database) => Store::postgres(&Cluster::shared().url(database), options).await,
    }
}

/// Options of one more life.
pub(super) fn options(clock: &Arc<SteppedClock>) -> OpenOptions {
    OpenOptions::new(clock.clone(), ids::trace_id().to_string())
}

pub(super) fn key(text: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(text).into();
    digest[..16].try_into().unwrap()
}

pub(super) fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

pub(super) fn audit() -> AuditEntry {
    AuditEntry {
        actor: "ops".into(),
        action: "test".into(),
        tenant: None,
        object: "it".into(),
        reason: "because".into(),
    }
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
        // The lock ends with the process; in one process it ends with `close`.
        self.store.close().await;
        self.store = self.open_again().await.unwrap();
    }
}
