//! The truth about jobs, in memory: the same contract as the stores on disk, made to be broken.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::seed::NewJob;
use crate::{
    domain::{
        CheckpointStage, DeadReason, Epoch, EventEnvelope, EventId, Fence, Job, JobClass, JobId, JobResult, JobState,
        LaneKey, Mandate, RouteName, Timestamp, TraceId, type_fits,
    },
    policy::retry::suspect_backoff,
    ports::{
        Acquired, AttemptEnd, Begin, Begun, BreakerMemory, Clock, DeadLetterFilter, Fenced, HeldWork, JobStore,
        LaneDue, LaneMemory, Owned, Recovered, StoreUnavailable, Told, Verdict,
    },
};

/// Deaths of the process, while a job ran alone, that make it a dead letter.
const POISON_DEATHS: u32 = 3;

/// An operation of the store, to make it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreOp {
    /// [`JobStore::recover`].
    Recover,
    /// [`JobStore::acquire_lane`].
    Acquire,
    /// [`JobStore::release_lane`].
    Release,
    /// [`JobStore::lanes_due`].
    LanesDue,
    /// [`JobStore::due`].
    Due,
    /// [`JobStore::next_due`].
    NextDue,
    /// [`JobStore::begin`].
    Begin,
    /// [`JobStore::abandon`].
    Abandon,
    /// [`JobStore::checkpoint`].
    Checkpoint,
    /// [`JobStore::end`], whatever the verdict.
    End,
    /// [`JobStore::end`] of an attempt whose job becomes a dead letter.
    EndDead,
    /// [`JobStore::load_lane`].
    LoadLane,
    /// [`JobStore::keep_pause`].
    KeepPause,
    /// [`JobStore::keep_breakers`].
    KeepBreakers,
    /// [`JobStore::paused_lanes`].
    PausedLanes,
    /// [`JobStore::remembered_lanes`].
    RememberedLanes,
    /// [`JobStore::dead_letters`].
    DeadLetters,
    /// [`JobStore::count_dead_letters`].
    CountDeadLetters,
    /// [`JobStore::replay`].
    Replay,
}

impl StoreOp {
    /// Every operation.
    pub const ALL: [Self; 19] = [
        Self::Recover,
        Self::Acquire,
        Self::Release,
        Self::LanesDue,
        Self::Due,
        Self::NextDue,
        Self::Begin,
        Self::Abandon,
        Self::Checkpoint,
        Self::End,
        Self::EndDead,
        Self::LoadLane,
        Self::KeepPause,
        Self::KeepBreakers,
        Self::PausedLanes,
        Self::RememberedLanes,
        Self::DeadLetters,
        Self::CountDeadLetters,
        Self::Replay,
    ];
}

/// A job with all that the store keeps of it.
#[derive(Debug, Clone)]
pub struct StoredJob {
    /// The job.
    pub job: Job,
    /// What an attempt checkpointed.
    pub checkpoint: Option<Value>,
    /// The last error or hold.
    pub last_error: Option<String>,
    /// What it produced.
    pub result: Option<JobResult>,
    /// Why it became a dead letter.
    pub dead: Option<(DeadReason, String, Timestamp)>,
    /// Who brought it back, by each replay.
    pub replayed_by: Vec<String>,
    /// How often an outcome of an attempt was written.
    pub outcomes: u32,
    alone: bool,
    owner: u64,
}

/// The store. Clones share one process life; [`MemoryStore::next_life`] begins another.
///
/// ```
/// use std::sync::Arc;
/// use sluice_actors::{
///     domain::JobState,
///     ports::{Acquired, Begin, JobStore, Owned},
///     testing::{MemoryStore, NewJob, VirtualClock, lane_key},
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let store = MemoryStore::new(Arc::new(VirtualClock::default()));
/// let job = store.insert(NewJob::on("acme/payments"));
///
/// let Ok(Acquired::Mine(Owned { epoch, .. })) = store.acquire_lane(&lane_key("acme/payments")).await else {
///     panic!("nobody else has the lane")
/// };
/// let Ok(Begin::Begun(_)) = store.begin(job, false, epoch).await else { panic!("it is due") };
/// // The process dies, another one starts: the job is a suspect.
/// let store = store.next_life();
/// assert_eq!(store.recover().await.unwrap().suspects, 1);
/// assert_eq!(store.job(job).job.state, JobState::Pending);
/// assert_eq!(store.job(job).job.suspicion, 1);
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
    life: Arc<AtomicU64>,
    called: watch::Sender<()>,
}

#[derive(Default)]
struct Inner {
    events: HashMap<EventId, Arc<EventEnvelope>>,
    jobs: BTreeMap<JobId, StoredJob>,
    /// Startable jobs of each lane by their due time: what the partial index is on disk.
    startable: BTreeMap<LaneKey, BTreeSet<(Timestamp, JobId)>>,
    watermarks: HashMap<(LaneKey, RouteName, String), Timestamp>,
    lanes: BTreeMap<LaneKey, LaneMemory>,
    owners: HashMap<LaneKey, Ownership>,
    /// How many lives there were; the first is 0.
    lives: u64,
    /// Whose process ended.
    dead: HashSet<u64>,
    taken_for_dead: HashSet<u64>,
    fence: i64,
    ids: u128,
    refusing: HashMap<StoreOp, u32>,
    losing_answers: HashMap<StoreOp, u32>,
    panicking: HashMap<StoreOp, u32>,
    calls: HashMap<StoreOp, u64>,
    told: Vec<(LaneKey, Told)>,
}

/// Who has a lane.
#[derive(Default)]
struct Ownership {
    epoch: Epoch,
    /// The life that has it, or had it last.
    life: u64,
    held: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, inner: Arc::default(), life: Arc::default(), called: watch::Sender::new(()) }
    }

    /// Adds an event with one job, as ingest does. Advances the watermark of its subject.
    pub fn insert(&self, new: NewJob) -> JobId {
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.insert(new, now)
    }

    /// A death of the process and a new start: handles of the old life change nothing any more and
    /// get errors; the returned one finds what they left.
    #[must_use]
    pub fn next_life(&self) -> Self {
        self.lock().dead.insert(self.life());
        self.another_node()
    }

    /// Another node on the same store, which lives beside this one.
    #[must_use]
    pub fn another_node(&self) -> Self {
        let life = {
            let mut inner = self.lock();
            inner.lives += 1;
            inner.lives
        };
        Self { life: Arc::new(life.into()), ..self.clone() }
    }

    /// The others take this node for dead, though it may live: what it begins and ends is refused.
    pub fn take_for_dead(&self) {
        self.lock().taken_for_dead.insert(self.life());
    }

    /// It learned so and comes back, without a lane.
    pub fn rejoin(&self) {
        self.life.store(self.another_node().life(), Ordering::SeqCst);
    }

    /// Whether this node has the lane.
    pub fn holds(&self, lane: &LaneKey) -> bool {
        self.lock().owners.get(lane).is_some_and(|owner| owner.held && owner.life == self.life())
    }

    /// What other nodes were told of lanes, since it was asked last.
    pub fn told(&self) -> Vec<(LaneKey, Told)> {
        std::mem::take(&mut self.lock().told)
    }

    /// Refuses `op` from now on, until [`Self::mend`].
    pub fn refuse(&self, op: StoreOp) {
        self.fail_next(op, u32::MAX);
    }

    /// Refuses the next `times` calls of `op`; nothing changes by them.
    pub fn fail_next(&self, op: StoreOp, times: u32) {
        self.lock().refusing.insert(op, times);
    }

    /// Lets the next `times` calls of `op` take effect, but answers as if they had not: what a lost
    /// connection on COMMIT looks like.
    pub fn lose_answers(&self, op: StoreOp, times: u32) {
        self.lock().losing_answers.insert(op, times);
    }

    /// Panics at the next `times` calls of `op`; nothing changes by them.
    pub fn panic_next(&self, op: StoreOp, times: u32) {
        self.lock().panicking.insert(op, times);
    }

    /// Ends every refusal.
    pub fn mend(&self) {
        let mut inner = self.lock();
        inner.refusing.clear();
        inner.losing_answers.clear();
        inner.panicking.clear();
    }

    /// How often `op` was called, refused calls included.
    pub fn calls(&self, op: StoreOp) -> u64 {
        self.lock().calls.get(&op).copied().unwrap_or(0)
    }

    /// A job as it is stored.
    ///
    /// # Panics
    /// If there is none of that id.
    pub fn job(&self, id: JobId) -> StoredJob {
        self.lock().jobs.get(&id).cloned().expect("the job was inserted")
    }

    /// All jobs, by id.
    pub fn jobs(&self) -> Vec<StoredJob> {
        self.lock().jobs.values().cloned().collect()
    }

    /// How many jobs are in `state`.
    pub fn count(&self, state: JobState) -> usize {
        self.lock().jobs.values().filter(|stored| stored.job.state == state).count()
    }

    /// Jobs that are not final.
    pub fn unfinished(&self) -> Vec<(JobId, JobState)> {
        let inner = self.lock();
        let jobs = inner.jobs.values().map(|stored| (stored.job.id, stored.job.state));
        jobs.filter(|(_, state)| !state.is_final()).collect()
    }

    /// What a lane remembers.
    pub fn lane_memory(&self, lane: &LaneKey) -> LaneMemory {
        self.lock().lanes.get(lane).cloned().unwrap_or_default()
    }

    /// Forgets jobs that are final, with their events, as retention does.
    pub fn forget_finished(&self) {
        let mut inner = self.lock();
        inner.jobs.retain(|_, stored| !stored.job.state.is_final());
        let kept: BTreeSet<EventId> = inner.jobs.values().map(|stored| stored.job.event_id).collect();
        inner.events.retain(|id, _| kept.contains(id));
        inner.events.shrink_to_fit();
    }

    /// Ends a job as a person would: it is cancelled, whatever runs for it.
    pub fn cancel(&self, id: JobId) {
        let mut inner = self.lock();
        inner.update(id, |stored| {
            stored.becomes(JobState::Cancelled);
            stored.job.fence = Fence(stored.job.fence.0 + 1);
        });
    }

    /// Sees each call of the store.
    pub(super) fn calls_made(&self) -> watch::Receiver<()> {
        self.called.subscribe()
    }

    fn life(&self) -> u64 {
        self.life.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation: refused, applied, or applied with its answer lost.
    fn call<T>(&self, op: StoreOp, work: impl FnOnce(&mut Inner) -> T) -> Result<T, StoreUnavailable> {
        self.called.send_replace(());
        let mut inner = self.lock();
        *inner.calls.entry(op).or_default() += 1;
        if inner.dead.contains(&self.life()) {
            return Err(StoreUnavailable("this life of the process is over".into()));
        }
        if take(&mut inner.panicking, op) {
            drop(inner);
            std::panic::resume_unwind(Box::new("asked for by the test"));
        }
        if take(&mut inner.refusing, op) {
            return Err(StoreUnavailable("refused by the test".into()));
        }
        let answer = work(&mut inner);
        if take(&mut inner.losing_answers, op) {
            return Err(StoreUnavailable("answer lost by the test".into()));
        }
        Ok(answer)
    }
}

fn take(left: &mut HashMap<StoreOp, u32>, op: StoreOp) -> bool {
    match left.get_mut(&op) {
        None | Some(0) => false,
        Some(&mut u32::MAX) => true,
        Some(n) => {
            *n -= 1;
            true
        }
    }
}

impl Inner {
    fn insert(&mut self, new: NewJob, now: Timestamp) -> JobId {
        let event = EventId::from_uuid(self.next_id());
        let id = JobId::from_uuid(self.next_id());
        let occurred_at = new.occurred_at.unwrap_or(now);
        if let Some(subject) = &new.subject_id {
            let mark = self.watermarks.entry((new.lane.clone(), new.route.clone(), subject.clone())).or_default();
            *mark = (*mark).max(occurred_at);
        }
        let trace_id = TraceId::from_bytes((self.ids | 1 << 64).to_be_bytes()).expect("one bit is set");
        self.events.insert(
            event,
            Arc::new(EventEnvelope {
                id: event,
                lane: new.lane.clone(),
                vendor: new.vendor,
                external_id: format!("ext-{}", self.ids),
                event_type: new.event_type,
                subject_id: new.subject_id,
                occurred_at,
                received_at: now,
                schema_version: 1,
                api_version: None,
                data: new.data,
                trace_id,
                sampled: true,
            }),
        );
        let job = Job {
            id,
            event_id: event,
            lane: new.lane.clone(),
            route: new.route,
            kind: new.kind,
            state: JobState::Pending,
            class: new.class,
            attempts: 0,
            claims: 0,
            deaths: 0,
            suspicion: 0,
            next_run_at: new.run_at.unwrap_or(now),
            fence: Fence(0),
            stage: CheckpointStage::None,
        };
        self.startable.entry(new.lane).or_default().insert((job.next_run_at, id));
        let stored = StoredJob {
            job,
            checkpoint: None,
            last_error: None,
            result: None,
            dead: None,
            replayed_by: Vec::new(),
            outcomes: 0,
            alone: false,
            owner: 0,
        };
        self.jobs.insert(id, stored);
        id
    }

    fn next_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    /// The one way to change a job: keeps the index of startable jobs true.
    fn update<T>(&mut self, id: JobId, change: impl FnOnce(&mut StoredJob) -> T) -> Option<T> {
        let stored = self.jobs.get_mut(&id)?;
        let before = (stored.job.state.is_startable(), stored.job.next_run_at);
        let answer = change(stored);
        let after = (stored.job.state.is_startable(), stored.job.next_run_at);
        if before != after {
            let lane = stored.job.lane.clone();
            let index = self.startable.entry(lane.clone()).or_default();
            if before.0 {
                index.remove(&(before.1, id));
            }
            if after.0 {
                index.insert((after.1, id));
            }
            if index.is_empty() {
                self.startable.remove(&lane);
            }
        }
        Some(answer)
    }

    fn recover(&mut self, now: Timestamp) -> Recovered {
        let left: Vec<JobId> = self
            .jobs
            .values()
            .filter(|stored| stored.job.state == JobState::Running && self.is_dead(stored.owner))
            .map(|stored| stored.job.id)
            .collect();
        let mut recovered = Recovered::default();
        for id in left {
            let poisoned = self.update(id, |stored| {
                stored.job.suspicion += 1;
                if stored.alone {
                    stored.job.deaths += 1;
                }
                stored.alone = false;
                if stored.job.deaths >= POISON_DEATHS {
                    stored.becomes(JobState::DeadLetter);
                    let detail = format!("the process died {POISON_DEATHS} times while this job ran alone");
                    stored.dead = Some((DeadReason::Poison, detail, now));
                    return true;
                }
                stored.becomes(stored.waiting_state());
                stored.job.next_run_at = now.plus(suspect_backoff(stored.job.suspicion));
                false
            });
            match poisoned {
                Some(true) => recovered.poisoned += 1,
                Some(false) => recovered.suspects += 1,
                None => {}
            }
        }
        recovered
    }

    fn due(&self, lane: &LaneKey, now: Timestamp, limit: usize, held: &[HeldWork]) -> Vec<Job> {
        let Some(index) = self.startable.get(lane) else { return Vec::new() };
        let mut due: Vec<&Job> = index
            .iter()
            .take_while(|(at, _)| *at <= now)
            .filter_map(|(_, id)| self.jobs.get(id))
            .map(|stored| &stored.job)
            .filter(|job| {
                !held.iter().any(|work| work.route == job.route && work.stage == job.stage && work.class == job.class)
            })
            .collect();
        due.sort_by_key(|job| (job.class, job.next_run_at, job.id));
        due.into_iter().take(limit).cloned().collect()
    }

    fn is_dead(&self, life: u64) -> bool {
        self.dead.contains(&life) || self.taken_for_dead.contains(&life)
    }

    /// Whether a live node other than `life` has the lane.
    fn is_elsewhere(&self, lane: &LaneKey, life: u64) -> bool {
        self.owners.get(lane).is_some_and(|owner| owner.held && owner.life != life && !self.is_dead(owner.life))
    }

    fn owns(&self, lane: &LaneKey, epoch: Epoch, life: u64) -> bool {
        let held = |owner: &Ownership| owner.held && owner.life == life && owner.epoch == epoch;
        !self.is_dead(life) && self.owners.get(lane).is_some_and(held)
    }

    fn acquire(&mut self, lane: &LaneKey, life: u64) -> Acquired {
        if self.is_dead(life) || self.is_elsewhere(lane, life) {
            return Acquired::Elsewhere;
        }
        let owner = self.owners.entry(lane.clone()).or_insert(Ownership { life, ..Ownership::default() });
        // A new life of a process that died is no other node.
        let taken_over = owner.life != life && !self.dead.contains(&owner.life);
        *owner = Ownership { epoch: Epoch(owner.epoch.0 + 1), life, held: true };
        let memory = self.lanes.get(lane).cloned().unwrap_or_default();
        Acquired::Mine(Owned { epoch: owner.epoch, memory, taken_over })
    }

    fn begin(&mut self, id: JobId, alone: bool, epoch: Epoch, life: u64) -> Begin {
        let Some(stored) = self.jobs.get(&id) else { return Begin::NotStartable };
        if !self.owns(&stored.job.lane, epoch, life) {
            return Begin::NotOwner;
        }
        if !stored.job.state.is_startable() {
            return Begin::NotStartable;
        }
        let Some(event) = self.events.get(&stored.job.event_id).cloned() else { return Begin::Gone };
        if let Some(subject) = &event.subject_id {
            let key = (stored.job.lane.clone(), stored.job.route.clone(), subject.clone());
            if self.watermarks.get(&key).is_some_and(|mark| *mark > event.occurred_at) {
                self.update(id, |stored| stored.becomes(JobState::Superseded));
                return Begin::Superseded;
            }
        }
        self.fence += 1;
        let fence = Fence(self.fence);
        let begun = self.update(id, |stored| {
            stored.becomes(JobState::Running);
            stored.job.claims += 1;
            stored.job.fence = fence;
            stored.alone = alone;
            stored.owner = life;
            Begun { job: stored.job.clone(), event: (*event).clone(), checkpoint: stored.checkpoint.clone() }
        });
        begun.map_or(Begin::NotStartable, |begun| Begin::Begun(Box::new(begun)))
    }

    fn holds_fence(&self, id: JobId, fence: Fence, life: u64) -> bool {
        let holds = |stored: &StoredJob| stored.job.state == JobState::Running && stored.job.fence == fence;
        !self.is_dead(life) && self.jobs.get(&id).is_some_and(holds)
    }

    fn end(&mut self, end: AttemptEnd, now: Timestamp, life: u64) -> Fenced {
        if !self.holds_fence(end.job, end.fence, life) {
            return Fenced::Lost;
        }
        self.update(end.job, |stored| stored.apply(end.verdict, now));
        Fenced::Applied
    }

    fn dead_letters<'a>(&'a self, filter: &'a DeadLetterFilter) -> impl Iterator<Item = &'a StoredJob> {
        self.jobs.values().filter(move |stored| {
            let Some((reason, _, at)) = &stored.dead else { return false };
            stored.job.state == JobState::DeadLetter
                && filter.scope.as_ref().is_none_or(|scope| scope.contains(&stored.job.lane.tenant))
                && filter.job.is_none_or(|job| job == stored.job.id)
                && filter.tenant.as_deref().is_none_or(|tenant| tenant == stored.job.lane.tenant.as_str())
                && filter.source.as_deref().is_none_or(|source| source == stored.job.lane.source.as_str())
                && filter.route.as_deref().is_none_or(|route| route == stored.job.route.as_str())
                && filter.reason.is_none_or(|wanted| wanted == *reason)
                && filter.since.is_none_or(|since| since <= *at)
                && filter.until.is_none_or(|until| *at < until)
                && self.events.get(&stored.job.event_id).is_some_and(|event| {
                    filter.event_type.as_ref().is_none_or(|pattern| type_fits(pattern, &event.event_type))
                        && filter.subject.as_ref().is_none_or(|subject| event.subject_id.as_ref() == Some(subject))
                })
        })
    }
}

impl StoredJob {
    /// Goes to another state, if that is a legal move.
    fn becomes(&mut self, next: JobState) {
        assert!(self.job.state.may_become(next), "{} may not become {next}", self.job.state);
        self.job.state = next;
    }

    const fn waiting_state(&self) -> JobState {
        if self.job.attempts == 0 { JobState::Pending } else { JobState::Failed }
    }

    fn apply(&mut self, verdict: Verdict, now: Timestamp) {
        self.alone = false;
        if !matches!(verdict, Verdict::Held { .. }) {
            self.job.attempts += 1;
            self.job.suspicion = 0;
            self.outcomes += 1;
        }
        match verdict {
            Verdict::Succeeded(result) => {
                self.becomes(JobState::Succeeded);
                self.last_error = None;
                self.result = Some(result);
            }
            Verdict::Failed { next_run_at, error } => {
                self.becomes(JobState::Failed);
                self.job.next_run_at = next_run_at;
                if self.job.class == JobClass::Fresh {
                    self.job.class = JobClass::Retry;
                }
                self.last_error = Some(error);
            }
            Verdict::Held { next_run_at, reason } => {
                self.becomes(self.waiting_state());
                self.job.next_run_at = next_run_at;
                self.last_error = Some(reason.to_string());
            }
            Verdict::Dead { reason, detail } => {
                self.becomes(JobState::DeadLetter);
                self.last_error = Some(detail.clone());
                self.dead = Some((reason, detail, now));
            }
        }
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    async fn recover(&self) -> Result<Recovered, StoreUnavailable> {
        let now = self.clock.now();
        self.call(StoreOp::Recover, |inner| inner.recover(now))
    }

    async fn acquire_lane(&self, lane: &LaneKey) -> Result<Acquired, StoreUnavailable> {
        self.call(StoreOp::Acquire, |inner| inner.acquire(lane, self.life()))
    }

    async fn release_lane(&self, lane: &LaneKey, epoch: Epoch) -> Result<(), StoreUnavailable> {
        self.call(StoreOp::Release, |inner| {
            if inner.owns(lane, epoch, self.life())
                && let Some(owner) = inner.owners.get_mut(lane)
            {
                owner.held = false;
            }
        })
    }

    async fn lanes_due(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneDue>, StoreUnavailable> {
        use std::ops::Bound;
        self.call(StoreOp::LanesDue, |inner| {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let lanes = inner.startable.range((start, Bound::Unbounded));
            lanes
                .filter_map(|(lane, index)| {
                    let elsewhere = inner.is_elsewhere(lane, self.life());
                    index.first().map(|(at, _)| LaneDue { lane: lane.clone(), next_run_at: *at, elsewhere })
                })
                .take(limit)
                .collect()
        })
    }

    async fn due(
        &self,
        lane: &LaneKey,
        now: Timestamp,
        limit: usize,
        held: &[HeldWork],
    ) -> Result<Vec<Job>, StoreUnavailable> {
        self.call(StoreOp::Due, |inner| inner.due(lane, now, limit, held))
    }

    async fn next_due(&self, lane: &LaneKey) -> Result<Option<Timestamp>, StoreUnavailable> {
        self.call(StoreOp::NextDue, |inner| {
            inner.startable.get(lane).and_then(|index| index.first()).map(|(at, _)| *at)
        })
    }

    async fn begin(&self, job: JobId, alone: bool, epoch: Epoch) -> Result<Begin, StoreUnavailable> {
        self.call(StoreOp::Begin, |inner| inner.begin(job, alone, epoch, self.life()))
    }

    async fn abandon(&self, job: JobId) -> Result<bool, StoreUnavailable> {
        self.call(StoreOp::Abandon, |inner| {
            if inner.is_dead(self.life()) {
                return false;
            }
            let abandoned = inner.update(job, |stored| {
                let ours = stored.job.state == JobState::Running && stored.owner == self.life();
                if ours {
                    stored.becomes(stored.waiting_state());
                    stored.alone = false;
                }
                ours
            });
            abandoned.unwrap_or(false)
        })
    }

    async fn checkpoint(
        &self,
        job: JobId,
        fence: Fence,
        stage: CheckpointStage,
        state: &Value,
    ) -> Result<Fenced, StoreUnavailable> {
        self.call(StoreOp::Checkpoint, |inner| {
            if !inner.holds_fence(job, fence, self.life()) {
                return Fenced::Lost;
            }
            inner.update(job, |stored| {
                stored.checkpoint = Some(state.clone());
                stored.job.stage = stage;
            });
            Fenced::Applied
        })
    }

    async fn end(&self, end: AttemptEnd) -> Result<Fenced, StoreUnavailable> {
        let now = self.clock.now();
        if matches!(end.verdict, Verdict::Dead { .. }) {
            self.call(StoreOp::EndDead, |_| ())?;
        }
        self.call(StoreOp::End, |inner| inner.end(end, now, self.life()))
    }

    async fn load_lane(&self, lane: &LaneKey) -> Result<LaneMemory, StoreUnavailable> {
        self.call(StoreOp::LoadLane, |inner| inner.lanes.get(lane).cloned().unwrap_or_default())
    }

    async fn keep_pause(&self, lane: &LaneKey, paused: bool, _: &Mandate) -> Result<(), StoreUnavailable> {
        self.call(StoreOp::KeepPause, |inner| inner.lanes.entry(lane.clone()).or_default().paused = paused)
    }

    async fn keep_breakers(&self, lane: &LaneKey, breakers: &[BreakerMemory]) -> Result<(), StoreUnavailable> {
        self.call(StoreOp::KeepBreakers, |inner| {
            inner.lanes.entry(lane.clone()).or_default().breakers = breakers.to_vec();
        })
    }

    async fn paused_lanes(&self) -> Result<Vec<LaneKey>, StoreUnavailable> {
        self.call(StoreOp::PausedLanes, |inner| {
            inner.lanes.iter().filter(|(_, memory)| memory.paused).map(|(lane, _)| lane.clone()).collect()
        })
    }

    fn tell(&self, lane: &LaneKey, what: Told) {
        self.lock().told.push((lane.clone(), what));
    }

    async fn remembered_lanes(&self) -> Result<Vec<(LaneKey, LaneMemory)>, StoreUnavailable> {
        self.call(StoreOp::RememberedLanes, |inner| {
            let remembers = |memory: &LaneMemory| memory.paused || !memory.breakers.is_empty();
            let lanes = inner.lanes.iter().filter(|(_, memory)| remembers(memory));
            lanes.map(|(lane, memory)| (lane.clone(), memory.clone())).collect()
        })
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
    ) -> Result<Vec<(JobId, LaneKey)>, StoreUnavailable> {
        self.call(StoreOp::DeadLetters, |inner| {
            let mut found: Vec<_> = inner
                .dead_letters(filter)
                .map(|stored| (stored.dead.as_ref().map(|dead| dead.2), stored.job.id, stored.job.lane.clone()))
                .collect();
            found.sort_by_key(|(at, id, _)| (*at, *id));
            found.into_iter().take(limit).map(|(_, id, lane)| (id, lane)).collect()
        })
    }

    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreUnavailable> {
        self.call(StoreOp::CountDeadLetters, |inner| inner.dead_letters(filter).count() as u64)
    }

    async fn replay(&self, job: JobId, mandate: &Mandate, run_at: Timestamp) -> Result<bool, StoreUnavailable> {
        self.call(StoreOp::Replay, |inner| {
            inner
                .update(job, |stored| {
                    if stored.job.state != JobState::DeadLetter {
                        return false;
                    }
                    stored.becomes(JobState::Pending);
                    stored.job.class = JobClass::Replay;
                    stored.job.attempts = 0;
                    stored.job.suspicion = 0;
                    stored.job.deaths = 0;
                    stored.job.next_run_at = run_at;
                    stored.dead = None;
                    stored.replayed_by.push(mandate.by.clone());
                    true
                })
                .unwrap_or(false)
        })
    }
}
