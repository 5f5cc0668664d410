//! One attempt, as named steps: begin, act, decide, record. It runs in a task of its own, so that
//! neither a panic nor a hanging call nor a store that refuses writes touches its lane.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};
use tokio::time::{Instant, timeout_at};

use super::{
    gate::AttemptGate,
    in_flight::{CutMark, InFlight, Phase},
    queue::Plan,
    seat::Awake,
};
use crate::{
    admission::{Care, Grant},
    contained::{Panicked, caught},
    dead_letter::Letters,
    domain::{DeadReason, Epoch, HoldReason, Job, JobId, LaneKey, Outcome, Timestamp, TraceId},
    policy::retry,
    ports::{Attempt, AttemptEnd, Begin, Begun, Fenced, ObserverEvent, StoreUnavailable, Verdict},
    world::World,
};

/// How long a job waits that was held without a hint.
const HELD: Duration = Duration::from_secs(5);
/// How long a job of a callee waits that refuses our credentials.
const UNAUTHORIZED: Duration = crate::callee::UNAUTHORIZED;
/// Waits between tries to write while the store does not answer: from, to.
const WRITE_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long a cut-off attempt tries to write its release.
const RELEASE_WAIT: Duration = Duration::from_secs(2);

/// What is written of an attempt whose action panicked. What the panic said is not kept.
const PANICKED: &str = "the action panicked";

/// What a lane hears of an attempt that is over.
#[derive(Debug)]
pub(super) struct Ended {
    /// When the job is due again, if it is this lane's to wait for it.
    pub(super) due_again: Option<Timestamp>,
    /// Whether it began at all; if not, the store did not answer or the job was not startable.
    pub(super) store_failed: bool,
    /// The lane is no longer this node's.
    pub(super) not_owner: bool,
}

impl Ended {
    /// Nothing came of it.
    const NOTHING: Self = Self { due_again: None, store_failed: false, not_owner: false };
}

/// What every attempt of the node shares.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) world: World,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) letters: Arc<Letters>,
    pub(crate) awake: Awake,
}

/// An attempt that was granted.
pub(super) struct Run {
    pub(super) around: Surroundings,
    pub(super) lane: LaneKey,
    pub(super) epoch: Epoch,
    pub(super) job: Job,
    pub(super) plan: Plan,
    pub(super) grant: Grant,
    pub(super) timeout: Duration,
}

/// How the action ended.
enum Acted {
    Said(Outcome),
    /// It panicked or was cut off by its deadline: counts as an outcome.
    Broke(&'static str),
    /// The node is at its end, or may not take the lane for its own: counts as nothing.
    Cut(HoldReason),
}

/// What a begin came to.
enum Start {
    Begun(Box<Begun>),
    Nothing,
    NotOwner,
}

impl Run {
    /// The whole attempt.
    pub(super) async fn run(mut self) -> Ended {
        let _closes = Closes { in_flight: self.around.in_flight.clone(), job: self.job.id };
        let mark = self.around.in_flight.mark();
        let begun = match self.begin().await {
            Ok(Start::Begun(begun)) => *begun,
            Ok(Start::Nothing) => return Ended::NOTHING,
            Ok(Start::NotOwner) => return Ended { not_owner: true, ..Ended::NOTHING },
            Err(error) => {
                self.tell_unavailable("beginning an attempt", &error);
                self.abandon().await;
                return Ended { store_failed: true, ..Ended::NOTHING };
            }
        };
        let (trace_id, sampled) = (begun.event.trace_id, begun.event.sampled);
        let received_at = begun.event.received_at;
        self.around.world.observer.observe(&ObserverEvent::AttemptBegan { job: &begun.job, trace_id, sampled });
        let job = begun.job.clone();
        let started_at = self.around.world.clock.now();
        let started = Instant::now();
        let acted = self.act(begun, started + self.timeout, mark).await;
        let duration = started.elapsed();
        if self.grant.care() != Care::Alone {
            // What remains is writing; the slot is for calls.
            self.grant.release();
        }
        if let Acted::Said(Outcome::Hold { reason: HoldReason::Unauthorized(callee), .. }) = &acted {
            self.grant.admission().refuse_credentials(&self.lane, callee);
        }
        let verdict = self.decide(acted, &job);
        let due_again = match &verdict {
            Verdict::Failed { next_run_at, .. } | Verdict::Held { next_run_at, .. } => Some(*next_run_at),
            Verdict::Succeeded(_) | Verdict::Dead { .. } => None,
        };
        let end = AttemptEnd { job: job.id, fence: job.fence, started_at, duration, verdict };
        let fenced = self.record(&end, started + self.timeout).await;
        let told = Told { job: &job, trace_id, sampled, received_at, duration, started_at, started };
        match fenced {
            Some(fenced) => self.tell(&end.verdict, fenced, &told),
            None => self.around.in_flight.close(job.id, true),
        }
        Ended { due_again: due_again.filter(|_| fenced == Some(Fenced::Applied)), ..Ended::NOTHING }
    }

    /// Marks the job running.
    async fn begin(&mut self) -> Result<Start, StoreUnavailable> {
        let alone = self.grant.care() == Care::Alone;
        match self.around.world.store.begin(self.job.id, alone, self.epoch).await? {
            Begin::Begun(begun) => Ok(Start::Begun(begun)),
            Begin::Gone => {
                self.around.letters.add(self.job.clone(), DeadReason::Gone);
                Ok(Start::Nothing)
            }
            Begin::Superseded | Begin::NotStartable => Ok(Start::Nothing),
            Begin::NotOwner => Ok(Start::NotOwner),
        }
    }

    /// The answer to a begin was lost: the job may be marked running with nobody to run it. Undoes
    /// that, as long as it takes. The slot is kept meanwhile: a store that refuses this refuses the
    /// next begin as well.
    async fn abandon(&mut self) {
        // Nobody is called; others may have the probes.
        drop(self.grant.take_passes());
        let mut wait = WRITE_RETRY.0;
        loop {
            match self.around.world.store.abandon(self.job.id).await {
                Ok(_) => return,
                Err(error) => self.tell_unavailable("undoing a begin whose answer was lost", &error),
            }
            if self.around.in_flight.phase() == Phase::Cut && wait >= RELEASE_WAIT {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WRITE_RETRY.1);
        }
    }

    /// Runs the action until it ends, its deadline, the node's end or the end of its trust.
    async fn act(&mut self, begun: Begun, deadline: Instant, mark: CutMark) -> Acted {
        if self.plan == Plan::Broken {
            drop(self.grant.begun());
            return Acted::Broke(PANICKED);
        }
        let gate = Arc::new(AttemptGate {
            admission: self.grant.admission().clone(),
            store: self.around.world.store.clone(),
            lane: self.lane.clone(),
            job: begun.job.id,
            fence: begun.job.fence,
            deadline,
            passes: Mutex::new(self.grant.begun()),
        });
        let number = begun.job.attempts + 1;
        let attempt = Attempt { begun, number, deadline, gate: gate.clone() };
        let action = self.around.world.action.clone();
        let in_flight = self.around.in_flight.clone();
        let acted = tokio::select! {
            biased;
            acted = timeout_at(deadline, caught(async move { action.run(attempt).await })) => match acted {
                Ok(Ok(outcome)) => Acted::Said(outcome),
                Ok(Err(Panicked)) => Acted::Broke(PANICKED),
                Err(_) => Acted::Broke("the attempt was cut off by its deadline"),
            },
            reason = in_flight.cut(mark) => Acted::Cut(reason),
        };
        gate.close();
        acted
    }

    /// What the outcome means for the job.
    fn decide(&self, acted: Acted, job: &Job) -> Verdict {
        let now = self.around.world.clock.now();
        let mut rng = StdRng::seed_from_u64(self.around.world.seed ^ (job.fence.0 as u64) << 8);
        decide(acted.into(), job, self.around.world.limits.max_retries, now, &mut rng)
    }

    /// Writes the end, as long as it takes. None: the node is at its end and could not write it.
    async fn record(&mut self, end: &AttemptEnd, deadline: Instant) -> Option<Fenced> {
        let mut wait = WRITE_RETRY.0;
        let mut answer_was_lost = false;
        loop {
            match self.around.world.store.end(end.clone()).await {
                // The write before, whose answer was lost, had taken effect.
                Ok(Fenced::Lost) if answer_was_lost => return Some(Fenced::Applied),
                Ok(fenced) => return Some(fenced),
                Err(error) => {
                    self.tell_unavailable("ending an attempt", &error);
                    answer_was_lost = true;
                }
            }
            if Instant::now() >= deadline {
                // The node is held no longer than this for a suspect that ran alone.
                self.grant.release();
            }
            let cut = self.around.in_flight.phase() == Phase::Cut;
            if cut && wait >= RELEASE_WAIT {
                return None;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WRITE_RETRY.1);
        }
    }

    fn tell(&self, verdict: &Verdict, fenced: Fenced, told: &Told<'_>) {
        let job = told.job;
        if let (Verdict::Dead { reason, .. }, Fenced::Applied) = (verdict, fenced) {
            self.around.letters.add(job.clone(), *reason);
        }
        let released = matches!(verdict, Verdict::Held { reason: HoldReason::Draining, .. });
        self.around.in_flight.close(job.id, released);
        self.around.world.observer.observe(&ObserverEvent::AttemptEnded {
            job,
            trace_id: told.trace_id,
            sampled: told.sampled,
            verdict,
            fenced,
            duration: told.duration,
            elapsed: told.started.elapsed(),
            waited: told.started_at.since(job.next_run_at),
            age: self.around.world.clock.now().since(told.received_at),
        });
    }

    fn tell_unavailable(&self, doing: &'static str, error: &StoreUnavailable) {
        self.around.world.observer.observe(&ObserverEvent::StoreUnavailable { doing, error });
    }
}

struct Told<'a> {
    job: &'a Job,
    trace_id: TraceId,
    sampled: bool,
    received_at: Timestamp,
    duration: Duration,
    started_at: Timestamp,
    started: Instant,
}

/// Closes the attempt in the ledger, whatever ends it; a no-op where it was closed with a word.
struct Closes {
    in_flight: Arc<InFlight>,
    job: JobId,
}

impl Drop for Closes {
    fn drop(&mut self) {
        self.in_flight.close(self.job, false);
    }
}

impl From<Acted> for Outcome {
    fn from(acted: Acted) -> Self {
        match acted {
            Acted::Said(outcome) => outcome,
            Acted::Broke(how) => Self::Retry { after: None, error: how.to_owned() },
            Acted::Cut(reason) => Self::Hold { reason, after: Some(Duration::ZERO) },
        }
    }
}

/// The rule from outcome to verdict.
fn decide(outcome: Outcome, job: &Job, max_retries: u32, now: Timestamp, rng: &mut StdRng) -> Verdict {
    match outcome {
        Outcome::Delivered(result) => Verdict::Succeeded(result),
        Outcome::Retry { error, .. } if job.attempts >= max_retries => {
            Verdict::Dead { reason: DeadReason::RetriesExhausted, detail: error }
        }
        Outcome::Retry { after, error } => {
            Verdict::Failed { next_run_at: now.plus(retry::delay(job.attempts + 1, after, rng)), error }
        }
        Outcome::Hold { reason, after } => {
            let wait = after.unwrap_or(match reason {
                HoldReason::Unauthorized(_) => UNAUTHORIZED,
                _ => HELD,
            });
            Verdict::Held { next_run_at: now.plus(wait.min(retry::MAX_RETRY_AFTER)), reason }
        }
        Outcome::Dead { reason, detail } => Verdict::Dead { reason, detail },
    }
}
