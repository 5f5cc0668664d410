//! The public listener: reads bytes within limits, hands them to ingest, answers.
//!
//! [`accept`] is the accept loop that the admin listener uses too; the warp filters of `routes` run
//! inside it ([`site`] has those of WordPress sites). The checks of a delivery, in this order, so that nobody learns which paths lead
//! somewhere: node rate (429) → media type that some source takes (415) → announced length (413) →
//! body, with its memory (503), cap (413) and deadlines (408) → [`Receiver::receive`] (the rest).

pub mod accept;
mod answer;
mod artifacts;
mod body;
mod io;
mod proxy_header;
pub mod site;
pub mod tls;

use std::{convert::Infallible, io::Result, sync::Arc};

use bytes::{Buf, Bytes};
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use sluice_actors::{
    domain::{SourceName, TenantName},
    ports::{Clock, Rate},
};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};
use warp::{Filter, Rejection};

pub use self::body::RequestLimits;
use self::{
    accept::{Arrival, ConnectionLimits, ListenerOptions, Server, Told},
    answer::Fixed,
    artifacts::Shelf,
    body::Unread,
    site::{NoSites, SiteDesk, SitePath, Sites},
};
use crate::{
    artifacts::Artifacts,
    clock::SystemClock,
    config::Config,
    ingest::{Bucket, Door, Inbound, IngestEvent, Observer, Receiver},
};

/// Every path that the public listener answers with anything but 404.
pub const PUBLIC_ROUTES: [&str; 9] = [
    "/webhooks/{tenant}/{source}",
    "/artifacts/{tenant}/{kind}/{date}/{id}",
    "/uploads/{tenant}/{source}",
    "/uploads/{tenant}/{kind}/{date}/{id}",
    "/.well-known/jwks.json",
    "/site/v1/{tenant}/keys",
    "/site/v1/{tenant}/jobs",
    "/site/v1/{tenant}/artifacts",
    "/site/v1/{tenant}/requests",
];

/// What the public listener is given besides its receiver.
#[derive(Clone)]
pub struct EdgeOptions {
    /// The listener.
    pub listener: ListenerOptions,
    /// The deadlines of one request.
    pub request: RequestLimits,
    /// Deliveries a second over all sources, authentic or not.
    pub per_second: u32,
    /// The key set of the callback tokens, as JSON (RFC 7517); asked anew for each request.
    pub jwks: Arc<dyn Fn() -> Bytes + Send + Sync>,
    /// Who answers WordPress sites that ask by themselves.
    pub sites: Arc<dyn SiteDesk>,
    /// Artifacts; none: their paths lead nowhere.
    pub artifacts: Option<Arc<Artifacts>>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

impl EdgeOptions {
    /// The options of a configuration, for a listener without sites and artifacts. Off loopback everything must come
    /// over https (DESIGN §8).
    pub fn new(
        config: &Config,
        jwks: Arc<dyn Fn() -> Bytes + Send + Sync>,
    ) -> std::result::Result<Self, tls::TlsError> {
        let edge = &config.edge;
        let limits = ConnectionLimits {
            connections: edge.max_connections,
            per_address: edge.max_connections_per_address,
            ..ConnectionLimits::default()
        };
        let listener = ListenerOptions {
            tls: edge.tls.as_ref().map(|tls| tls::LiveTls::new(tls, config.asks_for_certificates())).transpose()?,
            trusted_proxies: edge.trusted_proxies.as_slice().into(),
            proxy_protocol: edge.proxy_protocol,
            client_certificate_header: edge.client_certificate_header.clone(),
            require_https: !edge.listen.ip().is_loopback(),
            limits,
            told: Told::default(),
        };
        let per_second = config.limits.ingest_per_second;
        Ok(Self {
            listener,
            request: RequestLimits::default(),
            per_second,
            jwks,
            sites: Arc::new(NoSites),
            artifacts: None,
            clock: Arc::new(SystemClock),
        })
    }
}

/// Serves the public routes until the returned [`Server`] is stopped.
///
/// # Errors
/// The listener has no local address.
pub fn serve(listener: TcpListener, receiver: Arc<Receiver>, options: EdgeOptions) -> Result<Server> {
    let EdgeOptions { listener: connections, request, per_second, jwks, sites, artifacts, clock } = options;
    let rate = Rate { per_second: f64::from(per_second), burst: per_second };
    let sites = Sites::new(sites, receiver.memory());
    let artifacts = artifacts.map(|artifacts| Shelf::new(artifacts, clock));
    let edge = Arc::new(Edge { receiver, limits: request, bucket: Bucket::new(rate), jwks, sites, artifacts });
    accept::serve_filter(listener, routes(edge), connections)
}

type Answer = warp::reply::Response;

struct Edge {
    receiver: Arc<Receiver>,
    limits: RequestLimits,
    bucket: Bucket,
    jwks: Arc<dyn Fn() -> Bytes + Send + Sync>,
    sites: Sites,
    artifacts: Option<Shelf>,
}

/// The public routes; everything else is 404.
fn routes(edge: Arc<Edge>) -> impl Filter<Extract = (Answer,), Error = Infallible> + Clone + Send + Sync + 'static {
    let (keys, sites, shelf) = (edge.clone(), edge.clone(), edge.clone());
    let webhook = warp::path!("webhooks" / TenantName / SourceName)
        .and(exact())
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |tenant, source, arrival, method, headers, body| {
            let edge = edge.clone();
            async move { edge.webhook((tenant, source), arrival, method, headers, body).await }
        });
    let jwks = warp::path!(".well-known" / "jwks.json").and(exact()).and(warp::method()).map(
        move |_: Arrival, method: Method| match method {
            Method::GET | Method::HEAD => key_set((keys.jwks)()),
            _ => answer::METHOD_GET.response(),
        },
    );
    let site = warp::path!("site" / "v1" / TenantName / SitePath)
        .and(exact())
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |tenant, path, arrival, method, headers, body| {
            let edge = sites.clone();
            async move { edge.site((tenant, path), arrival, method, headers, body).await }
        });
    let nowhere = warp::any().map(|| answer::NOT_FOUND.response());
    webhook.or(jwks).unify().or(site).unify().or(artifacts::routes(shelf)).unify().or(nowhere).unify()
}

/// Refuses a trailing slash, which warp takes for the end of a path.
fn exact() -> impl Filter<Extract = (Arrival,), Error = Rejection> + Copy {
    warp::ext::get::<Arrival>().and_then(|arrival: Arrival| {
        let whole = !arrival.target.path().ends_with('/');
        std::future::ready(if whole { Ok(arrival) } else { Err(warp::reject::not_found()) })
    })
}

fn key_set(json: Bytes) -> Answer {
    let mut response = Response::new(json.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// A request that is here, until it is answered or its client hangs up.
struct Present<'a>(&'a dyn Observer);

impl<'a> Present<'a> {
    fn of(observer: &'a dyn Observer) -> Self {
        observer.observe(&IngestEvent::Arrived);
        Self(observer)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.observe(&IngestEvent::Left);
    }
}

impl Edge {
    async fn webhook<B: Buf>(
        &self,
        (tenant, source): (TenantName, SourceName),
        arrival: Arrival,
        method: Method,
        headers: HeaderMap,
        body: impl Stream<Item = std::result::Result<B, warp::Error>>,
    ) -> Answer {
        let arrived = Instant::now();
        let (mut begun, mut bytes) = (arrived, 0);
        let (asked, https) = (method.clone(), arrival.https);
        let door = self.receiver.door(&tenant, &source);
        let _present = Present::of(self.receiver.observer());
        let answer = match self.read(&door, arrival, method, headers, body).await {
            Err(refused) => refused.response(),
            Ok(inbound) if inbound.method == Method::GET => match self.receiver.get_handshake(&door, &inbound) {
                Some(reply) => answer::from_reply(reply),
                None => answer::METHOD.response(),
            },
            Ok(inbound) => {
                (begun, bytes) = (Instant::now(), inbound.body.len());
                match timeout(self.limits.answer, self.receiver.receive(&door, inbound)).await {
                    Ok(reply) => answer::from_reply(reply),
                    Err(_) => answer::TOO_LATE.response(),
                }
            }
        };
        self.receiver.observer().observe(&IngestEvent::Answered {
            place: door.place(),
            method: &asked,
            https,
            trace: door.trace(),
            status: answer.status(),
            took: begun.elapsed(),
            whole: arrived.elapsed(),
            bytes,
        });
        answer
    }

    /// Everything that is decided before the delivery is looked at.
    async fn read<B: Buf>(
        &self,
        door: &Door,
        arrival: Arrival,
        method: Method,
        headers: HeaderMap,
        body: impl Stream<Item = std::result::Result<B, warp::Error>>,
    ) -> std::result::Result<Inbound, Fixed> {
        if self.bucket.take().is_err() {
            return Err(answer::NODE_RATE);
        }
        let body = match method {
            Method::GET => Bytes::new(),
            Method::POST if !door.accepts(&headers) => return Err(answer::MEDIA_TYPE),
            Method::POST => {
                let announced = content_length(&headers);
                let lease = door.memory().lease();
                body::read(body, announced, door.max_body(), lease, &self.limits).await.map_err(unread)?
            }
            _ => return Err(answer::METHOD),
        };
        let Arrival { client, certificate, target, .. } = arrival;
        Ok(Inbound { method, target, headers, body, client, certificate })
    }
}

const fn unread(why: Unread) -> Fixed {
    match why {
        Unread::TooLarge => answer::TOO_LARGE,
        Unread::TooSlow => answer::SLOW_BODY,
        Unread::Broken => answer::BROKEN_BODY,
        Unread::NoMemory => answer::NO_MEMORY,
    }
}

/// hyper has checked it against the framing; a length past `usize` is past every cap.
fn content_length(headers: &HeaderMap) -> Option<usize> {
    let value = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    Some(value.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
