//! A receiver whose world a test owns: store, records, clock, configuration, what was observed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, header};
use sluice_actors::{
    domain::{EventId, JobId, LaneKey, Timestamp},
    ports::{Clock, DeadLetterFilter, StoreUnavailable},
};
use tokio::sync::{Notify, Semaphore};

use super::{
    EventStore, Informed, IngestEvent, NewEvent, NewForm, NewJob, Observer, Receiver, ReceiverParts, RecordError,
    Recorded,
};
use crate::{
    api::{
        records::{
            AuditEntry, AuditFilter, AuditRow, DeadLetterRow, EventDetail, EventRow, HandshakeRow, JobDetail, JobRow,
            LaneBacklog, Page, RecordFilter, Records, RefusalFilter, RefusalRow, Retention, Revocation, RoutedEvent,
            Scope, SecretUse, Swept, Switch,
        },
        traffic::{KeptTraffic, Minute, Whose},
    },
    config::{Config, Input},
    schema::Drift,
    secrets::{Environment, Secret},
    trace::Untraced,
    vendors::Outgoing,
};

/// The secret of the source `acme/app` (generic), and so on: `KEY_<SOURCE>`.
pub(crate) const TENANT: &str = r#"
[sources.app]
vendor = "generic"
secrets = ["env:KEY_APP", { ref = "env:KEY_APP_OLD", not_after = "2026-01-02T00:00:00Z" }]
[[sources.app.routes]]
name = "log"
event_types = ["assistant.*"]
action = "log"

[sources.small]
vendor = "generic"
secrets = ["env:KEY_SMALL"]
limits = { inbound = { per_second = 1, burst = 2 }, pending = 2, max_body = "1KiB" }
[[sources.small.routes]]
name = "log"
action = "log"

[sources.off]
vendor = "generic"
enabled = false
secrets = ["env:KEY_OFF"]

[sources.pay]
vendor = "stripe"
secrets = ["env:KEY_PAY"]

[sources.pages]
vendor = "notion"
await_handshake = true

[sources.chat]
vendor = "slack"
secrets = ["env:KEY_CHAT"]

[sources.crm]
vendor = "hubspot"
secrets = ["env:KEY_CRM"]

[sources.bot]
vendor = "discord"
secrets = ["env:KEY_BOT"]

[sources.hook]
vendor = "custom"
secrets = ["env:KEY_HOOK"]
[sources.hook.scheme]
algorithm = "hmac-sha256"
signature = { header = "X-Hub-Signature-256", prefix = "sha256=", encoding = "hex" }
signed = "{body}"
handshake = { query_token = "hub.verify_token", query_challenge = "hub.challenge", token = "env:KEY_VERIFY" }
"#;

/// The private half of `KEY_BOT`.
pub(crate) const BOT_SEED: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

const KEYS: [(&str, &str); 11] = [
    ("KEY_APP", "app-secret"),
    ("KEY_APP_OLD", "app-secret-before"),
    ("KEY_SMALL", "small-secret"),
    ("KEY_OFF", "off-secret"),
    ("KEY_PAY", "whsec_test_pay_secret"),
    ("KEY_CHAT", "chat-secret"),
    ("KEY_CRM", "crm-secret"),
    ("KEY_PAGES", "pages-secret"),
    ("KEY_BOT", "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"),
    ("KEY_HOOK", "hook-secret"),
    ("KEY_VERIFY", "open-sesame"),
];

const MAIN: &str = r#"
[edge]
public_url = "https://hooks.example"
"#;

pub(crate) fn config(tenant: &str) -> Config {
    let input = Input::new("/nowhere").main(MAIN).tenant("acme", tenant).environment(Environment::fixed(KEYS));
    input.resolve().expect("a valid configuration")
}

/// 2026-01-01T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp::from_secs(1_767_268_800);

pub(crate) struct World {
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) records: Arc<FakeRecords>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) woken: Arc<Mutex<Vec<LaneKey>>>,
    pub(crate) receiver: Arc<Receiver>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config(TENANT))
    }

    pub(crate) fn with(config: Config) -> Self {
        let config = Arc::new(ArcSwap::from_pointee(config));
        let store = Arc::new(FakeStore::default());
        let records = Arc::new(FakeRecords::default());
        let seen = Arc::new(Seen::default());
        let clock = Arc::new(SetClock(Mutex::new(NOON)));
        let woken = Arc::new(Mutex::new(Vec::new()));
        let told = woken.clone();
        let receiver = Receiver::new(ReceiverParts {
            informed: Informed::always(),
            config: config.clone(),
            store: store.clone(),
            records: records.clone(),
            clock: clock.clone(),
            wake: Arc::new(move |lane: &LaneKey| told.lock().unwrap().push(lane.clone())),
            observer: seen.clone(),
            drift: Arc::new(Drift::default()),
            tracer: Arc::new(Untraced),
        });
        Self { config, store, records, seen, clock, woken, receiver: Arc::new(receiver) }
    }

    /// The headers of a signed delivery of a source, its media type included.
    pub(crate) fn signed(&self, source: &str, id: &str, body: &[u8]) -> HeaderMap {
        let key = KEYS.iter().find(|(name, _)| *name == format!("KEY_{}", source.to_uppercase()));
        self.signed_with(source, key.expect("a key").1, id, body)
    }

    pub(crate) fn signed_with(&self, source: &str, key: &str, id: &str, body: &[u8]) -> HeaderMap {
        let config = self.config.load();
        let tenant = config.tenants.values().next().expect("a tenant");
        let source = tenant.sources.get(&source.parse().expect("a name")).expect("a source");
        let url = format!("https://hooks.example/webhooks/acme/{}", source.lane.source);
        let outgoing = Outgoing { url: &url, id, event_type: "assistant.completed", now: self.clock.now(), body };
        let signed = source.vendor.sign(&outgoing, &Secret::new(key.into())).expect("signed");
        let mut headers: HeaderMap = signed.into_iter().collect();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers
    }
}

/// A body of `generic`.
pub(crate) fn body(n: u32) -> String {
    format!(
        r#"{{"event_type":"assistant.completed","subject_id":"t{n}","occurred_at":"2026-01-01T11:59:00Z","data":{{"n":{n}}}}}"#
    )
}

pub(crate) struct SetClock(pub(crate) Mutex<Timestamp>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// Keeps a line for each observation.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Vec<String>>);

impl Seen {
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Seen {
    fn observe(&self, event: &IngestEvent<'_>) {
        let line = match event {
            IngestEvent::Arrived | IngestEvent::Left => return,
            IngestEvent::Answered { place, status, bytes, .. } => {
                format!("answered {} {} {bytes}", place.map_or("-", |p| p.lane.source.as_str()), status.as_u16())
            }
            IngestEvent::Refused { place, reason, .. } => {
                format!("refused {} {}", place.map_or("-", |p| p.lane.source.as_str()), reason.as_str())
            }
            IngestEvent::Verified { place, secret_version, skew_ms, .. } => {
                format!("verified {} {secret_version} {skew_ms:?}", place.lane.source)
            }
            IngestEvent::Rejected { place, reason, .. } => {
                format!("rejected {} {}", place.lane.source, reason.as_str())
            }
            IngestEvent::Recorded { place, recorded, event_type, status, jobs, .. } => {
                let new = matches!(recorded, Recorded::New(_));
                let jobs = jobs.len();
                format!("recorded {} new={new} {event_type} {} jobs={jobs}", place.lane.source, status.as_str())
            }
            IngestEvent::Handshake { place } => format!("handshake {}", place.lane.source),
        };
        self.0.lock().unwrap().push(line);
    }
}

/// Dedupe and replay keys of a source, and whose they are.
type Keys = HashMap<(LaneKey, [u8; 16]), EventId>;

/// Commits in a task of its own, as the writer does; a test can hold commits or make them fail.
pub(crate) struct FakeStore {
    pub(crate) events: Arc<Mutex<Vec<NewEvent>>>,
    keys: Arc<Mutex<Keys>>,
    pub(crate) failing: Mutex<Option<RecordError>>,
    /// One permit a commit; plenty unless a test takes them away.
    pub(crate) commits: Arc<Semaphore>,
    pub(crate) entered: Arc<Notify>,
    pub(crate) committed: Arc<Notify>,
}

const PLENTY: usize = 1_000_000;

impl Default for FakeStore {
    fn default() -> Self {
        Self {
            events: Arc::default(),
            keys: Arc::default(),
            failing: Mutex::default(),
            commits: Arc::new(Semaphore::new(PLENTY)),
            entered: Arc::default(),
            committed: Arc::default(),
        }
    }
}

impl FakeStore {
    pub(crate) fn hang(&self) {
        self.commits.forget_permits(PLENTY);
    }

    pub(crate) fn go_on(&self) {
        self.commits.add_permits(PLENTY);
    }

    pub(crate) fn count(&self) -> usize {
        self.events.lock().unwrap().len()
    }
}

#[async_trait]
impl EventStore for FakeStore {
    async fn record(&self, delivery: Vec<NewEvent>) -> Result<Vec<Recorded>, RecordError> {
        if let Some(error) = self.failing.lock().unwrap().clone() {
            return Err(error);
        }
        let (events, keys, commits) = (self.events.clone(), self.keys.clone(), self.commits.clone());
        let committed = self.committed.clone();
        self.entered.notify_one();
        let writer = tokio::spawn(async move {
            commits.acquire().await.expect("open").forget();
            let mut keys = keys.lock().unwrap();
            let recorded = delivery.into_iter().map(|event| {
                let all = [Some(event.dedupe_key), event.replay_key].into_iter().flatten();
                let all: Vec<_> = all.map(|key| (event.lane.clone(), key)).collect();
                if let Some(first) = all.iter().find_map(|key| keys.get(key)).copied() {
                    return Recorded::Duplicate { first, conflict: false };
                }
                keys.extend(all.into_iter().map(|key| (key, event.id)));
                let id = event.id;
                events.lock().unwrap().push(event);
                Recorded::New(id)
            });
            let recorded = recorded.collect();
            committed.notify_one();
            recorded
        });
        Ok(writer.await.expect("no panic"))
    }
}

#[derive(Default)]
pub(crate) struct FakeRecords {
    pub(crate) refusals: Mutex<Vec<RefusalRow>>,
    pub(crate) refused: Notify,
    pub(crate) handshakes: Mutex<Vec<HandshakeRow>>,
    pub(crate) pending: Mutex<u64>,
    pub(crate) failing: Mutex<bool>,
}

#[async_trait]
impl Records for FakeRecords {
    async fn pending(&self, _tenant: &str, _source: &str) -> Result<u64, StoreUnavailable> {
        Ok(*self.pending.lock().unwrap())
    }

    async fn keep_refusal(&self, refusal: RefusalRow) -> Result<(), StoreUnavailable> {
        self.refusals.lock().unwrap().push(refusal);
        self.refused.notify_one();
        Ok(())
    }

    async fn keep_handshake(&self, handshake: HandshakeRow) -> Result<(), StoreUnavailable> {
        if *self.failing.lock().unwrap() {
            return Err(StoreUnavailable("gone".into()));
        }
        self.handshakes.lock().unwrap().push(handshake);
        Ok(())
    }

    fn counts(&self) -> Vec<LaneBacklog> {
        unreachable!("receiving counts no jobs")
    }

    async fn keep_traffic(&self, _: KeptTraffic) -> Result<(), StoreUnavailable> {
        unreachable!("receiving keeps no minutes")
    }

    async fn traffic(&self, _: &Whose, _: Timestamp) -> Result<BTreeMap<Timestamp, Minute>, StoreUnavailable> {
        unreachable!("receiving reads no minutes")
    }

    async fn events(&self, _: &Scope, _: &RecordFilter) -> Result<Page<EventRow>, StoreUnavailable> {
        unreachable!("receiving reads no events")
    }

    async fn event(&self, _: &Scope, _: EventId) -> Result<Option<EventDetail>, StoreUnavailable> {
        unreachable!("receiving reads no events")
    }

    async fn jobs(&self, _: &Scope, _: &RecordFilter) -> Result<Page<JobRow>, StoreUnavailable> {
        unreachable!("receiving reads no jobs")
    }

    async fn job(&self, _: &Scope, _: JobId) -> Result<Option<JobDetail>, StoreUnavailable> {
        unreachable!("receiving reads no jobs")
    }

    async fn dead_letters(
        &self,
        _: &Scope,
        _: &DeadLetterFilter,
        _: usize,
        _: Option<&str>,
    ) -> Result<Page<DeadLetterRow>, StoreUnavailable> {
        unreachable!("receiving reads no dead letters")
    }

    async fn backlog(&self) -> Result<Vec<LaneBacklog>, StoreUnavailable> {
        unreachable!("receiving asks per lane")
    }

    async fn refusals(&self, _: &Scope, _: &RefusalFilter, _: usize) -> Result<Vec<RefusalRow>, StoreUnavailable> {
        unreachable!("receiving reads no refusals")
    }

    async fn refusal(&self, _: &Scope, _: i64) -> Result<Option<RefusalRow>, StoreUnavailable> {
        unreachable!("receiving reads no refusals")
    }

    async fn take_handshake(&self, _: &str, _: &str, _: AuditEntry) -> Result<Option<HandshakeRow>, StoreUnavailable> {
        unreachable!("receiving shows no tokens")
    }

    async fn record_jobs(&self, _: Vec<RoutedEvent>, _: AuditEntry) -> Result<u64, StoreUnavailable> {
        unreachable!("receiving routes no past events")
    }

    async fn erase(&self, _: Vec<EventId>, _: AuditEntry) -> Result<u64, StoreUnavailable> {
        unreachable!("receiving erases nothing")
    }

    async fn release(&self, _: EventId, _: NewForm, _: Vec<NewJob>, _: AuditEntry) -> Result<bool, StoreUnavailable> {
        unreachable!("receiving releases nothing")
    }

    async fn switches(&self) -> Result<BTreeSet<Switch>, StoreUnavailable> {
        unreachable!("receiving looks at the configuration")
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StoreUnavailable> {
        unreachable!("receiving does not ask what is revoked")
    }
    async fn revoke(&self, _: Revocation, _: AuditEntry) -> Result<bool, StoreUnavailable> {
        unreachable!("receiving revokes nothing")
    }
    async fn unrevoke(&self, _: Vec<Revocation>, _: AuditEntry) -> Result<bool, StoreUnavailable> {
        unreachable!("receiving revokes nothing")
    }
    async fn switch(&self, _: Switch, _: bool, _: AuditEntry) -> Result<bool, StoreUnavailable> {
        unreachable!("receiving switches nothing")
    }

    async fn cancel(&self, _: &Scope, _: JobId, _: AuditEntry) -> Result<bool, StoreUnavailable> {
        unreachable!("receiving cancels nothing")
    }

    async fn secret_uses(&self, _: &Scope) -> Result<Vec<SecretUse>, StoreUnavailable> {
        unreachable!("receiving reads no events")
    }

    async fn audit_page(&self, _: &Scope, _: &AuditFilter) -> Result<Page<AuditRow>, StoreUnavailable> {
        unreachable!("receiving reads no audit")
    }

    async fn audit(&self, _: AuditEntry) -> Result<(), StoreUnavailable> {
        unreachable!("receiving is no act of a person")
    }

    async fn sweep(&self, _: &Retention, _: Timestamp) -> Result<Swept, StoreUnavailable> {
        unreachable!("receiving sweeps nothing")
    }

    async fn ping(&self) -> Result<(), StoreUnavailable> {
        unreachable!("receiving pings nothing")
    }
}
