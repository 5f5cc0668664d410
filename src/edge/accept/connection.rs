//! One connection from its first byte to its end: a proxy's header, TLS, requests.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{ConnectionLimits, ListenerOptions, Refused, Shared, arrival::Origin, seats::Seat};
use crate::{
    edge::{
        answer,
        io::{Command, Pulse, Transport, Watched},
        proxy_header,
    },
    ingest::Shown,
};

/// Serves one connection. What ends it before its first request is told.
pub(super) async fn serve<S, B>(shared: Arc<Shared>, tcp: TcpStream, peer: IpAddr, service: S, seat: Seat)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let _ = tcp.set_nodelay(true);
    match opened(&shared, tcp, peer, seat).await {
        Ok(Opened { seat, transport, origin }) => {
            requests(&shared.options, &seat.pulse, transport, origin, service).await;
        }
        Err(Some(refused)) => shared.options.tell(refused),
        Err(None) => {}
    }
}

/// A connection that is ready for requests.
struct Opened<'a> {
    seat: Seat,
    transport: Transport,
    origin: Origin<'a>,
}

/// Takes what comes before the first request. `Err(None)`: the listener was told to end.
async fn opened(
    shared: &Shared,
    mut tcp: TcpStream,
    peer: IpAddr,
    mut seat: Seat,
) -> Result<Opened<'_>, Option<Refused>> {
    let options = &shared.options;
    let limits = &options.limits;
    let mut peer = peer.to_canonical();
    let mut is_trusted = options.trusts(peer);
    if options.proxy_protocol {
        if !is_trusted {
            return Err(Some(Refused::Untrusted));
        }
        let header = timeout(limits.handshake, proxy_header::read(&mut tcp));
        let source = unless_ordered(&seat.pulse, header).await.ok_or(None)?;
        let Ok(Ok(source)) = source else { return Err(Some(Refused::ProxyHeader)) };
        // The proxy knows nothing of HTTP: a header that it passes on is its client's own word. So is one
        // of a connection whose client it does not name.
        is_trusted = source.is_some_and(|source| options.trusts(source));
        peer = source.unwrap_or(peer);
        if source.is_some() && !is_trusted {
            seat.count_for(peer, limits).map_err(Some)?;
        }
    }
    let (transport, certificate) = match &options.tls {
        None => (Transport::Plain(tcp), None),
        Some(tls) => {
            let handshake = timeout(limits.handshake, TlsAcceptor::from(tls.current()).accept(tcp));
            let shaken = unless_ordered(&seat.pulse, handshake).await.ok_or(None)?;
            let Ok(Ok(stream)) = shaken else { return Err(Some(Refused::Tls)) };
            let certificate = stream.get_ref().1.peer_certificates().map(Shown::of_connection);
            (Transport::Tls(Box::new(stream)), certificate)
        }
    };
    let origin = Origin {
        peer,
        tls: options.tls.is_some(),
        certificate,
        proxies: is_trusted.then_some(&*options.trusted_proxies),
        certificate_header: options.client_certificate_header.as_ref(),
    };
    Ok(Opened { seat, transport, origin })
}

/// What `work` comes to; none if the connection is told to end meanwhile.
async fn unless_ordered<T>(pulse: &Pulse, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match pulse.poll_order(cx) {
        Command::None => work.as_mut().poll(cx).map(Some),
        Command::Finish | Command::Abort => Poll::Ready(None),
    })
    .await
}

/// Serves the requests of a connection until it ends.
async fn requests<S, B>(
    options: &ListenerOptions,
    pulse: &Arc<Pulse>,
    transport: Transport,
    origin: Origin<'_>,
    service: S,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let idle = if origin.proxies.is_some() { options.limits.idle_proxy } else { options.limits.idle };
    let service = service_fn(|mut request: Request<Incoming>| {
        pulse.request_began();
        let arrival = origin.arrival(&mut request);
        let https = arrival.https;
        let answer = if !names_its_host(&request) {
            Err(answer::HOST)
        } else if options.require_https && !https {
            Err(answer::HTTPS_REQUIRED)
        } else {
            request.extensions_mut().insert(arrival);
            Ok(service.call(request))
        };
        async move {
            let mut response = match answer {
                Ok(answer) => answer.await?.map(Inner::Service),
                Err(own) => own.response().map(Inner::Own),
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

/// Whether the request has one `Host` (RFC 9112 §3.2: the answer to any other is 400); one of HTTP/1.0 may have none.
fn names_its_host(request: &Request<Incoming>) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    hosts == 1 || hosts == 0 && request.version() != Version::HTTP_11
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
