//! How many jobs each lane has in each state that is not over, and dead letters: kept beside the
//! store, so that the cap on pending jobs and a scrape cost no query.
//!
//! Moved by what each committed batch changes; what was there before is counted beside the writer, as
//! of the moment at which it opened the database, for a million jobs take longer than a delivery may
//! wait. Until then the counters know only what moved.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sluice_actors::domain::{JobState, LaneKey};

use tokio::{task::JoinHandle, time::timeout};

use super::{
    rows::{Reader, Row},
    session::Snapshot,
    sql::{Statement, sql},
};

/// The counted states, in the order of [`Counts`].
pub(super) const COUNTED: [JobState; 4] =
    [JobState::Pending, JobState::Running, JobState::Failed, JobState::DeadLetter];

/// How long a store that is opened waits for its jobs to be counted: few are at once.
const BRIEF: Duration = Duration::from_millis(100);

/// Below zero where more left than is known to have been there.
type Counts = [i64; COUNTED.len()];

type Lanes = BTreeMap<LaneKey, Counts>;

/// The counts of all lanes that have any.
#[derive(Debug, Default)]
pub(super) struct Counters {
    tally: RwLock<Tally>,
    refused: AtomicU64,
    /// Held by each writer from its first statement until its moves are applied, so that nobody counts
    /// in between.
    moving: tokio::sync::RwLock<()>,
}

#[derive(Debug, Default)]
struct Tally {
    lanes: Lanes,
    /// What moved since the count that is under way began, and which one that is.
    since: Option<(u64, Lanes)>,
    begun: u64,
}

/// One count, from the moment of its snapshot.
#[derive(Debug)]
pub(super) struct Ticket(u64);

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
    /// A count of what there is now begins. An earlier one that is under way counts for nothing.
    pub(super) fn begin_count(&self) -> Ticket {
        let mut tally = self.write();
        tally.begun += 1;
        tally.since = Some((tally.begun, Lanes::new()));
        Ticket(tally.begun)
    }

    /// What there was when the count began.
    pub(super) fn counted(&self, Ticket(number): Ticket, counts: Vec<(LaneKey, JobState, u64)>) {
        let mut tally = self.write();
        let Some((_, mut fresh)) = tally.since.take_if(|(begun, _)| *begun == number) else { return };
        for (lane, state, count) in counts {
            if let Some(at) = position(state) {
                fresh.entry(lane).or_default()[at] += i64::try_from(count).unwrap_or(i64::MAX);
            }
        }
        fresh.retain(|_, counts| counts.iter().any(|count| *count != 0));
        tally.lanes = fresh;
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tally> {
        self.tally.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is committed while this is held is to be applied before it is dropped.
    pub(super) async fn moving(&self) -> impl Drop {
        self.moving.read().await
    }

    /// While this is held, all that is committed was applied.
    pub(super) async fn settled(&self) -> impl Drop {
        self.moving.write().await
    }

    /// Applies what a committed batch changed.
    pub(super) fn apply(&self, moves: Moves) {
        self.refused.fetch_add(moves.refused, Ordering::Relaxed);
        if moves.jobs.is_empty() {
            return;
        }
        let mut tally = self.write();
        let Tally { lanes, since, .. } = &mut *tally;
        for (lane, from, to) in moves.jobs {
            let (from, to) = (from.and_then(position), to.and_then(position));
            move_one(lanes, &lane, from, to);
            if let Some((_, since)) = since {
                move_one(since, &lane, from, to);
            }
        }
    }

    /// Begins, checkpoints and ends of this process that were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Jobs of the lane that are not over.
    pub(super) fn pending(&self, lane: &LaneKey) -> u64 {
        let tally = self.tally.read().unwrap_or_else(PoisonError::into_inner);
        let [pending, running, failed, _] = tally.lanes.get(lane).copied().unwrap_or_default();
        known(pending + running + failed)
    }

    /// All lanes with their counts by state.
    pub(super) fn all(&self) -> Vec<(LaneKey, Vec<(JobState, u64)>)> {
        let tally = self.tally.read().unwrap_or_else(PoisonError::into_inner);
        let lanes = tally.lanes.iter();
        lanes.map(|(lane, counts)| (lane.clone(), COUNTED.into_iter().zip(counts.map(known)).collect())).collect()
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

async fn count(snapshot: &mut Snapshot) -> Result<Vec<(LaneKey, JobState, u64)>, sqlx::Error> {
    let mut counts = Vec::new();
    for statement in statements() {
        add_counts(&snapshot.rows(statement).await?, &mut counts)?;
    }
    Ok(counts)
}

/// Counts what there is in the snapshot, which was taken just now: what is committed between the two
/// is not counted.
pub(super) fn count_from_now_on(counters: &Arc<Counters>, mut snapshot: Snapshot) -> JoinHandle<()> {
    let (counters, ticket) = (counters.clone(), counters.begin_count());
    tokio::spawn(async move {
        match count(&mut snapshot).await {
            Ok(counts) => counters.counted(ticket, counts),
            Err(error) => tracing::warn!(%error, "the jobs of the lanes were not counted"),
        }
        snapshot.end().await;
    })
}

/// As [`count_from_now_on`]; waits a little, so that whoever opens a store with few jobs finds them counted.
pub(super) async fn count_at_start(counters: &Arc<Counters>, snapshot: Snapshot) {
    let began = tokio::time::Instant::now();
    let mut counting = count_from_now_on(counters, snapshot);
    if timeout(BRIEF, &mut counting).await.is_err() {
        tokio::spawn(async move {
            counting.await.ok();
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(took_ms, "the jobs that waited at the start are counted");
        });
    }
}

fn move_one(lanes: &mut Lanes, lane: &LaneKey, from: Option<usize>, to: Option<usize>) {
    if from == to {
        return;
    }
    let counts = lanes.entry(lane.clone()).or_default();
    if let Some(from) = from {
        counts[from] -= 1;
    }
    if let Some(to) = to {
        counts[to] += 1;
    }
    if counts.iter().all(|count| *count == 0) {
        lanes.remove(lane);
    }
}

fn known(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn position(state: JobState) -> Option<usize> {
    COUNTED.iter().position(|counted| *counted == state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> LaneKey {
        LaneKey::new("acme".parse().unwrap(), "pay".parse().unwrap())
    }

    fn moved(counters: &Counters, from: Option<JobState>, to: Option<JobState>) {
        let mut moves = Moves::default();
        moves.add(&lane(), from, to);
        counters.apply(moves);
    }

    fn shown(counters: &Counters) -> Vec<u64> {
        counters.all().first().map(|(_, counts)| counts.iter().map(|(_, count)| *count).collect()).unwrap_or_default()
    }

    #[test]
    fn what_moves_while_the_jobs_are_counted_is_counted_once() {
        use JobState::{Pending, Running, Succeeded};
        let counters = Counters::default();
        let ticket = counters.begin_count();
        moved(&counters, None, Some(Pending));
        assert_eq!(counters.pending(&lane()), 1);
        for _ in 0..3 {
            moved(&counters, Some(Pending), Some(Running));
        }
        moved(&counters, Some(Running), Some(Succeeded));
        assert_eq!(shown(&counters), [0, 2, 0, 0], "those that are not known yet are not below zero");
        counters.counted(ticket, vec![(lane(), Pending, 10)]);
        assert_eq!((shown(&counters), counters.pending(&lane())), (vec![8, 2, 0, 0], 10));
    }

    #[test]
    fn a_count_that_another_one_overtook_counts_for_nothing() {
        let counters = Counters::default();
        let (older, newer) = (counters.begin_count(), counters.begin_count());
        counters.counted(newer, vec![(lane(), JobState::Pending, 2)]);
        counters.counted(older, vec![(lane(), JobState::Pending, 7)]);
        assert_eq!(counters.pending(&lane()), 2);
        moved(&counters, Some(JobState::Pending), None);
        moved(&counters, Some(JobState::Pending), None);
        assert_eq!(counters.all(), [], "a lane without jobs is forgotten");
    }
}
