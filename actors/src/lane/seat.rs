//! How many lanes are awake, and how long one may stay so without work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::world::{CROWDED_IDLE, NodeLimits};

/// The lanes of the node that are awake; clones share the count.
#[derive(Clone, Default)]
pub(crate) struct Awake(Arc<AtomicUsize>);

/// The place of one of them, given back when it is dropped.
pub(super) struct Seat(Awake);

impl Awake {
    pub(super) fn take(&self) -> Seat {
        self.0.fetch_add(1, Ordering::Relaxed);
        Seat(self.clone())
    }

    /// How long a lane may be without work.
    pub(super) fn patience(&self, limits: &NodeLimits) -> Duration {
        let crowded = self.0.load(Ordering::Relaxed) > limits.awake;
        if crowded { limits.idle.min(CROWDED_IDLE) } else { limits.idle }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
