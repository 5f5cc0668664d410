//! The store, with each request to it timed and its failures counted.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;
use sluice_actors::{
    domain::{CheckpointStage, Epoch, Fence, Job, JobId, LaneKey, Mandate, Timestamp},
    ports::{
        Acquired, AttemptEnd, Begin, BreakerMemory, DeadLetterFilter, Fenced, HeldWork, JobStore, LaneDue, LaneMemory,
        Recovered, StoreUnavailable, Told,
    },
};
use tokio::time::Instant;

use super::metrics::Metrics;
use crate::ingest::{EventStore, NewEvent, RecordError, Recorded};

/// Requests with series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Record,
    Recover,
    AcquireLane,
    ReleaseLane,
    LanesDue,
    Due,
    NextDue,
    Begin,
    Abandon,
    Checkpoint,
    End,
    LoadLane,
    KeepLane,
    ListLanes,
    DeadLetters,
    Replay,
}

impl Op {
    const ALL: [Self; 16] = [
        Self::Record,
        Self::Recover,
        Self::AcquireLane,
        Self::ReleaseLane,
        Self::LanesDue,
        Self::Due,
        Self::NextDue,
        Self::Begin,
        Self::Abandon,
        Self::Checkpoint,
        Self::End,
        Self::LoadLane,
        Self::KeepLane,
        Self::ListLanes,
        Self::DeadLetters,
        Self::Replay,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Recover => "recover",
            Self::AcquireLane => "acquire_lane",
            Self::ReleaseLane => "release_lane",
            Self::LanesDue => "lanes_due",
            Self::Due => "due",
            Self::NextDue => "next_due",
            Self::Begin => "begin",
            Self::Abandon => "abandon",
            Self::Checkpoint => "checkpoint",
            Self::End => "end",
            Self::LoadLane => "load_lane",
            Self::KeepLane => "keep_lane",
            Self::ListLanes => "list_lanes",
            Self::DeadLetters => "dead_letters",
            Self::Replay => "replay",
        }
    }
}

/// A store of events or jobs whose requests are told to the metrics.
pub struct Timed<S: ?Sized> {
    metrics: Metrics,
    next: Arc<S>,
}

impl<S: ?Sized> Timed<S> {
    /// Passes all on to `next`.
    pub fn new(metrics: Metrics, next: Arc<S>) -> Self {
        for op in Op::ALL {
            metrics.db_errors_total.with_label_values(&[op.as_str()]);
        }
        Self { metrics, next }
    }

    async fn timed<T, E>(&self, op: Op, request: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let begun = Instant::now();
        let answer = request.await;
        self.tell(op, begun.elapsed(), answer.is_err());
        answer
    }

    fn tell(&self, op: Op, took: Duration, failed: bool) {
        let labels = [op.as_str()];
        self.metrics.db_query_duration_seconds.with_label_values(&labels).observe(took.as_secs_f64());
        if failed {
            self.metrics.db_errors_total.with_label_values(&labels).inc();
        }
    }
}

#[async_trait]
impl EventStore for Timed<dyn EventStore> {
    async fn record(&self, delivery: Vec<NewEvent>) -> Result<Vec<Recorded>, RecordError> {
        self.timed(Op::Record, self.next.record(delivery)).await
    }
}

#[async_trait]
impl JobStore for Timed<dyn JobStore> {
    async fn recover(&self) -> Result<Recovered, StoreUnavailable> {
        self.timed(Op::Recover, self.next.recover()).await
    }

    async fn acquire_lane(&self, lane: &LaneKey) -> Result<Acquired, StoreUnavailable> {
        self.timed(Op::AcquireLane, self.next.acquire_lane(lane)).await
    }

    async fn release_lane(&self, lane: &LaneKey, epoch: Epoch) -> Result<(), StoreUnavailable> {
        self.timed(Op::ReleaseLane, self.next.release_lane(lane, epoch)).await
    }

    async fn lanes_due(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneDue>, StoreUnavailable> {
        self.timed(Op::LanesDue, self.next.lanes_due(after, limit)).await
    }

    async fn due(
        &self,
        lane: &LaneKey,
        now: Timestamp,
        limit: usize,
        held: &[HeldWork],
    ) -> Result<Vec<Job>, StoreUnavailable> {
        self.timed(Op::Due, self.next.due(lane, now, limit, held)).await
    }

    async fn next_due(&self, lane: &LaneKey) -> Result<Option<Timestamp>, StoreUnavailable> {
        self.timed(Op::NextDue, self.next.next_due(lane)).await
    }

    async fn begin(&self, job: JobId, alone: bool, epoch: Epoch) -> Result<Begin, StoreUnavailable> {
        self.timed(Op::Begin, self.next.begin(job, alone, epoch)).await
    }

    async fn abandon(&self, job: JobId) -> Result<bool, StoreUnavailable> {
        self.timed(Op::Abandon, self.next.abandon(job)).await
    }

    async fn checkpoint(
        &self,
        job: JobId,
        fence: Fence,
        stage: CheckpointStage,
        state: &Value,
    ) -> Result<Fenced, StoreUnavailable> {
        self.timed(Op::Checkpoint, self.next.checkpoint(job, fence, stage, state)).await
    }

    async fn end(&self, end: AttemptEnd) -> Result<Fenced, StoreUnavailable> {
        self.timed(Op::End, self.next.end(end)).await
    }

    async fn load_lane(&self, lane: &LaneKey) -> Result<LaneMemory, StoreUnavailable> {
        self.timed(Op::LoadLane, self.next.load_lane(lane)).await
    }

    async fn keep_pause(&self, lane: &LaneKey, paused: bool, mandate: &Mandate) -> Result<(), StoreUnavailable> {
        self.timed(Op::KeepLane, self.next.keep_pause(lane, paused, mandate)).await
    }

    async fn keep_breakers(&self, lane: &LaneKey, breakers: &[BreakerMemory]) -> Result<(), StoreUnavailable> {
        self.timed(Op::KeepLane, self.next.keep_breakers(lane, breakers)).await
    }

    async fn paused_lanes(&self) -> Result<Vec<LaneKey>, StoreUnavailable> {
        self.timed(Op::ListLanes, self.next.paused_lanes()).await
    }

    fn tell(&self, lane: &LaneKey, what: Told) {
        self.next.tell(lane, what);
    }

    async fn remembered_lanes(&self) -> Result<Vec<(LaneKey, LaneMemory)>, StoreUnavailable> {
        self.timed(Op::ListLanes, self.next.remembered_lanes()).await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
    ) -> Result<Vec<(JobId, LaneKey)>, StoreUnavailable> {
        self.timed(Op::DeadLetters, self.next.dead_letters(filter, limit)).await
    }

    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreUnavailable> {
        self.timed(Op::DeadLetters, self.next.count_dead_letters(filter)).await
    }

    async fn replay(&self, job: JobId, mandate: &Mandate, run_at: Timestamp) -> Result<bool, StoreUnavailable> {
        self.timed(Op::Replay, self.next.replay(job, mandate, run_at)).await
    }
}
