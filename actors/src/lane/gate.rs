//! The way from inside an attempt to callees and to the checkpoint.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    admission::{Admission, ENTER_WAIT, Pass},
    domain::{CallResult, CalleeId, CheckpointStage, Fence, HoldReason, JobId, LaneKey},
    ports::{Fenced, Gate, JobStore, Permit, StoreUnavailable},
};

/// The gate of one attempt.
pub(super) struct AttemptGate {
    pub(super) admission: Admission,
    pub(super) store: Arc<dyn JobStore>,
    pub(super) lane: LaneKey,
    pub(super) job: JobId,
    pub(super) fence: Fence,
    pub(super) deadline: Instant,
    /// What was admitted or reserved before the attempt began and is not used yet.
    pub(super) passes: Mutex<Vec<Pass>>,
}

impl AttemptGate {
    /// Gives back what the attempt did not use.
    pub(super) fn close(&self) {
        let unused = std::mem::take(&mut *self.passes.lock().unwrap_or_else(PoisonError::into_inner));
        drop(unused);
    }

    fn take_pass(&self, callee: &CalleeId) -> Option<Pass> {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let at = passes.iter().position(|pass| pass.callee() == callee)?;
        Some(passes.swap_remove(at))
    }
}

#[async_trait]
impl Gate for AttemptGate {
    async fn enter(&self, callee: &CalleeId) -> Result<Box<dyn Permit>, HoldReason> {
        let until = (Instant::now() + ENTER_WAIT).min(self.deadline);
        let pass = match self.take_pass(callee) {
            Some(pass) if pass.is_whole() => pass,
            Some(pass) => pass.complete(until).await?,
            None => self.admission.enter(&self.lane, callee, until).await?,
        };
        Ok(permit(pass))
    }

    async fn checkpoint(&self, stage: CheckpointStage, state: &Value) -> Result<Fenced, StoreUnavailable> {
        self.store.checkpoint(self.job, self.fence, stage, state).await
    }
}

/// Leave for one call by a pass that is used for it.
pub(crate) fn permit(pass: Pass) -> Box<dyn Permit> {
    Box::new(CallPermit(pass.use_it()))
}

struct CallPermit(Pass);

impl Permit for CallPermit {
    fn report(self: Box<Self>, result: CallResult) {
        self.0.report(result);
    }
}
