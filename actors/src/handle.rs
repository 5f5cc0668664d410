//! The only way into the tree of actors.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    domain::{CalleeId, JobId, LaneKey, Timestamp},
    ports::{Action, BreakerState, Clock, DeadLetterFilter, JobStore, Observer, Policies, Recovered, StoreUnavailable},
};

/// What the tree is given.
#[derive(Clone)]
pub struct World {
    /// The truth about jobs.
    pub store: Arc<dyn JobStore>,
    /// What jobs do.
    pub action: Arc<dyn Action>,
    /// The limits in force.
    pub policies: Arc<dyn Policies>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Seeds all jitter.
    pub seed: u64,
    /// Limits of the node.
    pub limits: NodeLimits,
}

/// Limits of the node (DESIGN §10); the defaults are the design's.
#[derive(Debug, Clone)]
pub struct NodeLimits {
    /// Attempts at once.
    pub concurrency: usize,
    /// How long a lane stays without work before it is put away.
    pub idle: Duration,
    /// How often the store is asked for due lanes, whatever the wake hints say.
    pub poll: Duration,
    /// Retries of one job.
    pub max_retries: u32,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self { concurrency: 256, idle: Duration::from_secs(60), poll: Duration::from_secs(1), max_retries: 7 }
    }
}

/// The tree did not answer: it is draining or gone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GatewayError {
    /// The tree is draining or gone.
    #[error("the gateway is draining")]
    Draining,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// A cheap handle on the tree; clones share it.
#[derive(Clone)]
pub struct Gateway {}

impl Gateway {
    /// Recovers what an earlier life left running, then starts the tree.
    pub async fn start(_world: World) -> Result<(Self, Recovered), GatewayError> {
        todo!("actors helper")
    }

    /// A hint that the lane has work. Never blocks, may be lost.
    pub fn wake(&self, _lane: &LaneKey) {
        todo!("actors helper")
    }

    /// The limits or routes changed.
    pub fn reload(&self) {
        todo!("actors helper")
    }

    /// The lane begins nothing until it is resumed; survives restarts.
    pub async fn pause(&self, _lane: &LaneKey) -> Result<(), GatewayError> {
        todo!("actors helper")
    }

    /// Undoes a pause or a parking.
    pub async fn resume(&self, _lane: &LaneKey) -> Result<(), GatewayError> {
        todo!("actors helper")
    }

    /// Lets the next call to every callee of the lane whose breaker is open go as its probe now.
    pub async fn probe(&self, _lane: &LaneKey) -> Result<(), GatewayError> {
        todo!("actors helper")
    }

    /// Brings dead letters back, at most `per_second`, never ahead of fresh work. Returns at once
    /// with how many match; the dead-letter actor replays them in the background.
    pub async fn replay(&self, _filter: DeadLetterFilter, _by: &str, _per_second: f64) -> Result<u64, GatewayError> {
        todo!("actors helper")
    }

    /// What the tree looks like now: the node, its lanes that are awake (worst first), its callees.
    pub async fn snapshot(&self) -> Result<NodeSnapshot, GatewayError> {
        todo!("actors helper")
    }

    /// Begins nothing more, waits up to `deadline` for attempts, releases the rest. Idempotent.
    pub async fn drain(&self, _deadline: Duration) -> DrainReport {
        todo!("actors helper")
    }
}

/// The node as it is now; used alike by tests, the API and metrics.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
pub struct DrainReport {
    /// Attempts that ended in time.
    pub finished: usize,
    /// Attempts that were cut off and released; another life runs them again.
    pub released: Vec<JobId>,
}
