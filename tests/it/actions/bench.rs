//! All actions over stand-ins, one attempt at a time: the gate and the store's checkpoint are a
//! double that records.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::{Value, json};
use sluice::{
    actions::{Actions, ConfigPolicies, jwks},
    config::{Config, Input, Live},
    http_client::HttpClient,
    secrets::Environment,
    standins::{StandInApi, StandInLlm, StandInWordPress},
    telemetry::{
        calls::{Callees, Calls},
        metrics::Metrics,
    },
    trace::{Tracer, Untraced},
};
use sluice_actors::{
    domain::{
        CallResult, CalleeId, CheckpointStage, EventEnvelope, EventId, Fence, HoldReason, Job, JobClass, JobId,
        JobState, LaneKey, Outcome, Timestamp,
    },
    ports::{Action as _, Attempt, Begun, Clock, Fenced, Gate, Permit, StoreUnavailable},
};
use url::Url;

pub(crate) const SITE_UUID: &str = "7f8f0a2e-3c1b-4d5e-9f60-718293a4b5c6";
pub(crate) const LLM_KEY: &str = "sk-stand-in-PLANTED";
const SIGNING_KEY: &str = include_str!("../../fixtures/wordpress/signing-key.pem");

/// A wall clock that tests set.
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn advance(&self, secs: i64) {
        self.0.fetch_add(secs * 1000, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What the tree would have seen of an attempt.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) reports: Mutex<Vec<(CalleeId, CallResult)>>,
    pub(crate) checkpoint: Mutex<Option<Value>>,
    pub(crate) stage: Mutex<CheckpointStage>,
    pub(crate) lease_lost: Mutex<bool>,
    pub(crate) refuse: Mutex<Option<HoldReason>>,
}

struct Pass(Arc<Recorder>, CalleeId);

impl Permit for Pass {
    fn report(self: Box<Self>, result: CallResult) {
        self.0.reports.lock().unwrap().push((self.1, result));
    }
}

struct RecordingGate(Arc<Recorder>);

#[async_trait]
impl Gate for RecordingGate {
    async fn enter(&self, callee: &CalleeId) -> Result<Box<dyn Permit>, HoldReason> {
        match self.0.refuse.lock().unwrap().clone() {
            Some(reason) => Err(reason),
            None => Ok(Box::new(Pass(Arc::clone(&self.0), callee.clone()))),
        }
    }

    async fn checkpoint(&self, stage: CheckpointStage, state: &Value) -> Result<Fenced, StoreUnavailable> {
        if *self.0.lease_lost.lock().unwrap() {
            return Ok(Fenced::Lost);
        }
        *self.0.checkpoint.lock().unwrap() = Some(state.clone());
        *self.0.stage.lock().unwrap() = stage;
        Ok(Fenced::Applied)
    }
}

/// A job under test, with what its attempts left.
pub(crate) struct TestJob {
    pub(crate) job: Job,
    pub(crate) event: EventEnvelope,
    pub(crate) seen: Arc<Recorder>,
    pub(crate) patience: Duration,
    number: u32,
}

impl TestJob {
    /// The reports of all attempts: callee kind and result.
    pub(crate) fn reports(&self) -> Vec<(String, CallResult)> {
        let kind = |callee: &CalleeId| callee.as_str().split(':').next().unwrap().to_owned();
        self.seen.reports.lock().unwrap().iter().map(|(callee, result)| (kind(callee), *result)).collect()
    }
}

pub(crate) struct Bench {
    pub(crate) llm: StandInLlm,
    pub(crate) site: StandInWordPress,
    pub(crate) api: StandInApi,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) config: Live,
    pub(crate) actions: Actions,
    pub(crate) policies: ConfigPolicies,
    pub(crate) http: HttpClient,
}

impl Bench {
    /// A tenant with everything and these routes of its one source (`[[sources.payments.routes]]`).
    /// `{api}` in them is the stand-in API's host and port.
    pub(crate) async fn start(routes: &str) -> Self {
        Self::build(routes, true, None, Arc::new(Untraced), &[]).await
    }

    /// As [`Bench::start`], with more secrets in the environment.
    pub(crate) async fn with_secrets(routes: &str, secrets: &[(&str, &str)]) -> Self {
        Self::build(routes, true, None, Arc::new(Untraced), secrets).await
    }

    /// As [`Bench::start`], with calls told to `tracer`.
    pub(crate) async fn traced(routes: &str, tracer: Arc<dyn Tracer>) -> Self {
        Self::build(routes, true, None, tracer, &[]).await
    }

    /// As [`Bench::start`], with the LLM at `base_url` instead of the stand-in.
    pub(crate) async fn with_llm(routes: &str, base_url: Url) -> Self {
        Self::build(routes, true, Some(base_url), Arc::new(Untraced), &[]).await
    }

    /// A tenant without a WordPress site.
    pub(crate) async fn without_site(routes: &str) -> Self {
        Self::build(routes, false, None, Arc::new(Untraced), &[]).await
    }

    async fn build(
        routes: &str,
        with_site: bool,
        base_url: Option<Url>,
        tracer: Arc<dyn Tracer>,
        secrets: &[(&str, &str)],
    ) -> Self {
        let now = Timestamp::parse_rfc3339("2026-11-24T08:00:05Z").unwrap();
        let clock = Arc::new(SetClock(AtomicI64::new(now.as_millis())));
        let llm = StandInLlm::start(LLM_KEY).await.unwrap();
        let api = StandInApi::start().await.unwrap();
        let site = StandInWordPress::start(SITE_UUID, &json!({}), Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
        let base_url = base_url.unwrap_or_else(|| llm.base_url());
        let routes = routes.replace("{api}", &api.authority());
        let config = config(&base_url, with_site.then_some(&site), &routes, secrets);
        site.trust(&jwks(&config, now));
        let http = HttpClient::new(config.outbound.allow_private.clone()).unwrap();
        let config: Live = Arc::new(ArcSwap::from_pointee(config));
        let actions = Actions::new(
            Arc::clone(&config),
            http.clone(),
            Arc::new(Calls::new(Metrics::new(), Arc::new(Callees::new(100)))),
            Arc::clone(&clock) as Arc<dyn Clock>,
            tracer,
        );
        let policies = ConfigPolicies::new(Arc::clone(&config));
        Self { llm, site, api, clock, config, actions, policies, http }
    }

    /// A job of `route` for an event about `subject`.
    pub(crate) fn job(&self, route: &str, subject: Option<&str>) -> TestJob {
        let lane = lane();
        let id = sluice::ids::job_id(self.clock.now()).as_uuid();
        let event = EventEnvelope {
            id: EventId::from_uuid(id),
            lane: lane.clone(),
            vendor: "generic".into(),
            external_id: "evt-1".into(),
            event_type: "invoice.paid".into(),
            subject_id: subject.map(str::to_owned),
            occurred_at: Timestamp::parse_rfc3339("2026-11-24T07:59:58.250Z").unwrap(),
            received_at: self.clock.now(),
            schema_version: 1,
            api_version: None,
            data: json!({ "amount": 1200, "customer": { "name": "Ada Lovelace", "id": "c/7" } }),
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap(),
            sampled: true,
        };
        let config = self.config.load();
        let kind = config.source(&lane).and_then(|(_, source)| {
            source.routes.iter().find(|known| known.name.as_str() == route).map(|known| known.action.kind())
        });
        let job = Job {
            id: JobId::from_uuid(id),
            event_id: event.id,
            lane,
            route: route.parse().unwrap(),
            kind: kind.unwrap_or("log").into(),
            state: JobState::Running,
            class: JobClass::Fresh,
            attempts: 0,
            claims: 0,
            deaths: 0,
            suspicion: 0,
            next_run_at: self.clock.now(),
            fence: Fence(100),
            stage: CheckpointStage::None,
        };
        TestJob { job, event, seen: Arc::default(), patience: Duration::from_secs(20), number: 0 }
    }

    /// Runs the job's next attempt, with a fence of its own as `begin` gives one.
    pub(crate) async fn attempt(&self, job: &mut TestJob) -> Outcome {
        job.number += 1;
        job.job.fence.0 += 1;
        job.job.claims += 1;
        let checkpoint = job.seen.checkpoint.lock().unwrap().clone();
        job.job.stage = *job.seen.stage.lock().unwrap();
        let outcome = self
            .actions
            .run(Attempt {
                begun: Begun { job: job.job.clone(), event: job.event.clone(), checkpoint },
                number: job.number,
                deadline: tokio::time::Instant::now() + job.patience,
                gate: Arc::new(RecordingGate(Arc::clone(&job.seen))),
            })
            .await;
        job.job.stage = *job.seen.stage.lock().unwrap();
        let shown = format!("{outcome:?}");
        assert!(!shown.contains("PLANTED"), "a secret shows in an outcome: {shown}");
        outcome
    }

    /// The kinds of the callees of the job's next attempt, in order.
    pub(crate) fn callees(&self, job: &TestJob) -> Vec<String> {
        let callees = self.actions.callees(&job.job).expect("configured");
        callees.iter().map(|callee| callee.as_str().split(':').next().unwrap().to_owned()).collect()
    }
}

pub(crate) fn lane() -> LaneKey {
    LaneKey::new("acme".parse().unwrap(), "payments".parse().unwrap())
}

fn config(base_url: &Url, site: Option<&StandInWordPress>, routes: &str, secrets: &[(&str, &str)]) -> Config {
    let wordpress = site.map_or_else(String::new, |site| {
        format!("[wordpress]\nsite = '{}'\nsite_uuid = '{SITE_UUID}'\nsigning_key = 'env:WP_KEY'\n", site.site())
    });
    let tenant = format!(
        "{wordpress}[llm]\nbase_url = '{base_url}'\nmodel = 'stand-in'\napi_key = 'env:LLM_KEY'\n\
         per_second = 3\nconcurrency = 5\n\
         [sources.payments]\nvendor = 'generic'\nsecrets = ['env:VENDOR']\n{routes}"
    );
    let own = [
        ("WP_KEY", SIGNING_KEY),
        ("LLM_KEY", LLM_KEY),
        ("VENDOR", "vendor-PLANTED"),
        ("API_TOKEN", "api-token-PLANTED"),
        ("CLIENT_SECRET", StandInApi::client().1),
        ("FORWARD", "whsec_UExBTlRFRA=="),
    ];
    let environment = Environment::fixed(own.iter().chain(secrets).copied());
    Input::new("cfg")
        .environment(environment)
        .main("[outbound]\nallow_private = ['127.0.0.0/8']\n")
        .tenant("acme", &tenant)
        .resolve()
        .unwrap_or_else(|errors| panic!("{errors}"))
}
