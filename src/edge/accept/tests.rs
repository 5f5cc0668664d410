use std::collections::VecDeque;

use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, watch},
};
use warp::Filter;

use super::{
    arrival::{FORWARDED_FOR, forwarded_client},
    seats::network_of,
    *,
};
use crate::{
    config::{Tls, TlsProblem},
    secrets::Secret,
};

mod certificates;
mod proxied;

/// Longer than any deadline under test; a test that waits it out has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const ANY_PORT: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn limits() -> ConnectionLimits {
    let short = Duration::from_millis(50);
    ConnectionLimits {
        handshake: short,
        header: short,
        idle: short,
        idle_proxy: short,
        write: short,
        ..Default::default()
    }
}

/// Deadlines that do not matter to the test.
fn patient() -> ConnectionLimits {
    ConnectionLimits {
        handshake: PATIENCE,
        header: PATIENCE,
        idle: PATIENCE,
        idle_proxy: PATIENCE,
        ..Default::default()
    }
}

fn options(limits: ConnectionLimits) -> ListenerOptions {
    ListenerOptions { limits, ..Default::default() }
}

/// Answers each request with who sent it and how; `/big` with more than socket buffers hold.
fn echo()
-> impl Service<Request<Incoming>, Response = warp::reply::Response, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static {
    let big = warp::path!("big").map(|| vec![b'x'; 64 << 20]);
    let who = warp::ext::get::<Arrival>().map(|a: Arrival| format!("{} {}", a.client, a.https).into_bytes());
    TowerToHyperService::new(warp::service(big.or(who).unify()))
}

fn listening(options: ListenerOptions) -> Server {
    let listener = bind(ANY_PORT).expect("a free port");
    serve(listener, echo(), options).expect("an address")
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.local_addr()).await.expect("a connection")
}

/// Everything until the peer closes.
async fn read_to_close(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut all = Vec::new();
    // A reset is a close as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("closed by a deadline");
    String::from_utf8(all).expect("text")
}

async fn exchange(server: &Server, request: &str) -> String {
    let mut client = connect(server).await;
    client.write_all(request.as_bytes()).await.expect("written");
    read_to_close(&mut client).await
}

const GET: &str = "GET /who HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_AND_CLOSE: &str = "GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// Reads one answer to [`GET`], leaving the connection open.
async fn read_answer(client: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = String::new();
    while !answer.ends_with("true") && !answer.ends_with("false") {
        let byte = timeout(PATIENCE, client.read_u8()).await.expect("an answer").expect("an answer");
        answer.push(char::from(byte));
    }
    answer
}

#[tokio::test]
async fn a_half_sent_header_is_closed_by_its_deadline() {
    let server = listening(options(ConnectionLimits { idle: PATIENCE * 2, ..limits() }));
    assert_eq!(exchange(&server, "POST / HTTP/1.1\r\nhost: x\r\nx-a").await, "");
}

#[tokio::test]
async fn a_header_that_drips_is_closed_by_the_deadline_of_its_first_byte() {
    let server = listening(options(ConnectionLimits { idle: PATIENCE * 2, ..limits() }));
    let (mut read, mut write) = connect(&server).await.into_split();
    let closed = timeout(PATIENCE, async {
        let mut drip = tokio::time::interval(Duration::from_millis(5));
        write.write_all(b"GET / HTTP/1.1\r\n").await.expect("written");
        loop {
            drip.tick().await;
            if write.write_all(b"x-drip: 1\r\n").await.is_err() {
                return;
            }
        }
    });
    closed.await.expect("closed while dripping");
    let mut rest = Vec::new();
    let _ = read.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_connection_that_never_speaks_is_closed_by_the_idle_deadline() {
    let server = listening(options(ConnectionLimits { header: PATIENCE * 2, ..limits() }));
    assert_eq!(exchange(&server, "").await, "");
}

#[tokio::test]
async fn a_connection_idle_after_an_answer_is_closed_by_the_idle_deadline() {
    let server = listening(options(ConnectionLimits { header: PATIENCE * 2, ..limits() }));
    assert!(exchange(&server, GET).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_trusted_proxy_may_idle_longer() {
    let limits = ConnectionLimits { idle_proxy: PATIENCE, ..limits() };
    let trusted =
        ListenerOptions { trusted_proxies: ["127.0.0.0/8".parse().expect("a net")].into(), ..options(limits) };
    let server = listening(trusted);
    let mut proxy = connect(&server).await;
    // Another connection lives and dies by the clock of the same limits meanwhile.
    let other = listening(options(self::limits()));
    exchange(&other, "").await;
    proxy.write_all(GET_AND_CLOSE.as_bytes()).await.expect("written");
    assert!(read_to_close(&mut proxy).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_closed_by_the_write_deadline() {
    let server = listening(options(ConnectionLimits { write: Duration::from_millis(50), ..patient() }));
    let mut client = connect(&server).await;
    client.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    timeout(PATIENCE, server.connections.emptied()).await.expect("closed by its deadline");
    drop(client);
}

/// The time that the reader takes is its behaviour, not a wait of the test.
#[tokio::test]
async fn a_reader_that_takes_a_little_at_a_time_is_closed_by_the_write_deadline() {
    let server = listening(options(ConnectionLimits { write: Duration::from_millis(500), ..patient() }));
    let mut client = connect(&server).await;
    client.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    let reading = async {
        let mut piece = [0; 256];
        while let Ok(1..) = client.read(&mut piece).await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = reading => panic!("all of it was read"),
        closed = timeout(PATIENCE, server.connections.emptied()) => closed.expect("closed by its deadline"),
    }
}

#[tokio::test]
async fn a_large_answer_may_take_longer_than_the_deadline_while_its_reader_keeps_up() {
    let server = listening(options(ConnectionLimits { write: Duration::from_secs(3), ..patient() }));
    let mut client = connect(&server).await;
    client.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("written");
    let (mut piece, mut read) = (vec![0; 64 << 10], 0);
    while let Ok(bytes @ 1..) = client.read(&mut piece).await {
        read += bytes;
        sleep(Duration::from_millis(5)).await;
    }
    assert!(read > 64 << 20, "{read} bytes came in 5 s and more");
}

#[tokio::test]
async fn one_connection_over_the_cap_is_closed_and_a_seat_is_given_back() {
    for (connections, per_address) in [(2, 100), (100, 2)] {
        let server = listening(options(ConnectionLimits { connections, per_address, ..patient() }));
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut client = connect(&server).await;
            client.write_all(GET.as_bytes()).await.expect("written");
            read_answer(&mut client).await;
            held.push(client);
        }
        assert_eq!(exchange(&server, GET_AND_CLOSE).await, "");
        drop(held.pop());
        timeout(PATIENCE, async {
            while exchange(&server, GET_AND_CLOSE).await.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the seat is given back");
    }
}

#[tokio::test]
async fn trusted_proxies_are_not_counted_per_address() {
    let trusted = ListenerOptions {
        trusted_proxies: ["127.0.0.1/32".parse().expect("a net")].into(),
        ..options(ConnectionLimits { per_address: 1, ..patient() })
    };
    let server = listening(trusted);
    let _held = connect(&server).await;
    assert!(exchange(&server, GET_AND_CLOSE).await.starts_with("HTTP/1.1 200"));
}

#[test]
fn an_ipv6_address_counts_as_its_64() {
    let net = |text: &str| network_of(text.parse().expect("an address"));
    assert_eq!(net("2001:db8:0:1::1"), net("2001:db8:0:1:ffff::2"));
    assert_ne!(net("2001:db8:0:1::1"), net("2001:db8:0:2::1"));
    assert_ne!(net("192.0.2.1"), net("192.0.2.2"));
}

#[tokio::test]
async fn a_header_block_over_the_cap_is_refused_and_the_refusal_can_be_read() {
    let server = listening(options(patient()));
    let fits = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-a: {}\r\n\r\n", "a".repeat(15 * 1024));
    assert!(exchange(&server, &fits).await.starts_with("HTTP/1.1 200"));
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "a".repeat(100 * 1024));
    assert!(exchange(&server, &large).await.starts_with("HTTP/1.1 431"));
}

/// A request whose length is told twice gets one answer and a closed connection: what a proxy may
/// have taken for a second request is never answered.
#[tokio::test]
async fn ambiguous_framing_never_makes_two_requests() {
    let server = listening(options(patient()));
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    let both = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
        5 + smuggled.len()
    );
    let lengths = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: 5\r\n\r\n{smuggled}");
    let not_last = format!("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n{smuggled}");
    let ten = format!("POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}");
    for request in [both, lengths, not_last, ten] {
        let answers = exchange(&server, &request).await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{request:?} → {answers:?}");
    }
    for request in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\na\0b: c\r\n\r\n",
        "GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
    ] {
        let answers = exchange(&server, request).await;
        assert!(!answers.starts_with("HTTP/1.1 2"), "{request:?} → {answers:?}");
    }
}

/// A certificate for `localhost` and its key in PEM, and who trusts it.
fn self_signed() -> (String, String, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    (made.cert.pem(), made.signing_key.serialize_pem(), roots)
}

fn pair(cert: &str, key: &str) -> Tls {
    Tls { cert: Secret::new(cert.into()), key: Secret::new(key.into()) }
}

fn live_tls(cert: &str, key: &str) -> LiveTls {
    LiveTls::new(&pair(cert, key), false).expect("a pair")
}

async fn tls_client(
    server: &Server,
    roots: rustls::RootCertStore,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = "localhost".try_into().expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, connect(server).await).await
}

#[tokio::test]
async fn tls_of_both_versions_is_served_with_hsts_and_http_1_1_only() {
    let (cert, key, roots) = self_signed();
    let tls = Some(live_tls(&cert, &key));
    let server = listening(ListenerOptions { tls, require_https: true, ..options(patient()) });
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = tls_client(&server, roots.clone(), &[version]).await.expect("a handshake");
        assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        client.write_all(GET_AND_CLOSE.as_bytes()).await.expect("written");
        let answer = read_to_close(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age=63072000\r\n"), "{answer}");
        assert!(answer.ends_with("127.0.0.1 true"), "{answer}");
    }
}

#[tokio::test]
async fn a_stalled_handshake_is_closed_and_plaintext_gets_no_answer() {
    let (cert, key, _) = self_signed();
    let tls = Some(live_tls(&cert, &key));
    let server = listening(ListenerOptions { tls, ..options(limits()) });
    assert_eq!(exchange(&server, "").await, "");
    let mut client = connect(&server).await;
    client.write_all(GET.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, client.read_to_end(&mut answer)).await.expect("closed");
    assert!(!answer.starts_with(b"HTTP"), "an alert at most: {answer:?}");
}

#[test]
fn a_certificate_that_cannot_be_used_says_which_part() {
    let (cert, key, _) = self_signed();
    let (_, foreign, _) = self_signed();
    let garbled = cert.replacen("MII", "MIA", 1);
    for (cert, key, problem) in [
        ("no pem", &*key, TlsProblem::Certificate),
        ("", &key, TlsProblem::Certificate),
        (&garbled, &key, TlsProblem::Certificate),
        (&cert, "no pem", TlsProblem::Key),
        (&cert, &cert, TlsProblem::Key),
        (&cert, &foreign, TlsProblem::Mismatch),
    ] {
        assert_eq!(pair(cert, key).certified().expect_err("refused"), problem);
    }
    assert!(pair(&cert, &key).certified().is_ok());
}

#[tokio::test]
async fn forwarded_headers_count_only_from_trusted_proxies() {
    let claims = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: 198.51.100.9, 203.0.113.7, 127.0.0.9\r\n\
                  x-forwarded-proto: https\r\n\r\n";
    let server = listening(options(patient()));
    let answer = exchange(&server, claims).await;
    assert!(answer.ends_with("127.0.0.1 false"), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");

    let trusted_proxies = ["127.0.0.0/8".parse().expect("a net")].into();
    let server = listening(ListenerOptions { trusted_proxies, ..options(patient()) });
    let answer = exchange(&server, claims).await;
    assert!(answer.ends_with("203.0.113.7 true"), "{answer}");
    assert!(answer.contains("strict-transport-security"), "{answer}");
}

#[tokio::test]
async fn plain_http_is_refused_where_https_is_required() {
    let trusted_proxies: Arc<[IpNet]> = ["127.0.0.0/8".parse().expect("a net")].into();
    let required = |trusted_proxies| ListenerOptions { trusted_proxies, require_https: true, ..options(patient()) };
    let with = |proto: &str| format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{proto}\r\n");
    let proxied = listening(required(trusted_proxies));
    let direct = listening(required([].into()));
    for (server, proto, status) in [
        (&proxied, "x-forwarded-proto: https\r\n", "200"),
        (&proxied, "x-forwarded-proto: http\r\n", "403"),
        (&proxied, "x-forwarded-proto: https, http\r\n", "403"),
        (&proxied, "", "403"),
        (&direct, "x-forwarded-proto: https\r\n", "403"),
        (&direct, "", "403"),
    ] {
        let answer = exchange(server, &with(proto)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{proto:?} → {answer}");
    }
}

#[test]
fn the_client_is_the_rightmost_address_that_no_trusted_proxy_owns() {
    let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a net")];
    for (forwarded, client) in [
        (&[][..], "10.0.0.1"),
        (&["203.0.113.7"], "203.0.113.7"),
        (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (&["203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        (&["203.0.113.7", "10.9.9.9"], "203.0.113.7"),
        (&["10.1.1.1, 10.9.9.9"], "10.1.1.1"),
        (&["203.0.113.7:4711"], "203.0.113.7"),
        (&["[2001:db8::7]:4711"], "2001:db8::7"),
        (&["::ffff:203.0.113.7"], "203.0.113.7"),
        (&["203.0.113.7, unknown"], "10.0.0.1"),
        (&["203.0.113.7, "], "10.0.0.1"),
    ] {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().expect("a value"));
        }
        let found = forwarded_client(&headers, "10.0.0.1".parse().expect("an address"), &proxies);
        assert_eq!(found.to_string(), client, "{forwarded:?}");
    }
}

/// A service that says when a request is in and answers when told.
fn held() -> (
    impl Service<Request<Incoming>, Response = warp::reply::Response, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static,
    mpsc::UnboundedReceiver<()>,
    watch::Sender<bool>,
) {
    let (entered, entries) = mpsc::unbounded_channel();
    let (go, gate) = watch::channel(false);
    let filter = warp::any().then(move || {
        let (entered, mut gate) = (entered.clone(), gate.clone());
        async move {
            entered.send(()).expect("the test listens");
            let _ = gate.wait_for(|open| *open).await;
            "done false"
        }
    });
    (TowerToHyperService::new(warp::service(filter)), entries, go)
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_lets_requests_in_flight_finish() {
    let (service, mut entries, go) = held();
    let listener = bind(ANY_PORT).expect("a free port");
    let limits = ConnectionLimits { linger: Duration::from_millis(50), ..patient() };
    let server = serve(listener, service, options(limits)).expect("an address");
    let mut idle = connect(&server).await;
    let mut busy = connect(&server).await;
    let address = server.local_addr();
    busy.write_all(GET.as_bytes()).await.expect("written");
    entries.recv().await.expect("the request is in");
    let stop = tokio::spawn(server.stop(PATIENCE));
    assert_eq!(read_to_close(&mut idle).await, "");
    assert!(TcpStream::connect(address).await.is_err(), "no longer accepting");
    go.send_replace(true);
    assert!(read_to_close(&mut busy).await.ends_with("done false"));
    assert_eq!(stop.await.expect("no panic"), 0);
}

#[tokio::test]
async fn a_stop_cuts_off_what_is_not_done_by_its_deadline() {
    let (service, mut entries, _go) = held();
    let listener = bind(ANY_PORT).expect("a free port");
    let server = serve(listener, service, options(patient())).expect("an address");
    let mut busy = connect(&server).await;
    busy.write_all(GET.as_bytes()).await.expect("written");
    entries.recv().await.expect("the request is in");
    assert_eq!(server.stop(Duration::from_millis(20)).await, 1);
    assert_eq!(read_to_close(&mut busy).await, "");
}

/// Fails as a process without file descriptors does, then accepts.
struct Failing {
    errors: VecDeque<io::Error>,
    listener: TcpListener,
}

impl Accept for Failing {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.errors.pop_front() {
            Some(error) => Err(error),
            None => TcpListener::accept(&self.listener).await,
        }
    }
}

#[tokio::test]
async fn accept_errors_do_not_end_the_loop() {
    const EMFILE: i32 = 24;
    let listener = bind(ANY_PORT).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let errors = [io::ErrorKind::ConnectionAborted.into(), io::Error::from_raw_os_error(EMFILE)].into();
    let (_running, stopped) = oneshot::channel();
    let (admitted, mut admissions) = mpsc::unbounded_channel();
    tokio::spawn(accept_loop(Failing { errors, listener }, stopped, move |_, _| {
        admitted.send(()).expect("the test listens");
    }));
    TcpStream::connect(address).await.expect("a connection");
    assert_eq!(timeout(PATIENCE, admissions.recv()).await.expect("admitted"), Some(()));
}
