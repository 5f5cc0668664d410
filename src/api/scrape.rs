//! `/metrics`: gauges are read from the tree and the store when somebody asks, at most once in a
//! while, so that many scrapers cost no more than one.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use sluice_actors::{
    domain::Timestamp,
    handle::{LaneStatus, NodeSnapshot},
    ports::BreakerState,
};
use tokio::{sync::Mutex, time::Instant};

use super::{
    Api, ApiError,
    access::{self, Allowed, SeeNode},
    answer::{Answer, Content, Free, Rows},
    lanes,
    records::LaneBacklog,
    request::Call,
};
use crate::{
    schema::Drift,
    telemetry::{
        calls::Callees,
        deliveries::method_label,
        host::Host,
        lanes::Lanes,
        metrics::{Metrics, NONE, Present},
    },
};

/// How old the tree's part of a scrape may be.
const TREE_AGE: Duration = Duration::from_millis(250);
/// How old the store's part may be; it counts rows.
const STORE_AGE: Duration = Duration::from_secs(5);
/// How long a scrape waits for either.
const DEADLINE: Duration = Duration::from_secs(2);

/// The media type of the text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The series and what was last read for their gauges.
pub struct Scrape {
    metrics: Metrics,
    sources: ScrapeSources,
    last: Mutex<Last>,
}

/// Where a scrape reads what is not counted as it happens.
pub struct ScrapeSources {
    /// The lanes.
    pub lanes: Arc<Lanes>,
    /// Whom they call.
    pub callees: Arc<Callees>,
    /// The fields that are not as documented.
    pub drift: Arc<Drift>,
    /// Disk and store.
    pub host: Arc<Host>,
}

#[derive(Default)]
struct Last {
    tree: Option<Instant>,
    host: Option<Instant>,
    store: Option<(Instant, Vec<LaneBacklog>)>,
}

impl Scrape {
    /// Refreshes these series.
    pub fn new(metrics: Metrics, sources: ScrapeSources) -> Self {
        Self { metrics, sources, last: Mutex::default() }
    }

    /// A request of the admin listener is here until what is returned is dropped.
    pub(super) fn present(&self, route: &str) -> Present {
        self.metrics.present(route)
    }

    /// A request of the admin listener was answered.
    pub(super) fn answered(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        self.metrics.http_requests_total.with_label_values(&[route, method_label(method), status.as_str()]).inc();
        self.metrics.http_request_duration_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }
}

pub(super) async fn metrics(api: Arc<Api>, _: Allowed<access::Scrape>, _: Call<()>) -> Result<Answer, ApiError> {
    let mut last = api.scrape.last.lock().await;
    if last.tree.is_none_or(|at| at.elapsed() > TREE_AGE) {
        refresh(&api, &mut last).await;
    }
    drifted(&api.scrape);
    let body = api.scrape.metrics.render();
    Ok(Answer::new(TEXT_FORMAT, Content::Text(body)))
}

/// Which fields deviate, in which version and since when: what the series only sum up, for a path and
/// a version are no labels.
pub(super) async fn drift(api: Arc<Api>, _: Allowed<SeeNode>, _: Call<()>) -> Result<Rows<Free>, ApiError> {
    let rows = api.scrape.sources.drift.rows();
    let rows = rows.iter().map(|row| serde_json::to_value(row).map(Free)).collect::<Result<_, _>>();
    Ok(Rows(rows.map_err(|error| ApiError::Unavailable(error.to_string()))?))
}

/// Takes over the totals that normalisation keeps.
fn drifted(scrape: &Scrape) {
    scrape.metrics.schema_drift_total.reset();
    for ((vendor, schema, kind), total) in scrape.sources.drift.totals() {
        scrape.metrics.schema_drift_total.with_label_values(&[vendor, schema, kind.as_str()]).inc_by(total);
    }
}

/// Reads the tree and the store side by side; what does not answer in time keeps its last values.
async fn refresh(api: &Api, last: &mut Last) {
    let store_is_old = last.store.as_ref().is_none_or(|(at, _)| at.elapsed() > STORE_AGE);
    let host_is_old = last.host.is_none_or(|at| at.elapsed() > STORE_AGE);
    let backlog = async {
        if !store_is_old {
            return None;
        }
        tokio::time::timeout(DEADLINE, api.records.backlog()).await.ok()?.ok()
    };
    let looked = async {
        if !host_is_old {
            return false;
        }
        let (host, metrics) = (api.scrape.sources.host.clone(), api.scrape.metrics.clone());
        let looked = tokio::task::spawn_blocking(move || host.refresh(&metrics));
        tokio::time::timeout(DEADLINE, looked).await.is_ok()
    };
    let snapshot = tokio::time::timeout(DEADLINE, api.gateway.snapshot());
    let (backlog, looked, snapshot) = tokio::join!(backlog, looked, snapshot);
    if let Some(backlog) = backlog {
        last.store = Some((Instant::now(), backlog));
    }
    if looked {
        last.host = Some(Instant::now());
    }
    let Ok(Ok(snapshot)) = snapshot else { return };
    let backlog = last.store.as_ref().map(|(_, backlog)| backlog.clone()).unwrap_or_default();
    let config = api.config.load();
    let views = lanes::views(&config, &snapshot, backlog);
    let now: Vec<_> = views.iter().map(|view| lanes::now(&config, view)).collect();
    api.scrape.sources.lanes.refresh(api.clock.now(), &now);
    node(&api.scrape.metrics, &snapshot);
    callees(&api.scrape, &snapshot, api.clock.now());
    last.tree = Some(Instant::now());
}

fn node(metrics: &Metrics, snapshot: &NodeSnapshot) {
    metrics.workers_busy.with_label_values(NONE).set(snapshot.in_flight as i64);
    metrics.workers.with_label_values(NONE).set(snapshot.concurrency as i64);
    let statuses = [
        (LaneStatus::Flowing, "flowing"),
        (LaneStatus::Held, "held"),
        (LaneStatus::Paused, "paused"),
        (LaneStatus::Parked, "parked"),
        (LaneStatus::Unconfigured, "unconfigured"),
    ];
    for (status, word) in statuses {
        let count = snapshot.lanes.iter().filter(|lane| lane.status == status).count();
        metrics.lanes.with_label_values(&[word]).set(count as i64);
    }
}

/// Folded callees add up.
fn callees(scrape: &Scrape, snapshot: &NodeSnapshot, now: Timestamp) {
    let Metrics { circuit_breaker_state, callee_unauthorized, .. } = &scrape.metrics;
    circuit_breaker_state.reset();
    callee_unauthorized.reset();
    for callee in &snapshot.callees {
        let label = scrape.sources.callees.label(&callee.callee);
        for state in BreakerState::ALL {
            let labels = [label, state.as_str()];
            circuit_breaker_state.with_label_values(&labels).add(i64::from(callee.state == state));
        }
        let held = callee.unauthorized_until.is_some_and(|until| until > now);
        callee_unauthorized.with_label_values(&[label]).add(i64::from(held));
    }
}
