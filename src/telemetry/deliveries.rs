//! What the edge and ingest tell, turned into log lines and series: one line for each event of a
//! delivery, one for each delivery that was not taken.

use std::sync::Arc;

use http::{Method, StatusCode};
use sluice_actors::domain::LaneKey;

use super::{
    lanes::Lanes,
    metrics::Metrics,
    traces::{Request, StoredEvent, Traces},
};
use crate::{
    config,
    ingest::{EventStatus, IngestEvent, Observer, Place, Recorded, Rejection},
    vendors::Refusal,
};

/// The template of the one path that vendors call.
const ROUTE: &str = "/webhooks/{tenant}/{source}";
/// The vendor label of a path that leads to no source.
const UNKNOWN: &str = "unknown";

/// What became of an event, as a label.
const OUTCOMES: [&str; 5] = ["accepted", "unrouted", "quarantined", "duplicate", "conflict"];

/// Reasons of rejections with a series.
const REJECTIONS: [Rejection; 6] = [
    Rejection::Malformed,
    Rejection::MediaType,
    Rejection::SourceRate,
    Rejection::Pending,
    Rejection::Store,
    Rejection::StaleSecret,
];

/// Listens to the edge and ingest.
pub struct IngestObserver {
    metrics: Metrics,
    lanes: Arc<Lanes>,
    config: config::Live,
    traces: Traces,
}

impl IngestObserver {
    /// Counts into `metrics` and `lanes`, sends spans to `traces`; whether a secret is the newest is
    /// looked up in the running configuration.
    pub fn new(metrics: Metrics, lanes: Arc<Lanes>, config: config::Live, traces: Traces) -> Self {
        metrics.webhook_rejections_total.with_label_values(&[UNKNOWN, Refusal::UnknownEndpoint.as_str()]);
        metrics.http_requests_in_flight.with_label_values(&[ROUTE]);
        for code in ["200", "401", "429", "500", "503"] {
            metrics.http_requests_total.with_label_values(&[ROUTE, "POST", code]);
        }
        Self { metrics, lanes, config, traces }
    }

    /// Whether a secret is the newest of its source.
    fn generation(&self, place: Place<'_>, version: &str) -> &'static str {
        let config = self.config.load();
        let newest = config.source(place.lane).and_then(|(_, source)| source.keys.iter().find(|key| !key.is_revoked()));
        if newest.is_some_and(|key| *key.version == *version) { "current" } else { "previous" }
    }

    fn recorded(&self, place: Place<'_>, recorded: Recorded, status: EventStatus) -> &'static str {
        let outcome = match (recorded, status) {
            (Recorded::Duplicate { conflict: true, .. }, _) => "conflict",
            (Recorded::Duplicate { conflict: false, .. }, _) => "duplicate",
            (Recorded::New(_), EventStatus::Stored | EventStatus::Released) => "accepted",
            (Recorded::New(_), EventStatus::Unrouted) => "unrouted",
            (Recorded::New(_), EventStatus::Quarantined) => "quarantined",
        };
        self.metrics.webhook_events_total.with_label_values(&[place.vendor, outcome]).inc();
        if matches!(recorded, Recorded::New(_)) {
            self.lanes.event(place.lane, place.vendor);
        }
        outcome
    }
}

/// A vendor that is configured has all its series from the start.
pub(super) fn begin_at_zero(metrics: &Metrics, vendor: &str) {
    for outcome in OUTCOMES {
        metrics.webhook_events_total.with_label_values(&[vendor, outcome]);
    }
    for reason in Refusal::ALL.map(Refusal::as_str).into_iter().chain(REJECTIONS.map(Rejection::as_str)) {
        metrics.webhook_rejections_total.with_label_values(&[vendor, reason]);
    }
    for generation in ["current", "previous"] {
        metrics.webhook_signatures_total.with_label_values(&[vendor, generation]);
    }
    metrics.webhook_handshakes_total.with_label_values(&[vendor]);
}

/// A method as a label: senders may write any word there.
pub fn method_label(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 7] = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
    ];
    KNOWN.iter().find(|(known, _)| known == method).map_or("other", |(_, label)| label)
}

impl Observer for IngestObserver {
    fn observe(&self, event: &IngestEvent<'_>) {
        match event {
            IngestEvent::Arrived => self.metrics.http_requests_in_flight.with_label_values(&[ROUTE]).inc(),
            IngestEvent::Left => self.metrics.http_requests_in_flight.with_label_values(&[ROUTE]).dec(),
            IngestEvent::Answered { place, method, https, trace, status, took, whole, bytes } => {
                if let Some(place) = *place {
                    let (trace, https, status, took, bytes) = (*trace, *https, *status, *whole, *bytes);
                    self.traces.request(&Request { place, method, https, trace, status, took, bytes });
                }
                let labels = [ROUTE, method_label(method), status.as_str()];
                self.metrics.http_requests_total.with_label_values(&labels).inc();
                self.metrics.http_request_duration_seconds.with_label_values(&[ROUTE]).observe(took.as_secs_f64());
                self.metrics.http_request_size_bytes.with_label_values(&[ROUTE]).observe(*bytes as f64);
                if let Some(place) = place.filter(|_| status.is_success()) {
                    self.metrics
                        .webhook_ack_duration_seconds
                        .with_label_values(&[place.vendor])
                        .observe(took.as_secs_f64());
                }
                if status.is_server_error() && *status != StatusCode::SERVICE_UNAVAILABLE {
                    let lane = place.map(|place| tracing::field::display(place.lane));
                    let trace_id = trace.map(|trace| tracing::field::display(trace.request.trace));
                    tracing::error!(status = status.as_u16(), lane, trace_id, "delivery answered by an error of ours");
                }
            }
            IngestEvent::Refused { place, reason, client } => {
                let vendor = place.map_or(UNKNOWN, |place| place.vendor);
                self.metrics.webhook_rejections_total.with_label_values(&[vendor, reason.as_str()]).inc();
                let reason = reason.as_str();
                if let Some(Place { lane, vendor }) = place {
                    self.lanes.refused(lane, vendor);
                    let LaneKey { tenant, source } = lane;
                    tracing::warn!(%tenant, %source, vendor, reason, %client, "delivery refused");
                } else {
                    tracing::debug!(reason, %client, "delivery refused");
                }
            }
            IngestEvent::Verified { place, secret_version, skew_ms, .. } => {
                let generation = self.generation(*place, secret_version);
                self.metrics.webhook_signatures_total.with_label_values(&[place.vendor, generation]).inc();
                if let Some(skew) = skew_ms {
                    let seconds = skew.unsigned_abs() as f64 / 1000.0;
                    self.metrics.webhook_clock_skew_seconds.with_label_values(&[place.vendor]).observe(seconds);
                }
            }
            IngestEvent::Rejected { place, reason, trace } => {
                self.metrics.webhook_rejections_total.with_label_values(&[place.vendor, reason.as_str()]).inc();
                let Place { lane, vendor } = place;
                let reason = reason.as_str();
                let trace_id = trace.map(|trace| tracing::field::display(trace.request.trace));
                tracing::warn!(
                    tenant = %lane.tenant, source = %lane.source, vendor, reason, trace_id, "delivery not taken"
                );
            }
            IngestEvent::Recorded { place, recorded, event_type, status, jobs, trace, took, storing } => {
                let outcome = self.recorded(*place, *recorded, *status);
                let id = recorded.event_id();
                let mut span = trace.request;
                if let Recorded::New(_) = recorded {
                    let (place, trace, status, jobs, took) = (*place, *trace, *status, jobs.len(), *storing);
                    self.traces.stored(&StoredEvent { place, id, trace, status, jobs, took });
                    span = trace.stored(id);
                }
                let Place { lane, vendor } = place;
                for kind in *jobs {
                    self.metrics.jobs_enqueued_total.with_label_values(&[vendor, &**kind]).inc();
                }
                let jobs = jobs.len();
                let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(
                    event_id = %id, tenant = %lane.tenant, source = %lane.source, vendor,
                    r#type = event_type, state = status.as_str(), outcome, jobs, duration_ms,
                    trace_id = %span.trace, span_id = span.logged(), "event recorded"
                );
            }
            IngestEvent::Handshake { place } => {
                self.metrics.webhook_handshakes_total.with_label_values(&[place.vendor]).inc();
                let Place { lane, vendor } = place;
                tracing::info!(tenant = %lane.tenant, source = %lane.source, vendor, "handshake answered");
            }
        }
    }
}
