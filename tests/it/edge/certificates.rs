//! Certificates of the running gateway, renewed while it runs, and those that its vendors show.

use std::{fs, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    edge::BODY,
    harness::{App, Folder, Process, eventually, series, sluice},
    secrets::fake::{FakeVault, TOKEN},
};

/// A certificate for `localhost` and its key, PEM.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pair {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        Self { cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// Signed by this key, PEM.
    pub(crate) fn of(key: &str) -> Self {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let cert = params.self_signed(&KeyPair::from_pem(key).expect("a key")).expect("a certificate");
        Self { cert: cert.pem(), key: key.to_owned() }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("PEM")
    }

    pub(crate) fn write(&self, folder: &Folder, name: &str) {
        folder.secret(&format!("{name}.pem"), &self.cert);
        folder.secret(&format!("{name}.key"), &self.key);
    }
}

/// Trusts these certificates.
pub(crate) struct Client(ClientConfig);

impl Client {
    pub(crate) fn trusting<const N: usize>(pairs: [&Pair; N]) -> Self {
        let mut roots = RootCertStore::empty();
        for pair in pairs {
            roots.add(pair.der()).expect("a root");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Self(config.expect("versions").with_root_certificates(roots).with_no_client_auth())
    }

    /// What becomes of a handshake.
    pub(crate) async fn greet(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(self.0.clone())).connect(name, tcp).await
    }

    async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        self.greet(address).await.expect("a handshake")
    }

    /// The certificate that a new connection is shown.
    pub(crate) async fn shown(&self, address: SocketAddr) -> CertificateDer<'static> {
        let connection = self.connect(address).await;
        connection.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
    }

    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> String {
        let mut connection = self.connect(address).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.expect("an answer");
        answer
    }
}

pub(crate) fn address(origin: &str) -> SocketAddr {
    origin.rsplit('/').next().expect("an origin").parse().expect("an address")
}

/// One request on a connection that stays open.
async fn asked(connection: &mut TlsStream<TcpStream>) {
    connection.write_all(b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(br#"{"keys":[]}"#) {
        answer.push(connection.read_u8().await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

pub(crate) const LISTENERS: &str = "[edge]\nlisten = '127.0.0.1:0'\ntls = { cert = 'file:edge.pem', key = 'file:edge.key' }\n\
    [admin]\nlisten = '127.0.0.1:0'\ntls = { cert = 'file:admin.pem', key = 'file:admin.key' }\n\
    [telemetry]\nformat = 'json'\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_files_are_shown_to_new_connections_the_certificate_first_and_its_key_later() {
    let folder = Folder::new();
    let (first, second, admins, admins_next) = (Pair::new(), Pair::new(), Pair::new(), Pair::new());
    first.write(&folder, "edge");
    admins.write(&folder, "admin");
    fs::write(folder.config(), LISTENERS).expect("the main file");
    folder.tenant("acme", "");
    let gateway = Process::start(&folder).await;
    let (public, admin) = (address(&gateway.runtime.public), address(&gateway.runtime.admin));
    let client = Client::trusting([&first, &second, &admins, &admins_next]);
    assert_eq!([client.shown(public).await, client.shown(admin).await], [first.der(), admins.der()]);
    let mut held = client.connect(public).await;
    asked(&mut held).await;
    // No authority vouches for it, and it is for another name: the process itself says which one it shows.
    let command = async || sluice(folder.path(), &["lanes", "--json"]).await;
    let told = command().await;
    assert_eq!(told.status, 0, "{told:#?}");
    let successful = "sluice_config_last_reload_successful";

    folder.secret("edge.pem", &second.cert);
    eventually("the half renewal is refused", || async {
        gateway
            .lines()
            .iter()
            .any(|line| line.contains("edge.tls.key: is not the key of the certificate"))
            .then_some(())
    })
    .await;
    assert_eq!(client.shown(public).await, first.der());
    eventually("the refusal is told", || async {
        (series(&client.get(admin, "/metrics").await, successful, &[]) == 0).then_some(())
    })
    .await;
    asked(&mut held).await;

    folder.secret("edge.key", &second.key);
    eventually("the whole renewal is taken", || async { (client.shown(public).await == second.der()).then_some(()) })
        .await;
    assert_eq!(client.shown(admin).await, admins.der());
    eventually("the renewal is told", || async {
        (series(&client.get(admin, "/metrics").await, successful, &[]) == 1).then_some(())
    })
    .await;
    // Who was there before the renewal is still served.
    asked(&mut held).await;

    admins_next.write(&folder, "admin");
    gateway.signal("HUP");
    eventually("the admin listener shows its new one", || async {
        (client.shown(admin).await == admins_next.der()).then_some(())
    })
    .await;
    assert_eq!(client.shown(public).await, second.der());
    asked(&mut held).await;
    eventually("commands know it", || async { (command().await.status == 0).then_some(()) }).await;
    // Whoever else stands there is not told the token.
    let file = folder.path().join("runtime.json");
    let mut runtime: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    runtime["admin_certificate"] = "00".repeat(32).into();
    fs::write(&file, runtime.to_string()).unwrap();
    let told = command().await;
    assert!(told.status == 1 && told.stderr.contains("TLS failed"), "{told:#?}");
    gateway.terminate();
    let (status, lines) = gateway.ended().await;
    assert!(status.success(), "{lines:#?}");
    let taken = lines.iter().filter(|line| line.contains("certificate taken for new connections")).count();
    assert_eq!(taken, 2, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("BEGIN")), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_a_provider_renews_in_two_steps_is_taken_with_the_second() {
    let vault = FakeVault::start().await;
    let (first, second) = (Pair::new(), Pair::new());
    vault.put("edge", json!({ "cert": first.cert, "key": first.key }));
    let folder = Folder::new();
    folder.secret("vault.token", TOKEN);
    let tls = "tls = { cert = 'vault:secret/data/edge#cert', key = 'vault:secret/data/edge#key' }";
    let main = format!("[edge]\nlisten = '127.0.0.1:0'\n{tls}\n[admin]\nlisten = '127.0.0.1:0'\n");
    let providers = vault.section("refresh = '1s'", "token = 'file:vault.token'");
    fs::write(folder.config(), main + &providers).expect("the main file");
    let app = App::start(&folder).await;
    let public = address(&app.public());
    let client = Client::trusting([&first, &second]);
    assert_eq!(client.shown(public).await, first.der());
    vault.put("edge", json!({ "cert": second.cert, "key": first.key }));
    eventually("the half renewal is refused", || async {
        (series(&app.scrape().await, "sluice_config_last_reload_successful", &[]) == 0).then_some(())
    })
    .await;
    assert_eq!(client.shown(public).await, first.der());
    vault.put("edge", json!({ "cert": second.cert, "key": second.key }));
    eventually("the whole renewal is taken", || async { (client.shown(public).await == second.der()).then_some(()) })
        .await;
    eventually("the renewal is told", || async {
        (series(&app.scrape().await, "sluice_config_last_reload_successful", &[]) == 1).then_some(())
    })
    .await;
    app.stop().await;
}

/// A client of an authority: its certificate and key as one PEM text.
fn identity(authority: &CertifiedIssuer<'_, KeyPair>) -> reqwest::Identity {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["hooks.vendor.example".to_owned()]).expect("names");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    reqwest::Identity::from_pem((certificate.pem() + &key.serialize_pem()).as_bytes()).expect("an identity")
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

const MUTUAL: &str = "[sources.app]\nvendor = 'generic'\nsecrets = ['file:app.secret']\n\
    client_certificate = { names = ['hooks.vendor.example'] }\n\
    [sources.plain]\nvendor = 'generic'\nsecrets = ['file:plain.secret']\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_proves_itself_by_a_certificate_until_its_authority_is_taken_out() {
    let (server, vendors, others) = (Pair::new(), authority(), authority());
    let folder = Folder::new();
    server.write(&folder, "edge");
    folder.secret("clients.pem", &vendors.pem());
    folder.secret("app.secret", "app-secret");
    folder.secret("plain.secret", "plain-secret");
    folder.tenant("acme", MUTUAL);
    let tls = "tls = { cert = 'file:edge.pem', key = 'file:edge.key' }\nclient_ca = 'file:clients.pem'";
    fs::write(folder.config(), format!("[edge]\nlisten = '127.0.0.1:0'\n{tls}\n[admin]\nlisten = '127.0.0.1:0'\n"))
        .expect("the main file");
    let app = App::start(&folder).await;
    let client = |identity: Option<reqwest::Identity>| {
        let root = reqwest::Certificate::from_pem(server.cert.as_bytes()).expect("a root");
        let builder = reqwest::Client::builder().tls_certs_only([root]).resolve("localhost", address(&app.public()));
        let builder = match identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        };
        builder.build().expect("a client")
    };
    let deliver = async |client: &reqwest::Client, source: &str, id: &str| {
        let url = format!("https://localhost:{}/webhooks/acme/{source}", address(&app.public()).port());
        let headers = super::signature(&format!("{source}-secret"), id, BODY);
        let answer = client.post(url).headers(headers).header("content-type", "application/json").body(BODY);
        let answer = answer.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (vendor, other, nobody) = (client(Some(identity(&vendors))), client(Some(identity(&others))), client(None));
    let (status, _) = deliver(&vendor, "app", "e1").await;
    assert_eq!(status, 200);
    let nowhere = deliver(&nobody, "nothing", "e2").await;
    assert_eq!(nowhere.0, 401);
    assert_eq!(deliver(&other, "app", "e3").await, nowhere);
    assert_eq!(deliver(&nobody, "app", "e4").await, nowhere);
    // The same listener, and the same connections, serve a source that demands nothing.
    for (nth, client) in [&vendor, &other, &nobody].into_iter().enumerate() {
        assert_eq!(deliver(client, "plain", &format!("p{nth}")).await.0, 200);
    }
    let reasons = eventually("both refusals are kept", || async {
        let rows = app.get("/api/v1/refusals?tenant=acme&source=app").await;
        let mut reasons: Vec<String> = rows
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["reason"].as_str().expect("a reason").to_owned())
            .collect();
        reasons.sort();
        (reasons.len() == 2).then_some(reasons)
    })
    .await;
    assert_eq!(reasons, ["certificate_invalid", "certificate_missing"]);
    let scrape = app.scrape().await;
    for reason in &reasons {
        let labels = ["vendor=\"generic\"", &format!("reason=\"{reason}\"")];
        assert_eq!(series(&scrape, "sluice_webhook_rejections_total", &labels), 1);
    }
    // The authority is another now: what was let in on this very connection is let in no more.
    folder.secret("clients.pem", &others.pem());
    app.reload().await;
    assert_eq!(deliver(&vendor, "app", "e5").await, nowhere);
    assert_eq!(deliver(&other, "app", "e6").await.0, 200);
    app.stop().await;
}
