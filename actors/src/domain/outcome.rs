//! What became of an attempt. The action decides, the lane obeys.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CalleeId;

/// The closed set of ends of one attempt.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The work is done.
    Delivered(JobResult),
    /// It may work later. Counts as an attempt. `after` is a wait that the callee asked for.
    Retry {
        /// What the callee asked for (`Retry-After`), already capped.
        after: Option<Duration>,
        /// What went wrong, in words an operator reads; no payload, no secret.
        error: String,
    },
    /// Nothing was tried for a reason outside the job. Burns no attempt.
    Hold {
        /// Why.
        reason: HoldReason,
        /// Not before this long from now; the lane chooses where there is no hint.
        after: Option<Duration>,
    },
    /// It will never work by itself.
    Dead {
        /// The class of the failure.
        reason: DeadReason,
        /// What went wrong, in words an operator reads; no payload, no secret.
        detail: String,
    },
}

/// What a finished job produced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// The title that was published or generated.
    pub title: Option<String>,
    /// The summary.
    pub summary: Option<String>,
    /// The callee's reply, capped and redacted.
    pub reply: Option<Value>,
    /// The WordPress post that holds the effect.
    pub post_id: Option<u64>,
    /// Keys of stored artifacts.
    pub artifacts: Vec<String>,
}

/// Why a job is held without burning an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldReason {
    /// The breaker of this callee is open.
    BreakerOpen(CalleeId),
    /// The bucket or the concurrency of this callee is used up.
    CalleeBusy(CalleeId),
    /// The callee refuses our credentials; a person must act. Re-probed every 5 minutes.
    Unauthorized(CalleeId),
    /// The source, route or credential is not configured (any more).
    NotConfigured(String),
    /// The process is draining.
    Draining,
    /// The node lost touch with the store, so another one may have the lane by now.
    OutOfTouch,
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BreakerOpen(callee) => write!(f, "breaker of {callee} is open"),
            Self::CalleeBusy(callee) => write!(f, "{callee} is at its limit"),
            Self::Unauthorized(callee) => write!(f, "{callee} refuses our credentials"),
            Self::NotConfigured(what) => write!(f, "{what} is not configured"),
            Self::Draining => f.write_str("draining"),
            Self::OutOfTouch => f.write_str("the node lost touch with the store"),
        }
    }
}

/// Why a job became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The retries are used up.
    RetriesExhausted,
    /// The callee refused it for good (a permanent 4xx).
    Rejected,
    /// The action's own rules forbid it (an answer out of schema, a template that fails).
    Invalid,
    /// The process died three times while the job ran alone.
    Poison,
    /// What it needs is gone (payload past retention, route removed).
    Gone,
}

impl DeadReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [Self::RetriesExhausted, Self::Rejected, Self::Invalid, Self::Poison, Self::Gone];

    /// The stored and shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RetriesExhausted => "retries_exhausted",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
            Self::Poison => "poison",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one call to a callee says about the callee's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// It answered as it should.
    Success,
    /// It failed (timeout, connect error, 408, 425, 429, 5xx): counts for the breaker. A wait it
    /// asked for empties the bucket for that long.
    Failure {
        /// `Retry-After`, already capped.
        retry_after: Option<Duration>,
    },
    /// It refused this one request for good (other 4xx): says nothing about its health.
    Neutral,
}
