//! `/site/v1/{tenant}/…`: what a WordPress site asks for by itself, from its server, with the token of its
//! tenant (DESIGN §6). An option beside the reports that the gateway pushes.
//!
//! Order of the checks: node rate (429) → addresses that presented bad tokens wait (429) → token (401) →
//! method (405) → the site's rate (429) → query or body (400, 408, 413, 503). Whoever has no token hears
//! the same of every tenant, and no body of theirs is read.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use sluice_actors::{
    domain::{ArtifactId, JobId, TenantName},
    ports::Rate,
};
use tokio::time::{Duration, Instant};

use super::{Answer, Edge, accept::Arrival, answer, body, content_length, unread};
use crate::ingest::{BodyMemory, Bucket, Share};

/// Bytes of a site's requests.
const MAX_BODY: usize = 16 * 1024;
/// Ids that one question may name.
const MAX_IDS: usize = 50;
/// What one site may ask.
const SITE_RATE: Rate = Rate { per_second: 2.0, burst: 20 };
/// Bad tokens that one address may present in a [`WINDOW`].
const MAX_REFUSED: u32 = 10;
const WINDOW: Duration = Duration::from_mins(1);
/// Addresses that are remembered at once.
const MAX_ADDRESSES: usize = 10_000;

/// Answers sites.
#[async_trait]
pub trait SiteDesk: Send + Sync + 'static {
    /// Whether this is the token of the tenant's site. Takes the same time for every tenant, known or
    /// not, and every token.
    fn admits(&self, tenant: &TenantName, token: &[u8]) -> bool;

    /// Answers what a site that was admitted asks, as JSON.
    async fn answer(&self, tenant: &TenantName, ask: SiteAsk) -> Result<Bytes, SiteRefusal>;
}

/// What a site asks.
#[derive(Debug)]
pub enum SiteAsk {
    /// The public keys of its gateway (RFC 7517).
    Keys,
    /// The newest jobs, and these.
    Jobs(Vec<JobId>),
    /// A fresh URL of an artifact, for an editor who is signed in there.
    Artifact(ArtifactId),
    /// To do what its editors ask for: a JSON body.
    Requests(Bytes),
}

/// Why a site that was admitted gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteRefusal {
    /// Its body is not what it should be.
    Invalid,
    /// There is no such artifact of its tenant (any more).
    NotFound,
    /// The store does not answer.
    Unavailable,
}

/// Admits nobody: for a listener without sites.
pub struct NoSites;

#[async_trait]
impl SiteDesk for NoSites {
    fn admits(&self, _: &TenantName, _: &[u8]) -> bool {
        false
    }

    async fn answer(&self, _: &TenantName, _: SiteAsk) -> Result<Bytes, SiteRefusal> {
        Err(SiteRefusal::Unavailable)
    }
}

/// The last segment of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SitePath {
    Keys,
    Jobs,
    Artifacts,
    Requests,
}

impl std::str::FromStr for SitePath {
    type Err = ();

    fn from_str(segment: &str) -> Result<Self, ()> {
        match segment {
            "keys" => Ok(Self::Keys),
            "jobs" => Ok(Self::Jobs),
            "artifacts" => Ok(Self::Artifacts),
            "requests" => Ok(Self::Requests),
            _ => Err(()),
        }
    }
}

/// The way in for sites.
pub(super) struct Sites {
    desk: Arc<dyn SiteDesk>,
    refused: Refused,
    rates: Mutex<HashMap<TenantName, Bucket>>,
    memory: Arc<Share>,
}

impl Sites {
    pub(super) fn new(desk: Arc<dyn SiteDesk>, memory: &Arc<BodyMemory>) -> Self {
        Self { desk, refused: Refused::default(), rates: Mutex::default(), memory: memory.share(MAX_BODY) }
    }

    /// Whether an admitted site may ask now. Only tenants that exist get an entry.
    fn may_ask(&self, tenant: &TenantName) -> bool {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.entry(tenant.clone()).or_insert_with(|| Bucket::new(SITE_RATE)).take().is_ok()
    }
}

impl Edge {
    pub(super) async fn site<B: Buf>(
        &self,
        (tenant, path): (TenantName, SitePath),
        arrival: Arrival,
        method: Method,
        headers: HeaderMap,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Answer {
        let sites = &self.sites;
        if self.bucket.take().is_err() {
            return answer::NODE_RATE.response();
        }
        if let Some(left) = sites.refused.must_wait(arrival.client) {
            return waiting(left);
        }
        if !bearer(&headers).is_some_and(|token| sites.desk.admits(&tenant, token)) {
            sites.refused.add(arrival.client);
            // Few enough for the log: who presents many waits. The tenant is only what the path says.
            tracing::warn!(client = %arrival.client, "a site's token was refused");
            return answer::SITE_TOKEN.response();
        }
        if method != (if path == SitePath::Requests { Method::POST } else { Method::GET }) {
            let wants = if path == SitePath::Requests { answer::METHOD } else { answer::METHOD_GET };
            return wants.response();
        }
        if !sites.may_ask(&tenant) {
            return answer::SITE_RATE.response();
        }
        let ask = match path {
            SitePath::Keys => Ok(SiteAsk::Keys),
            SitePath::Jobs => ids(arrival.target.query()).map(SiteAsk::Jobs).ok_or(answer::SITE_INVALID),
            SitePath::Artifacts => {
                let id = arrival.target.query().and_then(|query| query.strip_prefix("id=")?.parse().ok());
                id.map(SiteAsk::Artifact).ok_or(answer::SITE_INVALID)
            }
            SitePath::Requests => {
                let lease = sites.memory.lease();
                let read = body::read(body, content_length(&headers), MAX_BODY, lease, &self.limits).await;
                read.map(SiteAsk::Requests).map_err(unread)
            }
        };
        let ask = match ask {
            Ok(ask) => ask,
            Err(refused) => return refused.response(),
        };
        match sites.desk.answer(&tenant, ask).await {
            Ok(json) => found(json),
            Err(SiteRefusal::Invalid) => answer::SITE_INVALID.response(),
            Err(SiteRefusal::NotFound) => answer::NO_OBJECT.response(),
            Err(SiteRefusal::Unavailable) => answer::TOO_LATE.response(),
        }
    }
}

/// The one token of a request.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// `ids=job_…,job_…`, or nothing.
fn ids(query: Option<&str>) -> Option<Vec<JobId>> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Some(Vec::new()) };
    let ids: Option<Vec<JobId>> = query.strip_prefix("ids=")?.split(',').map(|id| id.parse().ok()).collect();
    ids.filter(|ids| ids.len() <= MAX_IDS)
}

fn found(json: Bytes) -> Answer {
    let mut response = Response::new(json.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn waiting(left: Duration) -> Answer {
    let mut response: Answer = answer::SITE_RATE.response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(left.as_secs() + 1));
    response
}

/// Addresses that presented bad tokens: after [`MAX_REFUSED`] no token of theirs is looked at until the
/// window is over.
#[derive(Default)]
struct Refused {
    windows: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Refused {
    /// How long the address has to wait, if it has.
    fn must_wait(&self, client: IpAddr) -> Option<Duration> {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let (ends, refused) = windows.get(&network(client))?;
        let left = ends.saturating_duration_since(Instant::now());
        (*refused >= MAX_REFUSED && !left.is_zero()).then_some(left)
    }

    fn add(&self, client: IpAddr) {
        let now = Instant::now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_ADDRESSES {
            windows.retain(|_, (ends, _)| *ends > now);
        }
        if windows.len() >= MAX_ADDRESSES {
            // So many senders at once are not guessing: a token has 256 bits. What must not happen is
            // that they fill the memory.
            windows.clear();
        }
        let (ends, refused) = windows.entry(network(client)).or_insert((now + WINDOW, 0));
        if *ends <= now {
            (*ends, *refused) = (now + WINDOW, 0);
        }
        *refused += 1;
    }
}

/// Whoever has one address of IPv6 has the 2^64 beside it.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        IpAddr::V4(_) => client,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_presents_bad_tokens_waits_a_minute_and_others_do_not() {
        let refused = Refused::default();
        let (guesser, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..MAX_REFUSED {
            assert_eq!(refused.must_wait(guesser), None);
            refused.add(guesser);
        }
        assert_eq!((refused.must_wait(guesser), refused.must_wait(other)), (Some(WINDOW), None));
        advance(WINDOW).await;
        assert_eq!(refused.must_wait(guesser), None);
        refused.add(guesser);
        assert_eq!(refused.must_wait(guesser), None, "a window begins anew");
    }

    #[test]
    fn neighbours_in_one_network_of_ipv6_are_one_sender() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn senders_without_end_do_not_fill_the_memory() {
        let refused = Refused::default();
        for n in 0..25_000_u32 {
            refused.add(IpAddr::V4(n.into()));
        }
        assert!(refused.windows.lock().unwrap().len() <= MAX_ADDRESSES);
    }

    #[test]
    fn a_question_names_ids_or_nothing() {
        let id = "job_0193a7d4c1e87cc0a3f0c5d6e7f80912";
        assert_eq!((ids(None), ids(Some(""))), (Some(Vec::new()), Some(Vec::new())));
        assert_eq!(ids(Some(&format!("ids={id},{id}"))).unwrap().len(), 2);
        let many = format!("ids={}", [id; MAX_IDS + 1].join(","));
        for bad in ["ids=", "ids=x", "id=1", "ids=job_1", &format!("ids={id}&x=1"), &format!("ids={id},"), &many] {
            assert_eq!(ids(Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_request_carries_exactly_one_token() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(with(&["Bearer x"]), Some(b"x".to_vec()));
        assert_eq!(with(&["bearer x"]), Some(b"x".to_vec()));
        for bad in [&[][..], &["x"], &["Basic x"], &["Bearer"], &["Bearer x", "Bearer y"]] {
            assert_eq!(with(bad), None, "{bad:?}");
        }
    }
}
