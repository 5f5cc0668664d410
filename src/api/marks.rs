//! What the store remembers of alerts, so that the same is told once an hour, whichever node it is.

use std::time::Duration;

use async_trait::async_trait;
use sluice_actors::{domain::Timestamp, ports::StoreUnavailable};

/// What an alert is about: alerts with the same mark are told once in a while.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// The tenant; empty for what is of no single one.
    pub tenant: String,
    /// The source, or whom it calls; empty for what is of the node.
    pub place: String,
    /// The word of the cause.
    pub cause: &'static str,
}

/// An alert that came up.
#[derive(Debug, Clone)]
pub struct Raise {
    /// Its own id: who asks again under the same one, because an answer was lost, is answered the same.
    pub id: String,
    /// What it is about.
    pub mark: Mark,
    /// For how long after one was told others are not.
    pub every: Duration,
    /// Whether it is counted where it is not told.
    pub counts: bool,
    /// What is told when that time is over, where it is not told now; none: nothing is.
    pub hold: Option<String>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// Whoever asked tells it, and nobody else.
    Tell {
        /// How many were not told since the last one.
        suppressed: u64,
    },
    /// Nobody tells it now.
    Suppressed,
}

/// An alert that was not told in its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAlert {
    /// Tenant, place and cause, as in [`Mark`].
    pub mark: (String, String, String),
    /// When the last one was told.
    pub told_at: Timestamp,
    /// How many were not, this one among them.
    pub suppressed: u64,
    /// What was held.
    pub alert: String,
}

/// Remembers what was told when.
#[async_trait]
pub trait Marks: Send + Sync + 'static {
    /// Decides whether an alert is told, and remembers it, in one transaction: of several nodes that ask at once
    /// one is answered [`Raised::Tell`].
    async fn raise(&self, raise: Raise) -> Result<Raised, StoreUnavailable>;
    /// What is held since others of its mark were told at or before `told_before`, oldest first, at most `limit`.
    async fn held_alerts(&self, told_before: Timestamp, limit: usize) -> Result<Vec<HeldAlert>, StoreUnavailable>;
    /// Takes what is held, to tell it. `false`: somebody else did, or more came up meanwhile.
    async fn take_held_alert(&self, held: &HeldAlert) -> Result<bool, StoreUnavailable>;
}
