//! The pipeline of one delivery: source → verify → source rate → backlog → handshake or envelopes →
//! prepare → record → wake → reply. No HTTP server, no SQL.
//!
//! What a stranger can see is the same for every path that leads nowhere and for every delivery that
//! does not verify: the caps and media types checked before (see [`Door`]), the work and the bytes of
//! the answer. A path that leads nowhere is verified as a delivery of some source would be, the same
//! one each time, under a key that is nobody's; where a scheme refuses before it made its MAC, one is
//! made for nothing. Whatever tells sources apart (their own media types, their rate, their backlog)
//! is looked at only after the signature.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use sha2::Sha256;
use sluice_actors::{
    domain::{LaneKey, SourceName, TenantName, Timestamp},
    ports::Clock,
};
use tokio::time::Instant;

use super::{
    EventStore, Informed, IngestEvent, NewEvent, Observer, Recorded, Rejection,
    directory::{Directories, Intake, LiveKeys},
    door::{Door, Inbound},
    heavy::Heavy,
    media,
    memory::BodyMemory,
    outlive::Afterlife,
    prepare::{Delivery, prepare_all},
    refused::{Keeper, Reason},
    reply::{Reply, Told, success},
};
use crate::{
    api::records::{HandshakeRow, Records},
    config::{Config, Live, Source},
    ids,
    schema::Drift,
    trace::{DeliveryTrace, Tracer},
    vendors::{Answer, Malformed, Reading, Refusal, Request, Verified},
};

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
    /// Told which lane has new jobs, as soon as they are committed, whether or not anybody still
    /// waits for the answer. Must return at once; may be lost.
    pub wake: Arc<dyn Fn(&LaneKey) + Send + Sync>,
    /// Who is told what happened.
    pub observer: Arc<dyn Observer>,
    /// Where drift of schemas is counted.
    pub drift: Arc<Drift>,
    /// Who decides which traces are kept.
    pub tracer: Arc<dyn Tracer>,
    /// Whether it is known which secrets are revoked.
    pub informed: Informed,
}

/// Receives deliveries. One per process; share it by `Arc`.
pub struct Receiver {
    line: Arc<Line>,
    directories: Directories,
    afterlife: Afterlife,
}

impl Receiver {
    /// A receiver of what `parts` says.
    pub fn new(parts: ReceiverParts) -> Self {
        let directories = Directories::new(parts.config.clone(), ids::seed());
        let keeper = Keeper::new(parts.records.clone());
        let line = Arc::new(Line { parts, heavy: Heavy::default(), keeper });
        Self { line, directories, afterlife: Afterlife::default() }
    }

    /// Takes the configuration in force: the next delivery would as well, but until it comes the one before, with its
    /// secrets, would stay in memory.
    pub fn follow(&self) {
        self.directories.current();
    }

    /// The memory that bodies take.
    pub fn memory(&self) -> &Arc<BodyMemory> {
        self.directories.memory()
    }

    /// Who is told what happened.
    pub fn observer(&self) -> &dyn Observer {
        self.line.parts.observer.as_ref()
    }

    /// Where a path leads.
    pub fn door(&self, tenant: &TenantName, source: &SourceName) -> Door {
        let directory = self.directories.current();
        let intake = directory.intake(tenant, source).cloned();
        let decoy = if intake.is_none() { directory.decoy(tenant, source).cloned() } else { None };
        let max_body = intake.as_ref().or(decoy.as_ref()).map(|intake| intake.source.limits.max_body);
        let max_body = max_body.unwrap_or(directory.config.edge.max_body);
        Door { directory, intake, decoy, max_body, trace: OnceLock::new() }
    }

    /// Takes one delivery to its reply. A success is replied only after its events and jobs are
    /// durable. Dropping the future stops a delivery that is not verified yet; from there on it is
    /// carried to its end, the wake included.
    pub async fn receive(&self, door: &Door, inbound: Inbound) -> Reply {
        let line = &self.line;
        let now = line.parts.clock.now();
        let arrived = Arrived { url: door.url_of(&inbound), inbound, now };
        if let Some(intake) = &door.intake
            && intake.live(now).keys.is_empty()
            && intake.source.is_on()
            && intake.source.await_handshake
            && arrived.admitted(&intake.source).is_ok()
            && let Some(token) = intake.source.vendor.offered_secret(&arrived.request())
        {
            if let Some(reply) = line.limits(intake, &arrived, None).await {
                return reply;
            }
            let token = token.expose_str().map(ToOwned::to_owned);
            let answer = Answer { status: StatusCode::OK, content_type: None, body: Vec::new() };
            return line.handshake(intake, answer, token, now).await;
        }
        let Authentic { intake, live, arrived, verified } = match line.authentic(door, arrived, Source::is_on).await {
            Ok(authentic) => authentic,
            Err(reply) => return reply,
        };
        let trace = *door.trace.get_or_init(|| {
            DeliveryTrace::of(&arrived.inbound.headers, intake.source.continue_trace, &*line.parts.tracer)
        });
        if let Some(reply) = line.limits(&intake, &arrived, Some(trace)).await {
            return reply;
        }
        let config = door.directory.config.clone();
        self.afterlife.lend(line.clone().take(config, intake, live, arrived, verified, trace)).await
    }

    /// Lets in a request that is signed as a delivery of its source is, and is none: it asks for leave to
    /// upload. Whoever is refused is told what the sender of a delivery would be. Returns the source and the body.
    ///
    /// # Errors
    /// What is answered instead.
    pub async fn admit(&self, door: &Door, inbound: Inbound) -> Result<(LaneKey, Bytes), Reply> {
        let line = &self.line;
        let arrived = Arrived { url: door.url_of(&inbound), inbound, now: line.parts.clock.now() };
        let may = |source: &Source| source.is_on() && source.uploads;
        let Authentic { intake, arrived, .. } = line.authentic(door, arrived, may).await?;
        match line.limits(&intake, &arrived, None).await {
            Some(reply) => Err(reply),
            None => Ok((intake.source.lane.clone(), arrived.inbound.body)),
        }
    }

    /// The answer to a GET handshake; `None` for every path and request that is not one, whatever
    /// the reason, so that it does not tell which paths lead somewhere.
    pub fn get_handshake(&self, door: &Door, inbound: &Inbound) -> Option<Reply> {
        let now = self.line.parts.clock.now();
        let intake = door.intake.as_ref().filter(|intake| intake.source.is_on())?;
        let url = door.url_of(inbound);
        let request = Request { method: &inbound.method, url: &url, headers: &inbound.headers, body: &[], now };
        let answer = intake.source.vendor.get_handshake(&request, &intake.live(now).keys)?.ok()?;
        inbound.admitted(&intake.source, now).ok()?;
        self.line.parts.observer.observe(&IngestEvent::Handshake { place: intake.place() });
        Some(answer.into())
    }
}

/// A delivery under way.
pub(super) struct Arrived {
    pub(super) inbound: Inbound,
    /// Its public URL.
    pub(super) url: String,
    pub(super) now: Timestamp,
}

impl Arrived {
    /// Whether its client may deliver to `source`.
    fn admitted(&self, source: &Source) -> Result<(), Refusal> {
        self.inbound.admitted(source, self.now)
    }

    pub(super) fn request(&self) -> Request<'_> {
        let Inbound { method, headers, body, .. } = &self.inbound;
        Request { method, url: &self.url, headers, body, now: self.now }
    }
}

/// A request that its source's sender signed.
struct Authentic {
    intake: Arc<Intake>,
    live: Arc<LiveKeys>,
    arrived: Arrived,
    verified: Verified,
}

/// Which keys a delivery is verified under.
#[derive(Clone, Copy)]
enum Under {
    ItsKeys,
    NobodysKeys,
}

/// What an authentic delivery asks for.
enum Asked {
    Answer(Answer),
    Recording { events: Vec<NewEvent>, answer: Option<Answer> },
}

/// The steps of the pipeline, shared by all deliveries.
struct Line {
    parts: ReceiverParts,
    heavy: Heavy,
    keeper: Keeper,
}

impl Line {
    /// Finds out whether the source's sender signed it and the source is one that `may` take it. `Err`: what
    /// is answered, after as much work whatever the reason.
    async fn authentic(
        &self,
        door: &Door,
        arrived: Arrived,
        may: impl FnOnce(&Source) -> bool,
    ) -> Result<Authentic, Reply> {
        let now = arrived.now;
        let Some(intake) = &door.intake else {
            let arrived = match &door.decoy {
                Some(decoy) => self.verify(decoy, &decoy.live(now), Under::NobodysKeys, arrived).await.0,
                None => self.verify_nothing(arrived).await,
            };
            return Err(self.refuse(door, &arrived, Refusal::UnknownEndpoint));
        };
        let live = intake.live(now);
        let (arrived, verified) = self.verify(intake, &live, Under::ItsKeys, arrived).await;
        let verified = match verified {
            // Closed, but by no fault of the sender: it shall come again.
            _ if intake.source.is_stale() => {
                self.reject(intake, Rejection::StaleSecret, None);
                return Err(Reply::unavailable());
            }
            _ if !may(&intake.source) => return Err(self.refuse(door, &arrived, Refusal::Disabled)),
            _ if live.keys.is_empty() => return Err(self.refuse(door, &arrived, Refusal::NoLiveSecret)),
            Err(refusal) => return Err(self.refuse(door, &arrived, refusal)),
            // Whether its secret was revoked meanwhile is not known; nor could it be stored, most likely.
            Ok(_) if !self.parts.informed.is_current() => {
                self.reject(intake, Rejection::Store, None);
                return Err(Reply::unavailable());
            }
            Ok(verified) => verified,
        };
        self.tell_verified(intake, &live, verified, now);
        Ok(Authentic { intake: intake.clone(), live, arrived, verified })
    }

    /// Verifies, with as much work for a refusal as for any other.
    async fn verify(
        &self,
        intake: &Arc<Intake>,
        live: &Arc<LiveKeys>,
        under: Under,
        arrived: Arrived,
    ) -> (Arrived, Result<Verified, Refusal>) {
        let (intake, live, bytes) = (intake.clone(), live.clone(), arrived.inbound.body.len());
        let verify = move || {
            let keys = match under {
                Under::ItsKeys => &live.keys,
                Under::NobodysKeys => &live.nobodys,
            };
            let verified = intake.source.vendor.verify(&arrived.request(), keys, intake.source.tolerance);
            match verified {
                // The vendors make the MAC first and look at the time afterwards.
                Ok(_) | Err(Refusal::BadSignature | Refusal::StaleTimestamp | Refusal::FutureTimestamp) => {}
                Err(
                    Refusal::MissingSignature
                    | Refusal::MalformedSignature
                    | Refusal::UnknownEndpoint
                    | Refusal::Disabled
                    | Refusal::NoLiveSecret
                    | Refusal::AddressNotAllowed
                    | Refusal::CertificateMissing
                    | Refusal::CertificateInvalid
                    | Refusal::CertificateExpired
                    | Refusal::CertificateNotAccepted,
                ) => mac_for_nothing(&arrived.inbound.body),
            }
            // Only of who signed: to look at a chain of certificates costs more than a signature.
            let verified = verified.and_then(|verified| arrived.admitted(&intake.source).map(|()| verified));
            (arrived, verified)
        };
        self.heavy.run(bytes, verify).await
    }

    /// As much work as a delivery that does not verify, where there is no source at all.
    async fn verify_nothing(&self, arrived: Arrived) -> Arrived {
        let bytes = arrived.inbound.body.len();
        let work = move || {
            mac_for_nothing(&arrived.inbound.body);
            arrived
        };
        self.heavy.run(bytes, work).await
    }

    fn tell_verified(&self, intake: &Intake, live: &LiveKeys, verified: Verified, now: Timestamp) {
        self.parts.observer.observe(&IngestEvent::Verified {
            place: intake.place(),
            secret_version: &live.versions[verified.key],
            counted_as: &live.counted_as[verified.key],
            skew_ms: verified.signed_at.map(|at| now.as_millis().saturating_sub(at.as_millis())),
        });
    }

    /// The limits that belong to the source: its media types, its rate, its backlog.
    async fn limits(&self, intake: &Intake, arrived: &Arrived, trace: Option<DeliveryTrace>) -> Option<Reply> {
        let accepted = intake.source.vendor.profile().content_types;
        let (rejection, reply) = if !media::is_one_of(&arrived.inbound.headers, accepted) {
            (Rejection::MediaType, Reply::media_type())
        } else if let Err(after) = intake.bucket.take() {
            (Rejection::SourceRate, Reply::source_rate(after))
        } else if intake.backlog.is_full(&intake.source, &self.parts.records).await {
            (Rejection::Pending, Reply::backlog())
        } else {
            return None;
        };
        self.reject(intake, rejection, trace);
        Some(reply)
    }

    /// Carries an authentic delivery to its end.
    async fn take(
        self: Arc<Self>,
        config: Arc<Config>,
        intake: Arc<Intake>,
        live: Arc<LiveKeys>,
        arrived: Arrived,
        verified: Verified,
        trace: DeliveryTrace,
    ) -> Reply {
        let (line, source, now) = (self.clone(), intake.source.clone(), arrived.now);
        // Held until the commit: what waits for a slow store keeps its place in the memory of bodies.
        let body = arrived.inbound.body.clone();
        let (arrived, asked) = self
            .heavy
            .run(body.len(), move || {
                let asked = line.ask(&source, &live, &arrived, verified, trace);
                (arrived, asked)
            })
            .await;
        match asked {
            Ok(Asked::Recording { events, answer }) => {
                let reply = self.record(&intake, events, trace, now).await;
                answer.filter(|_| reply.status.is_success()).map_or(reply, Reply::from)
            }
            Ok(Asked::Answer(answer)) => self.handshake(&intake, answer, None, now).await,
            Err(malformed) => {
                self.reject(&intake, Rejection::Malformed, Some(trace));
                let reply = Reply::malformed(&malformed);
                self.keeper.keep(config, &intake, &arrived, Reason::Malformed(malformed));
                reply
            }
        }
    }

    /// Reads an authentic delivery and prepares its events.
    fn ask(
        &self,
        source: &Source,
        live: &LiveKeys,
        arrived: &Arrived,
        verified: Verified,
        trace: DeliveryTrace,
    ) -> Result<Asked, Malformed> {
        let request = arrived.request();
        let envelopes = match source.vendor.read(&request, &verified, &live.keys)? {
            Reading::Handshake(answer) => return Ok(Asked::Answer(answer)),
            Reading::Events(envelopes) => envelopes,
        };
        let delivery = Delivery {
            raw: arrived.inbound.body.clone(),
            headers: request.headers,
            received_at: arrived.now,
            signed_at: verified.signed_at,
            secret_version: live.versions[verified.key].clone(),
            trace,
            drift: &self.parts.drift,
        };
        let events = prepare_all(source, envelopes, &delivery);
        Ok(Asked::Recording { events, answer: source.vendor.success_answer(&request) })
    }

    async fn record(&self, intake: &Intake, events: Vec<NewEvent>, trace: DeliveryTrace, now: Timestamp) -> Reply {
        let told: Vec<Told> = events.iter().map(Told::of).collect();
        let begun = Instant::now();
        let recorded = if events.is_empty() { Ok(Vec::new()) } else { self.parts.store.record(events).await };
        match recorded {
            Ok(recorded) => {
                self.tell_recorded(intake, &told, &recorded, trace, (now, begun.elapsed()));
                success(intake.source.vendor.profile().success, &told, &recorded)
            }
            Err(error) => {
                let trace_id = trace.request.trace;
                tracing::warn!(lane = %intake.source.lane, %trace_id, %error, "delivery not recorded");
                self.reject(intake, Rejection::Store, Some(trace));
                Reply::unavailable()
            }
        }
    }

    fn tell_recorded(
        &self,
        intake: &Intake,
        told: &[Told],
        recorded: &[Recorded],
        trace: DeliveryTrace,
        (received_at, storing): (Timestamp, Duration),
    ) {
        let took = self.parts.clock.now().since(received_at);
        let mut new_jobs = 0;
        for (told, recorded) in told.iter().zip(recorded) {
            let jobs = if matches!(recorded, Recorded::New(_)) { &*told.jobs } else { &[] };
            new_jobs += jobs.len();
            self.parts.observer.observe(&IngestEvent::Recorded {
                place: intake.place(),
                recorded: *recorded,
                event_type: &told.event_type,
                status: told.status,
                jobs,
                trace,
                took,
                storing,
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
            self.reject(intake, Rejection::Store, None);
            return Reply::unavailable();
        }
        self.parts.observer.observe(&IngestEvent::Handshake { place: intake.place() });
        answer.into()
    }

    fn reject(&self, intake: &Intake, reason: Rejection, trace: Option<DeliveryTrace>) {
        self.parts.observer.observe(&IngestEvent::Rejected { place: intake.place(), reason, trace });
    }

    /// The one answer to all that is not authentic.
    fn refuse(&self, door: &Door, arrived: &Arrived, reason: Refusal) -> Reply {
        let client = arrived.inbound.client;
        self.parts.observer.observe(&IngestEvent::Refused { place: door.place(), reason, client });
        if let Some(intake) = &door.intake {
            self.keeper.keep(door.directory.config.clone(), intake, arrived, Reason::Refused(reason));
        }
        Reply::unauthorized()
    }
}

/// A delivery that is refused before a MAC was made over it takes as long as one with a bad MAC.
fn mac_for_nothing(body: &[u8]) {
    let mut mac = Hmac::<Sha256>::new_from_slice(&[0; 32]).expect("HMAC takes keys of any length");
    mac.update(body);
    std::hint::black_box(mac.finalize());
}

#[cfg(test)]
mod tests;
