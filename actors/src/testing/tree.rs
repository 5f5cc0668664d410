//! A whole tree of actors that owns its world and demands it back.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Heard, MemoryStore, NewJob, Recorder, ScriptedAction, TestPolicies, VirtualClock, default_callee, default_lane,
    lane_key,
};
use crate::{
    domain::JobId,
    handle::{DrainReport, Gateway, LaneSnapshot, NodeLimits, NodeSnapshot, World},
    ports::{CalleePolicy, LanePolicy, Recovered, Verdict},
};

/// How long a test waits for anything, in virtual time.
const PATIENCE: Duration = Duration::from_hours(24);
/// How long after something happened it looks.
const GLANCE: Duration = Duration::from_millis(10);

/// What a tree begins with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Limits of the node.
    pub limits: NodeLimits,
    /// Limits of every lane.
    pub lane: LanePolicy,
    /// Limits of every callee.
    pub callee: CalleePolicy,
    /// Seeds all jitter.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { limits: NodeLimits::default(), lane: default_lane(), callee: default_callee(), seed: 7 }
    }
}

impl Setup {
    /// Starts a tree on an empty store.
    pub async fn start(self) -> TestTree {
        let clock = VirtualClock::default();
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let policies = TestPolicies::new(self.lane.clone(), self.callee.clone());
        let (action, recorder) = (ScriptedAction::default(), Recorder::default());
        let mut tree = TestTree {
            setup: self,
            clock,
            store,
            policies,
            action,
            recorder,
            gateway: None,
            forgives_lane_panics: false,
        };
        tree.begin().await;
        tree
    }
}

/// A tree in virtual time with the in-memory store, a scripted action and a recorder.
///
/// Make it in a test with `start_paused = true`: while the test waits, time jumps to the next timer,
/// so that an hour of retries passes in milliseconds. The last word of a test is [`finish`]: it
/// fails the test if a job is not final, an actor still lives, a job ever ran twice at once, or
/// anything panicked that the test did not ask for. A tree that is dropped without it fails as well.
///
/// [`finish`]: Self::finish
///
/// ```
/// use std::time::Duration;
/// use sluice_actors::{
///     domain::{CalleeId, JobState},
///     testing::{Answer, NewJob, TestTree},
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let tree = TestTree::start().await;
/// let crm = CalleeId::new("host", "crm.example");
/// tree.action.calls("http_call", &[&crm]);
/// tree.action.answers(&crm, Answer::Failure(None), Duration::from_millis(20));
///
/// let job = tree.insert(NewJob::on("acme/payments").kind("http_call"));
/// tree.until(|tree| tree.store.job(job).job.state == JobState::Failed).await;
///
/// tree.action.answers(&crm, Answer::Success, Duration::from_millis(20));
/// tree.settle().await;
/// assert_eq!(tree.store.job(job).job.state, JobState::Succeeded);
/// assert_eq!(tree.action.calls_to(&crm).len(), 2);
/// tree.finish().await;
/// # }
/// ```
pub struct TestTree {
    /// Wall time; moves with tokio's.
    pub clock: VirtualClock,
    /// The truth about jobs.
    pub store: MemoryStore,
    /// The limits.
    pub policies: TestPolicies,
    /// What jobs do.
    pub action: ScriptedAction,
    /// What was observed.
    pub recorder: Recorder,
    setup: Setup,
    gateway: Option<Gateway>,
    forgives_lane_panics: bool,
}

impl TestTree {
    /// A tree with the design's default limits.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// The way into the tree.
    ///
    /// # Panics
    /// If the tree was drained.
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("the tree runs")
    }

    /// Adds a job and hints at it, as ingest does.
    pub fn insert(&self, job: NewJob) -> JobId {
        let lane = job.lane.clone();
        let id = self.store.insert(job);
        self.gateway().wake(&lane);
        id
    }

    /// Waits until `fits` is true. It is asked again a moment after anything happened in the tree:
    /// an hour in which nothing does costs nothing.
    ///
    /// # Panics
    /// If that does not happen within a virtual day.
    pub async fn until(&self, fits: impl Fn(&Self) -> bool) {
        let patience = Instant::now() + PATIENCE;
        let (mut called, mut told, mut moved) = (self.store.calls_made(), self.recorder.told(), self.action.moved());
        loop {
            let _ = (called.borrow_and_update(), told.borrow_and_update(), moved.borrow_and_update());
            if fits(self) {
                return;
            }
            let something = async {
                tokio::select! {
                    _ = called.changed() => {}
                    _ = told.changed() => {}
                    _ = moved.changed() => {}
                }
                sleep(GLANCE).await;
            };
            assert!(timeout_at(patience, something).await.is_ok(), "did not happen within a virtual day");
        }
    }

    /// Waits until every job is final.
    pub async fn settle(&self) {
        self.until(|tree| tree.store.unfinished().is_empty()).await;
    }

    /// Lets time pass.
    pub async fn pass(&self, time: Duration) {
        sleep(time).await;
    }

    /// The node as it is now.
    ///
    /// # Panics
    /// If the tree does not answer.
    pub async fn snapshot(&self) -> NodeSnapshot {
        self.gateway().snapshot().await.expect("the tree answers")
    }

    /// A lane as it is now, if it is awake, paused, parked or not configured.
    pub async fn lane(&self, lane: &str) -> Option<LaneSnapshot> {
        let key = lane_key(lane);
        self.snapshot().await.lanes.into_iter().find(|snapshot| snapshot.lane == key)
    }

    /// The process dies and another one starts: what ran is left running in the store, whatever the
    /// old tree still does changes nothing.
    pub async fn die_and_restart(&mut self) -> Recovered {
        self.store = self.store.next_life();
        if let Some(gateway) = self.gateway.take() {
            gateway.drain(Duration::ZERO).await;
        }
        self.begin().await
    }

    /// Makes the lane's actor panic, as a bug of its own would, and waits until the supervisor has
    /// heard of it.
    pub async fn panic_lane(&self, lane: &str) {
        let key = lane_key(lane);
        let heard = |tree: &Self| {
            tree.recorder.count(|it| matches!(it, Heard::Restarting(lane) | Heard::Parked(lane) if *lane == key))
        };
        let before = heard(self);
        self.gateway().wake(&key);
        while heard(self) == before {
            self.gateway().panic_lane(&key);
            sleep(GLANCE).await;
        }
    }

    /// Kills the supervisor, as a bug of its own would.
    pub fn kill_supervisor(&self) {
        self.gateway().kill_supervisor();
    }

    /// Kills the dead-letter actor, as a crash would.
    pub fn kill_dead_letter_actor(&self) {
        self.gateway().kill_dead_letters();
    }

    /// The test makes lanes panic; [`Self::finish`] does not mind.
    pub const fn forgive_lane_panics(&mut self) {
        self.forgives_lane_panics = true;
    }

    /// Drains the tree.
    pub async fn drain(&mut self, deadline: Duration) -> DrainReport {
        match self.gateway.take() {
            Some(gateway) => gateway.drain(deadline).await,
            None => DrainReport::default(),
        }
    }

    /// Ends the test: see [`TestTree`].
    ///
    /// # Panics
    /// If something is left over.
    pub async fn finish(self) {
        let unfinished = self.store.unfinished();
        assert!(unfinished.is_empty(), "jobs are not final: {unfinished:?}");
        self.finish_with_jobs_left().await;
    }

    /// As [`Self::finish`], for a test that leaves jobs on purpose.
    ///
    /// # Panics
    /// If something else is left over.
    pub async fn finish_with_jobs_left(mut self) {
        if let Some(gateway) = self.gateway.take() {
            let report = gateway.drain(Duration::from_mins(10)).await;
            assert!(gateway.is_stopped(), "an actor is left over");
            assert_eq!(report.released, [], "attempts did not end within ten minutes");
        }
        assert_eq!(self.action.running(), 0, "an attempt is left over");
        assert!(!self.action.ran_a_job_twice_at_once(), "a job had two attempts at once");
        let lane_panics = self.recorder.count(|heard| matches!(heard, Heard::Restarting(_) | Heard::Parked(_)));
        assert!(self.forgives_lane_panics || lane_panics == 0, "{lane_panics} panics of lanes");
        let panicked = |heard: &Heard| {
            matches!(heard, Heard::Ended(_, Verdict::Failed { error, .. }, _) if error == "the action panicked")
                || matches!(heard, Heard::Ended(_, Verdict::Dead { detail, .. }, _) if detail == "the action panicked")
        };
        let panics = self.recorder.count(panicked);
        assert!(panics <= self.action.panics(), "{panics} panics of attempts, {} asked for", self.action.panics());
    }

    async fn begin(&mut self) -> Recovered {
        let world = World {
            store: Arc::new(self.store.clone()),
            action: Arc::new(self.action.clone()),
            policies: Arc::new(self.policies.clone()),
            observer: Arc::new(self.recorder.clone()),
            clock: Arc::new(self.clock.clone()),
            seed: self.setup.seed,
            limits: self.setup.limits.clone(),
        };
        let (gateway, recovered) = Gateway::start(world).await.expect("the store answers at the start");
        self.gateway = Some(gateway);
        recovered
    }
}

impl Drop for TestTree {
    fn drop(&mut self) {
        // A test that panics has said enough.
        assert!(
            self.gateway.is_none() || std::thread::panicking(),
            "a TestTree ends with finish(), finish_with_jobs_left() or drain()"
        );
    }
}
