//! The PROXY protocol on real sockets.

use std::sync::Mutex;

use super::*;

type Refusals = Arc<Mutex<Vec<&'static str>>>;

/// Options of a listener behind such a proxy, and why it closed connections.
fn trusting(nets: &[&str], limits: ConnectionLimits) -> (ListenerOptions, Refusals) {
    let refused = Refusals::default();
    let told = Told::by({
        let refused = refused.clone();
        move |why| refused.lock().expect("no panic").push(why.as_str())
    });
    let trusted_proxies = nets.iter().map(|net| net.parse().expect("a net")).collect();
    (ListenerOptions { trusted_proxies, proxy_protocol: true, told, ..options(limits) }, refused)
}

/// Version 2, over TCP and IPv4, from 203.0.113.7.
const BLOCK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x0a\x00\x00\x01\x12\x67\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n";

async fn sent(server: &Server, pieces: &[&[u8]]) -> String {
    let mut client = connect(server).await;
    for piece in pieces {
        // What is refused early may be closed before all is written.
        let _ = client.write_all(piece).await;
    }
    read_to_close(&mut client).await
}

#[tokio::test]
async fn the_client_is_whom_the_header_names_whatever_http_says() {
    let (options, refused) = trusting(&["127.0.0.0/8", "10.0.0.0/8"], patient());
    let server = listening(options);
    let claims =
        b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: 198.51.100.9\r\nx-forwarded-proto: https\r\n\r\n";
    for (header, client) in [
        (LINE, "203.0.113.7 false"),
        (BLOCK, "203.0.113.7 false"),
        // Nobody is named: the proxy itself, or a client whose word counts no more.
        (LOCAL, "127.0.0.1 false"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1 false"),
        // A proxy of HTTP before the one of connections.
        (b"PROXY TCP4 10.0.0.2 10.0.0.1 4711 443\r\n", "198.51.100.9 true"),
    ] {
        for pieces in [vec![header, claims], vec![&header[..5], &header[5..], claims]] {
            let answer = sent(&server, &pieces).await;
            assert!(answer.ends_with(client), "{header:?}: {answer}");
        }
    }
    assert!(refused.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn a_connection_without_a_header_gets_no_answer_and_is_counted() {
    let limits = ConnectionLimits { handshake: Duration::from_millis(50), ..patient() };
    let (options, refused) = trusting(&["127.0.0.0/8"], limits);
    let server = listening(options);
    for bytes in [
        GET.as_bytes(),
        b"PROXY TCP4 nonsense\r\n",
        b"PROXY TCP4 203.0.113.7",
        b"",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        assert_eq!(sent(&server, &[bytes]).await, "", "{bytes:?}");
    }
    assert_eq!(*refused.lock().expect("no panic"), ["proxy_header"; 5]);
}

#[tokio::test]
async fn whoever_comes_past_the_proxy_gets_no_answer_and_is_counted() {
    let (options, refused) = trusting(&["10.0.0.0/8"], patient());
    let server = listening(options);
    assert_eq!(sent(&server, &[LINE, GET_AND_CLOSE.as_bytes()]).await, "");
    assert_eq!(sent(&server, &[GET_AND_CLOSE.as_bytes()]).await, "");
    assert_eq!(*refused.lock().expect("no panic"), ["untrusted"; 2]);
}

#[tokio::test]
async fn connections_are_counted_for_the_client_that_the_header_names() {
    let (options, refused) = trusting(&["127.0.0.0/8"], ConnectionLimits { per_address: 1, ..patient() });
    let server = listening(options);
    let mut held = connect(&server).await;
    held.write_all(&[LINE, GET.as_bytes()].concat()).await.expect("written");
    read_answer(&mut held).await;
    assert_eq!(sent(&server, &[LINE, GET_AND_CLOSE.as_bytes()]).await, "");
    assert_eq!(*refused.lock().expect("no panic"), ["address"]);
    let other = b"PROXY TCP4 203.0.113.8 10.0.0.1 4711 443\r\n";
    assert!(sent(&server, &[other, GET_AND_CLOSE.as_bytes()]).await.ends_with("203.0.113.8 false"));
    // Health checks are the proxy's, which has no cap.
    assert!(sent(&server, &[LOCAL, GET_AND_CLOSE.as_bytes()]).await.ends_with("127.0.0.1 false"));
}

#[tokio::test]
async fn tls_begins_after_the_header() {
    let (cert, key, roots) = self_signed();
    let (options, refused) = trusting(&["127.0.0.0/8"], patient());
    let server = listening(ListenerOptions { tls: Some(live_tls(&cert, &key)), require_https: true, ..options });
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for header in [LINE, BLOCK] {
        let mut tcp = connect(&server).await;
        tcp.write_all(header).await.expect("written");
        let mut client = connector.connect("localhost".try_into().expect("a name"), tcp).await.expect("a handshake");
        client.write_all(GET_AND_CLOSE.as_bytes()).await.expect("written");
        let answer = read_to_close(&mut client).await;
        assert!(answer.ends_with("203.0.113.7 true"), "{answer}");
    }
    let mut plain = connect(&server).await;
    plain.write_all(&[LINE, GET_AND_CLOSE.as_bytes()].concat()).await.expect("written");
    let mut alert = Vec::new();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut alert)).await.expect("closed");
    assert!(!alert.starts_with(b"HTTP"), "{alert:?}");
    assert_eq!(*refused.lock().expect("no panic"), ["tls"]);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_header() {
    let (options, _) = trusting(&["127.0.0.0/8"], patient());
    let server = listening(options);
    let mut silent = connect(&server).await;
    silent.write_all(&LINE[..9]).await.expect("written");
    timeout(PATIENCE, async {
        while server.connections() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("accepted");
    assert_eq!(server.stop(PATIENCE * 2).await, 0);
    assert_eq!(read_to_close(&mut silent).await, "");
}
