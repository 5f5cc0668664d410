//! What every action needs during one attempt: calls through the gate, checkpoints, the clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_actors::{
    domain::{CalleeId, CheckpointStage, DeadReason, EventEnvelope, HoldReason, Job, Outcome, Timestamp},
    ports::{Attempt, Fenced, Permit},
};
use tokio::time::Instant;

use super::{
    World,
    artifacts::Owed,
    classify::{self, Judged},
    summarize::Summary,
};
use crate::{
    brokers::{Endpoint, Message},
    config::{Config, Route, Source, Tenant},
    http_client::{Answer, CALL_TIMEOUT, Call, CallError, CallEvent, CallOutcome},
    redact::Redactor,
    trace::{AttemptTrace, Called, Context, Request, SpanId, TRACEPARENT},
};

/// A step of an attempt: a value, or the attempt's end.
pub(crate) type Step<T> = Result<T, End>;

/// The end of an attempt; boxed, because it travels through every `?`.
pub(crate) struct End(Box<Outcome>);

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        Self(Box::new(outcome))
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        *end.0
    }
}

/// Ends the attempt as a dead letter: the action's own rules forbid it.
pub(crate) fn invalid(detail: impl Into<String>) -> End {
    End::from(Outcome::Dead { reason: DeadReason::Invalid, detail: detail.into() })
}

/// Holds the job: a person must configure `what` first.
pub(crate) fn not_configured(what: impl Into<String>) -> End {
    End::from(Outcome::Hold { reason: HoldReason::NotConfigured(what.into()), after: None })
}

/// The time an attempt keeps for itself after its last call.
pub(crate) const MARGIN: Duration = Duration::from_millis(250);

/// One attempt of one job.
pub(crate) struct Run<'a> {
    pub(crate) attempt: &'a Attempt,
    pub(crate) config: &'a Config,
    pub(crate) tenant: &'a Tenant,
    pub(crate) source: &'a Source,
    pub(crate) route: &'a Route,
    pub(crate) world: &'a World,
    pub(crate) trace: AttemptTrace,
}

impl Run<'_> {
    pub(crate) fn job(&self) -> &Job {
        &self.attempt.begun.job
    }

    pub(crate) fn event(&self) -> &EventEnvelope {
        &self.attempt.begun.event
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// Makes one call through the gate, within what is left of the attempt, and reports on the
    /// callee.
    pub(crate) async fn call<T>(
        &self,
        callee: &CalleeId,
        mut call: Call,
        judge: impl FnOnce(Result<Answer, CallError>, Timestamp) -> Judged<T>,
    ) -> Step<T> {
        let permit = self.enter(callee).await?;
        call.timeout = call.timeout.min(self.left());
        let span = self.span();
        call.headers.insert(TRACEPARENT, span.header());
        let asked = span.is_sampled().then(|| (call.method.clone(), call.url.clone()));
        let begun = Instant::now();
        let answer = self.world.http.send(call).await;
        let (seen, took) = (CallOutcome::of(&answer), begun.elapsed());
        if let Some((method, url)) = asked {
            let answer = answer.as_ref().map(|answer| Some(answer.status)).map_err(|_| seen.as_str());
            let request = Request::Http { method: &method, url: &url };
            self.world.tracer.called(&Called { attempt: &self.trace, span, callee, request, answer, took });
        }
        let judged = judge(answer, self.now());
        permit.report(judged.report);
        self.tell(&CallEvent::Ended { callee, outcome: seen.judged(judged.report), took: Some(took) });
        judged.step
    }

    /// Publishes one message through the gate, within what is left of the attempt, and reports on the
    /// broker. `template`: the destination as the configuration has it.
    pub(crate) async fn publish(
        &self,
        callee: &CalleeId,
        endpoint: &Endpoint,
        mut message: Message,
        template: &str,
    ) -> Step<Value> {
        let permit = self.enter(callee).await?;
        let span = self.span();
        message.headers.push((TRACEPARENT.to_owned(), span.to_string()));
        let begun = Instant::now();
        let within = CALL_TIMEOUT.min(self.left());
        let published = self.world.brokers.publish(endpoint, &message, within).await;
        let (seen, took) = (classify::seen(&published), begun.elapsed());
        if span.is_sampled() {
            let answer = published.as_ref().map(|_| None).map_err(|_| seen.as_str());
            let Endpoint { kind, host, port, .. } = endpoint;
            let request = Request::Publish { system: kind.as_str(), host, port: *port, destination: template };
            self.world.tracer.called(&Called { attempt: &self.trace, span, callee, request, answer, took });
        }
        let judged = classify::by_failure(published, callee);
        permit.report(judged.report);
        self.tell(&CallEvent::Ended { callee, outcome: seen, took: Some(took) });
        judged.step
    }

    /// Leave to call, or the end of the attempt.
    pub(crate) async fn enter(&self, callee: &CalleeId) -> Step<Box<dyn Permit>> {
        let asked = Instant::now();
        let entered = self.attempt.gate.enter(callee).await;
        self.tell(&CallEvent::Waited { callee, waited: asked.elapsed() });
        entered.map_err(|reason| {
            if let Some(outcome) = CallOutcome::withheld(&reason) {
                self.tell(&CallEvent::Ended { callee, outcome, took: None });
            }
            End::from(Outcome::Hold { reason, after: None })
        })
    }

    /// What a call may take of what is left of the attempt.
    fn left(&self) -> Duration {
        self.attempt.deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN)
    }

    /// The span of a call.
    fn span(&self) -> Context {
        Context::new(self.trace.span.trace, SpanId::fresh(), self.trace.span.is_sampled())
    }

    /// Tells the metrics of a call.
    pub(crate) fn tell(&self, event: &CallEvent<'_>) {
        self.world.calls.observe(event);
    }

    /// Foreign data as it may be kept: redacted by the source's rules.
    pub(crate) fn redacted(&self, mut value: Value) -> Value {
        Redactor::of(self.source).value(&mut value);
        value
    }

    /// What earlier attempts left.
    pub(crate) fn progress(&self) -> Progress {
        let stored = self.attempt.begun.checkpoint.clone();
        stored.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    /// Keeps what must not be repeated, before anything else is done with it.
    pub(crate) async fn checkpoint(&self, progress: &Progress) -> Step<()> {
        let state = serde_json::to_value(progress).expect("a checkpoint has only string keys");
        match self.attempt.gate.checkpoint(progress.stage(), &state).await {
            Ok(Fenced::Applied) => Ok(()),
            Ok(Fenced::Lost) => {
                Err(End::from(Outcome::Retry { after: None, error: "the lease of this attempt was lost".into() }))
            }
            Err(unavailable) => Err(End::from(Outcome::Retry { after: None, error: unavailable.to_string() })),
        }
    }
}

/// What a job's checkpoint holds: paid for or loaded once, used by every later attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The resource that the route's `fetch` loaded, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fetched: Option<Value>,
    /// The model's answer, validated and cleaned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Summary>,
    /// What is still to be kept in the object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owed: Option<Owed>,
    /// Keys of what is kept there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) artifacts: Vec<String>,
}

impl Progress {
    /// How far it goes.
    fn stage(&self) -> CheckpointStage {
        match self {
            Self { summary: Some(_), .. } => CheckpointStage::Answered,
            Self { fetched: Some(_), .. } | Self { owed: Some(_), .. } => CheckpointStage::Fetched,
            // What is kept was made of what a `fetch` loaded, if the route has one.
            Self { artifacts, .. } if !artifacts.is_empty() => CheckpointStage::Fetched,
            Self { .. } => CheckpointStage::None,
        }
    }
}
