//! Where it is said that something happened. Never waits.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sluice_actors::{
    domain::{CallResult, CalleeId, HoldReason, Job, LaneKey, TenantName, Timestamp},
    ports::{BreakerState, Fenced, Observer, ObserverEvent, Verdict},
};
use tokio::sync::mpsc;

use super::Failure;
use crate::{
    config::{self, Cause},
    telemetry::metrics::{Metrics, NONE},
};

/// Notices that wait for the desk at most.
const QUEUE: usize = 1024;
/// Lanes whose last failure is remembered.
const MAX_LANES: usize = 4096;
/// Tenants remembered of one callee.
const MAX_TENANTS: usize = 64;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notice {
    /// What.
    pub cause: Cause,
    /// In which lane, where it was one.
    pub lane: Option<LaneKey>,
    /// At whom, where it was somebody.
    pub callee: Option<CalleeId>,
    /// Until when, where that is known.
    pub until: Option<Timestamp>,
}

impl Notice {
    /// Of the node.
    pub const fn of_node(cause: Cause) -> Self {
        Self { cause, lane: None, callee: None, until: None }
    }

    fn of_lane(cause: Cause, lane: &LaneKey) -> Self {
        Self { lane: Some(lane.clone()), ..Self::of_node(cause) }
    }

    fn at(self, callee: &CalleeId) -> Self {
        Self { callee: Some(callee.clone()), ..self }
    }
}

/// What the desk hears.
pub type Notices = mpsc::Receiver<Notice>;

/// What failed last, for alerts to show. Lost at a restart, which only costs them a detail.
#[derive(Default)]
struct Remembered {
    failures: HashMap<LaneKey, Failure>,
    callers: HashMap<CalleeId, (BTreeSet<TenantName>, LaneKey)>,
}

struct Shared {
    sender: mpsc::Sender<Notice>,
    remembered: Mutex<Remembered>,
    config: config::Live,
    metrics: Metrics,
}

/// Says that something happened. Clones share it.
#[derive(Clone)]
pub struct Alarm {
    shared: Arc<Shared>,
}

impl Alarm {
    /// An alarm, and what its desk listens to.
    pub fn new(config: config::Live, metrics: Metrics) -> (Self, Notices) {
        let (sender, notices) = mpsc::channel(QUEUE);
        let shared = Shared { sender, remembered: Mutex::default(), config, metrics };
        (Self { shared: Arc::new(shared) }, notices)
    }

    /// Says so, if anybody is to be told of anything.
    pub fn notice(&self, notice: Notice) {
        if self.is_heard() && self.shared.sender.try_send(notice).is_err() {
            self.shared.metrics.alerts_dropped_total.with_label_values(NONE).inc();
        }
    }

    fn is_heard(&self) -> bool {
        !self.shared.config.load().alerts.receivers.is_empty()
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.shared.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last failure in a lane.
    pub(super) fn last_failure(&self, lane: &LaneKey) -> Option<Failure> {
        self.remembered().failures.get(lane).cloned()
    }

    /// Whose calls to somebody failed, and in which lane the last one.
    pub(super) fn callers(&self, callee: &CalleeId) -> Option<(Vec<TenantName>, LaneKey)> {
        let remembered = self.remembered();
        let (tenants, lane) = remembered.callers.get(callee)?;
        Some((tenants.iter().cloned().collect(), lane.clone()))
    }

    fn failed(&self, job: &Job, error: String) {
        let failure = Failure {
            event_id: job.event_id,
            job_id: job.id,
            error,
            event_type: None,
            external_id: None,
            sample: None,
        };
        let failures = &mut self.remembered().failures;
        if failures.len() >= MAX_LANES && !failures.contains_key(&job.lane) {
            // Any: its alert would only lack a detail.
            let first = failures.keys().next().cloned();
            first.and_then(|lane| failures.remove(&lane));
        }
        failures.insert(job.lane.clone(), failure);
    }

    fn call_failed(&self, lane: &LaneKey, callee: &CalleeId) {
        let callers = &mut self.remembered().callers;
        if callers.len() >= MAX_LANES && !callers.contains_key(callee) {
            let first = callers.keys().next().cloned();
            first.and_then(|callee| callers.remove(&callee));
        }
        let (tenants, last) = callers.entry(callee.clone()).or_insert_with(|| (BTreeSet::new(), lane.clone()));
        if tenants.len() < MAX_TENANTS {
            tenants.insert(lane.tenant.clone());
        }
        last.clone_from(lane);
    }

    fn hear(&self, event: &ObserverEvent<'_>) {
        match event {
            ObserverEvent::LaneBreaker { lane, callee, state } => {
                if let Some(cause) = of_breaker(*state) {
                    self.notice(Notice::of_lane(cause, lane).at(callee));
                }
            }
            ObserverEvent::CalleeBreaker { callee, state } => {
                if let Some(cause) = of_breaker(*state) {
                    self.notice(Notice::of_node(cause).at(callee));
                }
            }
            ObserverEvent::LaneParked { lane, until } => {
                self.notice(Notice { until: Some(*until), ..Notice::of_lane(Cause::LaneParked, lane) });
            }
            ObserverEvent::DeadLettered { job, .. } => {
                self.notice(Notice::of_lane(Cause::DeadLetters, &job.lane));
            }
            ObserverEvent::CallEnded { lane, callee, result: CallResult::Failure { .. } } => {
                self.call_failed(lane, callee);
            }
            ObserverEvent::AttemptEnded { job, verdict, fenced: Fenced::Applied, .. } => match verdict {
                Verdict::Failed { error, .. } => self.failed(job, error.clone()),
                Verdict::Dead { reason, detail } => self.failed(job, format!("{reason}: {detail}")),
                Verdict::Held { reason: reason @ HoldReason::Unauthorized(callee), .. } => {
                    self.failed(job, reason.to_string());
                    self.notice(Notice::of_lane(Cause::CredentialsRefused, &job.lane).at(callee));
                }
                Verdict::Succeeded(_) | Verdict::Held { .. } => {}
            },
            _ => {}
        }
    }
}

const fn of_breaker(state: BreakerState) -> Option<Cause> {
    match state {
        BreakerState::Open => Some(Cause::BreakerOpened),
        BreakerState::Closed => Some(Cause::BreakerClosed),
        BreakerState::HalfOpen => None,
    }
}

/// Listens to the tree for what wants an alert, and passes all on.
pub struct Watching<O> {
    /// Where it is said.
    pub alarm: Alarm,
    /// Who hears it next.
    pub next: O,
}

impl<O: Observer> Observer for Watching<O> {
    fn observe(&self, event: &ObserverEvent<'_>) {
        if self.alarm.is_heard() {
            self.alarm.hear(event);
        }
        self.next.observe(event);
    }
}
