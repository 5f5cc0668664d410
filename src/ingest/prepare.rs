//! From an envelope to a complete row: checked, normalised, redacted, keyed, routed. Pure, apart
//! from the ids it makes and the drift it counts.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use sluice_actors::domain::Timestamp;

use super::{
    EventStatus, NewEvent, NewForm, NewJob,
    keys::{KeyRules, Keys, sha256},
};
use crate::{
    config::{Filter, Route, Source},
    ids,
    redact::{self, Redactor},
    schema::{self, Catalog, Drift},
    trace::DeliveryTrace,
    vendors::Envelope,
};

/// What is known of a delivery besides its events.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// The raw body.
    pub raw: Bytes,
    /// All headers; only those of [`redact::KEPT_HEADERS`] are kept.
    pub headers: &'a HeaderMap,
    /// When it was received.
    pub received_at: Timestamp,
    /// The time that the signature covers, where the scheme signs one.
    pub signed_at: Option<Timestamp>,
    /// The label of the secret that verified it.
    pub secret_version: Arc<str>,
    /// Its trace.
    pub trace: DeliveryTrace,
    /// Where drift is counted.
    pub drift: &'a Drift,
}

/// Prepares all events of a delivery, in order.
pub fn prepare_all(source: &Source, envelopes: Vec<Envelope>, delivery: &Delivery<'_>) -> Vec<NewEvent> {
    // An array with one element is a batch too: its element must look the same in a batch of two.
    let batch = envelopes.len() > 1
        || (first_byte(&delivery.raw) == Some(b'[') && !envelopes.iter().any(|e| e.payload.is_array()));
    envelopes
        .into_iter()
        .map(|envelope| {
            let raw = if batch { Bytes::from(envelope.payload.to_string()) } else { delivery.raw.clone() };
            prepare(source, envelope, raw, delivery)
        })
        .collect()
}

/// Prepares one event. `raw` is its own bytes: the body, or the serialised element of a batch.
pub fn prepare(source: &Source, envelope: Envelope, raw: Bytes, delivery: &Delivery<'_>) -> NewEvent {
    let profile = source.vendor.profile();
    let catalog = schema::catalog(source.vendor.name());
    let redactor = Redactor::of(source);

    let rules =
        KeyRules { on_conflict: source.on_conflict, replay_guard: source.replay_guard, volatile: profile.volatile };
    let keys = Keys::of(rules, &envelope, &raw, delivery.signed_at);

    let Envelope { external_id, event_type, subject_id, occurred_at, api_version, mut payload, .. } = envelope;
    let api_version = api_version.filter(|version| is_version(version));
    let fit = catalog.check(&event_type, &payload).map_err(|misfit| misfit.to_string());
    if let Ok(checked) = &fit {
        delivery.drift.record(catalog.vendor, api_version.as_deref(), checked, delivery.received_at);
    }

    let stored = redactor.payload(&mut payload, &raw);
    let redacted = stored.is_some();
    let stored = stored.map_or(raw, Bytes::from);
    let stored_hash = if redacted { sha256(&stored) } else { keys.payload_hash };

    let subject_id = subject_id.map(|subject| redactor.identity(subject));
    let data = catalog.data(payload);
    let reason = fit.err().or_else(|| operator_misfit(source, &event_type, &data));
    let (status, form, jobs) = match &reason {
        Some(_) => (EventStatus::Quarantined, None, Vec::new()),
        None => {
            let jobs = route_event(source, &event_type, subject_id.as_deref(), &data, delivery.received_at);
            let status = if jobs.is_empty() { EventStatus::Unrouted } else { EventStatus::Stored };
            (status, Some(form(catalog, &data)), jobs)
        }
    };

    NewEvent {
        id: ids::event_id(delivery.received_at),
        lane: source.lane.clone(),
        vendor: source.vendor.name().into(),
        external_id: redactor.identity(external_id),
        payload_hash: keys.payload_hash,
        stored_hash,
        dedupe_key: keys.dedupe_key,
        replay_key: keys.replay_key,
        on_conflict: source.on_conflict,
        keys_expire: profile.signs_time,
        event_type,
        subject_id,
        occurred_at: occurred_at.unwrap_or(delivery.received_at),
        received_at: delivery.received_at,
        secret_version: delivery.secret_version.clone(),
        api_version,
        status,
        trace_id: delivery.trace.request.trace,
        sampled: delivery.trace.request.is_sampled(),
        trace_link: delivery.trace.theirs.map(|theirs| theirs.to_string()),
        raw: stored,
        redacted,
        headers: redactor.headers(delivery.headers),
        form,
        quarantine_reason: reason,
        jobs,
    }
}

/// A stored payload, normalised anew by the schemas of today.
#[derive(Debug, Clone)]
pub struct Renormalised {
    /// The form.
    pub form: NewForm,
    /// The same `data` as a value, for [`route_event`].
    pub data: Value,
    /// Why it still does not fit, if so; no payload in it. A person may release it all the same.
    pub misfit: Option<String>,
}

/// The stored bytes cannot be read as a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored payload is neither JSON nor a form")]
pub struct Unreadable;

/// Normalises the stored (redacted) bytes of an event anew: for the release of a quarantined event
/// and for re-processing after a schema changed.
pub fn renormalise(source: &Source, event_type: &str, stored: &[u8]) -> Result<Renormalised, Unreadable> {
    let catalog = schema::catalog(source.vendor.name());
    let payload = redact::read_stored(stored).ok_or(Unreadable)?;
    let fit = catalog.check(event_type, &payload).err().map(|misfit| misfit.to_string());
    let data = catalog.data(payload);
    let misfit = fit.or_else(|| operator_misfit(source, event_type, &data));
    Ok(Renormalised { form: form(catalog, &data), data, misfit })
}

/// The jobs that the routes of a source make of an event, one for each route that matches.
pub fn route_event(
    source: &Source,
    event_type: &str,
    subject_id: Option<&str>,
    data: &Value,
    now: Timestamp,
) -> Vec<NewJob> {
    source
        .routes
        .iter()
        .filter(|route| route_matches(route, event_type, subject_id, data))
        .map(|route| new_job(route, now))
        .collect()
}

/// A job of an event for a route, whether or not the route would match.
pub fn new_job(route: &Route, now: Timestamp) -> NewJob {
    NewJob { id: ids::job_id(now), route: route.name.clone(), kind: route.action.kind().into() }
}

/// Whether a route wants an event. Filters see what is stored: the redacted form.
pub fn route_matches(route: &Route, event_type: &str, subject_id: Option<&str>, data: &Value) -> bool {
    let wanted = route.event_types.is_empty() || route.event_types.iter().any(|pattern| pattern.matches(event_type));
    wanted && route.filter.iter().all(|filter| filter_matches(filter, event_type, subject_id, data))
}

fn filter_matches(filter: &Filter, event_type: &str, subject_id: Option<&str>, data: &Value) -> bool {
    let found = match filter.pointer.as_str() {
        "/event_type" => Some(Cow::Owned(Value::from(event_type))),
        "/subject_id" => subject_id.map(|subject| Cow::Owned(Value::from(subject))),
        pointer => pointer.strip_prefix("/data").and_then(|rest| data.pointer(rest)).map(Cow::Borrowed),
    };
    found.is_some_and(|found| filter.any_of.contains(&found))
}

fn form(catalog: &Catalog, data: &Value) -> NewForm {
    let json = serde_json::to_string(data).expect("a value has only text for keys");
    NewForm { schema_version: catalog.version, json }
}

/// Why an operator's JSON Schema does not fit; names the place and the rule, never a value.
fn operator_misfit(source: &Source, event_type: &str, data: &Value) -> Option<String> {
    source.schemas.iter().filter(|(pattern, _)| pattern.matches(event_type)).find_map(|(_, validator)| {
        let error = validator.validate(data).err()?;
        let path = redact::text(error.instance_path().as_str()).into_owned();
        let path = if path.is_empty() { "/" } else { &path };
        Some(format!("{path}: does not satisfy `{}` of the source's JSON Schema", error.kind().keyword()))
    })
}

/// The longest `api_version`; vendors' have some twenty bytes.
const MAX_VERSION: usize = 64;

/// Whether a text is a version that may be stored, shown and counted under.
fn is_version(text: &str) -> bool {
    text.len() <= MAX_VERSION && !text.chars().any(char::is_control)
}

fn first_byte(raw: &[u8]) -> Option<u8> {
    raw.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests;
