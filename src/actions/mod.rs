//! What jobs do. One file per action; `classify` says what an answer means for all of them.
//!
//! To add an action: write `src/actions/<action>.rs` with `run(&Run, …) -> Step<JobResult>`, add its
//! variant to [`ActionConfig`] and follow the compiler through the matches of this file,
//! `policies` and [`check`]. An attempt can be cut off at any point and run again: keep what was
//! paid for with `Run::checkpoint` before the next call, and call only through `Run::call`, which
//! asks the gate, keeps the deadline and reports on the callee.
//!
//! A job whose source or route is gone from the configuration is held, not killed: the file may be
//! wrong and nothing is lost by waiting. Whoever removed the route on purpose cancels its jobs. A
//! job whose route now names another action runs what the route says now.

mod artifacts;
mod auth;
mod callees;
pub mod check;
mod classify;
mod fetch;
mod hostile;
mod http_call;
mod http_forward;
mod llm;
mod log;
mod policies;
mod preview;
mod prompt;
mod publish;
mod queue_publish;
mod reply;
mod run;
pub mod site;
mod summarize;
mod template;
#[cfg(test)]
mod testing;
mod token;
mod wordpress;

use std::sync::Arc;

use async_trait::async_trait;
use sluice_actors::{
    domain::{CalleeId, CheckpointStage, HoldReason, Job, JobResult, Outcome},
    ports::{Action, Attempt, Begun, Clock},
};
use tracing::Instrument;

use crate::{
    artifacts::Artifacts,
    brokers::Brokers,
    config::{ActionConfig, Config, Live, Route, Source, Tenant},
    http_client::{CallObserver, HttpClient},
    trace::{AttemptTrace, Tracer},
};
use run::{Run, Step};

pub use callees::configured as configured_callees;
pub use policies::ConfigPolicies;
pub use preview::Previewed;
pub use token::{InvalidSigningKey, SigningKey, TOKEN_TTL_SECS, TOKEN_TYPE, jwks, jwks_of, next_jwks};
pub use wordpress::TOKEN_HEADER;

/// What all attempts share.
struct World {
    http: HttpClient,
    brokers: Brokers,
    calls: Arc<dyn CallObserver>,
    clock: Arc<dyn Clock>,
    tokens: auth::Tokens,
    tracer: Arc<dyn Tracer>,
    artifacts: Option<Arc<Artifacts>>,
}

/// All actions, over the configuration in force.
pub struct Actions {
    config: Live,
    world: World,
}

impl Actions {
    /// Follows `config` through its reloads; makes all calls with `http`, dials brokers by its rules, and tells `calls` and `tracer`
    /// of them.
    pub fn new(
        config: Live,
        http: HttpClient,
        calls: Arc<dyn CallObserver>,
        clock: Arc<dyn Clock>,
        tracer: Arc<dyn Tracer>,
    ) -> Self {
        let brokers = Brokers::new(http.clone());
        let world = World { http, brokers, calls, clock, tokens: auth::Tokens::default(), tracer, artifacts: None };
        Self { config, world }
    }

    /// With an object store. Without one, a job that needs it is held.
    #[must_use]
    pub fn with_artifacts(mut self, artifacts: Arc<Artifacts>) -> Self {
        self.world.artifacts = Some(artifacts);
        self
    }
}

#[async_trait]
impl Action for Actions {
    fn callees(&self, job: &Job) -> Result<Vec<CalleeId>, HoldReason> {
        let config = self.config.load();
        let (tenant, _, route) = find(&config, job)?;
        let bad_url = |reason: &str| HoldReason::NotConfigured(format!("a URL of route {} ({reason})", route.name));
        let mut callees = Vec::new();
        if let Some(fetch) = route.fetch.as_ref().filter(|_| job.stage == CheckpointStage::None) {
            callees.push(fetch::callee(fetch).map_err(bad_url)?);
        }
        let wordpress = tenant.wordpress.as_ref().map(|site| callees::wordpress(site));
        match &route.action {
            ActionConfig::SummarizeAndPublish { .. } => {
                if job.stage < CheckpointStage::Answered {
                    let missing = || HoldReason::NotConfigured(format!("[llm] of tenant {}", tenant.name));
                    callees.push(callees::llm(tenant.llm.as_ref().ok_or_else(missing)?));
                }
                callees.extend(wordpress);
            }
            ActionConfig::WordpressPublish { .. } => {
                let missing = || HoldReason::NotConfigured(format!("[wordpress] of tenant {}", tenant.name));
                callees.push(wordpress.ok_or_else(missing)?);
            }
            ActionConfig::HttpCall(call) => callees.push(http_call::callee(call).map_err(bad_url)?),
            ActionConfig::HttpForward(forward) => callees.push(callees::host(&forward.url)),
            ActionConfig::QueuePublish(publish) => callees.push(callees::queue(&publish.endpoint)),
            ActionConfig::Log => {}
        }
        Ok(callees)
    }

    async fn run(&self, attempt: Attempt) -> Outcome {
        let config = self.config.load_full();
        let (tenant, source, route) = match find(&config, &attempt.begun.job) {
            Ok(found) => found,
            Err(reason) => return Outcome::Hold { reason, after: None },
        };
        let Begun { job, event, .. } = &attempt.begun;
        let trace = AttemptTrace::of(job, event.trace_id, event.sampled, &*self.world.tracer);
        // Whatever is logged meanwhile tells whose it is; a panic as well.
        let span = tracing::error_span!(
            "attempt", event_id = %event.id, job_id = %job.id, tenant = %job.lane.tenant, source = %job.lane.source,
            vendor = %event.vendor, route = %job.route, attempt = attempt.number, trace_id = %trace.span.trace,
            span_id = trace.span.logged()
        );
        let run = Run { attempt: &attempt, config: &config, tenant, source, route, world: &self.world, trace };
        match dispatch(&run).instrument(span).await {
            Ok(result) => Outcome::Delivered(result),
            Err(end) => end.into(),
        }
    }
}

async fn dispatch(run: &Run<'_>) -> Step<JobResult> {
    match &run.route.action {
        ActionConfig::SummarizeAndPublish { prompt, publish } => summarize::run(run, prompt, publish).await,
        ActionConfig::WordpressPublish { title, summary, publish } => publish::run(run, title, summary, publish).await,
        ActionConfig::HttpCall(call) => http_call::run(run, call).await,
        ActionConfig::HttpForward(forward) => http_forward::run(run, forward).await,
        ActionConfig::QueuePublish(publish) => queue_publish::run(run, publish).await,
        ActionConfig::Log => Ok(log::run(run)),
    }
}

fn find<'a>(config: &'a Config, job: &Job) -> Result<(&'a Tenant, &'a Source, &'a Route), HoldReason> {
    let (tenant, source) =
        config.source(&job.lane).ok_or_else(|| HoldReason::NotConfigured(format!("source {}", job.lane)))?;
    let route = source.routes.iter().find(|route| route.name == job.route);
    let missing = || HoldReason::NotConfigured(format!("route {} of {}", job.route, job.lane));
    Ok((tenant, source, route.ok_or_else(missing)?))
}
