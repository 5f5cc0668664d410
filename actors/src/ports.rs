//! The small traits that the world implements for the tree of actors.
//!
//! To drive the tree, hand a [`JobStore`], an [`Action`], [`Policies`], an [`Observer`] and a
//! [`Clock`] to the gateway's handle. Three rules hold for every implementation:
//!
//! - the store holds the jobs; what the tree keeps in memory is a hint that may be lost;
//! - a write that presents a stale [`Fence`] changes nothing and says so ([`Fenced::Lost`]);
//! - no method waits for another job, another lane or the network of a callee, but [`Action::run`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    CallResult, CalleeId, CheckpointStage, DeadReason, Epoch, EventEnvelope, Fence, HoldReason, Job, JobClass, JobId,
    JobResult, LaneKey, Mandate, Outcome, RouteName, TenantName, Timestamp,
};
pub use crate::policy::{BreakerPolicy, BreakerState, Rate};

/// Wall time. Durations come from tokio's clock, which tests pause.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The store could not do it now. The tree waits and asks again; nothing is lost.
#[derive(Debug, Clone, thiserror::Error)]
#[error("store unavailable: {0}")]
pub struct StoreUnavailable(pub String);

/// Whether a write by fence took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced {
    /// It did.
    Applied,
    /// The lease was lost; nothing changed and the result must be dropped.
    Lost,
}

/// A lane that has startable jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneDue {
    /// Which lane.
    pub lane: LaneKey,
    /// The earliest `next_run_at` among its startable jobs.
    pub next_run_at: Timestamp,
    /// Whether another live node has the lane.
    pub elsewhere: bool,
}

/// Work of a lane that cannot begin now, for a reason that all of it shares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldWork {
    /// The route.
    pub route: RouteName,
    /// Of the jobs of the route those that have come so far: others call other callees.
    pub stage: CheckpointStage,
    /// Of this class.
    pub class: JobClass,
}

/// A job that was begun: its row after the change, its event and what an earlier attempt left.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The job, `running`, with its new fence.
    pub job: Job,
    /// The event in its newest normalised form.
    pub event: EventEnvelope,
    /// What an earlier attempt checkpointed.
    pub checkpoint: Option<Value>,
}

/// The answer to [`JobStore::begin`].
#[derive(Debug, Clone)]
pub enum Begin {
    /// It runs now.
    Begun(Box<Begun>),
    /// A newer event of the same subject and route made it pointless: it is now `superseded`.
    Superseded,
    /// What it needs is gone (retention): it is now a dead letter.
    Gone,
    /// It is no longer startable (ended, cancelled, begun elsewhere).
    NotStartable,
    /// The lane is no longer this node's at that epoch; nothing changed.
    NotOwner,
}

/// The answer to [`JobStore::acquire_lane`].
#[derive(Debug, Clone, PartialEq)]
pub enum Acquired {
    /// The lane is this node's, until it is released or the node is taken for dead.
    Mine(Owned),
    /// Another node has it, or is to have it.
    Elsewhere,
}

/// A lane that this node took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Owned {
    /// Under which epoch.
    pub epoch: Epoch,
    /// What the lane remembers.
    pub memory: LaneMemory,
    /// Whether another node had it last: what it has sent meanwhile is not known here.
    pub taken_over: bool,
}

/// What a node tells another one about a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// It has new work.
    Work,
    /// An operator paused or resumed it.
    Pause,
    /// An operator wants its probes now.
    Probe,
}

/// How an attempt ends in the store. One transaction: state, attempt row, result or dead letter.
#[derive(Debug, Clone)]
pub struct AttemptEnd {
    /// Which job.
    pub job: JobId,
    /// The attempt's token.
    pub fence: Fence,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// What to write.
    pub verdict: Verdict,
}

/// The decision about a job after an attempt.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// `succeeded`, with its result.
    Succeeded(JobResult),
    /// `failed`: attempt counted, again at `next_run_at`.
    Failed {
        /// When to try again.
        next_run_at: Timestamp,
        /// The error, for `last_error` and the attempt row.
        error: String,
    },
    /// Not an outcome: back to the state it had, no attempt row, attempts unchanged.
    Held {
        /// When to try again.
        next_run_at: Timestamp,
        /// Why, for `last_error`.
        reason: HoldReason,
    },
    /// `deadletter`, with its reason; attempt counted.
    Dead {
        /// The class.
        reason: DeadReason,
        /// The detail.
        detail: String,
    },
}

/// What a lane must remember over a restart or a passivation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneMemory {
    /// Paused by an operator.
    pub paused: bool,
    /// Breakers that are not closed: callee, when it may probe, how often it opened in a row.
    pub breakers: Vec<BreakerMemory>,
}

/// A breaker that was not closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakerMemory {
    /// Whose breaker.
    pub callee: CalleeId,
    /// When the next probe may go.
    pub probe_at: Timestamp,
    /// Opens in a row, for the doubling of the cooldown.
    pub opens: u32,
    /// Whether it is the breaker that all lanes of the node share, kept with the lane that opened it.
    #[serde(default)]
    pub shared: bool,
}

/// A filter for dead letters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterFilter {
    /// One job.
    pub job: Option<JobId>,
    /// One tenant.
    pub tenant: Option<String>,
    /// One source.
    pub source: Option<String>,
    /// One route.
    pub route: Option<String>,
    /// One reason.
    pub reason: Option<DeadReason>,
    /// The type of their event, or a prefix ending in `*`.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// What their event is about.
    pub subject: Option<String>,
    /// Died at or after.
    pub since: Option<Timestamp>,
    /// Died before.
    pub until: Option<Timestamp>,
    /// Only these tenants: what who asks may see. Never taken from a request.
    #[serde(skip)]
    pub scope: Option<Vec<TenantName>>,
}

/// What was found running when the process began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Jobs that became suspects.
    pub suspects: usize,
    /// Jobs that died as `poison`.
    pub poisoned: usize,
}

/// The truth about jobs. One instance per node; who the node is, is its own affair.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// At start: every job left `running` by a node that is dead goes back to its startable state as
    /// a suspect (`suspicion + 1`, due after a backoff); one that ran alone gets `deaths + 1`, and the
    /// third makes it a dead letter `poison`.
    async fn recover(&self) -> Result<Recovered, StoreUnavailable>;

    /// Takes the lane for this node, where no other live node has it. Its epoch rises even where this
    /// node had it before.
    async fn acquire_lane(&self, lane: &LaneKey) -> Result<Acquired, StoreUnavailable>;

    /// Gives the lane back, if this node has it at `epoch`. Nothing of it may be in flight.
    async fn release_lane(&self, lane: &LaneKey, epoch: Epoch) -> Result<(), StoreUnavailable>;

    /// Lanes with startable jobs, in key order after `after`, at most `limit`. Must not read all
    /// jobs (an index skip-scan over lanes).
    async fn lanes_due(&self, after: Option<&LaneKey>, limit: usize) -> Result<Vec<LaneDue>, StoreUnavailable>;

    /// The lane's due jobs: fresh before retry before replay, then by `next_run_at`. Leaves out the
    /// work in `held` (usually empty), so that a lane whose queue would be full of jobs for one
    /// callee in an outage still sees its jobs for the others. Changes nothing.
    async fn due(
        &self,
        lane: &LaneKey,
        now: Timestamp,
        limit: usize,
        held: &[HeldWork],
    ) -> Result<Vec<Job>, StoreUnavailable>;

    /// The earliest `next_run_at` of the lane's startable jobs.
    async fn next_due(&self, lane: &LaneKey) -> Result<Option<Timestamp>, StoreUnavailable>;

    /// Marks a startable job `running`, raises `claims`, takes a new fence, if this node has its lane
    /// at `epoch`. `alone` is stored with it, so that a process death can be blamed on it.
    async fn begin(&self, job: JobId, alone: bool, epoch: Epoch) -> Result<Begin, StoreUnavailable>;

    /// Undoes a [`begin`](Self::begin) of this life whose answer was lost: a job that this life left
    /// `running` goes back to the state it had, with nothing counted but its claim; its fence is
    /// stale. `false` if it does not run by this life: the begin took no effect. The caller must
    /// know that nobody runs the job.
    async fn abandon(&self, job: JobId) -> Result<bool, StoreUnavailable>;

    /// Keeps what must not be repeated (a paid answer) for later attempts, and how far it goes.
    async fn checkpoint(
        &self,
        job: JobId,
        fence: Fence,
        stage: CheckpointStage,
        state: &Value,
    ) -> Result<Fenced, StoreUnavailable>;

    /// Ends an attempt.
    async fn end(&self, end: AttemptEnd) -> Result<Fenced, StoreUnavailable>;

    /// What a lane remembered.
    async fn load_lane(&self, lane: &LaneKey) -> Result<LaneMemory, StoreUnavailable>;

    /// Keeps whether the lane is paused, with the audit of who asked, in one transaction; nothing else
    /// of the lane: another node may keep its breakers.
    async fn keep_pause(&self, lane: &LaneKey, paused: bool, mandate: &Mandate) -> Result<(), StoreUnavailable>;

    /// Keeps the lane's breakers, and nothing else of it.
    async fn keep_breakers(&self, lane: &LaneKey, breakers: &[BreakerMemory]) -> Result<(), StoreUnavailable>;

    /// Lanes that are paused, in key order.
    async fn paused_lanes(&self) -> Result<Vec<LaneKey>, StoreUnavailable>;

    /// Tells the node that has the lane, if it is another one. A hint, which may be lost: what must
    /// not be lost is in the store, and every node looks there.
    fn tell(&self, _lane: &LaneKey, _what: Told) {}

    /// At start: lanes that remember something, paused or with breakers that are not closed, in key
    /// order.
    async fn remembered_lanes(&self) -> Result<Vec<(LaneKey, LaneMemory)>, StoreUnavailable>;

    /// Dead letters that match, oldest first, at most `limit`: job and lane.
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
    ) -> Result<Vec<(JobId, LaneKey)>, StoreUnavailable>;

    /// How many dead letters match.
    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreUnavailable>;

    /// Brings one dead letter back as `pending` of class replay, attempts and suspicion at zero,
    /// with who asked and the audit of it, in one transaction. `false` if it is no dead letter (any
    /// more).
    async fn replay(&self, job: JobId, mandate: &Mandate, run_at: Timestamp) -> Result<bool, StoreUnavailable>;
}

/// What an action is given for one attempt.
pub struct Attempt {
    /// Job, event, checkpoint.
    pub begun: Begun,
    /// The number of this attempt, from 1.
    pub number: u32,
    /// The moment at which the attempt is cut off.
    pub deadline: tokio::time::Instant,
    /// The gate to callees and to the checkpoint.
    pub gate: Arc<dyn Gate>,
}

/// The way from inside an attempt to limits and to the store.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Asks to call `callee`. The first callee that [`Action::callees`] named was already admitted
    /// before the attempt began and returns at once. Another one may wait a little for its bucket
    /// and concurrency; `Err` says why it may not be called now: end with [`Outcome::Hold`].
    async fn enter(&self, callee: &CalleeId) -> Result<Box<dyn Permit>, HoldReason>;

    /// Stores what must not be repeated, and how far it goes: [`Action::callees`] of the next attempt
    /// is told the stage, the next attempt all of it. `Lost`: the lease is gone, stop at once.
    async fn checkpoint(&self, stage: CheckpointStage, state: &Value) -> Result<Fenced, StoreUnavailable>;
}

/// Leave to make one call. Dropped without a report, it counts as neutral (a failed probe stays
/// a probe).
pub trait Permit: Send {
    /// What the call said about the callee.
    fn report(self: Box<Self>, result: CallResult);
}

/// What jobs do. Must be safe to run again: an attempt can be cut off at any point.
#[async_trait]
pub trait Action: Send + Sync + 'static {
    /// Which callees this job's next attempt will call, in order of the calls. Empty where it
    /// calls nobody. `Err`: the route or its credentials are not configured.
    fn callees(&self, job: &Job) -> Result<Vec<CalleeId>, HoldReason>;

    /// Runs one attempt.
    async fn run(&self, attempt: Attempt) -> Outcome;
}

/// The limits of one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LanePolicy {
    /// The vendor's name, for labels.
    pub vendor: Arc<str>,
    /// Outbound rate.
    pub rate: Rate,
    /// Attempts at once.
    pub concurrency: u32,
    /// Jobs held in memory.
    pub queue: usize,
    /// The breaker of each of its callees.
    pub breaker: BreakerPolicy,
    /// The whole of one attempt.
    pub attempt_timeout: Duration,
}

/// The limits of one callee, shared by all lanes of the node.
#[derive(Debug, Clone, PartialEq)]
pub struct CalleePolicy {
    /// Its rate; none where only the lanes limit it.
    pub rate: Option<Rate>,
    /// Calls at once; none where only the lanes limit it.
    pub concurrency: Option<u32>,
    /// Its shared breaker.
    pub breaker: BreakerPolicy,
    /// How long a node that begins to call it lets others make room, who called it before and by
    /// whose whole rate they did.
    pub joining: Duration,
}

/// The limits in force; may change at any time (reload).
pub trait Policies: Send + Sync + 'static {
    /// The lane's limits; `None` where the source is not configured or not enabled: its jobs wait.
    fn lane(&self, lane: &LaneKey) -> Option<LanePolicy>;
    /// The callee's limits.
    fn callee(&self, callee: &CalleeId) -> CalleePolicy;
}

/// Is told what happens. Must return at once.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &ObserverEvent<'_>);
}

/// What an [`Observer`] hears.
#[derive(Debug)]
#[non_exhaustive]
pub enum ObserverEvent<'a> {
    /// An attempt began.
    AttemptBegan {
        /// The job.
        job: &'a Job,
        /// The trace that began with its delivery.
        trace_id: crate::domain::TraceId,
        /// Whether the spans of that trace are kept.
        sampled: bool,
    },
    /// An attempt ended; `fenced` tells whether its write took effect.
    AttemptEnded {
        /// The job.
        job: &'a Job,
        /// The trace that began with its delivery.
        trace_id: crate::domain::TraceId,
        /// Whether the spans of that trace are kept.
        sampled: bool,
        /// What was decided.
        verdict: &'a Verdict,
        /// Whether it was written.
        fenced: Fenced,
        /// How long it ran.
        duration: Duration,
        /// From where it began to run to now: with the writing of its end.
        elapsed: Duration,
        /// How long it had waited after it was due.
        waited: Duration,
        /// From its creation to now.
        age: Duration,
    },
    /// A breaker of a lane changed.
    LaneBreaker {
        /// The lane.
        lane: &'a LaneKey,
        /// The callee.
        callee: &'a CalleeId,
        /// The new state.
        state: BreakerState,
    },
    /// The shared breaker of a callee changed.
    CalleeBreaker {
        /// The callee.
        callee: &'a CalleeId,
        /// The new state.
        state: BreakerState,
    },
    /// A call ended.
    CallEnded {
        /// The lane that called.
        lane: &'a LaneKey,
        /// The callee.
        callee: &'a CalleeId,
        /// What it said of its health.
        result: CallResult,
    },
    /// A lane's actor was spawned.
    LaneSpawned {
        /// The lane.
        lane: &'a LaneKey,
    },
    /// A lane's actor went idle and was put away.
    LanePassivated {
        /// The lane.
        lane: &'a LaneKey,
    },
    /// A lane's actor panicked and is started again after `after`.
    LaneRestarting {
        /// The lane.
        lane: &'a LaneKey,
        /// The backoff.
        after: Duration,
        /// The panic's text is not told: it could carry a payload.
        restarts: u32,
    },
    /// A lane panicked too often and is parked.
    LaneParked {
        /// The lane.
        lane: &'a LaneKey,
        /// For how long.
        until: Timestamp,
    },
    /// An operator paused or resumed a lane.
    LanePaused {
        /// The lane.
        lane: &'a LaneKey,
        /// Paused or resumed.
        paused: bool,
    },
    /// A job became a dead letter.
    DeadLettered {
        /// The job.
        job: &'a Job,
        /// The class.
        reason: DeadReason,
    },
    /// Dead letters were replayed.
    Replayed {
        /// How many.
        count: u64,
    },
    /// The store did not answer; the tree waits.
    StoreUnavailable {
        /// While doing what.
        doing: &'static str,
        /// The store's words.
        error: &'a StoreUnavailable,
    },
}
