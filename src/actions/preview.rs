//! What a summary of an event would be, without a job: the prompt, and if wanted what the model makes
//! of it. Nothing is stored, nothing is published.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;
use sluice_actors::{
    domain::{
        CalleeId, CheckpointStage, EventEnvelope, Fence, HoldReason, Job, JobClass, JobState, Outcome, RouteName,
    },
    ports::{Attempt, Begun, Fenced, Gate, Permit, StoreUnavailable},
};

use super::{Actions, fetch, prompt, run::Run, summarize};
use crate::{
    config::ActionConfig,
    ids,
    trace::{AttemptTrace, Untraced},
};

/// The whole of a preview, a route's `fetch` included.
const DEADLINE: Duration = Duration::from_secs(45);

/// What would be asked, and what was answered.
#[derive(Debug)]
pub struct Previewed {
    /// The model.
    pub model: String,
    /// The instructions.
    pub system: String,
    /// The event's part, as the model gets it.
    pub user: String,
    /// Title, text and category; none where the model was not asked. `Err` says why there are none.
    pub answer: Option<Result<(String, String, String), String>>,
}

/// Nobody is called.
struct Closed;

#[async_trait]
impl Gate for Closed {
    async fn enter(&self, callee: &CalleeId) -> Result<Box<dyn Permit>, HoldReason> {
        Err(HoldReason::CalleeBusy(callee.clone()))
    }

    async fn checkpoint(&self, _: CheckpointStage, _: &Value) -> Result<Fenced, StoreUnavailable> {
        Ok(Fenced::Applied)
    }
}

fn told(outcome: Outcome) -> String {
    match outcome {
        Outcome::Delivered(_) => "delivered".to_owned(),
        Outcome::Retry { error, .. } => error,
        Outcome::Hold { reason, .. } => reason.to_string(),
        Outcome::Dead { detail, .. } => detail,
    }
}

impl Actions {
    /// Runs the prompt of a route on an event. The model, and whom the route's `fetch` asks, are called
    /// through `gate`; without one nobody is, and the prompt is shown without what would be fetched.
    ///
    /// # Errors
    /// In an operator's words, where the route is not there, asks no model, or has none to ask.
    pub async fn preview(
        &self,
        event: EventEnvelope,
        route: &RouteName,
        gate: Option<Arc<dyn Gate>>,
    ) -> Result<Previewed, String> {
        let config = self.config.load_full();
        let lane = event.lane.clone();
        let (tenant, source) = config.source(&lane).ok_or_else(|| format!("{lane} is not configured (any more)"))?;
        let found = source.routes.iter().find(|found| found.name == *route);
        let found = found.ok_or_else(|| format!("{lane} has no route `{route}`"))?;
        let ActionConfig::SummarizeAndPublish { prompt, .. } = &found.action else {
            return Err(format!("the route `{route}` asks no model"));
        };
        let llm = tenant.llm.as_ref().ok_or_else(|| format!("[llm] of tenant {} is not configured", tenant.name))?;
        let now = self.world.clock.now();
        let job = Job {
            id: ids::job_id(now),
            event_id: event.id,
            lane,
            route: found.name.clone(),
            kind: found.action.kind().into(),
            state: JobState::Running,
            class: JobClass::Fresh,
            attempts: 0,
            claims: 1,
            deaths: 0,
            suspicion: 0,
            next_run_at: now,
            fence: Fence(0),
            stage: CheckpointStage::None,
        };
        // Nobody waits for it behind a delivery: its calls are in no trace that is kept.
        let trace = AttemptTrace::of(&job, event.trace_id, false, &Untraced);
        let is_asked = gate.is_some();
        let attempt = Attempt {
            begun: Begun { job, event, checkpoint: None },
            number: 1,
            deadline: tokio::time::Instant::now() + DEADLINE,
            gate: gate.unwrap_or_else(|| Arc::new(Closed)),
        };
        let run = Run { attempt: &attempt, config: &config, tenant, source, route: found, world: &self.world, trace };
        let mut progress = run.progress();
        let mut failed = None;
        if is_asked && let Err(end) = fetch::ensure(&run, &mut progress).await {
            failed = Some(format!("fetch: {}", told(end.into())));
        }
        let nonce = ids::nonce();
        let messages = prompt::messages(prompt, run.event(), progress.fetched.as_ref(), nonce);
        let answer = match failed {
            Some(why) => Some(Err(why)),
            None if is_asked => Some(match summarize::answer(&run, prompt, &messages, nonce).await {
                Ok((summary, _)) => Ok((summary.title, summary.text, summary.category)),
                Err(end) => Err(told(end.into())),
            }),
            None => None,
        };
        let model = prompt.model.clone().unwrap_or_else(|| llm.model.clone());
        Ok(Previewed { model, system: messages.system, user: messages.user, answer })
    }
}
