//! The accept loop of both listeners: connection caps, deadlines, TLS, forwarded headers, a
//! graceful end. It takes any hyper service, or a warp filter.
//!
//! warp's own server has no header deadline, no cap and no TLS (measured: half-sent requests stay
//! for ever), so it is never used.

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header, uri::PathAndQuery};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use ipnet::IpNet;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Notify, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    answer,
    io::{Command, Pulse, Transport, Watched},
};

/// Limits of connections; the defaults are DESIGN §10's.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Connections in all; one more is closed at once.
    pub connections: usize,
    /// Connections per address (IPv6: per /64); not counted for trusted proxies.
    pub per_address: usize,
    /// Bytes of request line and headers; more is 431.
    pub head_bytes: usize,
    /// The TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its headers.
    pub header: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Between requests of a trusted proxy: longer than the proxy's own, so that it closes first.
    pub idle_proxy: Duration,
    /// A whole answer, from the first write that the peer makes wait.
    pub write: Duration,
    /// How long a closed connection is read on so that the peer can read the last answer.
    pub linger: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            per_address: 2_000,
            head_bytes: 16 * 1024,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            idle_proxy: Duration::from_secs(75),
            write: Duration::from_secs(10),
            linger: Duration::from_secs(2),
        }
    }
}

/// How a listener treats its connections.
#[derive(Debug, Clone, Default)]
pub struct ListenerOptions {
    /// TLS that is ended here.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Refuse (403) what did not come over https, by our own TLS or by a trusted proxy's word. On
    /// for a listener off loopback (DESIGN §8).
    pub require_https: bool,
    /// The limits.
    pub limits: ConnectionLimits,
}

/// Who sent a request and how; an extension of every request (`warp::ext::get::<Arrival>()`).
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The client: the peer, or the rightmost untrusted address of `X-Forwarded-For`.
    pub client: IpAddr,
    /// Whether it came over https.
    pub https: bool,
    /// Path and query as sent.
    pub target: PathAndQuery,
}

/// A running listener. Dropping it stops accepting and leaves its connections to their deadlines.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    connections: Arc<Connections>,
    /// Dropped to stop the accept loop.
    accepting: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.connections.lock().live.len()
    }

    /// Stops accepting, closes idle connections, lets requests in flight finish for at most
    /// `within`, then cuts off the rest. Returns how many were cut off.
    pub async fn stop(mut self, within: Duration) -> usize {
        drop(self.accepting.take());
        self.connections.order(Command::Finish);
        let _ = timeout(within, self.connections.emptied()).await;
        let cut = self.connections.order(Command::Abort);
        self.connections.emptied().await;
        cut
    }
}

/// Connections that wait to be accepted: a burst of vendors' retries must not find a full queue.
const BACKLOG: u32 = 4096;

/// Listens on `address`. Port 0 takes any free one.
///
/// # Errors
/// The port is in use, or not ours to take.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `service` on `listener` until the returned [`Server`] is stopped.
///
/// # Errors
/// The listener has no local address.
pub fn serve<S, B>(listener: TcpListener, service: S, options: ListenerOptions) -> io::Result<Server>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let address = listener.local_addr()?;
    let connections = Arc::new(Connections::default());
    let (accepting, stopped) = oneshot::channel();
    let shared = Arc::new(Shared { options, connections: connections.clone() });
    tokio::spawn(accept_loop(listener, stopped, move |tcp, peer| {
        if let Some(seat) = shared.seat(peer.ip()) {
            tokio::spawn(connection(shared.clone(), tcp, peer.ip(), service.clone(), seat));
        }
    }));
    Ok(Server { address, connections, accepting: Some(accepting) })
}

/// Serves a warp filter; see [`serve`]. What it rejects must be answered in the filter (`recover`).
///
/// # Errors
/// The listener has no local address.
pub fn serve_filter<F, R>(listener: TcpListener, filter: F, options: ListenerOptions) -> io::Result<Server>
where
    F: warp::Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
    R: warp::Reply,
{
    serve(listener, TowerToHyperService::new(warp::service(filter)), options)
}

/// Where connections come from; a seam for tests of accept errors.
trait Accept: Send + 'static {
    fn accept(&mut self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    fn accept(&mut self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        TcpListener::accept(self)
    }
}

const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_MOST: Duration = Duration::from_secs(1);

/// Accepts until `stopped`. An error of the one connection is skipped; one of the process (no file
/// descriptors, no memory) is waited out, since giving up would make it permanent.
async fn accept_loop<A: Accept>(
    mut listener: A,
    mut stopped: oneshot::Receiver<()>,
    mut admit: impl FnMut(TcpStream, SocketAddr) + Send,
) {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                backoff = BACKOFF_FIRST;
                admit(tcp, peer);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, retry_in_ms = backoff.as_millis() as u64, "cannot accept connections");
                tokio::select! {
                    _ = &mut stopped => return,
                    () = sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(BACKOFF_MOST);
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[derive(Debug)]
struct Shared {
    options: ListenerOptions,
    connections: Arc<Connections>,
}

impl Shared {
    fn is_trusted(&self, address: IpAddr) -> bool {
        self.options.trusted_proxies.iter().any(|net| net.contains(&address))
    }

    /// A place for a connection of `peer`; none: a cap is reached.
    fn seat(&self, peer: IpAddr) -> Option<Seat> {
        let limits = &self.options.limits;
        let peer = peer.to_canonical();
        let counted = (!self.is_trusted(peer)).then(|| network_of(peer));
        let mut inner = self.connections.lock();
        if inner.live.len() >= limits.connections {
            return None;
        }
        if let Some(network) = counted {
            let held = inner.by_address.entry(network).or_default();
            if *held >= limits.per_address {
                return None;
            }
            *held += 1;
        }
        let id = inner.next;
        inner.next += 1;
        let pulse = Arc::new(Pulse::new());
        inner.live.insert(id, pulse.clone());
        drop(inner);
        Some(Seat { connections: self.connections.clone(), id, counted, pulse })
    }
}

/// IPv6 hosts own at least a /64, so that is what one "address" means.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// The open connections of a listener.
#[derive(Debug, Default)]
struct Connections {
    inner: Mutex<Open>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    live: HashMap<u64, Arc<Pulse>>,
    by_address: HashMap<IpAddr, usize>,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, command: Command) -> usize {
        let inner = self.lock();
        inner.live.values().for_each(|pulse| pulse.order(command));
        inner.live.len()
    }

    async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.lock().live.is_empty() {
                return;
            }
            left.await;
        }
    }
}

/// A counted connection; given back when it ends, however it ends.
#[derive(Debug)]
struct Seat {
    connections: Arc<Connections>,
    id: u64,
    counted: Option<IpAddr>,
    pulse: Arc<Pulse>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.connections.lock();
        inner.live.remove(&self.id);
        if let Some(network) = self.counted
            && let Some(held) = inner.by_address.get_mut(&network)
        {
            *held -= 1;
            if *held == 0 {
                inner.by_address.remove(&network);
            }
        }
        drop(inner);
        self.connections.left.notify_waiters();
    }
}

async fn connection<S, B>(shared: Arc<Shared>, tcp: TcpStream, peer: IpAddr, service: S, seat: Seat)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let options = &shared.options;
    let pulse = &seat.pulse;
    let _ = tcp.set_nodelay(true);
    let transport = match &options.tls {
        None => Transport::Plain(tcp),
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls.clone()).accept(tcp);
            let mut handshake = pin!(timeout(options.limits.handshake, handshake));
            let shaken = poll_fn(|cx| match pulse.poll_order(cx) {
                Command::None => handshake.as_mut().poll(cx).map(|shaken| shaken.ok()?.ok()),
                Command::Finish | Command::Abort => Poll::Ready(None),
            });
            match shaken.await {
                Some(stream) => Transport::Tls(Box::new(stream)),
                None => return,
            }
        }
    };
    let peer = peer.to_canonical();
    let trusted = shared.is_trusted(peer);
    let idle = if trusted { options.limits.idle_proxy } else { options.limits.idle };
    let tls = options.tls.is_some();
    let service = service_fn(|mut request: Request<Incoming>| {
        pulse.request_began();
        let arrival = arrival(&request, peer, tls, trusted.then_some(&*options.trusted_proxies));
        let https = arrival.https;
        let answer = if options.require_https && !https {
            None
        } else {
            request.extensions_mut().insert(arrival);
            Some(service.call(request))
        };
        async move {
            let mut response = match answer {
                Some(answer) => answer.await?.map(Inner::Service),
                None => answer::HTTPS_REQUIRED.response().map(Inner::Own),
            };
            if https {
                response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
            }
            pulse.answer_began();
            Ok::<_, Infallible>(response.map(|inner| Tracked { inner, pulse: pulse.clone() }))
        }
    });
    let mut http = http1::Builder::new();
    // The phases of `Pulse` hold the deadlines (see `io`). The buffer bounds what hyper reads ahead
    // of the body's budget, per connection.
    http.header_read_timeout(None)
        .max_header_size(options.limits.head_bytes)
        .max_buf_size(options.limits.head_bytes.max(16 * 1024) + 8 * 1024);
    let conn = http.serve_connection(TokioIo::new(Watched::new(transport, pulse.clone())), service);
    drive(conn, pulse, &options.limits, idle).await;
}

/// Polls a connection until it ends, an order ends it, or its pulse is past due.
async fn drive<S, B>(
    conn: http1::Connection<TokioIo<Watched>, S>,
    pulse: &Pulse,
    limits: &ConnectionLimits,
    idle: Duration,
) where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut conn = pin!(conn);
    let mut alarm = pin!(sleep(idle));
    let mut finishing = false;
    poll_fn(|cx| {
        match pulse.poll_order(cx) {
            Command::Finish if !finishing => {
                finishing = true;
                conn.as_mut().graceful_shutdown();
            }
            Command::Abort => return Poll::Ready(()),
            Command::None | Command::Finish => {}
        }
        if conn.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // The alarm is left where it is unless it would ring too late, and asks again when it
        // rings: a busy keep-alive connection touches the timer once per idle period, not per request.
        loop {
            let due = pulse.due(limits, idle);
            if let Some(due) = due.filter(|due| *due < alarm.deadline()) {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match due {
                Some(due) if due <= now => return Poll::Ready(()),
                Some(due) => alarm.as_mut().reset(due),
                None => alarm.as_mut().reset(now + idle),
            }
        }
    })
    .await;
}

/// Two years: what browsers ask for before they preload a host, and no vendor minds.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Reads who sent `request`. `proxies` are the trusted ones, if the peer itself is one of them.
fn arrival(request: &Request<Incoming>, peer: IpAddr, tls: bool, proxies: Option<&[IpNet]>) -> Arrival {
    let headers = request.headers();
    let (client, https) = match proxies {
        None => (peer, tls),
        Some(proxies) => (forwarded_client(headers, peer, proxies), tls || is_forwarded_https(headers)),
    };
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Arrival { client, https, target }
}

/// The rightmost address that no trusted proxy owns: everything left of it is the client's own word.
fn forwarded_client(headers: &HeaderMap, peer: IpAddr, proxies: &[IpNet]) -> IpAddr {
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

/// The body of an answer; tells the pulse when hyper has taken all of it.
#[derive(Debug)]
struct Tracked<B> {
    inner: Inner<B>,
    pulse: Arc<Pulse>,
}

#[derive(Debug)]
enum Inner<B> {
    Service(B),
    Own(answer::FixedBody),
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        self.pulse.answer_taken();
    }
}

impl<B> Body for Tracked<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.inner {
            Inner::Service(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Inner::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Service(body) => body.is_end_stream(),
            Inner::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Service(body) => body.size_hint(),
            Inner::Own(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests;
