//! What the tree tells, turned into log lines and series. One line for each attempt that ended,
//! one for each change of a breaker or a lane.

use std::sync::Arc;

use sluice_actors::{
    domain::{CalleeId, DeadReason, Job, JobState, LaneKey},
    ports::{BreakerState, Fenced, Observer, ObserverEvent, Verdict},
};

use super::{
    calls::Callees,
    lanes::{AttemptOutcome, Lanes},
    metrics::{Metrics, NONE},
    traces::{EndedAttempt, Traces},
};
use crate::{config, trace::AttemptTrace};

/// The vendor label of a lane whose source is not configured (any more).
const UNKNOWN: &str = "unknown";

/// Listens to the tree.
pub struct TreeObserver {
    metrics: Metrics,
    lanes: Arc<Lanes>,
    callees: Arc<Callees>,
    config: config::Live,
    traces: Traces,
}

impl TreeObserver {
    /// Counts into `metrics`, `lanes` and by `callees`, sends spans to `traces`; vendors' names come from
    /// the running configuration.
    pub fn new(
        metrics: Metrics,
        lanes: Arc<Lanes>,
        callees: Arc<Callees>,
        config: config::Live,
        traces: Traces,
    ) -> Self {
        Self { metrics, lanes, callees, config, traces }
    }

    fn vendor(&self, lane: &LaneKey) -> &'static str {
        self.config.load().source(lane).map_or(UNKNOWN, |(_, source)| source.vendor.name())
    }

    fn attempt_ended(&self, job: &Job, trace: AttemptTrace, end: &Ended<'_>) {
        let vendor = self.vendor(&job.lane);
        let (state, outcome, error) = told(job, end.verdict, end.fenced);
        self.traces.attempted(&EndedAttempt { job, trace, vendor, outcome, took: end.elapsed });
        self.lanes.attempt(&job.lane, vendor, outcome);
        let outcome_labels = [vendor, &*job.kind, outcome.as_str()];
        self.metrics.job_attempts_total.with_label_values(&outcome_labels).inc();
        let labels = [vendor, &*job.kind];
        self.metrics.job_attempt_duration_seconds.with_label_values(&labels).observe(end.duration.as_secs_f64());
        self.metrics.job_queue_wait_seconds.with_label_values(&[vendor]).observe(end.waited.as_secs_f64());
        if outcome == AttemptOutcome::Succeeded {
            self.metrics.job_end_to_end_seconds.with_label_values(&[vendor]).observe(end.age.as_secs_f64());
        }
        let duration_ms = u64::try_from(end.duration.as_millis()).unwrap_or(u64::MAX);
        let (trace_id, span_id) = (trace.span.trace, trace.span.logged());
        // Of a replay, which is a trace of its own: where its delivery is.
        let replay_of = trace.is_replay().then_some(tracing::field::display(trace.stored.trace));
        // The level is part of a line's static metadata, hence one call for each.
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    event_id = %job.event_id, job_id = %job.id, tenant = %job.lane.tenant, source = %job.lane.source,
                    vendor, route = %job.route, r#type = %job.kind, state = state.as_str(), attempt = job.attempts + 1,
                    duration_ms, trace_id = %trace_id, span_id, replay_of, error, $message
                )
            };
        }
        match outcome {
            AttemptOutcome::Succeeded => line!(info, "job succeeded"),
            AttemptOutcome::Retried => line!(warn, "attempt failed, will retry"),
            AttemptOutcome::Held => line!(info, "job held"),
            AttemptOutcome::DeadLettered => line!(error, "job became a dead letter"),
            AttemptOutcome::LeaseLost => line!(warn, "lease lost, result dropped"),
        }
    }

    fn lane_breaker(&self, lane: &LaneKey, callee: &str, state: BreakerState) {
        let vendor = self.vendor(lane);
        let (tenant, source) = (&lane.tenant, &lane.source);
        match state {
            BreakerState::Open => {
                self.lanes.breaker_opened(lane, vendor);
                tracing::warn!(%tenant, %source, vendor, callee, state = state.as_str(), "lane breaker opened");
            }
            BreakerState::HalfOpen => {
                tracing::info!(%tenant, %source, vendor, callee, state = state.as_str(), "lane breaker probes");
            }
            BreakerState::Closed => {
                tracing::info!(%tenant, %source, vendor, callee, state = state.as_str(), "lane breaker closed");
            }
        }
    }

    /// The gauges of breakers are read when somebody asks.
    fn callee_breaker(&self, callee: &CalleeId, state: BreakerState) {
        let label = self.callees.label(callee);
        let callee = callee.as_str();
        match state {
            BreakerState::Open => {
                self.metrics.circuit_breaker_opens_total.with_label_values(&[label]).inc();
                tracing::warn!(callee, state = state.as_str(), "shared breaker opened");
            }
            BreakerState::HalfOpen => tracing::info!(callee, state = state.as_str(), "shared breaker probes"),
            BreakerState::Closed => tracing::info!(callee, state = state.as_str(), "shared breaker closed"),
        }
    }
}

/// What is told of an attempt's end, besides its job.
struct Ended<'a> {
    verdict: &'a Verdict,
    fenced: Fenced,
    duration: std::time::Duration,
    elapsed: std::time::Duration,
    waited: std::time::Duration,
    age: std::time::Duration,
}

/// The state a job is in after an attempt, the outcome as a label, and the error in words.
fn told(job: &Job, verdict: &Verdict, fenced: Fenced) -> (JobState, AttemptOutcome, Option<String>) {
    if fenced == Fenced::Lost {
        return (job.state, AttemptOutcome::LeaseLost, None);
    }
    match verdict {
        Verdict::Succeeded(_) => (JobState::Succeeded, AttemptOutcome::Succeeded, None),
        Verdict::Failed { error, .. } => (JobState::Failed, AttemptOutcome::Retried, Some(error.clone())),
        Verdict::Held { reason, .. } => {
            let state = if job.attempts == 0 { JobState::Pending } else { JobState::Failed };
            (state, AttemptOutcome::Held, Some(reason.to_string()))
        }
        Verdict::Dead { reason, detail } => {
            (JobState::DeadLetter, AttemptOutcome::DeadLettered, Some(format!("{reason}: {detail}")))
        }
    }
}

impl Observer for TreeObserver {
    fn observe(&self, event: &ObserverEvent<'_>) {
        match event {
            ObserverEvent::AttemptBegan { job, trace_id, sampled } => {
                let span = self.traces.attempt(job, *trace_id, *sampled).span;
                tracing::debug!(
                event_id = %job.event_id, job_id = %job.id, tenant = %job.lane.tenant, source = %job.lane.source,
                vendor = self.vendor(&job.lane), route = %job.route, r#type = %job.kind, state = job.state.as_str(),
                attempt = job.attempts + 1, trace_id = %span.trace, span_id = span.logged(), "attempt began"
                );
            }
            ObserverEvent::AttemptEnded { job, trace_id, sampled, verdict, fenced, duration, elapsed, waited, age } => {
                let trace = self.traces.attempt(job, *trace_id, *sampled);
                let (fenced, duration, elapsed, waited, age) = (*fenced, *duration, *elapsed, *waited, *age);
                self.attempt_ended(job, trace, &Ended { verdict, fenced, duration, elapsed, waited, age });
            }
            ObserverEvent::LaneBreaker { lane, callee, state } => self.lane_breaker(lane, callee.as_str(), *state),
            ObserverEvent::CalleeBreaker { callee, state } => self.callee_breaker(callee, *state),
            ObserverEvent::LaneSpawned { lane } => {
                let vendor = self.vendor(lane);
                self.lanes.introduce(lane, vendor);
                tracing::debug!(tenant = %lane.tenant, source = %lane.source, vendor, "lane woke");
            }
            ObserverEvent::LanePassivated { lane } => {
                tracing::debug!(tenant = %lane.tenant, source = %lane.source, vendor = self.vendor(lane), "lane put away");
            }
            ObserverEvent::LaneRestarting { lane, after, restarts } => {
                let vendor = self.vendor(lane);
                self.lanes.restarted(lane, vendor);
                let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                // The panic itself was logged as an error where it happened.
                tracing::warn!(tenant = %lane.tenant, source = %lane.source, vendor, after_ms, restarts, "lane panicked, restarts");
            }
            ObserverEvent::LaneParked { lane, until } => {
                tracing::error!(tenant = %lane.tenant, source = %lane.source, vendor = self.vendor(lane), %until, "lane parked");
            }
            ObserverEvent::LanePaused { lane, paused } => {
                let message = if *paused { "lane paused" } else { "lane resumed" };
                tracing::warn!(tenant = %lane.tenant, source = %lane.source, vendor = self.vendor(lane), "{message}");
            }
            ObserverEvent::DeadLettered { job, reason } => {
                let vendor = self.vendor(&job.lane);
                self.metrics.dead_letters_total.with_label_values(&[vendor, reason.as_str()]).inc();
                // Of the others, the end of their last attempt told.
                if *reason == DeadReason::Gone {
                    let LaneKey { tenant, source } = &job.lane;
                    tracing::error!(
                        event_id = %job.event_id, job_id = %job.id, %tenant, %source, vendor, route = %job.route, %reason,
                        "job became a dead letter"
                    );
                }
            }
            ObserverEvent::Replayed { count } => {
                self.metrics.dead_letter_replays_total.with_label_values(NONE).inc_by(*count);
                tracing::info!(count, "dead letters replayed");
            }
            ObserverEvent::StoreUnavailable { doing, error } => {
                tracing::error!(doing, %error, "store unavailable");
            }
            // The ends of calls, which `Calls` counts, and what a newer tree tells.
            _ => {}
        }
    }
}
