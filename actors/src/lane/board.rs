//! What a lane shows and hears without a message.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use ractor::ActorRef;

use super::Msg;
use crate::domain::Timestamp;

/// What a lane shows without being asked, and its one pending wake hint.
#[derive(Default)]
pub(crate) struct Board {
    hinted: AtomicBool,
    queued: AtomicUsize,
    /// Milliseconds; zero for none.
    oldest_due: AtomicI64,
    unconfigured: AtomicBool,
}

impl Board {
    /// Sends a wake hint unless one is on its way.
    pub(crate) fn hint(&self, lane: &ActorRef<Msg>) {
        if !self.hinted.swap(true, Ordering::AcqRel) {
            let _ = lane.cast(Msg::Wake);
        }
    }

    /// Whether a hint is on its way.
    pub(crate) fn is_hinted(&self) -> bool {
        self.hinted.load(Ordering::Acquire)
    }

    /// The hint has come. (A new actor reads the store first of all: hints to the one before are
    /// answered by that.)
    pub(crate) fn clear_hint(&self) {
        self.hinted.store(false, Ordering::Release);
    }

    /// Whether the lane knows of work that waits.
    pub(crate) fn has_work(&self) -> bool {
        self.queued() > 0 || self.is_unconfigured()
    }

    /// Jobs in memory.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// When the oldest of them was due.
    pub(crate) fn oldest_due(&self) -> Option<Timestamp> {
        Some(self.oldest_due.load(Ordering::Relaxed)).filter(|at| *at != 0).map(Timestamp::from_millis)
    }

    /// Shows what is in memory.
    pub(super) fn show_queue(&self, queued: usize, oldest_due: Option<Timestamp>) {
        self.queued.store(queued, Ordering::Relaxed);
        self.oldest_due.store(oldest_due.map_or(0, Timestamp::as_millis), Ordering::Relaxed);
    }

    /// Shows whether work waits whose route is not configured.
    pub(super) fn show_unconfigured(&self, unconfigured: bool) {
        self.unconfigured.store(unconfigured, Ordering::Relaxed);
    }

    /// Whether work waits whose route is not configured.
    pub(crate) fn is_unconfigured(&self) -> bool {
        self.unconfigured.load(Ordering::Relaxed)
    }
}
