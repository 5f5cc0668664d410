//! What is kept of a refused delivery, for `sluice why` and the console: capped, redacted, with what
//! the diagnosis found. Made beside the answer, so that a stranger waits for none of it, and one at
//! a time, so that a flood of forgeries buys little of our time.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use sluice_actors::domain::Timestamp;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    Shown, access,
    diagnose::{self, Case},
    directory::Intake,
    receive::Arrived,
};
use crate::{
    api::records::{Records, RefusalRow},
    config::{Config, Source},
    json,
    redact::{self, Redactor},
    vendors::{Malformed, Refusal, Request},
};

/// Bytes of a body that are kept.
const KEPT_BODY: usize = 4 * 1024;
/// A larger body is neither redacted nor tried by the diagnosis, so nothing of it is kept.
const READ_BODY: usize = 256 * 1024;
/// How many wait to be kept; past them a refusal is only counted.
const WAITING: usize = 16;
/// After each, the keeper rests this many times as long as it worked.
const REST: u32 = 3;

/// Why a delivery was refused.
#[derive(Debug)]
pub(super) enum Reason {
    /// Not authentic.
    Refused(Refusal),
    /// Authentic, but unusable.
    Malformed(Malformed),
}

impl Reason {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.as_str(),
            Self::Malformed(_) => "malformed",
        }
    }
}

/// Keeps refused deliveries, best effort.
pub(super) struct Keeper {
    records: Arc<dyn Records>,
    turn: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Keeper {
    pub(super) fn new(records: Arc<dyn Records>) -> Self {
        Self { records, turn: Arc::new(Semaphore::new(1)), waiting: Arc::default() }
    }

    pub(super) fn keep(&self, config: Arc<Config>, intake: &Intake, arrived: &Arrived, reason: Reason) {
        if intake.kept_refusals.take().is_err() {
            return;
        }
        let Some(place) = Place::take(&self.waiting) else { return };
        let inbound = &arrived.inbound;
        let refused = Refused {
            source: intake.source.clone(),
            config,
            method: inbound.method.clone(),
            path: inbound.target.path().to_owned(),
            url: arrived.url.clone(),
            headers: inbound.headers.clone(),
            body_bytes: inbound.body.len(),
            body: if inbound.body.len() > READ_BODY { Bytes::new() } else { inbound.body.clone() },
            client: inbound.client,
            certificate: inbound.certificate.clone(),
            reason,
            now: arrived.now,
        };
        let (records, turn) = (self.records.clone(), self.turn.clone());
        tokio::spawn(async move {
            let _turn = turn.acquire_owned().await.expect("the semaphore is never closed");
            drop(place);
            let began = Instant::now();
            let lane = refused.source.lane.clone();
            let kept = match spawn_blocking(move || refused.row()).await {
                Ok(row) => records.keep_refusal(row).await.map_err(|error| error.to_string()),
                // The panic's text is not told: it could carry a payload.
                Err(_) => Err("its diagnosis failed".to_owned()),
            };
            if let Err(error) = kept {
                tracing::debug!(%lane, %error, "refused delivery not kept");
            }
            sleep((began.elapsed() * REST).min(Duration::from_secs(1))).await;
        });
    }
}

/// A place among those that wait.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let fits = |count: usize| (count < WAITING).then_some(count + 1);
        waiting.fetch_update(Relaxed, Relaxed, fits).ok().map(|_| Self(waiting.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

struct Refused {
    source: Arc<Source>,
    config: Arc<Config>,
    method: Method,
    path: String,
    url: String,
    headers: HeaderMap,
    /// Empty where it was too large to be read.
    body: Bytes,
    body_bytes: usize,
    client: IpAddr,
    certificate: Option<Shown>,
    reason: Reason,
    now: Timestamp,
}

impl Refused {
    fn row(&self) -> RefusalRow {
        let redactor = Redactor::of(&self.source);
        RefusalRow {
            id: 0,
            at: self.now,
            tenant: self.source.lane.tenant.to_string(),
            source: self.source.lane.source.to_string(),
            reason: self.reason.as_str().to_owned(),
            peer: self.client.to_string(),
            request: format!("{} {}", self.method, self.path),
            headers: serde_json::from_str(&redactor.headers(&self.headers)).unwrap_or(Value::Null),
            body: self.kept_body(&redactor),
            body_bytes: self.body_bytes as u64,
            hint: self.hint(),
        }
    }

    /// Redacted as a whole, then cut: a cut value could slip past a pattern.
    fn kept_body(&self, redactor: &Redactor<'_>) -> String {
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
        let refusal = match &self.reason {
            // Names what is wrong, never a value.
            Reason::Malformed(malformed) => return redact::text(&malformed.0).into_owned(),
            Reason::Refused(refusal) => *refusal,
        };
        if let Some(hint) = access::explain(refusal, self.client, self.certificate.as_ref()) {
            return hint;
        }
        if self.body_bytes != self.body.len() {
            return diagnose::Finding::Unknown(refusal).to_string();
        }
        let request =
            Request { method: &self.method, url: &self.url, headers: &self.headers, body: &self.body, now: self.now };
        let tenant = self.config.tenants.get(&self.source.lane.tenant).map(Arc::as_ref);
        diagnose::diagnose(&Case { source: &self.source, tenant, request, refusal }).to_string()
    }
}
