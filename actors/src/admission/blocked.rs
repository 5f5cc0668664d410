//! Why someone must wait.

use tokio::time::Instant;

use crate::{callee::Refusal, domain::CalleeId};

/// Why a want waits.
#[derive(Debug, Clone)]
pub(super) struct Blocked {
    pub(super) by: By,
    /// When to look again; none where an event will tell.
    pub(super) retry_at: Option<Instant>,
    /// Where a callee is the reason.
    pub(super) refusal: Option<Refusal>,
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    /// No slot of the node is free.
    Slot,
    /// The last slots are for tenants that hold fewer.
    Reserve,
    /// A suspect's turn, or its own has not come.
    Turn,
    /// The lane's own limits.
    Lane,
    /// What the lane or its tenant knows of a callee.
    Own(CalleeId),
    /// A limit of a callee that is the same for all.
    Shared(LineKey),
    /// Fresh work of the lane goes first.
    Fresh,
}

/// Names the line of those whom one limit of a callee stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LineKey {
    pub(super) callee: CalleeId,
    pub(super) limit: SharedLimit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SharedLimit {
    /// Its breaker.
    Breaker,
    /// Its bucket and its cap on calls at once.
    Room,
}

impl LineKey {
    /// All lines of a callee.
    pub(super) fn all(callee: &CalleeId) -> [Self; 2] {
        [SharedLimit::Breaker, SharedLimit::Room].map(|limit| Self { callee: callee.clone(), limit })
    }
}

impl Blocked {
    pub(super) const fn by(by: By) -> Self {
        Self { by, retry_at: None, refusal: None }
    }

    pub(super) fn refused(by: By, refusal: Refusal) -> Self {
        Self { by, retry_at: refusal.retry_at, refusal: Some(refusal) }
    }
}
