//! Spans, by OpenTelemetry's conventions for HTTP servers, messaging and HTTP clients: of a request
//! that leads to a source, of each event that was stored with it, of each attempt, of each call.
//!
//! A span is made when what it tells of is over, from what observers are told, and handed to a queue
//! that never waits. Nothing of a body, a header or a query is in one, and of a callee's
//! URL only scheme, host and port.

mod export;
mod settings;

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use opentelemetry::{
    InstrumentationScope, KeyValue, Value,
    trace::{self as otel, Link, SpanContext, SpanKind, Status, TraceFlags, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prometheus::IntCounter;
use sluice_actors::domain::{EventId, Job, LaneKey, TraceId};

use self::{
    export::Export,
    settings::{Sampler, Settings},
};
use super::{deliveries::method_label, lanes::AttemptOutcome};
use crate::{
    clock, config, ids,
    ingest::{EventStatus, Place},
    trace::{AttemptTrace, Called, Context, DeliveryTrace, Request as Asked, SpanId, Tracer},
};

/// The template of the one path that vendors call.
const ROUTE: &str = "/webhooks/{tenant}/{source}";

/// Why traces cannot be kept as they are configured; an operator reads it.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A value does not fit.
    #[error("{key} {reason}")]
    Setting {
        /// The key or variable.
        key: &'static str,
        /// What is wrong with it; does not repeat it.
        reason: String,
    },
    /// The exporter cannot be made.
    #[error("telemetry.traces: {0}")]
    Exporter(String),
}

/// Where spans go; clones share it. By default nowhere, which costs nothing.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<On>>);

struct On {
    export: Export,
    sampler: Sampler,
    scope: InstrumentationScope,
}

/// A request that was answered.
pub(super) struct Request<'a> {
    pub(super) place: Place<'a>,
    pub(super) method: &'a Method,
    pub(super) https: bool,
    pub(super) trace: Option<DeliveryTrace>,
    pub(super) status: StatusCode,
    pub(super) took: Duration,
    pub(super) bytes: usize,
}

/// An event that was stored.
pub(super) struct StoredEvent<'a> {
    pub(super) place: Place<'a>,
    pub(super) id: EventId,
    pub(super) trace: DeliveryTrace,
    pub(super) status: EventStatus,
    pub(super) jobs: usize,
    pub(super) took: Duration,
}

/// An attempt that ended.
pub(super) struct EndedAttempt<'a> {
    pub(super) job: &'a Job,
    pub(super) trace: AttemptTrace,
    pub(super) vendor: &'static str,
    pub(super) outcome: AttemptOutcome,
    pub(super) took: Duration,
}

impl Traces {
    /// Where `config` and the variables of OpenTelemetry say, if they say so. What is lost is counted
    /// in `dropped`.
    ///
    /// # Errors
    /// What does not fit.
    pub fn start(config: &config::Traces, dropped: IntCounter) -> Result<Self, TracesError> {
        let Some(settings) = Settings::resolve(config, &|name| std::env::var(name).ok())? else {
            return Ok(Self::default());
        };
        let export = Export::start(&settings, dropped)?;
        let endpoint = settings.endpoint.as_str();
        tracing::info!(endpoint, sampler = %settings.sampler, "spans are sent");
        let scope = InstrumentationScope::builder("sluice").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self(Some(Arc::new(On { export, sampler: settings.sampler, scope }))))
    }

    /// Sends what waits, as long as it may take. Spans made later are lost.
    pub async fn shutdown(&self, within: Duration) {
        if let Some(on) = &self.0 {
            on.export.shutdown(within).await;
        }
    }

    /// The trace of an attempt, as the tree tells of it.
    pub(super) fn attempt(&self, job: &Job, trace: TraceId, sampled: bool) -> AttemptTrace {
        AttemptTrace::of(job, trace, sampled, self)
    }

    pub(super) fn request(&self, request: &Request<'_>) {
        let Some(on) = &self.0 else { return };
        // What did not verify says nothing of a trace.
        let context = request.trace.map_or_else(
            || {
                let trace = ids::trace_id();
                Context::new(trace, SpanId::fresh(), self.samples(trace, None))
            },
            |trace| trace.request,
        );
        if !context.is_sampled() {
            return;
        }
        let LaneKey { tenant, source } = request.place.lane;
        let mut attributes = Vec::with_capacity(11);
        attributes.extend([
            text("http.request.method", method(request.method)),
            text("http.route", ROUTE),
            text("url.scheme", if request.https { "https" } else { "http" }),
            text("url.path", format!("/webhooks/{tenant}/{source}")),
            KeyValue::new("http.response.status_code", i64::from(request.status.as_u16())),
            KeyValue::new("http.request.body.size", request.bytes as i64),
        ]);
        attributes.extend(place(request.place.lane, request.place.vendor));
        if request.status.is_server_error() {
            attributes.push(text("error.type", request.status.as_str().to_owned()));
        }
        let name = match *request.method {
            Method::POST => Cow::Borrowed("POST /webhooks/{tenant}/{source}"),
            ref other => format!("{} {ROUTE}", method(other)).into(),
        };
        let theirs = request.trace.and_then(|trace| trace.theirs.map(|theirs| (theirs, trace.continued)));
        on.end(Ended {
            context,
            parent: theirs.filter(|(_, continued)| *continued).map(|(theirs, _)| (theirs, Remote::Yes)),
            link: theirs.filter(|(_, continued)| !continued).map(|(theirs, _)| theirs),
            kind: SpanKind::Server,
            name,
            took: request.took,
            failed: request.status.is_server_error(),
            attributes,
        });
    }

    pub(super) fn stored(&self, event: &StoredEvent<'_>) {
        let Some(on) = self.0.as_ref().filter(|_| event.trace.request.is_sampled()) else { return };
        let lane = event.place.lane;
        let mut attributes = Vec::with_capacity(10);
        attributes.extend(messaging("send", lane, event.id));
        attributes.extend(place(lane, event.place.vendor));
        attributes.extend([
            text("sluice.event.status", event.status.as_str()),
            KeyValue::new("sluice.event.jobs", event.jobs as i64),
        ]);
        on.end(Ended {
            context: event.trace.stored(event.id),
            parent: Some((event.trace.request, Remote::No)),
            link: None,
            kind: SpanKind::Producer,
            name: format!("send {lane}").into(),
            took: event.took,
            failed: false,
            attributes,
        });
    }

    pub(super) fn attempted(&self, attempt: &EndedAttempt<'_>) {
        let Some(on) = self.0.as_ref().filter(|_| attempt.trace.span.is_sampled()) else { return };
        let EndedAttempt { job, trace, outcome, .. } = attempt;
        let failed = !matches!(outcome, AttemptOutcome::Succeeded | AttemptOutcome::Held);
        let mut attributes = Vec::with_capacity(14);
        attributes.extend(messaging("process", &job.lane, job.event_id));
        attributes.extend(place(&job.lane, attempt.vendor));
        attributes.extend([
            text("sluice.job.id", job.id.to_string()),
            text("sluice.job.route", job.route.as_str().to_owned()),
            text("sluice.job.action", job.kind.clone()),
            KeyValue::new("sluice.job.attempt", i64::from(job.attempts) + 1),
            text("sluice.job.outcome", outcome.as_str()),
        ]);
        if failed {
            attributes.push(text("error.type", outcome.as_str()));
        }
        on.end(Ended {
            context: trace.span,
            parent: (!trace.is_replay()).then_some((trace.stored, Remote::Yes)),
            link: Some(trace.stored),
            kind: SpanKind::Consumer,
            name: format!("process {}", job.lane).into(),
            took: attempt.took,
            failed,
            attributes,
        });
    }
}

impl Tracer for Traces {
    fn samples(&self, trace: TraceId, parent: Option<bool>) -> bool {
        self.0.as_ref().is_some_and(|on| on.sampler.samples(trace, parent))
    }

    fn called(&self, call: &Called<'_>) {
        let Some(on) = &self.0 else { return };
        let callee = call.callee.as_str();
        let mut attributes = Vec::with_capacity(7);
        attributes.push(text("sluice.callee", callee.to_owned()));
        let (kind, name) = match call.request {
            Asked::Http { method: verb, url } => {
                attributes.extend([
                    text("http.request.method", method(verb)),
                    text("url.scheme", url.scheme().to_owned()),
                    text("server.address", url.host_str().unwrap_or_default().to_owned()),
                ]);
                attributes
                    .extend(url.port_or_known_default().map(|port| KeyValue::new("server.port", i64::from(port))));
                // `llm`, `wordpress` or `host`: there are few of them, as a name must be.
                let kind = callee.split(':').next().unwrap_or_default();
                (SpanKind::Client, format!("{} {kind}", method(verb)))
            }
            Asked::Publish { system, host, port, destination } => {
                attributes.extend([
                    text("messaging.system", system),
                    text("messaging.operation.name", "publish"),
                    text("messaging.operation.type", "send"),
                    text("messaging.destination.template", destination.to_owned()),
                    text("server.address", host.to_owned()),
                    KeyValue::new("server.port", i64::from(port)),
                ]);
                (SpanKind::Producer, format!("publish {system}"))
            }
        };
        let error = match call.answer {
            Ok(Some(status)) => {
                attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                (status.is_client_error() || status.is_server_error()).then(|| status.as_str().to_owned().into())
            }
            Ok(None) => None,
            Err(kind) => Some(Cow::Borrowed(kind)),
        };
        let failed = error.is_some();
        attributes.extend(error.map(|error| text("error.type", error)));
        on.end(Ended {
            context: call.span,
            parent: Some((call.attempt.span, Remote::No)),
            link: None,
            kind,
            name: name.into(),
            took: call.took,
            failed,
            attributes,
        });
    }
}

/// Whether a parent ran in another process, or may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remote {
    Yes,
    No,
}

/// A span that ends now.
struct Ended {
    context: Context,
    parent: Option<(Context, Remote)>,
    link: Option<Context>,
    kind: SpanKind,
    name: Cow<'static, str>,
    took: Duration,
    failed: bool,
    attributes: Vec<KeyValue>,
}

impl On {
    fn end(&self, span: Ended) {
        let end_time = clock::fine();
        let mut links = SpanLinks::default();
        links.links.extend(span.link.map(|link| Link::with_context(context(link, Remote::Yes))));
        let status = if span.failed { Status::error("") } else { Status::Unset };
        self.export.send(SpanData {
            span_context: context(span.context, Remote::No),
            parent_span_id: span.parent.map_or(otel::SpanId::INVALID, |(parent, _)| span_id(parent)),
            parent_span_is_remote: span.parent.is_some_and(|(_, remote)| remote == Remote::Yes),
            span_kind: span.kind,
            name: span.name,
            start_time: end_time.checked_sub(span.took).unwrap_or(end_time),
            end_time,
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

fn context(context: Context, remote: Remote) -> SpanContext {
    let trace = otel::TraceId::from_bytes(*context.trace.as_bytes());
    let flags = TraceFlags::default().with_sampled(context.is_sampled());
    SpanContext::new(trace, span_id(context), flags, remote == Remote::Yes, TraceState::NONE)
}

fn span_id(context: Context) -> otel::SpanId {
    otel::SpanId::from_bytes(*context.span.as_bytes())
}

fn text(key: &'static str, value: impl Into<Value>) -> KeyValue {
    KeyValue::new(key, value)
}

/// The method, if it is one of the standard's: others are a sender's words.
fn method(method: &Method) -> &'static str {
    match method_label(method) {
        "other" => "_OTHER",
        known => known,
    }
}

fn place(lane: &LaneKey, vendor: &'static str) -> [KeyValue; 3] {
    [
        text("sluice.tenant", lane.tenant.as_str().to_owned()),
        text("sluice.source", lane.source.as_str().to_owned()),
        text("sluice.vendor", vendor),
    ]
}

fn messaging(operation: &'static str, lane: &LaneKey, event: EventId) -> [KeyValue; 5] {
    [
        text("messaging.system", "sluice"),
        text("messaging.operation.name", operation),
        text("messaging.operation.type", operation),
        text("messaging.destination.name", lane.to_string()),
        text("messaging.message.id", event.to_string()),
    ]
}
