//! What the store knows of artifacts. A row is written before its object and removed after it, so that
//! whichever crash comes, no object is left that no row tells of.

use async_trait::async_trait;
use bytes::Bytes;
use sluice_actors::{
    domain::{ArtifactId, EventId, JobId, LaneKey, TenantName, Timestamp},
    ports::StoreUnavailable,
};
use uuid::Uuid;

use super::{Key, Kind};
use crate::api::records::Scope;

/// A row: what an object is, whose, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// Whose it is.
    pub lane: LaneKey,
    /// What it is.
    pub kind: Kind,
    /// The event that it belongs to; of an upload, the first one that referred to it.
    pub event: Option<EventId>,
    /// The job that made it.
    pub job: Option<JobId>,
    /// The subject of that event: it outlives the event where a payload is archived.
    pub subject: Option<String>,
    /// Its media type.
    pub media_type: String,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 of it.
    pub digest: [u8; 32],
    /// When it was made, or promised.
    pub created_at: Timestamp,
    /// When its object is known to lie in the store; none before.
    pub stored_at: Option<Timestamp>,
    /// When it goes; none: with its event.
    pub delete_after: Option<Timestamp>,
}

impl Artifact {
    /// Where its object lies.
    pub fn key(&self) -> Key {
        Key::new(self.lane.tenant.clone(), self.kind, self.created_at, self.id)
    }
}

/// What a tenant's uploads may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many may be kept at once.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Leave to upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// What all uploads of the tenant may take.
    pub quota: Quota,
    /// Until when the bytes may come.
    pub until: Timestamp,
}

/// What became of a new row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    New,
    /// One of this id was there already.
    Known(Box<Artifact>),
    /// The tenant's uploads take as much as they may.
    Full,
    /// The event that it is of was erased, or the one of this id was.
    Gone,
}

/// Of which event an upload is used, and until when it stays at least.
#[derive(Debug, Clone)]
pub struct Use {
    /// Which upload.
    pub id: ArtifactId,
    /// Whose it must be.
    pub lane: LaneKey,
    /// The event.
    pub event: EventId,
    /// Its subject.
    pub subject: Option<String>,
    /// Until when it stays at least.
    pub until: Timestamp,
}

/// A payload that retention is about to remove.
#[derive(Debug, Clone)]
pub struct OldPayload {
    /// Of which source.
    pub lane: LaneKey,
    /// Of which event.
    pub event: EventId,
    /// Its subject.
    pub subject: Option<String>,
    /// The redacted body.
    pub raw: Bytes,
}

/// How many artifacts of an erased tenant one transaction ends.
pub const ENDED_AT_ONCE: usize = 1000;

/// Where to go on in the order of rows whose time is over: after this time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After(pub Timestamp, pub ArtifactId);

impl After {
    /// Before all of them.
    pub const FIRST: Self = Self(Timestamp::from_millis(i64::MIN), ArtifactId::from_uuid(Uuid::nil()));
}

/// The rows of artifacts.
#[async_trait]
pub trait Register: Send + Sync + 'static {
    /// Adds a row, if there is none of its id; with `leave` to upload, if its tenant keeps within the quota.
    async fn add(&self, artifact: Artifact, leave: Option<Leave>) -> Result<Added, StoreUnavailable>;
    /// Its object lies in the store. `false`: its time is over, or it was erased: nothing must be left of it.
    async fn stored(&self, id: ArtifactId) -> Result<bool, StoreUnavailable>;
    /// One row whose time is not over.
    async fn artifact(&self, scope: &Scope, id: ArtifactId) -> Result<Option<Artifact>, StoreUnavailable>;
    /// An upload of this source, marked as used by an event. None: there is none of this source.
    async fn use_upload(&self, used: Use) -> Result<Option<Artifact>, StoreUnavailable>;
    /// Uploads whose bytes can come no more, and of which it is not known whether they did: those that come after
    /// `from`, in the order of their ids, at most `limit`.
    async fn promised(&self, now: Timestamp, from: ArtifactId, limit: usize)
    -> Result<Vec<Artifact>, StoreUnavailable>;
    /// Removes the rows of such uploads, where there is no object. Returns how many.
    async fn end_promises(&self, ids: Vec<ArtifactId>, now: Timestamp) -> Result<u64, StoreUnavailable>;
    /// Ends the time of some artifacts of tenants whose keys were erased. Returns how many; none are left once
    /// they are fewer than [`ENDED_AT_ONCE`].
    async fn end_erased(&self, now: Timestamp) -> Result<u64, StoreUnavailable>;
    /// Rows whose time is over and that come after `from`, in order, at most `limit`.
    async fn expired(&self, now: Timestamp, from: After, limit: usize) -> Result<Vec<Artifact>, StoreUnavailable>;
    /// Removes rows whose time is over and whose objects are gone, once no URL can bring these back. Returns how many.
    async fn forget(&self, ids: Vec<ArtifactId>, now: Timestamp) -> Result<u64, StoreUnavailable>;
    /// A payload that is to be archived; none: it is gone.
    async fn old_payload(&self, event: EventId) -> Result<Option<OldPayload>, StoreUnavailable>;
    /// The bytes of an archived payload as they were before they were sealed. None: the key was erased.
    async fn opened(&self, artifact: &Artifact, bytes: Bytes) -> Result<Option<Bytes>, StoreUnavailable>;
    /// What is kept of a subject, and not erased yet.
    async fn of_subject(&self, tenant: &TenantName, subject: &str) -> Result<Vec<Artifact>, StoreUnavailable>;
    /// The time of all of a subject's artifacts is over. Returns how many they are.
    async fn erase_subject(&self, tenant: &TenantName, subject: &str) -> Result<u64, StoreUnavailable>;
}
