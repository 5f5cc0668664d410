//! Who sent a request and how: of the connection, or of what a trusted proxy says of it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Request, uri::PathAndQuery};
use ipnet::IpNet;

use crate::ingest::Shown;

/// Who sent a request and how; an extension of every request (`warp::ext::get::<Arrival>()`).
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The client: the peer, or the rightmost untrusted address of `X-Forwarded-For`.
    pub client: IpAddr,
    /// Whether it came over https.
    pub https: bool,
    /// The certificate that the client showed, if any.
    pub certificate: Option<Shown>,
    /// Path and query as sent.
    pub target: PathAndQuery,
}

/// What is known of a connection before its first request.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    /// Whom it comes from.
    pub(super) peer: IpAddr,
    /// Whether TLS ended here.
    pub(super) tls: bool,
    /// The certificate that was shown when it did.
    pub(super) certificate: Option<Shown>,
    /// The trusted proxies, if the peer is one of them.
    pub(super) proxies: Option<&'a [IpNet]>,
    /// Where those put the client's certificate.
    pub(super) certificate_header: Option<&'a HeaderName>,
}

impl Origin<'_> {
    /// Reads who sent `request`; takes the header of certificates out of it, whoever wrote it.
    pub(super) fn arrival<B>(&self, request: &mut Request<B>) -> Arrival {
        let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let headers = request.headers_mut();
        let forwarded = self.certificate_header.and_then(|name| forwarded_certificate(headers, name));
        let headers = &*headers;
        let (client, https, certificate) = match self.proxies {
            None => (self.peer, self.tls, self.certificate.clone()),
            // The certificate of a proxy's own connection is the proxy's.
            Some(proxies) => {
                (forwarded_client(headers, self.peer, proxies), self.tls || is_forwarded_https(headers), forwarded)
            }
        };
        Arrival { client, https, certificate, target }
    }
}

/// Takes the certificate out of the header `name`. An empty one says that there was none.
fn forwarded_certificate(headers: &mut HeaderMap, name: &HeaderName) -> Option<Shown> {
    // Nobody knows which of several is the proxy's.
    let is_single = headers.get_all(name).iter().nth(1).is_none();
    let value = headers.remove(name).filter(|value| !value.is_empty())?;
    Some(if is_single { Shown::of_header(&value) } else { Shown::unreadable() })
}

pub(super) const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The rightmost address that no trusted proxy owns: everything left of it is the client's own word.
pub(super) fn forwarded_client(headers: &HeaderMap, peer: IpAddr, proxies: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for value in headers.get_all(FORWARDED_FOR).into_iter().rev() {
        for hop in value.to_str().unwrap_or_default().rsplit(',') {
            let Some(address) = hop_address(hop.trim()) else { return client };
            client = address;
            if !proxies.iter().any(|net| net.contains(&address)) {
                return client;
            }
        }
    }
    client
}

/// `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7`, `[2001:db8::7]:4711`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|a| a.ip()));
    Some(address.ok()?.to_canonical())
}

/// Whether the last proxy saw https. Several values: the last one is that of the trusted peer.
fn is_forwarded_https(headers: &HeaderMap) -> bool {
    headers
        .get_all(FORWARDED_PROTO)
        .into_iter()
        .next_back()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
}
