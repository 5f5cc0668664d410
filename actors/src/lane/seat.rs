//! How many lanes are awake, and how long one may stay so without work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::world::{CROWDED_IDLE, LEAST_IDLE, NodeLimits};

/// Two reads of the store lie at least this far apart, so that a flood of wake hints costs few.
const READ_GAP: Duration = Duration::from_millis(20);
/// The same for each lane that is awake.
const READ_SHARE: Duration = Duration::from_millis(3);
/// With jobs still in memory, or many others awake, a hint can wait this long for its read.
pub(super) const LAZY_READ: Duration = Duration::from_millis(250);

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

    /// How far two reads of one lane lie apart: the further, the more lanes are awake, so that those that
    /// have work all the time do not read the store more often the more they are.
    pub(super) fn read_gap(&self) -> Duration {
        let awake = self.0.load(Ordering::Relaxed).try_into().unwrap_or(u32::MAX);
        READ_SHARE.saturating_mul(awake).clamp(READ_GAP, LAZY_READ)
    }

    /// How long a lane may be without work: the less, the more are awake.
    pub(super) fn patience(&self, limits: &NodeLimits) -> Duration {
        let over = self.0.load(Ordering::Relaxed).saturating_sub(limits.awake);
        if over == 0 {
            return limits.idle;
        }
        let room_left = 1.0 - over as f64 / limits.awake.max(1) as f64;
        limits.idle.min(CROWDED_IDLE.mul_f64(room_left.max(0.0)).max(LEAST_IDLE))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
