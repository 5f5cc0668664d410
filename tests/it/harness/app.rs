//! The whole gateway in this process: real sockets, a real file, stand-ins for who it calls.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use sluice::{
    api::records::Records,
    app::{self, AppOptions, Running, sites::ReportPace},
    artifacts::{Artifacts, Kind, NewArtifact},
    clock::SystemClock,
    config::{self, LogFormat},
    edge::RequestLimits,
    lifecycle::{DrainPlan, ShutdownReport},
    telemetry::{
        Reports,
        logs::{self, Options},
    },
};
use sluice_actors::{
    domain::{JobState, LaneKey, Timestamp},
    handle::NodeLimits,
    ports::Clock,
};

use super::{Folder, PATIENCE, Sender, eventually};

/// A clock that is ahead.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0)
    }
}

/// A running gateway of a folder.
pub(crate) struct App {
    running: Running,
    client: reqwest::Client,
}

impl App {
    /// Starts the gateway of a folder.
    pub(crate) async fn start(folder: &Folder) -> Self {
        Self::try_start(folder).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts it, or tells why not.
    pub(crate) async fn try_start(folder: &Folder) -> anyhow::Result<Self> {
        Self::start_by(folder, Arc::new(SystemClock)).await
    }

    /// Starts it with its clock so far ahead.
    pub(crate) async fn start_later(folder: &Folder, ahead: Duration) -> Self {
        Self::start_by(folder, Arc::new(Ahead(ahead))).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn start_by(folder: &Folder, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        log_if_asked();
        let options = AppOptions {
            clock,
            seed: 7,
            // What is late on a busy machine is no failure of what a test shows.
            drain: DrainPlan { announce: Duration::ZERO, telemetry: Duration::from_secs(12), ..DrainPlan::default() },
            request: RequestLimits { answer: PATIENCE, ..RequestLimits::default() },
            node: NodeLimits { poll: Duration::from_millis(100), ..NodeLimits::default() },
            config_path: Some(folder.config()),
            reports: ReportPace { settle: Duration::from_millis(20), idle: Duration::from_millis(200) },
            ..AppOptions::default()
        };
        let running = app::start(config::load(&folder.config())?, options).await?;
        Ok(Self { running, client: reqwest::Client::new() })
    }

    /// A sender to one of its sources.
    pub(crate) fn sender(&self, tenant: &str, source: &str, vendor: &str, secret: &str) -> Sender {
        Sender::new(&self.public(), tenant, source, vendor, secret)
    }

    /// A sender to a source of the tenant of a [`super::World`].
    pub(crate) fn acme(&self, source: &str, vendor: &str) -> Sender {
        self.sender("acme", source, vendor, super::SECRET)
    }

    /// What people read of the store.
    pub(crate) fn records(&self) -> &dyn Records {
        &*self.running.records
    }

    /// Artifacts.
    pub(crate) fn artifacts(&self) -> &Artifacts {
        &self.running.artifacts
    }

    /// Keeps an artifact of an event; returns its id.
    pub(crate) async fn artifact(&self, tenant: &str, source: &str, event: &str) -> String {
        let new = NewArtifact {
            lane: LaneKey::new(tenant.parse().expect("a name"), source.parse().expect("a name")),
            kind: Kind::Result,
            event: event.parse().expect("an id"),
            job: None,
            subject: None,
            media_type: "text/plain",
            delete_after: None,
        };
        self.artifacts().keep(new, "kept".into()).await.expect("the object store").id.to_string()
    }

    /// The public listener's origin.
    pub(crate) fn public(&self) -> String {
        format!("http://{}", self.running.public_addr)
    }

    /// A request to the admin listener, with the token.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.running.token)
    }

    /// A request to the admin listener, without one.
    pub(crate) fn anonymous(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.running.admin_addr))
    }

    /// A GET of the API; panics unless it succeeds.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.request(reqwest::Method::GET, path).send().await.expect("the API answers");
        let status = answer.status();
        let body = answer.text().await.expect("a body");
        assert!(status.is_success(), "GET {path}: {status} {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// A POST of the API; returns status and body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.request(reqwest::Method::POST, path).json(body).send().await.expect("the API answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    /// The scrape.
    pub(crate) async fn scrape(&self) -> String {
        let answer = self.anonymous(reqwest::Method::GET, "/metrics").send().await.expect("the scrape");
        answer.text().await.expect("a body")
    }

    /// Reads the configuration again.
    pub(crate) async fn reload(&self) {
        let (status, answer) = self.post("/api/v1/reload", &Value::Null).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The jobs that match a query, newest first.
    pub(crate) async fn jobs(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/v1/jobs?limit=500&{query}")).await;
        page["items"].as_array().expect("items").clone()
    }

    /// The jobs of an event.
    pub(crate) async fn jobs_of(&self, event: &str) -> Vec<Value> {
        self.get(&format!("/api/v1/events/{event}")).await["jobs"].as_array().expect("jobs").clone()
    }

    /// Waits until all jobs of an event are over; returns them with their history.
    pub(crate) async fn settled(&self, event: &str) -> Vec<Value> {
        let jobs = eventually(&format!("the jobs of {event} are over"), || async {
            let jobs = self.jobs_of(event).await;
            (!jobs.is_empty() && jobs.iter().all(|job| state(job).is_final())).then_some(jobs)
        })
        .await;
        let mut details = Vec::new();
        for job in jobs {
            details.push(self.get(&format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id"))).await);
        }
        details
    }

    /// Waits until no job is left that could still run.
    pub(crate) async fn quiet(&self) {
        eventually("all jobs are over", || async {
            let mut left = 0;
            // Twice, for one may go back from the state that is looked at last.
            for state in ["pending", "running", "failed", "pending", "running"] {
                left += self.jobs(&format!("state={state}")).await.len();
            }
            (left == 0).then_some(())
        })
        .await;
    }

    /// Ends the gateway and demands its world back: every job over, nothing cut off.
    pub(crate) async fn finish(self) {
        self.quiet().await;
        let ShutdownReport { cut_connections, jobs } = self.stop().await;
        // The store shows the end of a job a moment before its attempt hears of it: that one may still
        // have been there to finish.
        assert_eq!((cut_connections, jobs.released), (0, Vec::new()), "something was cut off or still ran");
    }

    /// Ends the gateway in order, whatever its jobs do.
    pub(crate) async fn stop(self) -> ShutdownReport {
        // Idle connections of our own client would be told to close anyway.
        drop(self.client);
        self.running.shutdown().await
    }
}

/// Logs to standard output under `SLUICE_TEST_LOG=<filter>`, to see why a test fails.
fn log_if_asked() {
    let Ok(filter) = std::env::var("SLUICE_TEST_LOG") else { return };
    let options = Options { format: LogFormat::Human, filter, sink: None, reports: Reports::default() };
    let (subscriber, _) = logs::subscriber(options, Arc::new(SystemClock)).expect("a log filter");
    // `Err`: another test of this process was first.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// The state of a job in an answer of the API.
fn state(job: &Value) -> JobState {
    job["state"].as_str().expect("a state").parse().expect("a job's state")
}
