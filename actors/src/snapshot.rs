//! What the tree looks like from outside: plain values without handles, used alike by tests, the API
//! and metrics.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    domain::{CalleeId, JobId, LaneKey, Timestamp},
    ports::BreakerState,
};

/// What lanes cost that have nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Lane actors that live.
    pub actors: usize,
    /// Lanes of which anything is kept in memory.
    pub records: usize,
    /// What is kept of one that sleeps, in bytes, without the text of its name.
    pub record_bytes: usize,
    /// Callees that are remembered.
    pub callees: usize,
}

/// The node as it is now; used alike by tests, the API and metrics.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeSnapshot {
    /// When it was taken.
    pub at: Timestamp,
    /// Attempts in flight.
    pub in_flight: usize,
    /// Attempts at once at most.
    pub concurrency: usize,
    /// Lanes that are awake, paused or parked, worst first.
    pub lanes: Vec<LaneSnapshot>,
    /// Callees that were called.
    pub callees: Vec<CalleeSnapshot>,
}

/// One lane as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LaneSnapshot {
    /// Which.
    pub lane: LaneKey,
    /// Its vendor.
    pub vendor: Arc<str>,
    /// What it does.
    pub status: LaneStatus,
    /// Why it does not flow, in an operator's words; none while it does.
    pub reason: Option<String>,
    /// Since when it has had this status.
    pub since: Timestamp,
    /// Tokens in its bucket now.
    pub bucket_tokens: f64,
    /// Jobs held in memory.
    pub queued: usize,
    /// When the oldest of them was due.
    pub oldest_due: Option<Timestamp>,
    /// Attempts in flight.
    pub in_flight: Vec<JobId>,
    /// Restarts since the process began.
    pub restarts: u32,
    /// Its breakers.
    pub breakers: Vec<BreakerSnapshot>,
}

/// What a lane does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LaneStatus {
    /// Work flows, or there is none.
    Flowing,
    /// A breaker that its next job needs is open or half open.
    Held,
    /// Paused by an operator.
    Paused,
    /// Panicked too often.
    Parked,
    /// Its source is not configured or not enabled.
    Unconfigured,
}

/// A breaker as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BreakerSnapshot {
    /// Whose.
    pub callee: CalleeId,
    /// Its state.
    pub state: BreakerState,
    /// When the next probe may go.
    pub probe_at: Option<Timestamp>,
    /// Opens since the process began.
    pub opens: u32,
}

/// A callee as it is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CalleeSnapshot {
    /// Which.
    pub callee: CalleeId,
    /// Its shared breaker.
    pub state: BreakerState,
    /// When the next probe may go.
    pub probe_at: Option<Timestamp>,
    /// Calls in flight.
    pub in_flight: usize,
    /// Tokens in its bucket; none without a rate.
    pub bucket_tokens: Option<f64>,
    /// Held until then because it refuses our credentials.
    pub unauthorized_until: Option<Timestamp>,
}

/// What a drain left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DrainReport {
    /// Attempts that ended in time.
    pub finished: usize,
    /// Attempts that were cut off and released; another life runs them again.
    pub released: Vec<JobId>,
}
