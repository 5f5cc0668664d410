//! What is kept of a refused delivery, for `sluice why` and the console: capped, redacted, with what
//! the diagnosis found. Made in a task of its own, so that a stranger waits for none of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use sluice_actors::domain::Timestamp;

use super::{
    diagnose::{self, Case},
    directory::Intake,
    receive::Inbound,
};
use crate::{
    api::records::{NewRefusal, Records, RefusalRow},
    config::{Config, Source},
    json,
    redact::Redactor,
    vendors::{Refusal, Request},
};

/// Bytes of a body that are kept.
const KEPT_BODY: usize = 4 * 1024;
/// A larger body is not read for redaction, so nothing of it is kept.
const READ_BODY: usize = 256 * 1024;

/// Keeps `inbound`, best effort.
pub(super) fn keep(
    records: Arc<dyn Records>,
    config: Arc<Config>,
    intake: &Intake,
    inbound: &Inbound,
    url: String,
    reason: Refusal,
    now: Timestamp,
) {
    let refused = Refused {
        source: intake.source.clone(),
        config,
        method: inbound.method.clone(),
        path: inbound.target.path().to_owned(),
        url,
        headers: inbound.headers.clone(),
        body: inbound.body.clone(),
        peer: inbound.client.to_string(),
        reason,
        now,
    };
    tokio::spawn(async move {
        let lane = refused.source.lane.clone();
        if let Err(error) = records.keep_refusal(refused.row()).await {
            tracing::debug!(%lane, %error, "refused delivery not kept");
        }
    });
}

struct Refused {
    source: Arc<Source>,
    config: Arc<Config>,
    method: Method,
    path: String,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    peer: String,
    reason: Refusal,
    now: Timestamp,
}

impl Refused {
    fn row(&self) -> NewRefusal {
        let redactor = Redactor::of(&self.source);
        let row = RefusalRow {
            id: 0,
            at: self.now,
            tenant: self.source.lane.tenant.to_string(),
            source: self.source.lane.source.to_string(),
            reason: self.reason.as_str().to_owned(),
            peer: self.peer.clone(),
            request: format!("{} {}", self.method, self.path),
            headers: serde_json::from_str(&redactor.headers(&self.headers)).unwrap_or(Value::Null),
            body: self.kept_body(&redactor),
            body_bytes: self.body.len() as u64,
            hint: self.hint(),
        };
        NewRefusal { row, reason: self.reason }
    }

    /// Redacted as a whole, then cut: a cut value could slip past a pattern.
    fn kept_body(&self, redactor: &Redactor<'_>) -> String {
        if self.body.len() > READ_BODY {
            return String::new();
        }
        let text = match json::parse_strict(&self.body) {
            Ok(mut value) => {
                let redacted = redactor.payload(&mut value, &self.body);
                String::from_utf8_lossy(redacted.as_deref().unwrap_or(&self.body)).into_owned()
            }
            Err(_) => redactor.text(&String::from_utf8_lossy(&self.body)).into_owned(),
        };
        let end = (0..=KEPT_BODY.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text[..end].to_owned()
    }

    fn hint(&self) -> String {
        let request =
            Request { method: &self.method, url: &self.url, headers: &self.headers, body: &self.body, now: self.now };
        let neighbours = self.config.tenants.get(&self.source.lane.tenant).map(Arc::as_ref);
        diagnose::diagnose(&Case { source: &self.source, tenant: neighbours, request, refusal: self.reason })
            .to_string()
    }
}
