//! The store as the tree of actors sees it.

use async_trait::async_trait;
use serde_json::Value;
use sluice_actors::{
    domain::{CheckpointStage, DeadReason, Epoch, Fence, Job, JobId, LaneKey, Mandate, Timestamp},
    ports::{
        Acquired, AttemptEnd, Begin, BreakerMemory, DeadLetterFilter, Fenced, HeldWork, JobStore, LaneDue, LaneMemory,
        Owned, Recovered, StoreUnavailable, Told, Verdict,
    },
};

use super::{
    Store,
    command::Command,
    records::tenants_value,
    rows::{self, BadRow, Reader, Row},
    sql::{Statement, sql},
    value::{Values, values},
};
use crate::seal::Column;

/// A read failed: what is said of it.
pub(super) struct ReadFailed(sqlx::Error);

impl From<sqlx::Error> for ReadFailed {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl From<BadRow> for ReadFailed {
    fn from(bad: BadRow) -> Self {
        Self(bad.into())
    }
}

impl From<ReadFailed> for StoreUnavailable {
    fn from(failed: ReadFailed) -> Self {
        Self(failed.0.to_string())
    }
}

impl Store {
    /// Rows of a read of the tree of actors.
    pub(super) async fn worker_rows(
        &self,
        statement: &'static Statement,
        values: Values<'_>,
    ) -> Result<Vec<Row>, ReadFailed> {
        Ok(self.readers().workers.rows(statement, values).await?)
    }
}

/// The limit of a query as engines take it.
pub(super) fn limit_value(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn filter_values(filter: &DeadLetterFilter) -> Values<'_> {
    values![
        filter.job,
        filter.tenant.as_deref(),
        filter.source.as_deref(),
        filter.route.as_deref(),
        filter.reason.map(DeadReason::as_str),
        filter.since,
        filter.until,
        filter.scope.as_deref().map(tenants_value),
        filter.event_type.as_deref(),
        filter.subject.as_deref(),
    ]
}

#[async_trait]
impl JobStore for Store {
    async fn recover(&self) -> Result<Recovered, StoreUnavailable> {
        let recovered = self.shared.writer.submit(|reply| Command::Recover { reply }).await?;
        if let Some(node) = &self.shared.node {
            node.recover_from_now_on();
        }
        Ok(recovered)
    }

    async fn acquire_lane(&self, lane: &LaneKey) -> Result<Acquired, StoreUnavailable> {
        match &self.shared.node {
            Some(node) => node.acquire(lane).await,
            // Nobody else serves the file.
            None => Ok(Acquired::Mine(Owned { memory: self.load_lane(lane).await?, ..Owned::default() })),
        }
    }

    async fn release_lane(&self, lane: &LaneKey, epoch: Epoch) -> Result<(), StoreUnavailable> {
        match &self.shared.node {
            Some(node) => node.release(lane, epoch).await,
            None => Ok(()),
        }
    }

    async fn lanes_due(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneDue>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            // Names are never empty, so the empty pair stands before all.
            let tenant = after.map_or("", |lane| lane.tenant.as_str());
            let source = after.map_or("", |lane| lane.source.as_str());
            let rows = self
                .worker_rows(sql!("lanes_due"), values![tenant, source, limit_value(limit), self.node_id()])
                .await?;
            let due = rows.iter().map(|row| {
                let row = Reader::new(row, "jobs", "next_run_at");
                Ok::<_, BadRow>(LaneDue {
                    lane: row.lane()?,
                    next_run_at: row.time("next_run_at")?,
                    elsewhere: row.get("elsewhere")?,
                })
            });
            Ok(due.collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn due(
        &self,
        lane: &LaneKey,
        now: Timestamp,
        limit: usize,
        held: &[HeldWork],
    ) -> Result<Vec<Job>, StoreUnavailable> {
        let groups = held.iter();
        let groups = groups.map(|it| (it.route.as_str(), it.stage.number(), rows::class_number(it.class)));
        let held: Vec<(&str, u8, i64)> = groups.collect();
        let held = serde_json::to_string(&held).map_err(|error| StoreUnavailable(error.to_string()))?;
        let read = async || -> Result<_, ReadFailed> {
            let (tenant, source) = (lane.tenant.as_str(), lane.source.as_str());
            let values = values![tenant, source, now, limit_value(limit), held.as_str()];
            let rows = self.worker_rows(sql!("due"), values).await?;
            Ok(rows.iter().map(rows::job).collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn next_due(&self, lane: &LaneKey) -> Result<Option<Timestamp>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let values = values![lane.tenant.as_str(), lane.source.as_str()];
            let rows = self.worker_rows(sql!("next_due"), values).await?;
            match rows.first() {
                Some(row) => Ok(Reader::new(row, "jobs", "next_run_at").time_or_none("next_run_at")?),
                None => Ok(None),
            }
        };
        Ok(read().await?)
    }

    async fn begin(&self, job: JobId, alone: bool, epoch: Epoch) -> Result<Begin, StoreUnavailable> {
        let begin = self.shared.writer.submit(|reply| Command::Begin { job, alone, epoch, reply }).await?;
        if let Begin::Begun(begun) = &begin
            && self.shared.ring.is_used()
        {
            self.shared.begun.add(job, begun.job.lane.tenant.as_str());
        }
        Ok(begin)
    }

    async fn abandon(&self, job: JobId) -> Result<bool, StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::Abandon { job, reply }).await?)
    }

    async fn checkpoint(
        &self,
        job: JobId,
        fence: Fence,
        stage: CheckpointStage,
        state: &Value,
    ) -> Result<Fenced, StoreUnavailable> {
        let state = self.seal_of_job(job, Column::Checkpoint, state.to_string()).await?;
        Ok(self.shared.writer.submit(|reply| Command::Checkpoint { job, fence, stage, state, reply }).await?)
    }

    async fn end(&self, end: AttemptEnd) -> Result<Fenced, StoreUnavailable> {
        let job = end.job;
        let result = match &end.verdict {
            Verdict::Succeeded(result) => {
                let text = serde_json::to_string(result).map_err(|error| StoreUnavailable(error.to_string()))?;
                Some(self.seal_of_job(job, Column::Result, text).await?)
            }
            Verdict::Failed { .. } | Verdict::Held { .. } | Verdict::Dead { .. } => None,
        };
        let end = Box::new(end);
        let ended = self.shared.writer.submit(|reply| Command::End { end, result, reply }).await?;
        self.shared.begun.remove(job);
        Ok(ended)
    }

    async fn load_lane(&self, lane: &LaneKey) -> Result<LaneMemory, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let values = values![lane.tenant.as_str(), lane.source.as_str()];
            let rows = self.worker_rows(sql!("load_lane"), values).await?;
            let Some(row) = rows.first() else { return Ok(LaneMemory::default()) };
            let row = Reader::new(row, "lanes", "paused");
            Ok(LaneMemory { paused: row.get("paused")?, breakers: row.json("breaker")? })
        };
        Ok(read().await?)
    }

    async fn keep_pause(&self, lane: &LaneKey, paused: bool, mandate: &Mandate) -> Result<(), StoreUnavailable> {
        let (lane, mandate) = (lane.clone(), mandate.clone());
        Ok(self.shared.writer.submit(|reply| Command::KeepPause { lane, paused, mandate, reply }).await?)
    }

    async fn keep_breakers(&self, lane: &LaneKey, breakers: &[BreakerMemory]) -> Result<(), StoreUnavailable> {
        let (lane, breakers) = (lane.clone(), breakers.to_vec());
        Ok(self.shared.writer.submit(|reply| Command::KeepBreakers { lane, breakers, reply }).await?)
    }

    async fn paused_lanes(&self) -> Result<Vec<LaneKey>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.worker_rows(sql!("paused_lanes"), Values::default()).await?;
            let lanes = rows.iter().map(|row| Reader::new(row, "lanes", "source").lane());
            Ok(lanes.collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    fn tell(&self, lane: &LaneKey, what: Told) {
        if let Some(node) = &self.shared.node {
            node.tell(lane, what);
        }
    }

    async fn remembered_lanes(&self) -> Result<Vec<(LaneKey, LaneMemory)>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.worker_rows(sql!("remembered_lanes"), Values::default()).await?;
            let lanes = rows.iter().map(|row| {
                let row = Reader::new(row, "lanes", "tenant");
                let memory = LaneMemory { paused: row.get("paused")?, breakers: row.json("breaker")? };
                Ok::<_, BadRow>((row.lane()?, memory))
            });
            Ok(lanes.collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
    ) -> Result<Vec<(JobId, LaneKey)>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let mut values = filter_values(filter);
            values.add(limit_value(limit));
            let rows = self.worker_rows(sql!("open_dead_letters"), values).await?;
            let letters = rows.iter().map(|row| {
                let row = Reader::new(row, "jobs", "id");
                Ok::<_, BadRow>((row.job_id("id")?, row.lane()?))
            });
            Ok(letters.collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.worker_rows(sql!("count_open_dead_letters"), filter_values(filter)).await?;
            match rows.first() {
                Some(row) => Ok(Reader::new(row, "dead_letters", "letters").number("letters")?),
                None => Ok(0),
            }
        };
        Ok(read().await?)
    }

    async fn replay(&self, job: JobId, mandate: &Mandate, run_at: Timestamp) -> Result<bool, StoreUnavailable> {
        let mandate = mandate.clone();
        Ok(self.shared.writer.submit(|reply| Command::Replay { job, mandate, run_at, reply }).await?)
    }
}
