//! How many jobs each lane has in each state that is not over, and dead letters: kept beside the
//! store, so that the cap on pending jobs and a scrape cost no query.
//!
//! Read from the file when it is opened, then moved by what each committed batch changed.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use sluice_actors::domain::{JobState, LaneKey};

use super::{rows::Reader, session::Session, sql::sql, value::Values};

/// The counted states, in the order of [`Counts`].
pub(super) const COUNTED: [JobState; 4] =
    [JobState::Pending, JobState::Running, JobState::Failed, JobState::DeadLetter];

type Counts = [u64; COUNTED.len()];

/// The counts of all lanes that have any.
#[derive(Debug, Default)]
pub(super) struct Counters {
    lanes: RwLock<BTreeMap<LaneKey, Counts>>,
}

/// What one batch changes, applied after its commit.
#[derive(Debug, Default)]
pub(super) struct Moves(Vec<(LaneKey, Option<JobState>, Option<JobState>)>);

impl Moves {
    /// A job of `lane` goes from one state to another; `None` is not in the store.
    pub(super) fn add(&mut self, lane: &LaneKey, from: Option<JobState>, to: Option<JobState>) {
        self.0.push((lane.clone(), from, to));
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
        if moves.0.is_empty() {
            return;
        }
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        for (lane, from, to) in moves.0 {
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

/// What a freshly opened store holds.
pub(super) async fn count(session: &mut Session<'_>) -> Result<Vec<(LaneKey, JobState, u64)>, sqlx::Error> {
    let mut counts = Vec::new();
    for statement in [sql!("count_startable"), sql!("count_running"), sql!("count_dead")] {
        for row in session.fetch(statement, Values::default()).await? {
            let row = Reader::new(&row, "jobs", "jobs");
            counts.push((row.lane()?, row.state()?, row.number("jobs")?));
        }
    }
    Ok(counts)
}

fn position(state: JobState) -> Option<usize> {
    COUNTED.iter().position(|counted| *counted == state)
}
