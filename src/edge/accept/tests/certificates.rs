//! Certificates of ours that change, and those that clients show.

use rustls::{
    SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::ingest::Shown;

/// Shakes hands in one version, with a certificate of its own or without.
async fn shaken(
    server: &Server,
    roots: &rustls::RootCertStore,
    own: Option<&Tls>,
    version: &'static SupportedProtocolVersion,
) -> io::Result<TlsStream<TcpStream>> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots.clone());
    let config = match own {
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.expose()).expect("a key");
            builder.with_client_auth_cert(own.certified().expect("a pair").cert, key).expect("a pair")
        }
        None => builder.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().expect("a name"), connect(server).await).await
}

fn shown_by(server: &TlsStream<TcpStream>) -> Vec<u8> {
    server.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

#[tokio::test]
async fn a_replaced_pair_is_shown_to_the_next_connection_and_those_that_are_open_live_on() {
    let (cert, key, mut roots) = self_signed();
    let (other_cert, other_key, other_roots) = self_signed();
    roots.roots.extend(other_roots.roots);
    let tls = live_tls(&cert, &key);
    let server = listening(ListenerOptions { tls: Some(tls.clone()), ..options(patient()) });
    for version in [&TLS12, &TLS13] {
        tls.replace(&pair(&cert, &key), false).expect("the pair");
        let mut before = shaken(&server, &roots, None, version).await.expect("a handshake");
        // A pair that cannot be used changes nothing.
        tls.replace(&pair(&other_cert, &key), false).expect_err("they do not belong together");
        let unchanged = shaken(&server, &roots, None, version).await.expect("a handshake");
        assert_eq!(shown_by(&unchanged), shown_by(&before));
        tls.replace(&pair(&other_cert, &other_key), false).expect("the other pair");
        let after = shaken(&server, &roots, None, version).await.expect("a handshake");
        assert_ne!(shown_by(&after), shown_by(&before));
        before.write_all(GET.as_bytes()).await.expect("written");
        assert!(read_answer(&mut before).await.starts_with("HTTP/1.1 200"));
    }
}

const HEADER: &str = "x-client-cert";

/// Serves requests by telling whose they are, which certificate came with them, and whether the header
/// of certificates is still there.
fn telling(options: ListenerOptions) -> Server {
    let filter = warp::ext::get::<Arrival>().and(warp::header::headers_cloned()).map(
        |arrival: Arrival, headers: http::HeaderMap| {
            let shown = arrival.certificate.map_or("nothing".to_owned(), |shown| told(&shown));
            format!("{} {shown} {}", arrival.client, headers.contains_key(HEADER)).into_bytes()
        },
    );
    let service = TowerToHyperService::new(warp::service(filter));
    serve(bind(ANY_PORT).expect("a free port"), service, options).expect("an address")
}

fn told(shown: &Shown) -> String {
    shown.fingerprint().map_or("unreadable".to_owned(), |fingerprint| hex::encode(fingerprint.0))
}

#[tokio::test]
async fn a_client_is_asked_for_a_certificate_and_may_do_without() {
    let (cert, key, roots) = self_signed();
    let (own_cert, own_key, _) = self_signed();
    let own = pair(&own_cert, &own_key);
    let fingerprint = told(&Shown::of_connection(&own.certified().expect("a pair").cert));
    for version in [&TLS12, &TLS13] {
        for (asks, own, expected) in
            [(true, Some(&own), &*fingerprint), (true, None, "nothing"), (false, Some(&own), "nothing")]
        {
            let tls = Some(LiveTls::new(&pair(&cert, &key), asks).expect("a pair"));
            let server = telling(ListenerOptions { tls, ..options(patient()) });
            let mut client = shaken(&server, &roots, own, version).await.expect("a handshake");
            client.write_all(GET_AND_CLOSE.as_bytes()).await.expect("written");
            let answer = read_to_close(&mut client).await;
            assert!(answer.ends_with(&format!("127.0.0.1 {expected} false")), "{asks}: {answer}");
        }
    }
}

/// Signs with its own key under somebody else's certificate.
#[derive(Debug)]
struct Pretends(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Pretends {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_no_certificate() {
    let (cert, key, roots) = self_signed();
    let (own_cert, own_key, _) = self_signed();
    let (victims_cert, victims_key, _) = self_signed();
    let own = pair(&own_cert, &own_key).certified().expect("a pair");
    let victims = pair(&victims_cert, &victims_key).certified().expect("a pair");
    let tls = Some(LiveTls::new(&pair(&cert, &key), true).expect("a pair"));
    let server = telling(ListenerOptions { tls, ..options(patient()) });
    for version in [&TLS12, &TLS13] {
        let forged = rustls::sign::CertifiedKey::new(victims.cert.clone(), own.key.clone());
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(&[version])
                .expect("a version")
                .with_root_certificates(roots.clone())
                .with_client_cert_resolver(Arc::new(Pretends(Arc::new(forged))));
        let connector = TlsConnector::from(Arc::new(config));
        let name = "localhost".try_into().expect("a name");
        // In TLS 1.3 the client is done before the server looks.
        if let Ok(mut client) = connector.connect(name, connect(&server).await).await {
            let _ = client.write_all(GET_AND_CLOSE.as_bytes()).await;
            assert_eq!(read_to_close(&mut client).await, "");
        }
    }
}

#[tokio::test]
async fn a_certificate_in_a_header_is_believed_of_trusted_proxies_only_and_never_passed_on() {
    let (cert, ..) = self_signed();
    let escaped: String = cert.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let fingerprint = told(&Shown::of_header(&escaped.parse().expect("a value")));
    assert_eq!(fingerprint.len(), 64);
    let trusted: Arc<[IpNet]> = ["127.0.0.0/8".parse().expect("a net")].into();
    let once = format!("{HEADER}: {escaped}\r\n");
    let twice = format!("{once}{once}");
    for (trusted_proxies, sent, expected) in [
        (trusted.clone(), &*once, &*fingerprint),
        (trusted.clone(), "", "nothing"),
        (trusted.clone(), "x-client-cert: \r\n", "nothing"),
        (trusted.clone(), "x-client-cert: nonsense%4\r\n", "unreadable"),
        (trusted.clone(), &twice, "unreadable"),
        ([].into(), &once, "nothing"),
    ] {
        let client_certificate_header = Some(HeaderName::from_static(HEADER));
        let server = telling(ListenerOptions { trusted_proxies, client_certificate_header, ..options(patient()) });
        let answer = exchange(&server, &format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{sent}\r\n")).await;
        assert!(answer.ends_with(&format!("127.0.0.1 {expected} false")), "{sent:?}: {answer}");
    }
}

/// A proxy that reaches us over mutual TLS shows its own certificate, which is not its client's.
#[tokio::test]
async fn the_certificate_of_a_trusted_proxys_own_connection_is_not_its_clients() {
    let (cert, key, roots) = self_signed();
    let tls = Some(LiveTls::new(&pair(&cert, &key), true).expect("a pair"));
    let trusted_proxies = ["127.0.0.0/8".parse().expect("a net")].into();
    let server = telling(ListenerOptions { tls, trusted_proxies, ..options(patient()) });
    let mut proxy = shaken(&server, &roots, Some(&pair(&cert, &key)), &TLS13).await.expect("a handshake");
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: 203.0.113.7\r\n\r\n";
    proxy.write_all(request).await.expect("written");
    let answer = read_to_close(&mut proxy).await;
    assert!(answer.ends_with("203.0.113.7 nothing false"), "{answer}");
}
