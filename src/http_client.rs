//! The one home of reqwest: every call that leaves the gateway goes through [`HttpClient`].
//!
//! One warm client (keep-alive, HTTP/2), TLS by rustls, no proxy from the environment, no redirects,
//! no decompression. Each call has a deadline over all of it and a cap on the answer, counted while
//! it is read. Outside loopback only https is spoken, and only public addresses are dialled
//! ([`guard`]). Errors carry no URL, no header and no body: they may be logged and stored.

pub mod guard;
mod observe;
mod pin;

use std::{
    error::Error as StdError,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode, header};
use ipnet::IpNet;
use reqwest::dns::{Name, Resolve, Resolving};
use sluice_actors::domain::Timestamp;
use url::{Host, Url};

pub use self::{
    observe::{CallEvent, CallObserver, CallOutcome, Tokens},
    pin::Pin,
};

/// Connecting, TLS included, may take this long.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One call may take this long from its first step to the last byte, unless it says otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read, unless the call says otherwise.
pub const ANSWER_CAP: usize = 1024 * 1024;
/// A longer `Retry-After` counts as this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_mins(15);

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; none sends none.
    pub body: Option<Bytes>,
    /// From the first step to the last byte.
    pub timeout: Duration,
}

impl Call {
    /// A call without headers or body, with the default deadline.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: None, timeout: CALL_TIMEOUT }
    }
}

/// An answer. Its status is known even where its body went over the cap.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Bytes,
    truncated: bool,
}

impl Answer {
    /// The whole body, or why there is none.
    pub fn whole(&self) -> Result<&Bytes, CallError> {
        if self.truncated {
            return Err(CallError::TooLarge);
        }
        match self.headers.get(header::CONTENT_ENCODING) {
            Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(CallError::Compressed),
            _ => Ok(&self.body),
        }
    }

    /// What was read of the body, at most the cap.
    pub fn partial(&self) -> &Bytes {
        &self.body
    }

    /// How long the callee asks us to wait (RFC 9110 §10.2.3: seconds or an HTTP date), at most
    /// [`MAX_RETRY_AFTER`].
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let text = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            text.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
        } else {
            let at = jiff::fmt::rfc2822::parse(text).ok()?;
            Timestamp::from_millis(at.timestamp().as_millisecond()).since(now)
        };
        Some(wait.min(MAX_RETRY_AFTER))
    }
}

/// Takes the next part of a long answer; `false`: no more of it.
pub type Take<'t> = &'t mut (dyn FnMut(&[u8]) -> bool + Send);

/// Why there is no answer. Names no URL and carries no bytes of the callee.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The deadline passed.
    #[error("no whole answer within {}", seconds(*.0))]
    Timeout(Duration),
    /// No connection: the name does not resolve, the port is closed, the host is unreachable.
    #[error("no connection ({0})")]
    Connect(&'static str),
    /// The TLS handshake failed: certificate, name, version.
    #[error("TLS failed ({0})")]
    Tls(String),
    /// The connection ended before the answer did.
    #[error("the connection broke before the answer was whole")]
    Broken,
    /// The answer is larger than the cap.
    #[error("the answer is larger than {} KiB", ANSWER_CAP / 1024)]
    TooLarge,
    /// The answer is compressed, which nobody asked for.
    #[error("the answer is compressed, though no compression was asked for")]
    Compressed,
    /// The address may not be dialled.
    #[error("the address {0} is not public")]
    RefusedAddress(IpAddr),
    /// The URL may not be called.
    #[error("the URL may not be called ({0})")]
    RefusedUrl(&'static str),
}

impl CallError {
    /// What an error of connecting, or of the TLS handshake, means.
    pub fn connecting(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(tls_reason(tls)),
            None => Self::Connect(connect_reason(Some(error.kind()))),
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f32())
}

/// Looks a name up. The system's resolver outside tests.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

type AllowPrivate = Arc<ArcSwap<Vec<IpNet>>>;

fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
    })
}

/// Every address there is.
fn everywhere() -> Vec<IpNet> {
    [IpAddr::from([0_u8; 4]), IpAddr::from([0_u8; 16])].map(|address| IpNet::new_assert(address, 0)).to_vec()
}

/// Which servers are believed to be who they say.
enum Trust {
    /// Those that an authority of this machine vouches for, or one of these.
    Roots(Vec<reqwest::Certificate>),
    /// The one with this certificate.
    One(Pin),
}

/// The client. Clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    resolver: GuardedResolver,
}

/// The client could not be built (no TLS roots on this machine).
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot start: {0}")]
pub struct ClientError(String);

impl HttpClient {
    /// A client that dials public addresses and those within `allow_private`.
    pub fn new(allow_private: Vec<IpNet>) -> Result<Self, ClientError> {
        Self::with_lookup(allow_private, system_lookup())
    }

    /// A client for what an operator names, in `sluice.toml` or on the command line, such as a provider of secrets:
    /// it dials every address. `ca`: certificates in PEM that are trusted beside those of the machine.
    pub fn for_operators(ca: Option<&[u8]>) -> Result<Self, ClientError> {
        let roots = ca.map_or_else(|| Ok(Vec::new()), reqwest::Certificate::from_pem_bundle);
        let roots = roots.map_err(|error| ClientError(innermost(&error).to_string()))?;
        Self::build(everywhere(), system_lookup(), Trust::Roots(roots))
    }

    /// A client for the gateway on this machine, which says which certificate it shows: it trusts no other, and
    /// dials every address.
    pub fn pinned(pin: Pin) -> Result<Self, ClientError> {
        Self::build(everywhere(), system_lookup(), Trust::One(pin))
    }

    fn with_lookup(allow_private: Vec<IpNet>, lookup: Lookup) -> Result<Self, ClientError> {
        Self::build(allow_private, lookup, Trust::Roots(Vec::new()))
    }

    fn build(allow_private: Vec<IpNet>, lookup: Lookup, trust: Trust) -> Result<Self, ClientError> {
        let allow_private: AllowPrivate = Arc::new(ArcSwap::from_pointee(allow_private));
        let resolver = GuardedResolver { allow_private, lookup };
        let client = reqwest::Client::builder();
        let client = match trust {
            Trust::Roots(more) => client.tls_certs_merge(more),
            Trust::One(pin) => {
                client.tls_backend_preconfigured(pin.client_config().map_err(|error| ClientError(error.to_string()))?)
            }
        };
        let client = client
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(90))
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .dns_resolver(resolver.clone())
            .build()
            .map_err(|e| ClientError(innermost(&e).to_string()))?;
        Ok(Self { client, resolver })
    }

    /// Replaces what private addresses may be dialled (reload).
    pub fn set_allow_private(&self, allow_private: Vec<IpNet>) {
        self.resolver.allow_private.store(Arc::new(allow_private));
    }

    /// An address of `host`, a name or a literal, that may be dialled: for what is said in another protocol than
    /// HTTP.
    pub async fn address_of(&self, host: &str) -> Result<IpAddr, CallError> {
        if let Ok(literal) = host.parse() {
            let may = guard::may_dial(literal, &self.resolver.allow_private.load());
            return if may { Ok(literal) } else { Err(CallError::RefusedAddress(literal)) };
        }
        match self.resolver.find(host.to_owned()).await {
            Ok(found) => found.first().copied().ok_or(CallError::Connect(NO_ADDRESS)),
            Err(FindError::Refused(address)) => Err(CallError::RefusedAddress(address)),
            Err(FindError::Unknown(_)) => Err(CallError::Connect(NO_ADDRESS)),
        }
    }

    /// Makes one call and reads its answer.
    pub async fn send(&self, call: Call) -> Result<Answer, CallError> {
        check_url(&call.url, &self.resolver.allow_private.load())?;
        let timeout = call.timeout;
        tokio::time::timeout(timeout, self.exchange(call, None)).await.unwrap_or(Err(CallError::Timeout(timeout)))
    }

    /// Makes one call whose answer may be long: what a success brings is handed to `take` as it comes, without a cap,
    /// until `take` says `false`. The body of the answer is empty then.
    pub async fn download(&self, call: Call, take: Take<'_>) -> Result<Answer, CallError> {
        check_url(&call.url, &self.resolver.allow_private.load())?;
        let timeout = call.timeout;
        tokio::time::timeout(timeout, self.exchange(call, Some(take))).await.unwrap_or(Err(CallError::Timeout(timeout)))
    }

    async fn exchange(&self, call: Call, mut take: Option<Take<'_>>) -> Result<Answer, CallError> {
        let timeout = call.timeout;
        let mut request = self.client.request(call.method, call.url).headers(call.headers);
        if let Some(body) = call.body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(|e| typed(&e, timeout))?;
        let mut body = BytesMut::new();
        let mut truncated = false;
        while let Some(chunk) = response.chunk().await.map_err(|e| typed(&e, timeout))? {
            if let Some(take) = take.as_mut().filter(|_| response.status().is_success()) {
                if !take(&chunk) {
                    break;
                }
                continue;
            }
            let room = ANSWER_CAP - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                truncated = true;
                break;
            }
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status: response.status(), headers, body: body.freeze(), truncated })
    }
}

/// The rules that need no resolution: https outside loopback, no credentials in the URL, and a
/// literal address (in any spelling the URL standard knows) must be one that may be dialled, since
/// a literal never reaches the resolver.
fn check_url(url: &Url, allow_private: &[IpNet]) -> Result<(), CallError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CallError::RefusedUrl("it contains credentials"));
    }
    let literal = match url.host() {
        Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(Host::Domain(_)) => None,
        None => return Err(CallError::RefusedUrl("it has no host")),
    };
    if let Some(address) = literal.filter(|address| !guard::may_dial(*address, allow_private)) {
        return Err(CallError::RefusedAddress(address));
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback_url(url) => Ok(()),
        _ => Err(CallError::RefusedUrl("it must begin with https://")),
    }
}

/// Whether the URL's host is this machine by its form: a loopback address or `localhost`, which
/// the client resolves to loopback addresses only.
pub fn is_loopback_url(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => is_localhost(name),
        None => false,
    }
}

fn is_localhost(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
}

/// What is said of a name without an address.
const NO_ADDRESS: &str = "the name does not resolve or the host does not answer";

/// Hands out only addresses that may be dialled.
#[derive(Clone)]
struct GuardedResolver {
    allow_private: AllowPrivate,
    lookup: Lookup,
}

/// All addresses of a name were refused.
#[derive(Debug, thiserror::Error)]
#[error("refused address")]
struct Refused(IpAddr);

/// Why a name has no address to dial.
enum FindError {
    Refused(IpAddr),
    Unknown(io::Error),
}

impl GuardedResolver {
    /// The addresses of a name that may be dialled; at least one.
    async fn find(&self, name: String) -> Result<Vec<IpAddr>, FindError> {
        let allow_private = self.allow_private.load_full();
        let mut found = (self.lookup)(name.clone()).await.map_err(FindError::Unknown)?;
        if is_localhost(&name) {
            found.retain(IpAddr::is_loopback);
        }
        let (good, refused): (Vec<IpAddr>, Vec<IpAddr>) =
            found.into_iter().partition(|address| guard::may_dial(*address, &allow_private));
        match (good.is_empty(), refused.first()) {
            (true, Some(address)) => Err(FindError::Refused(*address)),
            (true, None) => Err(FindError::Unknown(io::ErrorKind::NotFound.into())),
            (false, _) => Ok(good),
        }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            match resolver.find(name.as_str().to_owned()).await {
                Ok(good) => Ok(Box::new(good.into_iter().map(|ip| SocketAddr::new(ip, 0))) as reqwest::dns::Addrs),
                Err(FindError::Refused(address)) => Err(Refused(address).into()),
                Err(FindError::Unknown(error)) => Err(error.into()),
            }
        })
    }
}

/// The links of an error's chain, outermost first. An `io::Error` hides the error it wraps from
/// `source()`, so it is opened.
fn chain(error: &reqwest::Error) -> Vec<&(dyn StdError + 'static)> {
    let mut links = Vec::new();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(link) = next {
        links.push(link);
        next = match link.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => link.source(),
        };
    }
    links
}

fn innermost(error: &reqwest::Error) -> &(dyn StdError + 'static) {
    chain(error).pop().expect("a chain begins with the error itself")
}

/// The kind of a reqwest error, without its URL.
fn typed(error: &reqwest::Error, timeout: Duration) -> CallError {
    let links = chain(error);
    if let Some(Refused(address)) = links.iter().find_map(|link| link.downcast_ref::<Refused>()) {
        return CallError::RefusedAddress(*address);
    }
    if let Some(tls) = links.iter().find_map(|link| link.downcast_ref::<rustls::Error>()) {
        return CallError::Tls(tls_reason(tls));
    }
    if error.is_connect() {
        if error.is_timeout() {
            return CallError::Connect("no answer to the connection attempt");
        }
        let kind = links.iter().find_map(|link| link.downcast_ref::<io::Error>()).map(io::Error::kind);
        return CallError::Connect(connect_reason(kind));
    }
    if error.is_timeout() {
        return CallError::Timeout(timeout);
    }
    if error.is_builder() {
        return CallError::RefusedUrl("it is not a URL that HTTP can call");
    }
    CallError::Broken
}

const fn connect_reason(kind: Option<io::ErrorKind>) -> &'static str {
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused",
        Some(io::ErrorKind::ConnectionReset) => "connection reset",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "unreachable",
        Some(io::ErrorKind::UnexpectedEof) => "connection closed during the handshake",
        _ => NO_ADDRESS,
    }
}

fn tls_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
        ) => "the certificate has expired".to_owned(),
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. },
        ) => "the certificate is for another name".to_owned(),
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            "the certificate's issuer is not trusted".to_owned()
        }
        rustls::Error::InvalidCertificate(_) => "the certificate is not valid".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("the other side sent {alert:?}"),
        _ => "the handshake failed".to_owned(),
    }
}

#[cfg(test)]
mod tests;
