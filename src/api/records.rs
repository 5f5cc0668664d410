//! What the API and the commands read of the store. Every query is scoped by [`Scope`].

mod filter;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_actors::{
    domain::{EventId, JobId, JobState, LaneKey, SourceName, TenantName, Timestamp},
    ports::{DeadLetterFilter, StoreUnavailable},
};
use utoipa::ToSchema;

pub use filter::{AuditFilter, Page, RecordFilter, RefusalFilter, Scope};

use super::traffic::{KeptTraffic, Minute, Whose};
use crate::ingest::NewJob;

/// An event in a table.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the columns of `events`, DESIGN §5")]
pub struct EventRow {
    pub id: EventId,
    pub tenant: String,
    pub source: String,
    pub vendor: String,
    pub external_id: String,
    pub event_type: String,
    pub subject_id: Option<String>,
    pub occurred_at: Timestamp,
    pub received_at: Timestamp,
    pub secret_version: String,
    pub api_version: Option<String>,
    pub revises: Option<EventId>,
    pub status: String,
    pub trace_id: String,
    #[serde(default)]
    pub quarantine_reason: Option<String>,
}

/// One event with all that belongs to it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventDetail {
    /// The row.
    pub event: EventRow,
    /// Kept headers, redacted.
    pub headers: Option<Value>,
    /// The stored (redacted) raw body as text; none past retention or if not UTF-8.
    pub raw: Option<String>,
    /// Whether redaction changed it.
    pub redacted: bool,
    /// Whether headers, body and forms are left out because the caller may not see them.
    #[serde(default)]
    pub withheld: bool,
    /// Whether something of it was erased with the key of its tenant.
    #[serde(default)]
    pub erased: bool,
    /// All forms, newest first: schema version and form.
    pub forms: Vec<(u32, Value)>,
    /// Why it is quarantined.
    pub quarantine_reason: Option<String>,
    /// Its jobs.
    pub jobs: Vec<JobRow>,
}

impl EventDetail {
    /// Without what only some may see.
    pub(super) fn withhold(&mut self) {
        (self.headers, self.raw, self.forms, self.withheld) = (None, None, Vec::new(), true);
    }
}

/// A job in a table.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the columns of `jobs`, DESIGN §5")]
pub struct JobRow {
    pub id: JobId,
    pub event_id: EventId,
    pub tenant: String,
    pub source: String,
    pub route: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub state: JobState,
    pub attempts: u32,
    pub claims: u32,
    pub deaths: u32,
    pub next_run_at: Timestamp,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub event_type: String,
    pub subject_id: Option<String>,
    pub trace_id: String,
}

/// One attempt.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the columns of `attempts`, DESIGN §5")]
pub struct AttemptRow {
    pub number: u32,
    pub started_at: Timestamp,
    pub duration_ms: u64,
    pub outcome: String,
    pub error: Option<String>,
}

/// One job with its history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JobDetail {
    /// The row.
    pub job: JobRow,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptRow>,
    /// Its result.
    pub result: Option<Value>,
    /// Whether the result was erased with the key of its tenant.
    #[serde(default)]
    pub erased: bool,
    /// Its dead letter.
    pub dead_letter: Option<DeadLetterRow>,
}

/// A dead letter.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the columns of `dead_letters` and its job, DESIGN §5")]
pub struct DeadLetterRow {
    pub job: JobRow,
    pub reason: String,
    pub detail: String,
    pub at: Timestamp,
    pub replayed_at: Option<Timestamp>,
    pub replayed_by: Option<String>,
}

/// A refused delivery, capped and redacted, kept for `sluice why`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RefusalRow {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Tenant of the source.
    pub tenant: String,
    /// The source.
    pub source: String,
    /// Why: the word of a [`crate::vendors::Refusal`], or `malformed` for an authentic delivery that was answered 400.
    pub reason: String,
    /// The sender's address.
    pub peer: String,
    /// The request's method and path.
    pub request: String,
    /// Headers, redacted and capped.
    pub headers: Value,
    /// The body, redacted, the first 4 KiB as text.
    pub body: String,
    /// Its whole length.
    pub body_bytes: u64,
    /// What the diagnosis at the time found (clock difference, which form was near), in words.
    pub hint: String,
}

/// The backlog of one lane, from the store.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LaneBacklog {
    /// Tenant.
    pub tenant: String,
    /// Source.
    pub source: String,
    /// Jobs by state: pending, running, failed, deadletter.
    pub jobs: Vec<(JobState, u64)>,
    /// When the oldest due startable job was due.
    pub oldest_due: Option<Timestamp>,
}

/// How often a secret of a source verified a delivery, and when.
#[derive(Debug, Clone)]
pub struct SecretUse {
    /// The tenant.
    pub tenant: String,
    /// The source.
    pub source: String,
    /// The reference that names the secret.
    pub secret_version: String,
    /// How often it did since that is counted; 0 where it is known from the newest events alone.
    pub uses: u64,
    /// The first time that is known.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
}

/// What `sweep` removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Raw payloads.
    pub payloads: u64,
    /// Events with their jobs and forms.
    pub events: u64,
    /// Dead letters with their jobs.
    pub dead_letters: u64,
    /// Refusals, handshakes and other small rows.
    pub other: u64,
    /// Events whose payloads stay until they are archived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_archive: Vec<EventId>,
}

/// A recorded handshake.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HandshakeRow {
    /// When.
    pub at: Timestamp,
    /// Tenant.
    pub tenant: String,
    /// Source.
    pub source: String,
    /// A token to show once, if the vendor handed one over.
    pub token: Option<String>,
}

/// One line of the audit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Who.
    pub actor: String,
    /// What (`lane.pause`, `dead.replay`).
    pub action: String,
    /// Of which tenant; none if of no single one.
    pub tenant: Option<String>,
    /// On what.
    pub object: String,
    /// Why, in the actor's words.
    pub reason: String,
}

/// A line of the audit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the columns of `audit`, as in `AuditEntry`")]
pub struct AuditRow {
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub tenant: Option<String>,
    pub object: String,
    pub reason: String,
}

/// An event to run through a route (again): what `record_jobs` makes of it.
#[derive(Debug, Clone)]
pub struct RoutedEvent {
    /// The event.
    pub event: EventId,
    /// The jobs to add; an existing job of the same event and route is left alone.
    pub jobs: Vec<NewJob>,
}

/// What operators can switch off: a source, or all of a tenant.
pub type Switch = (TenantName, Option<SourceName>);

/// A secret of a source that an operator took out of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Whose.
    pub lane: LaneKey,
    /// Which of the source's revocations, from 1.
    pub nth: i64,
    /// How the secret was called then.
    pub version: String,
    /// By what it is known; of [`Fingerprint`](crate::secrets::Fingerprint).
    pub fingerprint: String,
    /// When; ignored where it is kept.
    pub revoked_at: Timestamp,
}

/// Reads for people, and the few writes that people cause.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// Events, newest first.
    async fn events(&self, scope: &Scope, filter: &RecordFilter) -> Result<Page<EventRow>, StoreUnavailable>;
    /// One event.
    async fn event(&self, scope: &Scope, id: EventId) -> Result<Option<EventDetail>, StoreUnavailable>;
    /// Jobs, newest first.
    async fn jobs(&self, scope: &Scope, filter: &RecordFilter) -> Result<Page<JobRow>, StoreUnavailable>;
    /// One job.
    async fn job(&self, scope: &Scope, id: JobId) -> Result<Option<JobDetail>, StoreUnavailable>;
    /// Dead letters, newest first, replayed ones included.
    async fn dead_letters(
        &self,
        scope: &Scope,
        filter: &DeadLetterFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<DeadLetterRow>, StoreUnavailable>;
    /// The backlog of every lane that has jobs which are not over, or dead letters.
    async fn backlog(&self) -> Result<Vec<LaneBacklog>, StoreUnavailable>;
    /// As [`Self::backlog`], but for when the oldest job was due: without a query.
    fn counts(&self) -> Vec<LaneBacklog>;
    /// Keeps a minute of this node.
    async fn keep_traffic(&self, kept: KeptTraffic) -> Result<(), StoreUnavailable>;
    /// The minutes since `since` in which any node ran.
    async fn traffic(&self, whose: &Whose, since: Timestamp) -> Result<BTreeMap<Timestamp, Minute>, StoreUnavailable>;
    /// Jobs of one lane that are not over, for the `pending` cap; may be a few ms old.
    async fn pending(&self, tenant: &str, source: &str) -> Result<u64, StoreUnavailable>;
    /// Refused deliveries, newest first.
    async fn refusals(
        &self,
        scope: &Scope,
        filter: &RefusalFilter,
        limit: usize,
    ) -> Result<Vec<RefusalRow>, StoreUnavailable>;
    /// One refused delivery.
    async fn refusal(&self, scope: &Scope, id: i64) -> Result<Option<RefusalRow>, StoreUnavailable>;
    /// Keeps a refused delivery (its `id` is ignored); the oldest past 50 of a source are dropped. Best effort.
    async fn keep_refusal(&self, refusal: RefusalRow) -> Result<(), StoreUnavailable>;
    /// Keeps a handshake.
    async fn keep_handshake(&self, handshake: HandshakeRow) -> Result<(), StoreUnavailable>;
    /// Takes the newest token a vendor handed over: shown once, then gone. The audit is written with it.
    async fn take_handshake(
        &self,
        tenant: &str,
        source: &str,
        audit: AuditEntry,
    ) -> Result<Option<HandshakeRow>, StoreUnavailable>;
    /// Adds jobs to past or unrouted events; an `unrouted` event becomes `released`. Returns how
    /// many jobs are new.
    async fn record_jobs(&self, events: Vec<RoutedEvent>, audit: AuditEntry) -> Result<u64, StoreUnavailable>;
    /// Removes those of the events that have no job which could still run, with all that belongs to them: payload,
    /// forms, jobs, attempts, results, dead letters, the watermarks of their subjects. Their keys stay until their
    /// secret is retired: the same deliveries are duplicates still. Returns how many; the audit is written with them.
    async fn erase(&self, events: Vec<EventId>, audit: AuditEntry) -> Result<u64, StoreUnavailable>;
    /// Releases a quarantined event with a form made anew from its payload, and its jobs.
    /// `false`: it is not quarantined.
    async fn release(
        &self,
        id: EventId,
        form: crate::ingest::NewForm,
        jobs: Vec<NewJob>,
        audit: AuditEntry,
    ) -> Result<bool, StoreUnavailable>;
    /// What operators switched off.
    async fn switches(&self) -> Result<BTreeSet<Switch>, StoreUnavailable>;
    /// Switches a source or a tenant on or off. `false`: it was already, and nothing is written.
    async fn switch(&self, switch: Switch, on: bool, audit: AuditEntry) -> Result<bool, StoreUnavailable>;
    /// All secrets that are revoked, by source, in the order of revocation.
    async fn revocations(&self) -> Result<Vec<Revocation>, StoreUnavailable>;
    /// Revokes a secret. `false`: the source has a revocation of that number, and nothing is written.
    async fn revoke(&self, revocation: Revocation, audit: AuditEntry) -> Result<bool, StoreUnavailable>;
    /// Undoes revocations. `false`: there are none of these, and nothing is written.
    async fn unrevoke(&self, revocations: Vec<Revocation>, audit: AuditEntry) -> Result<bool, StoreUnavailable>;
    /// Cancels a job that is not over. `false`: it is.
    async fn cancel(&self, scope: &Scope, id: JobId, audit: AuditEntry) -> Result<bool, StoreUnavailable>;
    /// How often secrets verified a delivery, and when.
    async fn secret_uses(&self, scope: &Scope) -> Result<Vec<SecretUse>, StoreUnavailable>;
    /// The audit, newest first.
    async fn audit_page(&self, scope: &Scope, filter: &AuditFilter) -> Result<Page<AuditRow>, StoreUnavailable>;
    /// Writes an audit line, of what has no other row.
    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreUnavailable>;
    /// One small batch of retention (DESIGN §5). Zero counts: nothing left to do now.
    async fn sweep(&self, retention: &Retention, now: Timestamp) -> Result<Swept, StoreUnavailable>;
    /// Answers while the store can be read and written.
    async fn ping(&self) -> Result<(), StoreUnavailable>;
}

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Raw payloads.
    pub raw: std::time::Duration,
    /// Events.
    pub events: std::time::Duration,
    /// Dead letters.
    pub dead_letters: std::time::Duration,
    /// `secret_version`s that still verify, by lane: keys of schemes without a signed time stay
    /// while their secret is among them.
    pub live_secrets: Vec<(sluice_actors::domain::LaneKey, Vec<std::sync::Arc<str>>)>,
    /// Whether a payload stays until it is archived.
    pub archive: bool,
    /// Rows one call may touch.
    pub batch: usize,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |n: u64| std::time::Duration::from_secs(n * 86_400);
        Self {
            raw: days(14),
            events: days(30),
            dead_letters: days(90),
            live_secrets: Vec::new(),
            archive: false,
            batch: 500,
        }
    }
}
