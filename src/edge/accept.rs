//! The accept loop of both listeners: connection caps, deadlines, TLS, proxies, a graceful end. It takes
//! any hyper service, or a warp filter. `connection` is one connection, `seats` counts them,
//! `arrival` tells who sent a request.
//!
//! warp's own server has no header deadline, no cap and no TLS (measured: half-sent requests stay
//! for ever), so it is never used.

mod arrival;
mod connection;
mod seats;

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::Service,
};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    time::{sleep, timeout},
};

pub use self::arrival::Arrival;
use self::seats::{Connections, Seat};
use super::{io::Command, tls::LiveTls};

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
    pub tls: Option<LiveTls>,
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Whether each connection begins with a header of the PROXY protocol. Only trusted proxies may
    /// connect then.
    pub proxy_protocol: bool,
    /// Where trusted proxies put the client's certificate; of others it is dropped.
    pub client_certificate_header: Option<HeaderName>,
    /// Refuse (403) what did not come over https, by our own TLS or by a trusted proxy's word. On
    /// for a listener off loopback (DESIGN §8).
    pub require_https: bool,
    /// The limits.
    pub limits: ConnectionLimits,
    /// Who is told of connections that are closed before their first request.
    pub told: Told,
}

impl ListenerOptions {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }

    fn tell(&self, refused: Refused) {
        if let Some(told) = &self.told.0 {
            told(refused);
        }
    }
}

/// Why a connection is closed before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There are as many connections as there may be.
    Full,
    /// Its client has as many as one may have.
    Address,
    /// It came past the proxy, on a listener of the PROXY protocol.
    Untrusted,
    /// Its header of the PROXY protocol is missing, malformed or late.
    ProxyHeader,
    /// Its TLS handshake failed, or was late.
    Tls,
}

impl Refused {
    /// All reasons.
    pub const ALL: [Self; 5] = [Self::Full, Self::Address, Self::Untrusted, Self::ProxyHeader, Self::Tls];

    /// The word for labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
            Self::Untrusted => "untrusted",
            Self::ProxyHeader => "proxy_header",
            Self::Tls => "tls",
        }
    }
}

/// Is told of each connection that is closed before its first request. Must return at once.
#[derive(Clone, Default)]
pub struct Told(Option<Arc<dyn Fn(Refused) + Send + Sync>>);

impl Told {
    /// Calls `told`.
    pub fn by(told: impl Fn(Refused) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
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
        self.connections.count()
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
    tokio::spawn(accept_loop(listener, stopped, move |tcp, peer| match shared.seat(peer.ip()) {
        Ok(seat) => drop(tokio::spawn(connection::serve(shared.clone(), tcp, peer.ip(), service.clone(), seat))),
        Err(refused) => shared.options.tell(refused),
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

/// What all connections of a listener share.
#[derive(Debug)]
struct Shared {
    options: ListenerOptions,
    connections: Arc<Connections>,
}

impl Shared {
    /// A place for a connection, counted for its client if that is known by now.
    fn seat(&self, peer: IpAddr) -> Result<Seat, Refused> {
        let limits = &self.options.limits;
        let mut seat = self.connections.seat(limits)?;
        let peer = peer.to_canonical();
        if !self.options.proxy_protocol && !self.options.trusts(peer) {
            seat.count_for(peer, limits)?;
        }
        Ok(seat)
    }
}

#[cfg(test)]
mod tests;
