//! How many jobs each lane has in each state that is not over, and dead letters: kept beside the
//! store, so that the cap on pending jobs and a scrape cost no query.
//!
//! Read from the file when it is opened, then moved by what each committed batch changed.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sluice_actors::domain::{JobState, LaneKey};

use super::{
    rows::{Reader, Row},
    session::{Pool, Session},
    sql::{Statement, sql},
    value::Values,
};

/// The counted states, in the order of [`Counts`].
pub(super) const COUNTED: [JobState; 4] =
    [JobState::Pending, JobState::Running, JobState::Failed, JobState::DeadLetter];

type Counts = [u64; COUNTED.len()];

/// The counts of all lanes that have any.
#[derive(Debug, Default)]
pub(super) struct Counters {
    lanes: RwLock<BTreeMap<LaneKey, Counts>>,
    refused: AtomicU64,
}

/// What one batch changes, applied after its commit.
#[derive(Debug, Default)]
pub(super) struct Moves {
    jobs: Vec<(LaneKey, Option<JobState>, Option<JobState>)>,
    /// Begins, checkpoints and ends that were refused, because another node has the lane or the job.
    pub(super) refused: u64,
}

impl Moves {
    /// A job of `lane` goes from one state to another; `None` is not in the store.
    pub(super) fn add(&mut self, lane: &LaneKey, from: Option<JobState>, to: Option<JobState>) {
        self.jobs.push((lane.clone(), from, to));
    }
}

impl Counters {
    /// Forgets all and begins with these.
    pub(super) fn reset(&self, counts: Vec<(LaneKey, JobState, u64)>) {
        let mut fresh = BTreeMap::<LaneKey, Counts>::new();
        for (lane, state, count) in counts {
            if let Some(at) = position(state) {
                fresh.entry(lane).or_default()[at] = count;
            }
        }
        *self.lanes.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// Applies what a committed batch changed.
    pub(super) fn apply(&self, moves: Moves) {
        self.refused.fetch_add(moves.refused, Ordering::Relaxed);
        if moves.jobs.is_empty() {
            return;
        }
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        for (lane, from, to) in moves.jobs {
            let (from, to) = (from.and_then(position), to.and_then(position));
            if from.is_none() && to.is_none() {
                continue;
            }
            let counts = lanes.entry(lane.clone()).or_default();
            if let Some(from) = from {
                counts[from] = counts[from].saturating_sub(1);
            }
            if let Some(to) = to {
                counts[to] += 1;
            }
            if counts.iter().all(|count| *count == 0) {
                lanes.remove(&lane);
            }
        }
    }

    /// Begins, checkpoints and ends of this process that were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Jobs of the lane that are not over.
    pub(super) fn pending(&self, lane: &LaneKey) -> u64 {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.get(lane).map_or(0, |[pending, running, failed, _]| pending + running + failed)
    }

    /// All lanes with their counts by state.
    pub(super) fn all(&self) -> Vec<(LaneKey, Vec<(JobState, u64)>)> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().map(|(lane, counts)| (lane.clone(), COUNTED.into_iter().zip(*counts).collect())).collect()
    }
}

/// What is counted together.
fn statements() -> [&'static Statement; 3] {
    [sql!("count_startable"), sql!("count_running"), sql!("count_dead")]
}

fn add_counts(rows: &[Row], counts: &mut Vec<(LaneKey, JobState, u64)>) -> Result<(), sqlx::Error> {
    for row in rows {
        let row = Reader::new(row, "jobs", "jobs");
        counts.push((row.lane()?, row.state()?, row.number("jobs")?));
    }
    Ok(())
}

/// What a freshly opened store holds.
pub(super) async fn count(session: &mut Session<'_>) -> Result<Vec<(LaneKey, JobState, u64)>, sqlx::Error> {
    let mut counts = Vec::new();
    for statement in statements() {
        add_counts(&session.fetch(statement, Values::default()).await?, &mut counts)?;
    }
    Ok(counts)
}

/// The same through connections that read.
pub(super) async fn count_in(pool: &Pool) -> Result<Vec<(LaneKey, JobState, u64)>, sqlx::Error> {
    let mut counts = Vec::new();
    for statement in statements() {
        add_counts(&pool.rows(statement, Values::default()).await?, &mut counts)?;
    }
    Ok(counts)
}

fn position(state: JobState) -> Option<usize> {
    COUNTED.iter().position(|counted| *counted == state)
}
