//! From an authentic delivery to durable rows: verify, normalise, record, wake. No warp, no SQL.

pub mod access;
mod bucket;
pub mod diagnose;
mod directory;
mod door;
mod heavy;
mod id_time;
mod informed;
pub mod keys;
mod media;
mod memory;
mod observe;
mod outlive;
pub mod prepare;
mod receive;
mod refused;
mod reply;
#[cfg(test)]
pub(crate) mod testing;
pub mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sluice_actors::domain::{EventId, JobId, LaneKey, RouteName, Timestamp, TraceId};

pub use access::Shown;
pub use bucket::Bucket;
pub use door::{Door, Inbound};
pub(crate) use heavy::Heavy;
pub use informed::Informed;
pub use memory::{BodyMemory, Exhausted, Lease, Share};
pub use observe::{IngestEvent, Observer, Place, Rejection};
pub use receive::{Receiver, ReceiverParts};
pub use reply::Reply;

use crate::vendors::OnConflict;

/// Why a delivery was not recorded. Always answered 503 with `Retry-After`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// The store is locked, full, gone or overloaded; nothing was written.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// It is not known whether the commit took effect; the retry deduplicates.
    #[error("commit outcome unknown: {0}")]
    Unknown(String),
}

/// What became of one event of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Stored now, with its jobs.
    New(EventId),
    /// Already stored under this id. `conflict`: the same external id came with other content.
    Duplicate {
        /// The first event.
        first: EventId,
        /// Whether the content differed (policy `ignore`).
        conflict: bool,
    },
}

impl Recorded {
    /// The event that holds the content.
    pub const fn event_id(self) -> EventId {
        match self {
            Self::New(id) | Self::Duplicate { first: id, .. } => id,
        }
    }
}

/// The status of a stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventStatus {
    /// Stored with its jobs.
    Stored,
    /// No route matched.
    Unrouted,
    /// Authentic, but its schema did not fit.
    Quarantined,
    /// Was quarantined, and was released.
    Released,
}

impl EventStatus {
    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Unrouted => "unrouted",
            Self::Quarantined => "quarantined",
            Self::Released => "released",
        }
    }
}

/// One event to store, complete: already normalised, redacted and keyed.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its new id.
    pub id: EventId,
    /// Whose.
    pub lane: LaneKey,
    /// The vendor's name.
    pub vendor: Arc<str>,
    /// The vendor's id.
    pub external_id: String,
    /// SHA-256 of the raw body (of the element, in a batch).
    pub payload_hash: [u8; 32],
    /// SHA-256 of the stored (redacted) bytes.
    pub stored_hash: [u8; 32],
    /// Same key in the same source: duplicate.
    pub dedupe_key: [u8; 16],
    /// Same key in the same source: duplicate as well; kept where the id is not signed.
    pub replay_key: Option<[u8; 16]>,
    /// How a duplicate external id with other content is taken.
    pub on_conflict: OnConflict,
    /// Until when the keys must be kept at least; `None`: until the secret is retired.
    pub keys_expire: bool,
    /// The type.
    pub event_type: String,
    /// The subject.
    pub subject_id: Option<String>,
    /// When it happened; time of receipt where unknown.
    pub occurred_at: Timestamp,
    /// When it was received.
    pub received_at: Timestamp,
    /// Which secret verified it (a label, never the secret).
    pub secret_version: Arc<str>,
    /// The vendor's payload version.
    pub api_version: Option<String>,
    /// Its status.
    pub status: EventStatus,
    /// Its trace.
    pub trace_id: TraceId,
    /// Whether the spans of its trace are kept.
    pub sampled: bool,
    /// The vendor's own `traceparent`, to be linked.
    pub trace_link: Option<String>,
    /// The redacted raw bytes.
    pub raw: Bytes,
    /// Whether redaction changed them.
    pub redacted: bool,
    /// The kept headers as a JSON object, redacted.
    pub headers: String,
    /// The normalised form and its schema version; none for a quarantined event.
    pub form: Option<NewForm>,
    /// Why it is quarantined; no payload in it.
    pub quarantine_reason: Option<String>,
    /// One job per matching route.
    pub jobs: Vec<NewJob>,
}

/// A normalised form.
#[derive(Debug, Clone)]
pub struct NewForm {
    /// The version of the schema that made it.
    pub schema_version: u32,
    /// The `data` of the form as JSON text.
    pub json: String,
}

/// One job to store with its event.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its new id.
    pub id: JobId,
    /// The route that matched.
    pub route: RouteName,
    /// The action's name.
    pub kind: Arc<str>,
}

/// The durable home of events. A new rule begins as a new case of the store's contract suite.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Stores the events of one delivery and their jobs in one transaction and returns only after
    /// it is durable. One answer per event, in order. Watermarks (DESIGN §5) advance in the same
    /// transaction; a job whose event is older than its watermark is stored `superseded`.
    ///
    /// The future may be dropped at any time (the client hung up, the answer was due): what was
    /// handed to the writer is committed all the same, and no transaction is left half open.
    async fn record(&self, delivery: Vec<NewEvent>) -> Result<Vec<Recorded>, RecordError>;
}
