//! Every vendor against genuine and forged requests. The fixtures' signatures are made by Python, the
//! vectors by the vendors' own SDKs: neither by the code under test.

mod contract;
mod handshakes;
mod properties;
mod schemes;
mod strictness;
mod vectors;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use serde::Deserialize;
use sluice::{
    secrets::Secret,
    vendors::{self, Envelope, Key, Malformed, Outgoing, Reading, Refusal, Request, Vendor, Verified},
};
use sluice_actors::domain::Timestamp;

/// The public URL that the fixtures were sent to.
const BASE: &str = "https://hooks.example.com";

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vendors")
}

/// `<vendor>/source.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFile {
    now: i64,
    secret: String,
    signing: Option<String>,
    #[serde(default)]
    options: toml::Table,
}

/// A vendor as a source would hold it, and what its sender signs with.
struct Setup {
    vendor: Arc<dyn Vendor>,
    now: Timestamp,
    secret: String,
    signing: String,
    keys: Vec<Key>,
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

impl Setup {
    fn new(name: &str) -> Self {
        let path = fixtures().join(name).join("source.toml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file: SourceFile = toml::from_str(&text).expect("source.toml");
        let vendor = vendors::build(name, &file.options).expect("a known vendor").expect("valid options");
        let keys = vec![vendor.key(&secret(&file.secret)).expect("a valid key")];
        let signing = file.signing.unwrap_or_else(|| file.secret.clone());
        Self { vendor, now: Timestamp::from_secs(file.now), secret: file.secret, signing, keys }
    }

    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        vendors::NAMES.into_iter().map(|name| (name, Self::new(name)))
    }

    /// A fixture of this vendor.
    fn fixture(&self, name: &str) -> Delivery {
        let path = fixtures().join(self.vendor.name()).join(format!("{name}.http"));
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Delivery::parse(&bytes, self.now)
    }

    /// The vendor's sample, signed at `signed` and received now.
    fn sample(&self, id: &str, signed: Timestamp) -> Delivery {
        self.sample_signed_with(id, signed, &self.signing)
    }

    fn sample_signed_with(&self, id: &str, signed: Timestamp, signing: &str) -> Delivery {
        let sample = self.vendor.sample(id, signed);
        let url = format!("{BASE}/webhooks/acme/{}", self.vendor.name());
        let outgoing = Outgoing { url: &url, id, event_type: sample.event_type, now: signed, body: &sample.body };
        let mut headers: HeaderMap =
            self.vendor.sign(&outgoing, &secret(signing)).expect("a signing secret").into_iter().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(sample.content_type));
        Delivery { method: Method::POST, url, headers, body: sample.body, now: self.now }
    }

    fn verify(&self, delivery: &Delivery) -> Result<Verified, Refusal> {
        self.vendor.verify(&delivery.request(), &self.keys, self.vendor.profile().tolerance)
    }

    fn read(&self, delivery: &Delivery) -> Result<Reading, Malformed> {
        let verified = self.verify(delivery).expect("an authentic delivery");
        self.vendor.read(&delivery.request(), &verified, &self.keys)
    }

    fn events(&self, delivery: &Delivery) -> Vec<Envelope> {
        match self.read(delivery) {
            Ok(Reading::Events(events)) => events,
            other => panic!("{}: no events but {other:?}", self.vendor.name()),
        }
    }
}

/// One request as it came.
#[derive(Debug, Clone)]
struct Delivery {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
    now: Timestamp,
}

impl Delivery {
    fn request(&self) -> Request<'_> {
        Request { method: &self.method, url: &self.url, headers: &self.headers, body: &self.body, now: self.now }
    }

    /// Reads a request's text: request line, headers, an empty line, the body to the end.
    fn parse(bytes: &[u8], now: Timestamp) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an end of the headers");
        let head = std::str::from_utf8(&bytes[..end]).expect("UTF-8 headers");
        let body = bytes[end + 4..].to_vec();
        let mut lines = head.split("\r\n");
        let mut words = lines.next().expect("a request line").split(' ');
        let method = words.next().expect("a method").parse().expect("a method");
        let url = format!("{BASE}{}", words.next().expect("a target"));
        let headers: HeaderMap = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value")))
            .collect();
        assert_eq!(headers["content-length"], body.len().to_string(), "the body was changed without its length");
        Self { method, url, headers, body, now }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header's value"));
        self
    }
}

/// A moment some seconds from another.
fn shifted(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis() + seconds * 1000)
}

/// Seconds of a duration, signed.
fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).expect("a short time")
}
