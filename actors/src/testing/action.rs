//! An action that does what a test says, and the callees it calls.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    domain::{CallResult, CalleeId, CheckpointStage, DeadReason, HoldReason, Job, JobId, JobResult, LaneKey, Outcome},
    ports::{Action, Attempt, Fenced},
};

/// How a callee answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// As it should.
    Success,
    /// With a failure that may pass, perhaps asking for a wait.
    Failure(Option<Duration>),
    /// It refuses the request for good.
    Rejected,
    /// It refuses the credentials.
    Unauthorized,
    /// Never.
    Hang,
}

/// What a job of one kind does instead of calling its callees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The attempt panics.
    Panic,
    /// The attempt never ends.
    Hang,
    /// The attempt asks to be tried again.
    Retry,
    /// The attempt says it will never work.
    Die,
    /// Asking for its callees panics.
    PanicCallees,
    /// Its route is not configured.
    NotConfigured,
}

/// One call that reached a callee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When it began.
    pub at: Instant,
    /// Who called.
    pub lane: LaneKey,
    /// For which job.
    pub job: JobId,
    /// Whom.
    pub callee: CalleeId,
}

/// An action whose jobs, by their kind, call what the test says, one callee after the other, with a
/// checkpoint between them; without a word they call nobody and are delivered. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ScriptedAction {
    script: Arc<Mutex<Script>>,
    moved: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Script {
    callees: HashMap<String, Vec<CalleeId>>,
    acts: HashMap<String, Act>,
    answers: HashMap<CalleeId, (Answer, Duration)>,
    calls: Vec<Call>,
    running: HashSet<JobId>,
    most_at_once: HashMap<CalleeId, usize>,
    at_once: HashMap<CalleeId, usize>,
    twice_at_once: bool,
    dropped: Option<(f64, StdRng)>,
    panics: usize,
}

impl ScriptedAction {
    /// Jobs of this kind call these, in this order.
    pub fn calls(&self, kind: &str, callees: &[&CalleeId]) {
        self.lock().callees.insert(kind.to_owned(), callees.iter().copied().cloned().collect());
    }

    /// Jobs of this kind do this.
    pub fn does(&self, kind: &str, act: Act) {
        self.lock().acts.insert(kind.to_owned(), act);
    }

    /// Jobs of this kind do again what they would without [`Self::does`].
    pub fn mend(&self, kind: &str) {
        self.lock().acts.remove(kind);
    }

    /// From now on this callee answers so, after `latency`.
    pub fn answers(&self, callee: &CalleeId, answer: Answer, latency: Duration) {
        self.lock().answers.insert(callee.clone(), (answer, latency));
    }

    /// From now on this share of attempts, chosen by the seed, is lost half-way: by a panic or by
    /// hanging until its deadline.
    pub fn drops(&self, share: f64, seed: u64) {
        self.lock().dropped = Some((share, StdRng::seed_from_u64(seed)));
    }

    /// Calls to one callee so far.
    pub fn calls_to(&self, callee: &CalleeId) -> Vec<Call> {
        self.lock().calls.iter().filter(|call| call.callee == *callee).cloned().collect()
    }

    /// The most calls that one callee had at once.
    pub fn most_at_once(&self, callee: &CalleeId) -> usize {
        self.lock().most_at_once.get(callee).copied().unwrap_or(0)
    }

    /// Jobs in an attempt now.
    pub fn running(&self) -> usize {
        self.lock().running.len()
    }

    /// Whether one job ever had two attempts at once.
    pub fn ran_a_job_twice_at_once(&self) -> bool {
        self.lock().twice_at_once
    }

    /// Panics that the test asked for, so far.
    pub fn panics(&self) -> usize {
        self.lock().panics
    }

    /// Sees each attempt and each call begin and end.
    pub(super) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self) -> Option<Act> {
        let mut script = self.lock();
        let (share, rng) = script.dropped.as_mut()?;
        let (share, dice) = (*share, rng.random_range(0.0..1.0));
        (dice < share).then(|| if rng.random_bool(0.5) { Act::Panic } else { Act::Hang })
    }

    async fn act(&self, act: Act) -> Outcome {
        match act {
            Act::Panic => {
                self.lock().panics += 1;
                std::panic::resume_unwind(Box::new("asked for by the test"));
            }
            Act::Hang => std::future::pending().await,
            Act::Retry => Outcome::Retry { after: None, error: "asked for by the test".into() },
            Act::Die => Outcome::Dead { reason: DeadReason::Rejected, detail: "asked for by the test".into() },
            Act::PanicCallees | Act::NotConfigured => {
                Outcome::Hold { reason: HoldReason::NotConfigured("its route".into()), after: None }
            }
        }
    }

    async fn call_all(&self, attempt: &Attempt) -> Outcome {
        let job = &attempt.begun.job;
        let callees = self.lock().callees.get(&*job.kind).cloned().unwrap_or_default();
        let done = attempt.begun.checkpoint.as_ref().and_then(|state| state["done"].as_u64()).unwrap_or(0) as usize;
        let count = callees.len();
        for (index, callee) in callees.into_iter().enumerate().skip(done) {
            if let Err(outcome) = self.call(attempt, &callee).await {
                return outcome;
            }
            if index + 1 < count {
                let stage = if index == 0 { CheckpointStage::Fetched } else { CheckpointStage::Answered };
                match attempt.gate.checkpoint(stage, &json!({ "done": index + 1 })).await {
                    Ok(Fenced::Applied) => {}
                    Ok(Fenced::Lost) => return Outcome::Retry { after: None, error: "lost its lease".into() },
                    Err(error) => return Outcome::Retry { after: None, error: error.to_string() },
                }
            }
        }
        Outcome::Delivered(JobResult { summary: Some("done".into()), ..JobResult::default() })
    }

    async fn call(&self, attempt: &Attempt, callee: &CalleeId) -> Result<(), Outcome> {
        let permit = match attempt.gate.enter(callee).await {
            Ok(permit) => permit,
            Err(reason) => return Err(Outcome::Hold { reason, after: None }),
        };
        let (answer, latency) = {
            let mut script = self.lock();
            let job = &attempt.begun.job;
            let call = Call { at: Instant::now(), lane: job.lane.clone(), job: job.id, callee: callee.clone() };
            script.calls.push(call);
            script.answers.get(callee).copied().unwrap_or((Answer::Success, Duration::ZERO))
        };
        let _at_once = AtOnce::enter(self, callee);
        if latency > Duration::ZERO {
            sleep(latency).await;
        }
        match answer {
            Answer::Success => {
                permit.report(CallResult::Success);
                Ok(())
            }
            Answer::Failure(retry_after) => {
                permit.report(CallResult::Failure { retry_after });
                Err(Outcome::Retry { after: retry_after, error: format!("{callee} failed") })
            }
            Answer::Rejected => {
                permit.report(CallResult::Neutral);
                Err(Outcome::Dead { reason: DeadReason::Rejected, detail: format!("{callee} rejected it") })
            }
            Answer::Unauthorized => {
                permit.report(CallResult::Neutral);
                Err(Outcome::Hold { reason: HoldReason::Unauthorized(callee.clone()), after: None })
            }
            Answer::Hang => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Action for ScriptedAction {
    fn callees(&self, job: &Job) -> Result<Vec<CalleeId>, HoldReason> {
        let mut script = self.lock();
        match script.acts.get(&*job.kind) {
            Some(Act::PanicCallees) => {
                script.panics += 1;
                drop(script);
                std::panic::resume_unwind(Box::new("asked for by the test"));
            }
            Some(Act::NotConfigured) => return Err(HoldReason::NotConfigured("its route".into())),
            _ => {}
        }
        let callees = script.callees.get(&*job.kind).cloned().unwrap_or_default();
        // What is behind it is not called again.
        Ok(callees.into_iter().skip(usize::from(job.stage.number())).collect())
    }

    async fn run(&self, attempt: Attempt) -> Outcome {
        let _running = Running::enter(self, attempt.begun.job.id);
        let act = self.lock().acts.get(&*attempt.begun.job.kind).copied();
        match act.or_else(|| self.lose()) {
            Some(act) => self.act(act).await,
            None => self.call_all(&attempt).await,
        }
    }
}

/// Notes that a job is in an attempt, however the attempt ends.
struct Running {
    action: ScriptedAction,
    job: JobId,
}

impl Running {
    fn enter(action: &ScriptedAction, job: JobId) -> Self {
        let mut script = action.lock();
        let first = script.running.insert(job);
        script.twice_at_once |= !first;
        action.moved.send_replace(());
        Self { action: action.clone(), job }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.action.lock().running.remove(&self.job);
        self.action.moved.send_replace(());
    }
}

/// Counts a call while it lasts.
struct AtOnce {
    action: ScriptedAction,
    callee: CalleeId,
}

impl AtOnce {
    fn enter(action: &ScriptedAction, callee: &CalleeId) -> Self {
        let mut script = action.lock();
        let now = script.at_once.entry(callee.clone()).or_default();
        *now += 1;
        let now = *now;
        let most = script.most_at_once.entry(callee.clone()).or_default();
        *most = (*most).max(now);
        action.moved.send_replace(());
        Self { action: action.clone(), callee: callee.clone() }
    }
}

impl Drop for AtOnce {
    fn drop(&mut self) {
        if let Some(now) = self.action.lock().at_once.get_mut(&self.callee) {
            *now -= 1;
        }
        self.action.moved.send_replace(());
    }
}
