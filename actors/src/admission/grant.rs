//! What the desk hands out. Dropped at any point, each gives back what it still holds.

use tokio::time::Instant;

use super::{Admission, calls::Entered, turn::Care};
use crate::{
    domain::{CallResult, CalleeId, HoldReason, JobId, LaneKey},
    ports::ObserverEvent,
};

/// What [`State`] hands out for one attempt.
pub(crate) struct Granted {
    pub(super) lane: LaneKey,
    pub(super) care: Care,
    pub(super) passes: Vec<(CalleeId, Entered)>,
}

/// Leave to begin one attempt. Dropped, it gives back whatever it still holds.
pub(crate) struct Grant {
    admission: Admission,
    lane: LaneKey,
    care: Care,
    job: Option<JobId>,
    passes: Vec<Pass>,
    holds_slot: bool,
    holds_token: bool,
}

impl Grant {
    pub(super) fn new(admission: Admission, granted: Granted) -> Self {
        let Granted { lane, care, passes } = granted;
        let passes = passes
            .into_iter()
            .map(|(callee, entered)| Pass::new(admission.clone(), lane.clone(), callee, entered))
            .collect();
        Self { admission, lane, care, job: None, passes, holds_slot: true, holds_token: true }
    }

    /// The desk that granted it.
    pub(crate) const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// How careful the attempt must be begun.
    pub(crate) const fn care(&self) -> Care {
        self.care
    }

    /// It is for this job.
    pub(crate) fn assign(&mut self, job: JobId) {
        self.job = Some(job);
        self.admission.with(|state, _| state.assign(&self.lane, job));
    }

    /// The attempt runs: the lane's token is spent.
    pub(crate) fn begun(&mut self) -> Vec<Pass> {
        self.holds_token = false;
        self.take_passes()
    }

    /// The calls that it lets the attempt make.
    pub(crate) fn take_passes(&mut self) -> Vec<Pass> {
        std::mem::take(&mut self.passes)
    }

    /// The calls are over: others may have the slot.
    pub(crate) fn release(&mut self) {
        if std::mem::take(&mut self.holds_slot) {
            let token = std::mem::take(&mut self.holds_token);
            self.admission.with(|state, now| state.release(&self.lane, self.job, self.care, token, now));
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.passes.clear();
        self.release();
    }
}

/// Leave to make one call. Dropped without a result, it says nothing about the callee.
pub(crate) struct Pass {
    admission: Admission,
    lane: LaneKey,
    callee: CalleeId,
    entered: Option<Entered>,
    used: bool,
}

impl Pass {
    pub(super) fn new(admission: Admission, lane: LaneKey, callee: CalleeId, entered: Entered) -> Self {
        Self { admission, lane, callee, entered: Some(entered), used: false }
    }

    /// Whom it lets call.
    pub(crate) const fn callee(&self) -> &CalleeId {
        &self.callee
    }

    /// Whether the callee let the call in, or only its breakers' probes are reserved.
    pub(crate) fn is_whole(&self) -> bool {
        self.entered.as_ref().is_some_and(Entered::is_whole)
    }

    /// Fills in what a reservation lacks, waiting until `until` at most.
    pub(crate) async fn complete(mut self, until: Instant) -> Result<Self, HoldReason> {
        let (admission, lane, callee) = (self.admission.clone(), self.lane.clone(), self.callee.clone());
        if let Some(reserved) = self.entered.take() {
            // In one step: whoever waits for the probes must not get them in between.
            let entered = admission.with(|state, now| {
                state.leave(&lane, &callee, reserved, None, now);
                state.enter(&lane, &callee, now)
            });
            if let Ok(entered) = entered {
                return Ok(Self::new(admission, lane, callee, entered));
            }
        }
        admission.enter(&lane, &callee, until).await
    }

    /// The call is about to be made.
    pub(crate) fn use_it(mut self) -> Self {
        self.used = true;
        self
    }

    /// What the call said.
    pub(crate) fn report(mut self, result: CallResult) {
        let (lane, callee) = (&self.lane, &self.callee);
        self.admission.shared.world.observer.observe(&ObserverEvent::CallEnded { lane, callee, result });
        self.leave(Some(result));
    }

    fn leave(&mut self, result: Option<CallResult>) {
        if let Some(entered) = self.entered.take() {
            // A call that was begun and never reported may have reached the callee.
            let result = result.or(self.used.then_some(CallResult::Neutral));
            self.admission.with(|state, now| state.leave(&self.lane, &self.callee, entered, result, now));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.leave(None);
    }
}
