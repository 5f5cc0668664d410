use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};

use super::*;

fn loopback() -> Vec<IpNet> {
    vec!["127.0.0.0/8".parse().unwrap()]
}

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn get(text: &str) -> Call {
    Call::new(Method::GET, url(text))
}

/// A server that answers every connection with `answer` and counts connections.
async fn canned(answer: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut buffer = [0; 4096];
            let _ = socket.read(&mut buffer).await;
            let _ = socket.write_all(answer).await;
        }
    });
    (port, count)
}

fn resolving_to(addresses: &'static [&'static str]) -> Lookup {
    Arc::new(move |_| Box::pin(async move { Ok(addresses.iter().map(|a| a.parse().unwrap()).collect()) }))
}

#[tokio::test]
async fn every_spelling_of_a_private_literal_is_refused_before_a_packet_leaves() {
    let client = HttpClient::new(Vec::new()).unwrap();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "100.64.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "１２７.0.0.1",
        "127.0.0.1.",
        "224.0.0.1",
        "255.255.255.255",
    ];
    for host in hosts {
        for scheme in ["https", "http"] {
            let refused = client.send(get(&format!("{scheme}://{host}:9/x"))).await.unwrap_err();
            assert!(matches!(refused, CallError::RefusedAddress(_)), "{scheme}://{host}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_name_is_judged_by_the_addresses_that_would_be_dialled() {
    for private in [&["127.0.0.1"][..], &["10.1.1.1", "::1"], &["::ffff:169.254.169.254"], &["64:ff9b::a00:1"]] {
        let addresses: &'static [&'static str] = private.to_vec().leak();
        let client = HttpClient::with_lookup(Vec::new(), resolving_to(addresses)).unwrap();
        let refused = client.send(get("https://rebinding.example/latest/meta-data")).await.unwrap_err();
        assert!(matches!(refused, CallError::RefusedAddress(_)), "{private:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_answer_reaches_no_private_listener() {
    let (port, connections) = canned(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_| {
        // Alternates between a documentation address and loopback, as a rebinding name server does.
        let turn = counter.fetch_add(1, Ordering::SeqCst);
        Box::pin(
            async move { Ok(vec![if turn.is_multiple_of(2) { "203.0.113.1" } else { "127.0.0.1" }.parse().unwrap()]) },
        )
    });
    let client = HttpClient::with_lookup(Vec::new(), lookup).unwrap();
    for _ in 0..6 {
        let refused = client.send(get(&format!("https://rebinding.example:{port}/"))).await.unwrap_err();
        assert!(matches!(refused, CallError::RefusedAddress(_)), "{refused:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn localhost_never_leaves_the_machine_whatever_the_resolver_says() {
    let client = HttpClient::with_lookup(loopback(), resolving_to(&["93.184.216.34"])).unwrap();
    let refused = client.send(get("http://localhost:1/")).await.unwrap_err();
    assert!(matches!(refused, CallError::Connect(_)), "{refused:?}");
}

#[tokio::test]
async fn plain_http_is_spoken_on_loopback_only() {
    let client = HttpClient::new(loopback()).unwrap();
    for refused in
        ["http://example.com/", "http://93.184.216.34/", "ftp://example.com/", "https://user:pw@example.com/"]
    {
        let error = client.send(get(refused)).await.unwrap_err();
        assert!(matches!(error, CallError::RefusedUrl(_)), "{refused}: {error:?}");
    }
    let (port, _) = canned(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let answer = client.send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(answer.whole().unwrap().as_ref(), b"hi");
}

#[tokio::test]
async fn a_reload_of_allow_private_takes_effect_on_the_next_call() {
    let (port, _) = canned(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let client = HttpClient::new(Vec::new()).unwrap();
    let target = format!("http://127.0.0.1:{port}/");
    assert!(client.send(get(&target)).await.is_err());
    client.set_allow_private(loopback());
    assert_eq!(client.send(get(&target)).await.unwrap().status, 204);
    client.set_allow_private(Vec::new());
    assert!(client.send(get(&target)).await.is_err());
}

#[tokio::test]
async fn calls_one_after_another_share_a_warm_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
                }
            });
        }
    });
    let client = HttpClient::new(loopback()).unwrap();
    for _ in 0..5 {
        assert_eq!(client.send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap().status, 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (canary, connections) = canned(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let redirect = format!("HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:{canary}/\r\ncontent-length: 0\r\n\r\n");
    let (port, _) = canned(redirect.leak().as_bytes()).await;
    let client = HttpClient::new(loopback()).unwrap();
    let answer = client.send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_over_the_cap_is_cut_while_it_is_read_and_its_status_is_kept() {
    let mut huge = b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n".to_vec();
    huge.resize(huge.len() + ANSWER_CAP + 64 * 1024, b'x');
    let (port, _) = canned(huge.leak()).await;
    let client = HttpClient::new(loopback()).unwrap();
    let answer = client.send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.partial().len(), ANSWER_CAP);
    assert_eq!(answer.whole().unwrap_err(), CallError::TooLarge);
}

#[tokio::test]
async fn failures_are_told_apart_and_name_no_url() {
    let client = HttpClient::new(loopback()).unwrap();
    // Held, so that nobody else gets it, and not listened at.
    let unheard = TcpSocket::new_v4().unwrap();
    unheard.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = unheard.local_addr().unwrap().port();
    let (broken, _) = canned(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let (not_tls, _) = canned(b"hello\r\n").await;
    let (gzip, _) = canned(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b").await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut slow = get(&format!("http://127.0.0.1:{}/?token=SECRET", silent.local_addr().unwrap().port()));
    slow.timeout = Duration::from_millis(50);

    let send = async |target: String| client.send(get(&target)).await;
    let errors = [
        (send(format!("http://127.0.0.1:{closed}/?token=SECRET")).await.unwrap_err(), "Connect"),
        (send(format!("http://127.0.0.1:{broken}/?token=SECRET")).await.unwrap_err(), "Broken"),
        (send(format!("https://127.0.0.1:{not_tls}/?token=SECRET")).await.unwrap_err(), "Tls"),
        (client.send(slow).await.unwrap_err(), "Timeout"),
        (send(format!("http://127.0.0.1:{gzip}/")).await.unwrap().whole().cloned().unwrap_err(), "Compressed"),
    ];
    for (error, kind) in errors {
        assert!(format!("{error:?}").starts_with(kind), "{kind}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_a_tls_error() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        while let Ok((socket, _)) = listener.accept().await {
            let _ = acceptor.accept(socket).await;
        }
    });
    let client = HttpClient::new(loopback()).unwrap();
    let error = client.send(get(&format!("https://localhost:{port}/"))).await.unwrap_err();
    assert!(matches!(error, CallError::Tls(_)), "{error:?}");
}

#[test]
fn retry_after_is_read_as_seconds_or_as_a_date_and_is_capped() {
    let now = Timestamp::parse_rfc3339("2026-11-24T08:00:00Z").unwrap();
    let cases = [
        ("0", Some(0)),
        ("120", Some(120)),
        ("86400", Some(900)),
        ("99999999999999999999999", Some(900)),
        ("Tue, 24 Nov 2026 08:01:30 GMT", Some(90)),
        ("Tue, 24 Nov 2026 07:00:00 GMT", Some(0)),
        ("Wed, 25 Nov 2026 08:00:00 GMT", Some(900)),
        ("-5", None),
        ("soon", None),
        ("", None),
    ];
    for (text, expected) in cases {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(text));
        let answer = Answer { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Bytes::new(), truncated: false };
        assert_eq!(answer.retry_after(now), expected.map(Duration::from_secs), "{text:?}");
    }
}

#[tokio::test]
async fn an_address_for_another_protocol_passes_the_same_guard() {
    let refused = |address: &str| Err(CallError::RefusedAddress(address.parse().unwrap()));
    let client = HttpClient::with_lookup(Vec::new(), resolving_to(&["10.1.1.1", "169.254.169.254"])).unwrap();
    assert_eq!(client.address_of("mail.example").await, refused("10.1.1.1"));
    assert_eq!(client.address_of("127.0.0.1").await, refused("127.0.0.1"));
    assert_eq!(client.address_of("::1").await, refused("::1"));
    let mixed = HttpClient::with_lookup(Vec::new(), resolving_to(&["127.0.0.1", "93.184.216.34"])).unwrap();
    assert_eq!(mixed.address_of("mail.example").await, Ok("93.184.216.34".parse().unwrap()));
    let allowed = HttpClient::with_lookup(loopback(), resolving_to(&["127.0.0.1"])).unwrap();
    assert_eq!(allowed.address_of("localhost").await, Ok("127.0.0.1".parse().unwrap()));
}
