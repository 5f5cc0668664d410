//! What a worker sees of a stored event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventId, LaneKey, Timestamp, TraceId};

/// A verified, immutable event in its newest normalised form. Everything in it is already
/// redacted; it is still foreign text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventEnvelope {
    /// The event's id in the store.
    pub id: EventId,
    /// Whose event, from which source.
    pub lane: LaneKey,
    /// The vendor's name, as in the configuration (`stripe`).
    pub vendor: Arc<str>,
    /// The vendor's own id of the event, or one derived from the signed bytes.
    pub external_id: String,
    /// The vendor's type (`invoice.paid`).
    pub event_type: String,
    /// What the event is about; none where the vendor names nothing.
    pub subject_id: Option<String>,
    /// When it happened, by the vendor's clock; the time of receipt where the vendor names none.
    pub occurred_at: Timestamp,
    /// When the gateway received it.
    pub received_at: Timestamp,
    /// The version of the normalised form.
    pub schema_version: u32,
    /// The vendor's own version of its payload, where it has one.
    pub api_version: Option<String>,
    /// The vendor's fields, normalised and redacted.
    pub data: Value,
    /// The trace that began with the delivery.
    pub trace_id: TraceId,
    /// Whether its spans are kept, by who decided it when the trace began.
    #[serde(default)]
    pub sampled: bool,
}

/// Whether an event type is the one that `pattern` names, or begins with what stands before a final `*` in it.
pub fn type_fits(pattern: &str, event_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => event_type.starts_with(prefix),
        None => event_type == pattern,
    }
}
