//! The pipeline of one delivery: source → verify → source rate → backlog → handshake or envelopes →
//! prepare → record → wake → reply. No HTTP server, no SQL.
//!
//! What a stranger can see is the same for every path that leads nowhere and for every delivery that
//! does not verify: the caps and media types checked before (see [`Door`]), the work (the body is
//! read and one MAC is made over it) and the bytes of the answer. Whatever tells sources apart (their
//! own media types, their rate, their backlog) is looked at only after the signature.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Method, StatusCode, uri::PathAndQuery};
use sha2::Sha256;
use sluice_actors::{
    domain::{LaneKey, SourceName, TenantName, Timestamp, TraceId},
    ports::Clock,
};

use super::{
    EventStatus, EventStore, IngestEvent, NewEvent, Observer, Recorded, Rejection,
    directory::{Directories, Directory, Intake, LiveKeys},
    media,
    memory::{BodyMemory, Share},
    prepare::{Delivery, prepare_all},
    refused,
};
use crate::{
    api::records::{HandshakeRow, Records},
    config::Live,
    ids,
    schema::Drift,
    vendors::{Answer, Envelope, Malformed, Reading, Refusal, Request, Verified},
};

/// One delivery, read to its end within the limits of its [`Door`].
#[derive(Debug)]
pub struct Inbound {
    /// The method.
    pub method: Method,
    /// Path and query as sent.
    pub target: PathAndQuery,
    /// All headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Bytes,
    /// Who sent it.
    pub client: IpAddr,
}

/// The answer to a delivery.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The media type of the body; none without a body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

impl Reply {
    fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: Some("application/json"), body: body.into(), retry_after: None }
    }

    fn later(status: StatusCode, body: &'static str, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::json(status, body) }
    }
}

/// What receiving is given.
#[derive(Clone)]
pub struct ReceiverParts {
    /// The configuration in force.
    pub config: Live,
    /// Where events go.
    pub store: Arc<dyn EventStore>,
    /// Where refusals and handshakes go, and who knows the backlog.
    pub records: Arc<dyn Records>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Told which lane has new jobs. Must return at once; may be lost.
    pub wake: Arc<dyn Fn(&LaneKey) + Send + Sync>,
    /// Who is told what happened.
    pub observer: Arc<dyn Observer>,
    /// Where drift of schemas is counted.
    pub drift: Arc<Drift>,
}

/// Receives deliveries. One per process; share it by `Arc`.
pub struct Receiver {
    parts: ReceiverParts,
    directories: Directories,
}

/// The way of one request to its source, or to nowhere: same limits either way.
pub struct Door {
    directory: Arc<Directory>,
    intake: Option<Arc<Intake>>,
    max_body: usize,
}

impl Door {
    /// The largest body that is read. Where the path leads nowhere: that of some real source.
    pub fn max_body(&self) -> usize {
        self.max_body
    }

    /// The memory that the body is charged to.
    pub fn memory(&self) -> &Arc<Share> {
        self.intake.as_ref().map_or_else(|| self.directory.nowhere(), |intake| &intake.memory)
    }

    /// Whether headers may be read on: a media type that some source accepts, and no content coding.
    pub fn accepts(&self, headers: &HeaderMap) -> bool {
        media::is_one_of(headers, &self.directory.media_types)
    }

    /// Where it leads, for [`IngestEvent::Answered`].
    pub fn place(&self) -> Option<super::Place<'_>> {
        self.intake.as_ref().map(|intake| intake.place())
    }
}

const UNAUTHORIZED: &str = r#"{"ok":false,"error":"unauthorized","message":"the delivery could not be verified"}"#;
const MEDIA_TYPE: &str =
    r#"{"ok":false,"error":"unsupported_media_type","message":"content type or encoding not accepted"}"#;
const SOURCE_RATE: &str =
    r#"{"ok":false,"error":"rate_limited","message":"this source's rate is used up, try again later"}"#;
const BACKLOG: &str =
    r#"{"ok":false,"error":"backlog_full","message":"too many jobs of this source are waiting, try again later"}"#;
const UNAVAILABLE: &str = r#"{"ok":false,"error":"unavailable","message":"not stored, try again"}"#;

const BACKLOG_RETRY: Duration = Duration::from_secs(30);
const STORE_RETRY: Duration = Duration::from_secs(5);

impl Receiver {
    /// A receiver of what `parts` says.
    pub fn new(parts: ReceiverParts) -> Self {
        let directories = Directories::new(parts.config.clone(), ids::seed());
        Self { parts, directories }
    }

    /// The memory that bodies take.
    pub fn memory(&self) -> &Arc<BodyMemory> {
        self.directories.memory()
    }

    /// Who is told what happened.
    pub fn observer(&self) -> &dyn Observer {
        self.parts.observer.as_ref()
    }

    /// Where a path leads.
    pub fn door(&self, tenant: &TenantName, source: &SourceName) -> Door {
        let directory = self.directories.current();
        let intake = directory.intake(tenant, source).cloned();
        let max_body = match &intake {
            Some(intake) => intake.source.limits.max_body,
            None => directory.decoy_cap(tenant, source),
        };
        Door { directory, intake, max_body }
    }

    /// Takes one delivery to its reply. A success is replied only after its events and jobs are
    /// durable. Dropping the future cancels no write that the store was handed (see
    /// [`EventStore::record`]).
    pub async fn receive(&self, door: &Door, inbound: Inbound) -> Reply {
        let now = self.parts.clock.now();
        let intake = match &door.intake {
            None => return self.refuse(door, &inbound, Refusal::UnknownEndpoint, now),
            Some(intake) if !intake.source.enabled => return self.refuse(door, &inbound, Refusal::Disabled, now),
            Some(intake) => intake,
        };
        let url = public_url(door, &inbound);
        let request = request(&inbound, &url, now);
        let live = intake.live(now);
        if live.keys.is_empty() {
            return match intake.source.vendor.offered_secret(&request) {
                Some(token) if intake.source.await_handshake => {
                    let token = token.expose_str().map(ToOwned::to_owned);
                    let answer = Answer { status: StatusCode::OK, content_type: None, body: Vec::new() };
                    self.handshake(intake, answer, token, now).await
                }
                _ => self.refuse(door, &inbound, Refusal::NoLiveSecret, now),
            };
        }
        let verified = match intake.source.vendor.verify(&request, &live.keys, intake.source.tolerance) {
            Ok(verified) => verified,
            Err(refusal) => return self.refuse(door, &inbound, refusal, now),
        };
        self.tell_verified(intake, &live, verified, now);
        if let Some(reply) = self.limits(intake, &inbound).await {
            return reply;
        }
        match intake.source.vendor.read(&request, &verified, &live.keys) {
            Ok(Reading::Events(envelopes)) => {
                let version = live.versions[verified.key].clone();
                let answer = intake.source.vendor.success_answer(&request);
                let reply = self.record(intake, inbound, envelopes, verified, version, now).await;
                answer.filter(|_| reply.status.is_success()).map_or(reply, reply_with)
            }
            Ok(Reading::Handshake(answer)) => self.handshake(intake, answer, None, now).await,
            Err(malformed) => self.malformed(intake, &malformed),
        }
    }

    /// The answer to a GET handshake; `None` for every path and request that is not one, whatever
    /// the reason, so that it does not tell which paths lead somewhere.
    pub fn get_handshake(&self, door: &Door, inbound: &Inbound) -> Option<Reply> {
        let now = self.parts.clock.now();
        let intake = door.intake.as_ref().filter(|intake| intake.source.enabled)?;
        let url = public_url(door, inbound);
        let answer = intake.source.vendor.get_handshake(&request(inbound, &url, now), &intake.live(now).keys)?.ok()?;
        self.parts.observer.observe(&IngestEvent::Handshake { place: intake.place() });
        Some(reply_with(answer))
    }

    fn tell_verified(&self, intake: &Intake, live: &LiveKeys, verified: Verified, now: Timestamp) {
        self.parts.observer.observe(&IngestEvent::Verified {
            place: intake.place(),
            secret_version: &live.versions[verified.key],
            skew_ms: verified.signed_at.map(|at| now.as_millis().saturating_sub(at.as_millis())),
        });
    }

    /// The limits that belong to the source: its media types, its rate, its backlog.
    async fn limits(&self, intake: &Intake, inbound: &Inbound) -> Option<Reply> {
        let (rejection, reply) = if !media::is_one_of(&inbound.headers, intake.source.vendor.profile().content_types) {
            (Rejection::MediaType, Reply::json(StatusCode::UNSUPPORTED_MEDIA_TYPE, MEDIA_TYPE))
        } else if let Err(after) = intake.bucket.take() {
            (Rejection::SourceRate, Reply::later(StatusCode::TOO_MANY_REQUESTS, SOURCE_RATE, after))
        } else if intake.backlog.is_full(&intake.source, &self.parts.records).await {
            (Rejection::Pending, Reply::later(StatusCode::TOO_MANY_REQUESTS, BACKLOG, BACKLOG_RETRY))
        } else {
            return None;
        };
        self.reject(intake, rejection);
        Some(reply)
    }

    async fn record(
        &self,
        intake: &Intake,
        inbound: Inbound,
        envelopes: Vec<Envelope>,
        verified: Verified,
        secret_version: Arc<str>,
        now: Timestamp,
    ) -> Reply {
        let source = &*intake.source;
        let (trace_id, trace_link) = trace(&inbound.headers, source.continue_trace);
        let delivery = Delivery {
            raw: inbound.body,
            headers: &inbound.headers,
            received_at: now,
            signed_at: verified.signed_at,
            secret_version,
            trace_id,
            trace_link,
            drift: &self.parts.drift,
        };
        let events = prepare_all(source, envelopes, &delivery);
        drop(delivery);
        let told: Vec<Told> = events.iter().map(Told::of).collect();
        let recorded = if events.is_empty() { Ok(Vec::new()) } else { self.parts.store.record(events).await };
        match recorded {
            Ok(recorded) => {
                self.tell_recorded(intake, &told, &recorded, trace_id, now);
                success(source.vendor.profile().success, &told, &recorded)
            }
            Err(error) => {
                tracing::warn!(lane = %source.lane, %trace_id, %error, "delivery not recorded");
                self.reject(intake, Rejection::Store);
                Reply::later(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, STORE_RETRY)
            }
        }
    }

    fn tell_recorded(
        &self,
        intake: &Intake,
        told: &[Told],
        recorded: &[Recorded],
        trace_id: TraceId,
        received_at: Timestamp,
    ) {
        let took = self.parts.clock.now().since(received_at);
        let mut new_jobs = 0;
        for (told, recorded) in told.iter().zip(recorded) {
            let jobs = if matches!(recorded, Recorded::New(_)) { told.jobs } else { 0 };
            new_jobs += jobs;
            self.parts.observer.observe(&IngestEvent::Recorded {
                place: intake.place(),
                recorded: *recorded,
                event_type: &told.event_type,
                status: told.status,
                jobs,
                trace_id,
                took,
            });
        }
        if new_jobs > 0 {
            intake.backlog.add(new_jobs);
            (self.parts.wake)(&intake.source.lane);
        }
    }

    async fn handshake(&self, intake: &Intake, answer: Answer, token: Option<String>, now: Timestamp) -> Reply {
        let LaneKey { tenant, source } = &intake.source.lane;
        let row = HandshakeRow { at: now, tenant: tenant.to_string(), source: source.to_string(), token };
        if let Err(error) = self.parts.records.keep_handshake(row).await {
            tracing::warn!(lane = %intake.source.lane, %error, "handshake not kept");
            self.reject(intake, Rejection::Store);
            return Reply::later(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, STORE_RETRY);
        }
        self.parts.observer.observe(&IngestEvent::Handshake { place: intake.place() });
        reply_with(answer)
    }

    fn malformed(&self, intake: &Intake, malformed: &Malformed) -> Reply {
        self.reject(intake, Rejection::Malformed);
        let message = serde_json::Value::from(malformed.0.as_ref());
        let body = format!(r#"{{"ok":false,"error":"malformed","message":{message}}}"#);
        Reply::json(StatusCode::BAD_REQUEST, body)
    }

    fn reject(&self, intake: &Intake, reason: Rejection) {
        self.parts.observer.observe(&IngestEvent::Rejected { place: intake.place(), reason });
    }

    /// The one answer to all that is not authentic.
    fn refuse(&self, door: &Door, inbound: &Inbound, reason: Refusal, now: Timestamp) -> Reply {
        match reason {
            // The vendors make the MAC first and look at the time afterwards.
            Refusal::BadSignature | Refusal::StaleTimestamp | Refusal::FutureTimestamp => {}
            Refusal::MissingSignature
            | Refusal::MalformedSignature
            | Refusal::UnknownEndpoint
            | Refusal::Disabled
            | Refusal::NoLiveSecret => mac_for_nothing(&inbound.body),
        }
        let client = inbound.client;
        self.parts.observer.observe(&IngestEvent::Refused { place: door.place(), reason, client });
        if let Some(intake) = &door.intake
            && intake.kept_refusals.take().is_ok()
        {
            let config = door.directory.config.clone();
            refused::keep(self.parts.records.clone(), config, intake, inbound, public_url(door, inbound), reason, now);
        }
        Reply::json(StatusCode::UNAUTHORIZED, UNAUTHORIZED)
    }
}

/// A delivery that is refused before a MAC was made over it takes as long as one with a bad MAC.
fn mac_for_nothing(body: &[u8]) {
    let mut mac = Hmac::<Sha256>::new_from_slice(&[0; 32]).expect("HMAC takes keys of any length");
    mac.update(body);
    std::hint::black_box(mac.finalize());
}

fn public_url(door: &Door, inbound: &Inbound) -> String {
    let (base, target) = (door.directory.public_url.as_str(), inbound.target.as_str());
    let mut url = String::with_capacity(base.len() + target.len());
    url.push_str(base);
    url.push_str(target);
    url
}

fn request<'a>(inbound: &'a Inbound, url: &'a str, now: Timestamp) -> Request<'a> {
    Request { method: &inbound.method, url, headers: &inbound.headers, body: &inbound.body, now }
}

fn reply_with(answer: Answer) -> Reply {
    Reply { status: answer.status, content_type: answer.content_type, body: answer.body.into(), retry_after: None }
}

/// What is told of an event after the store took it away.
struct Told {
    event_type: String,
    status: EventStatus,
    jobs: usize,
}

impl Told {
    fn of(event: &NewEvent) -> Self {
        Self { event_type: event.event_type.clone(), status: event.status, jobs: event.jobs.len() }
    }
}

/// The answer of DESIGN §6. A batch is a duplicate only if all of it is; all ids are listed.
fn success(status: StatusCode, told: &[Told], recorded: &[Recorded]) -> Reply {
    if status == StatusCode::NO_CONTENT {
        return Reply { status, content_type: None, body: Bytes::new(), retry_after: None };
    }
    let duplicate = !recorded.is_empty() && recorded.iter().all(|r| matches!(r, Recorded::Duplicate { .. }));
    let mut body = String::with_capacity(96 + recorded.len() * 40);
    body.push_str(if duplicate { r#"{"ok":true,"duplicate":true,"# } else { r#"{"ok":true,"duplicate":false,"# });
    if told.iter().any(|told| told.status == EventStatus::Quarantined) {
        body.push_str(r#""quarantined":true,"#);
    }
    if let [only] = recorded {
        body.push_str(r#""event_id":""#);
        body.push_str(&only.event_id().to_string());
        body.push_str("\"}");
    } else {
        body.push_str(r#""event_ids":["#);
        for (n, recorded) in recorded.iter().enumerate() {
            body.push_str(if n == 0 { "\"" } else { ",\"" });
            body.push_str(&recorded.event_id().to_string());
            body.push('"');
        }
        body.push_str("]}");
    }
    Reply::json(status, body)
}

const TRACEPARENT: &str = "traceparent";

/// The delivery's trace, and the vendor's own to be linked (W3C Trace Context, version 00).
fn trace(headers: &HeaderMap, continued: bool) -> (TraceId, Option<String>) {
    let theirs = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(traceparent);
    match theirs {
        Some((id, text)) if continued => (id, Some(text.to_owned())),
        Some((_, text)) => (ids::trace_id(), Some(text.to_owned())),
        None => (ids::trace_id(), None),
    }
}

fn traceparent(text: &str) -> Option<(TraceId, &str)> {
    let lower_hex = |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && version == "00" && lower_hex(parent, 16) && lower_hex(flags, 2);
    let real = parent.bytes().any(|b| b != b'0');
    Some((trace.parse().ok()?, text)).filter(|_| whole && real)
}

#[cfg(test)]
mod tests;
