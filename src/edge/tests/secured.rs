//! Answers over TLS that ends here.

use tokio_rustls::TlsConnector;

use super::*;
use crate::{config::Tls, edge::tls::LiveTls, ingest::RecordError};

/// Two years, as browsers want it.
const HSTS: &str = "strict-transport-security: max-age=63072000\r\n";

#[tokio::test]
async fn hsts_is_on_answers_of_every_kind() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let secret = |text: String| crate::secrets::Secret::new(text.into());
    let pair = Tls { cert: secret(made.cert.pem()), key: secret(made.signing_key.serialize_pem()) };
    let tls = LiveTls::new(&pair, false).expect("a pair");
    let edge = Listening::with(|options| options.listener.tls = Some(tls));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let sent = body(1);
    let signed = edge.signed("app", "e1", &sent);
    let length = |length: usize| format!("content-length: {length}\r\n");
    let post =
        |headers: &str| format!("POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    let full = post(&format!("{signed}{}", length(sent.len()))) + &sent;
    for (request, expected) in [
        (full.clone(), 200),
        (post(&format!("{JSON}{}", length(2))) + "{}", 401),
        ("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), 404),
        ("PUT /webhooks/acme/app HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), 405),
        (post(&format!("{JSON}{}", length(99_999_999))), 413),
        (post(&format!("content-type: text/csv\r\n{}", length(2))) + "{}", 415),
        (full, 503),
    ] {
        if expected == 503 {
            *edge.world.store.failing.lock().unwrap() = Some(RecordError::Unavailable("full".to_owned()));
        }
        let tcp = edge.connect().await;
        let mut client = connector.connect("localhost".try_into().expect("a name"), tcp).await.expect("a handshake");
        client.write_all(request.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, client.read_to_end(&mut answer)).await.expect("closed in time");
        let answer = String::from_utf8(answer).expect("text");
        assert_eq!(status(&answer), expected, "{answer}");
        assert_eq!(answer.matches(HSTS).count(), 1, "{answer}");
    }
}
