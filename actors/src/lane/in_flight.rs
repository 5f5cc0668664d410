//! Every attempt of the node that was begun and is not yet written: what a drain waits for.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::domain::JobId;

/// How far the node is with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Work flows.
    Running,
    /// Nothing more begins; attempts finish.
    Draining,
    /// Attempts are cut off and released.
    Cut,
}

/// The attempts in flight and the phase they obey.
pub(crate) struct InFlight {
    phase: watch::Sender<Phase>,
    open: watch::Sender<usize>,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    open: HashSet<JobId>,
    finished: usize,
    released: Vec<JobId>,
}

impl InFlight {
    pub(crate) fn new() -> Self {
        let ledger = Mutex::new(Ledger::default());
        Self { phase: watch::Sender::new(Phase::Running), open: watch::Sender::new(0), ledger }
    }

    /// An attempt begins. False if the job has one already: it must not have another.
    pub(crate) fn open(&self, job: JobId) -> bool {
        let mut ledger = self.lock();
        let first = ledger.open.insert(job);
        self.open.send_replace(ledger.open.len());
        first
    }

    /// Whether the job has an attempt that is not yet written.
    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.lock().open.contains(&job)
    }

    /// An attempt is over; `released` if another life must run its job again.
    pub(crate) fn close(&self, job: JobId, released: bool) {
        let mut ledger = self.lock();
        if !ledger.open.remove(&job) {
            return;
        }
        if released {
            ledger.released.push(job);
        } else if *self.phase.borrow() > Phase::Running {
            ledger.finished += 1;
        }
        self.open.send_replace(ledger.open.len());
    }

    /// Attempts that are not yet written.
    pub(crate) fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Goes on to `phase`; never back.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns once attempts must be cut off.
    pub(crate) async fn cut(&self) {
        // The sender lives in `self`: waiting cannot fail.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Cut).await;
    }

    /// Returns once no attempt is open.
    pub(crate) async fn empty(&self) {
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Since the drain began: how many finished, and who was released or is still open.
    pub(crate) fn report(&self) -> (usize, Vec<JobId>) {
        let ledger = self.lock();
        let mut released: Vec<_> = ledger.released.iter().chain(&ledger.open).copied().collect();
        released.sort();
        (ledger.finished, released)
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
