//! Every attempt of the node that was begun and is not yet written: what a drain waits for.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use crate::domain::{HoldReason, JobId};

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

/// How often attempts were cut off when something began: what was begun before the next cut must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutMark(u64);

/// The attempts in flight and the phase they obey.
pub(crate) struct InFlight {
    phase: watch::Sender<Phase>,
    /// Whether the node may take its lanes for its own: nothing begins while it may not.
    trusted: AtomicBool,
    /// How often it ceased to.
    cuts: watch::Sender<u64>,
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
        Self {
            phase: watch::Sender::new(Phase::Running),
            trusted: AtomicBool::new(true),
            cuts: watch::Sender::new(0),
            open: watch::Sender::new(0),
            ledger,
        }
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
        match (*self.phase.borrow() > Phase::Running, released) {
            (true, true) => ledger.released.push(job),
            (true, false) => ledger.finished += 1,
            (false, _) => {}
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

    /// Whether work may begin.
    pub(crate) fn flows(&self) -> bool {
        self.phase() == Phase::Running && self.trusted.load(Ordering::SeqCst)
    }

    /// Another node may have the lanes by now: cuts off what is in flight and lets nothing begin.
    pub(crate) fn distrust(&self) {
        if self.trusted.swap(false, Ordering::SeqCst) {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
    }

    /// The lanes are the node's own again.
    pub(crate) fn trust(&self) {
        self.trusted.store(true, Ordering::SeqCst);
    }

    /// To be taken before an attempt begins.
    pub(crate) fn mark(&self) -> CutMark {
        CutMark(*self.cuts.borrow())
    }

    /// Returns once attempts that began at `mark` must be cut off, and why.
    pub(crate) async fn cut(&self, mark: CutMark) -> HoldReason {
        let (mut phase, mut cuts) = (self.phase.subscribe(), self.cuts.subscribe());
        // The senders live in `self`: waiting cannot fail.
        tokio::select! {
            _ = phase.wait_for(|phase| *phase == Phase::Cut) => HoldReason::Draining,
            _ = cuts.wait_for(|cuts| *cuts != mark.0) => HoldReason::OutOfTouch,
        }
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
