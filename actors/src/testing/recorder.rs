//! An observer that remembers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{sync::watch, time::Instant};

use crate::{
    domain::{CallResult, CalleeId, DeadReason, JobId, LaneKey},
    ports::{BreakerState, Fenced, Observer, ObserverEvent, Verdict},
};

/// What a [`Recorder`] heard: an [`ObserverEvent`] that can be kept.
#[derive(Debug, Clone)]
pub enum Heard {
    /// An attempt began.
    Began(JobId),
    /// An attempt ended.
    Ended(JobId, Verdict, Fenced),
    /// A breaker of a lane changed.
    LaneBreaker(LaneKey, CalleeId, BreakerState),
    /// The shared breaker of a callee changed.
    CalleeBreaker(CalleeId, BreakerState),
    /// A call ended.
    Called(LaneKey, CalleeId, CallResult),
    /// A lane woke up.
    Spawned(LaneKey),
    /// A lane went to sleep.
    Passivated(LaneKey),
    /// A lane panicked.
    Restarting(LaneKey),
    /// A lane panicked too often.
    Parked(LaneKey),
    /// A lane was paused (true) or resumed.
    Paused(LaneKey, bool),
    /// A job became a dead letter.
    DeadLettered(JobId, DeadReason),
    /// Dead letters were replayed.
    Replayed(u64),
    /// The store did not answer.
    StoreUnavailable(&'static str),
}

/// Remembers everything, with its time. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    heard: Arc<Mutex<Vec<(Instant, Heard)>>>,
    told: watch::Sender<()>,
}

impl Recorder {
    /// Everything so far, in order.
    pub fn heard(&self) -> Vec<(Instant, Heard)> {
        self.lock().clone()
    }

    /// Forgets everything so far.
    pub fn forget(&self) {
        *self.lock() = Vec::new();
    }

    /// How many so far fit.
    pub fn count(&self, fits: impl Fn(&Heard) -> bool) -> usize {
        self.lock().iter().filter(|(_, heard)| fits(heard)).count()
    }

    /// What so far fits, as the test wants it.
    pub fn select<T>(&self, pick: impl Fn(&Heard) -> Option<T>) -> Vec<T> {
        self.lock().iter().filter_map(|(_, heard)| pick(heard)).collect()
    }

    /// Sees each event.
    pub(super) fn told(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Heard)>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &ObserverEvent<'_>) {
        let heard = match event {
            ObserverEvent::AttemptBegan { job, .. } => Heard::Began(job.id),
            ObserverEvent::AttemptEnded { job, verdict, fenced, .. } => {
                Heard::Ended(job.id, (*verdict).clone(), *fenced)
            }
            ObserverEvent::LaneBreaker { lane, callee, state } => {
                Heard::LaneBreaker((*lane).clone(), (*callee).clone(), *state)
            }
            ObserverEvent::CalleeBreaker { callee, state } => Heard::CalleeBreaker((*callee).clone(), *state),
            ObserverEvent::CallEnded { lane, callee, result } => {
                Heard::Called((*lane).clone(), (*callee).clone(), *result)
            }
            ObserverEvent::LaneSpawned { lane } => Heard::Spawned((*lane).clone()),
            ObserverEvent::LanePassivated { lane } => Heard::Passivated((*lane).clone()),
            ObserverEvent::LaneRestarting { lane, .. } => Heard::Restarting((*lane).clone()),
            ObserverEvent::LaneParked { lane, .. } => Heard::Parked((*lane).clone()),
            ObserverEvent::LanePaused { lane, paused } => Heard::Paused((*lane).clone(), *paused),
            ObserverEvent::DeadLettered { job, reason } => Heard::DeadLettered(job.id, *reason),
            ObserverEvent::Replayed { count } => Heard::Replayed(*count),
            ObserverEvent::StoreUnavailable { doing, .. } => Heard::StoreUnavailable(doing),
        };
        self.lock().push((Instant::now(), heard));
        self.told.send_replace(());
    }
}
