//! What the tree of actors is given, once, at its start.

use std::{sync::Arc, time::Duration};

use crate::ports::{Action, Clock, JobStore, Observer, Policies};

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

/// How long a lane stays without work once [`NodeLimits::awake`] is exceeded; less, down to
/// [`LEAST_IDLE`], until twice as many are awake.
pub(crate) const CROWDED_IDLE: Duration = Duration::from_secs(1);
/// The least time that a lane stays without work, however many are awake.
pub(crate) const LEAST_IDLE: Duration = Duration::from_millis(20);

/// Limits of the node (DESIGN §10); the defaults are the design's.
#[derive(Debug, Clone)]
pub struct NodeLimits {
    /// Attempts at once.
    pub concurrency: usize,
    /// How long a lane stays without work before it is put away.
    pub idle: Duration,
    /// Lanes that are awake at once before those without work are put away after a second, and the
    /// sooner the more there are, so that hardly twice as many stay awake: what many lanes took at
    /// their peak is not all given back to the operating system.
    pub awake: usize,
    /// How often the store is asked for due lanes, whatever the wake hints say.
    pub poll: Duration,
    /// Retries of one job.
    pub max_retries: u32,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            concurrency: 256,
            idle: Duration::from_mins(1),
            awake: 512,
            poll: Duration::from_secs(1),
            max_retries: 7,
        }
    }
}
