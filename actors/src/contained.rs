//! The world's parts, contained: a panic in one of them is an error of that part, not the death of
//! the actor or task that asked. What a panic says is not kept: it could carry a payload.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    domain::{CheckpointStage, Epoch, Fence, Job, JobId, LaneKey, Mandate, Timestamp},
    ports::{
        Acquired, AttemptEnd, Begin, BreakerMemory, DeadLetterFilter, Fenced, HeldWork, JobStore, LaneDue, LaneMemory,
        Observer, ObserverEvent, Recovered, StoreUnavailable, Told,
    },
};

/// It panicked.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Runs a future and catches its panic.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// Runs a function and catches its panic.
pub(crate) fn caught_now<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// A store whose panics are [`StoreUnavailable`]: whoever asks waits and asks again.
pub(crate) struct ContainedStore(pub(crate) Arc<dyn JobStore>);

/// An observer whose panics stay its own.
pub(crate) struct ContainedObserver(pub(crate) Arc<dyn Observer>);

impl Observer for ContainedObserver {
    fn observe(&self, event: &ObserverEvent<'_>) {
        if caught_now(|| self.0.observe(event)).is_err() {
            tracing::error!("the observer of the lanes panicked");
        }
    }
}

async fn guard<T>(answer: impl Future<Output = Result<T, StoreUnavailable>>) -> Result<T, StoreUnavailable> {
    caught(answer).await.unwrap_or_else(|Panicked| {
        tracing::error!("the store panicked");
        Err(StoreUnavailable("it panicked".into()))
    })
}

#[async_trait]
impl JobStore for ContainedStore {
    async fn recover(&self) -> Result<Recovered, StoreUnavailable> {
        guard(self.0.recover()).await
    }

    async fn acquire_lane(&self, lane: &LaneKey) -> Result<Acquired, StoreUnavailable> {
        guard(self.0.acquire_lane(lane)).await
    }

    async fn release_lane(&self, lane: &LaneKey, epoch: Epoch) -> Result<(), StoreUnavailable> {
        guard(self.0.release_lane(lane, epoch)).await
    }

    async fn lanes_due(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneDue>, StoreUnavailable> {
        guard(self.0.lanes_due(after, limit)).await
    }

    async fn due(
        &self,
        lane: &LaneKey,
        now: Timestamp,
        limit: usize,
        held: &[HeldWork],
    ) -> Result<Vec<Job>, StoreUnavailable> {
        guard(self.0.due(lane, now, limit, held)).await
    }

    async fn next_due(&self, lane: &LaneKey) -> Result<Option<Timestamp>, StoreUnavailable> {
        guard(self.0.next_due(lane)).await
    }

    async fn begin(&self, job: JobId, alone: bool, epoch: Epoch) -> Result<Begin, StoreUnavailable> {
        guard(self.0.begin(job, alone, epoch)).await
    }

    async fn abandon(&self, job: JobId) -> Result<bool, StoreUnavailable> {
        guard(self.0.abandon(job)).await
    }

    async fn checkpoint(
        &self,
        job: JobId,
        fence: Fence,
        stage: CheckpointStage,
        state: &Value,
    ) -> Result<Fenced, StoreUnavailable> {
        guard(self.0.checkpoint(job, fence, stage, state)).await
    }

    async fn end(&self, end: AttemptEnd) -> Result<Fenced, StoreUnavailable> {
        guard(self.0.end(end)).await
    }

    async fn load_lane(&self, lane: &LaneKey) -> Result<LaneMemory, StoreUnavailable> {
        guard(self.0.load_lane(lane)).await
    }

    async fn keep_pause(&self, lane: &LaneKey, paused: bool, mandate: &Mandate) -> Result<(), StoreUnavailable> {
        guard(self.0.keep_pause(lane, paused, mandate)).await
    }

    async fn keep_breakers(&self, lane: &LaneKey, breakers: &[BreakerMemory]) -> Result<(), StoreUnavailable> {
        guard(self.0.keep_breakers(lane, breakers)).await
    }

    async fn paused_lanes(&self) -> Result<Vec<LaneKey>, StoreUnavailable> {
        guard(self.0.paused_lanes()).await
    }

    fn tell(&self, lane: &LaneKey, what: Told) {
        if caught_now(|| self.0.tell(lane, what)).is_err() {
            tracing::error!("the store panicked");
        }
    }

    async fn remembered_lanes(&self) -> Result<Vec<(LaneKey, LaneMemory)>, StoreUnavailable> {
        guard(self.0.remembered_lanes()).await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
    ) -> Result<Vec<(JobId, LaneKey)>, StoreUnavailable> {
        guard(self.0.dead_letters(filter, limit)).await
    }

    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreUnavailable> {
        guard(self.0.count_dead_letters(filter)).await
    }

    async fn replay(&self, job: JobId, mandate: &Mandate, run_at: Timestamp) -> Result<bool, StoreUnavailable> {
        guard(self.0.replay(job, mandate, run_at)).await
    }
}
