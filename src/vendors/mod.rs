//! Vendors: one file each, pure functions of the request, the keys and the time.
//!
//! To add a vendor: write `src/vendors/<vendor>.rs` with a type that implements [`Vendor`], add one
//! line to `REGISTRY`, and put genuine, tampered, stale and replayed requests into
//! `tests/fixtures/vendors/<vendor>/`. The contract test fails for a vendor without them.

mod asymmetric;
mod custom;
mod discord;
mod field;
mod form;
mod generic;
mod github;
mod header;
mod hubspot;
mod key;
mod linear;
mod mac;
mod notion;
mod openai;
mod options;
mod paypal;
mod sendgrid;
mod shopify;
mod slack;
mod standard;
mod stripe;
mod svix;
mod twilio;
mod window;
mod zoom;

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;
use sluice_actors::domain::Timestamp;
use zeroize::Zeroizing;

use crate::secrets::Secret;

/// One HTTP request as the vendor sent it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The public URL with its query, from `edge.public_url` (never from `Host`).
    pub url: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The raw body, before any decoding.
    pub body: &'a [u8],
    /// The moment of receipt.
    pub now: Timestamp,
}

/// A key that verifies, parsed from its secret when the configuration was read.
#[derive(Clone)]
#[non_exhaustive]
pub enum Key {
    /// The bytes that key an HMAC, or a static token.
    Symmetric(Secret),
    /// A raw Ed25519 public key.
    Ed25519([u8; 32]),
    /// An uncompressed P-256 point (65 bytes).
    EcdsaP256(Vec<u8>),
    /// An RSA public key as PKCS#1 DER.
    Rsa(Vec<u8>),
    /// An RSA public key from a certificate, good while that is valid.
    Certified {
        /// The key as PKCS#1 DER.
        rsa: Vec<u8>,
        /// The first moment of its certificate.
        not_before: Timestamp,
        /// The last moment of its certificate.
        not_after: Timestamp,
    },
}

impl Key {
    /// What makes it this key and no other, however its secret was written.
    pub fn material(&self) -> Zeroizing<Vec<u8>> {
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Symmetric(secret) => (0, secret.expose()),
            Self::Ed25519(key) => (1, key),
            Self::EcdsaP256(point) => (2, point),
            Self::Rsa(der) | Self::Certified { rsa: der, .. } => (3, der),
        };
        let mut material = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
        material.push(kind);
        material.extend_from_slice(bytes);
        material
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A secret's text is not a key of this scheme. Says what is expected, never what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidKey(pub String);

/// The vendor options of a source in the tenant file do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct InvalidOption {
    /// The key within the source's table.
    pub key: String,
    /// What is wrong and what is expected.
    pub reason: String,
}

/// Why a delivery did not verify. Goes to the log, a metric and the console; never to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A header that the scheme needs is not there.
    MissingSignature,
    /// A signature or timestamp header that is not of the scheme's form, or there twice.
    MalformedSignature,
    /// Well formed, made with another key or over other bytes.
    BadSignature,
    /// Signed too long ago.
    StaleTimestamp,
    /// Signed too far in the future.
    FutureTimestamp,
    /// No such tenant or source.
    UnknownEndpoint,
    /// The source is switched off.
    Disabled,
    /// The source has no secret that is still valid.
    NoLiveSecret,
    /// The source takes deliveries from other addresses only.
    AddressNotAllowed,
    /// The source demands a client certificate, and there is none.
    CertificateMissing,
    /// The client certificate cannot be read, is not for clients, or comes from nobody that is trusted.
    CertificateInvalid,
    /// The client certificate, or one above it, is not valid at this time.
    CertificateExpired,
    /// The client certificate is somebody else's.
    CertificateNotAccepted,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::MissingSignature,
        Self::MalformedSignature,
        Self::BadSignature,
        Self::StaleTimestamp,
        Self::FutureTimestamp,
        Self::UnknownEndpoint,
        Self::Disabled,
        Self::NoLiveSecret,
        Self::AddressNotAllowed,
        Self::CertificateMissing,
        Self::CertificateInvalid,
        Self::CertificateExpired,
        Self::CertificateNotAccepted,
    ];

    /// The word for logs, labels and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingSignature => "missing_signature",
            Self::MalformedSignature => "malformed_signature",
            Self::BadSignature => "bad_signature",
            Self::StaleTimestamp => "stale_timestamp",
            Self::FutureTimestamp => "future_timestamp",
            Self::UnknownEndpoint => "unknown_endpoint",
            Self::Disabled => "disabled",
            Self::NoLiveSecret => "no_live_secret",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateInvalid => "certificate_invalid",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateNotAccepted => "certificate_not_accepted",
        }
    }
}

/// The envelope of an authentic delivery is unusable (400). Carries no part of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub Cow<'static, str>);

/// An authentic delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Which of the keys, by position, verified it.
    pub key: usize,
    /// The signed time, where the scheme signs one.
    pub signed_at: Option<Timestamp>,
}

/// What an authentic delivery says.
#[derive(Debug, Clone)]
pub enum Reading {
    /// The vendor's protocol asks for this answer; nothing is stored but the fact.
    Handshake(Answer),
    /// One or more events.
    Events(Vec<Envelope>),
}

/// An answer that a vendor's protocol prescribes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The media type of the body; none without a body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
}

/// The fields that every event has, read from one vendor's payload.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The vendor's stable id, or one derived from the content (see `id_derived`).
    pub external_id: String,
    /// Whether the signature covers the id. Where it does not, a `replay_key` is kept too.
    pub id_signed: bool,
    /// Whether the id is our own digest of the content.
    pub id_derived: bool,
    /// The vendor's type, dotted where the vendor has parts (`pull_request.opened`).
    pub event_type: String,
    /// What it is about.
    pub subject_id: Option<String>,
    /// When it happened, by the vendor.
    pub occurred_at: Option<Timestamp>,
    /// The vendor's payload version.
    pub api_version: Option<String>,
    /// This event's own payload (one element of a batch; a form as an object).
    pub payload: Value,
    /// Headers outside the signature that choose the type or topic (GitHub, Shopify, Linear), as
    /// they were; part of the `replay_key`.
    pub unsigned_topic: Option<String>,
    /// What the signature covers in place of the body's bytes, where that is weaker than they are
    /// (PayPal signs a CRC32); stands for them in the `replay_key`.
    pub signed_instead: Option<String>,
}

/// How duplicates are told apart (DESIGN §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The external id alone decides; other content under it is a counted conflict.
    Ignore,
    /// External id and content decide; other content is a new event that revises the first.
    Revision,
}

/// What holds for all requests of a vendor, unless the source says otherwise.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Accepted media types, lowercase, without parameters.
    pub content_types: &'static [&'static str],
    /// The largest body in bytes.
    pub max_body: usize,
    /// How far the signed time may lie from now, each way.
    pub tolerance: Duration,
    /// The status of a success; 204 goes without a body.
    pub success: StatusCode,
    /// The default of `on_conflict`.
    pub on_conflict: OnConflict,
    /// JSON pointers (with `*` for any element) into an event's payload that change between retries.
    pub volatile: &'static [&'static str],
    /// Whether the scheme signs a time (if not, replay keys live as long as the secret).
    pub signs_time: bool,
    /// Whether the scheme signs the public URL (HubSpot, Twilio): `edge.public_url` is required.
    pub signs_url: bool,
    /// Whether the scheme is a static token: weak, marked so in the console and by `sluice check`.
    pub weak: bool,
    /// Event types (patterns) whose payload is only an id: summarising them needs a `fetch`.
    pub id_only: &'static [&'static str],
    /// Where the webhook URL and its secret go in the vendor's own settings.
    pub setup: &'static str,
}

/// One vendor's scheme. An instance belongs to one source and holds that source's options.
pub trait Vendor: Send + Sync + std::fmt::Debug {
    /// The name in the configuration.
    fn name(&self) -> &'static str;

    /// What holds for all its requests.
    fn profile(&self) -> &Profile;

    /// Parses the text of a secret (or public key) into a key of this scheme.
    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey>;

    /// Whether the raw request is authentic under one of `keys` (newest first), signed within
    /// `tolerance` of now. Constant time in the secret; tries every key and at most 8 signatures.
    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal>;

    /// Reads an authentic request.
    fn read(&self, request: &Request<'_>, verified: &Verified, keys: &[Key]) -> Result<Reading, Malformed>;

    /// A token that a first, unprovable request hands over (Notion). Asked only for a source that
    /// waits for one (`await_handshake = true`) and has no live secret.
    fn offered_secret(&self, _request: &Request<'_>) -> Option<Secret> {
        None
    }

    /// The answer to a GET handshake, for a scheme that has one; `None` is 405.
    fn get_handshake(&self, _request: &Request<'_>, _keys: &[Key]) -> Option<Result<Answer, Refusal>> {
        None
    }

    /// The answer to a stored (or duplicate) delivery where the sender reads the body of a success,
    /// so that the gateway's own JSON would be shown to people or taken for a command (Slack
    /// commands and dialogs, Discord interactions). `None`: the profile's status as usual.
    fn success_answer(&self, _request: &Request<'_>) -> Option<Answer> {
        None
    }

    /// Signs a body as the vendor would: the headers to send, besides the content type. For
    /// `sluice send`, alerts, the demo and tests; never for what is received. `secret` is the signing secret
    /// (for public-key schemes the private key, PKCS#8 PEM or a raw seed in base64).
    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey>;

    /// A sample body with the given id and time, of a type the vendor documents as common.
    fn sample(&self, id: &str, now: Timestamp) -> Sample;
}

/// What [`Vendor::sign`] signs.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The URL that will be called.
    pub url: &'a str,
    /// The delivery's id, for schemes that carry it in a header.
    pub id: &'a str,
    /// The event type, for schemes that carry it in a header.
    pub event_type: &'a str,
    /// The time to sign.
    pub now: Timestamp,
    /// The body.
    pub body: &'a [u8],
}

/// A sample delivery.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its event type.
    pub event_type: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its body.
    pub body: Vec<u8>,
}

/// The body cap of DESIGN §6.
const DEFAULT_MAX_BODY: usize = 512 * 1024;

impl Reading {
    /// One event.
    fn one(envelope: Envelope) -> Self {
        Self::Events(vec![envelope])
    }
}

impl Answer {
    /// 200 with a JSON body.
    fn json(body: &Value) -> Self {
        Self { status: StatusCode::OK, content_type: Some("application/json"), body: body.to_string().into_bytes() }
    }

    /// A status alone.
    fn empty(status: StatusCode) -> Self {
        Self { status, content_type: None, body: Vec::new() }
    }
}

impl Sample {
    /// A JSON body.
    fn json(event_type: &'static str, body: &Value) -> Self {
        Self { event_type, content_type: "application/json", body: body.to_string().into_bytes() }
    }
}

/// Makes a scheme from the vendor's own keys of a source's table.
type Build = fn(&toml::Table) -> Result<Arc<dyn Vendor>, InvalidOption>;

/// Every vendor: its name in the configuration and how it is made, in the order of the README.
const REGISTRY: [(&str, Build); 17] = [
    ("openai", |options| without_options(openai::OpenAi, options)),
    ("slack", |options| without_options(slack::Slack, options)),
    ("stripe", |options| without_options(stripe::Stripe, options)),
    ("hubspot", |options| without_options(hubspot::HubSpot, options)),
    ("notion", |options| without_options(notion::Notion, options)),
    ("github", |options| without_options(github::GitHub, options)),
    ("shopify", |options| without_options(shopify::Shopify, options)),
    ("linear", |options| without_options(linear::Linear, options)),
    ("zoom", |options| without_options(zoom::Zoom, options)),
    ("twilio", |options| without_options(twilio::Twilio, options)),
    ("discord", |options| without_options(discord::Discord, options)),
    ("sendgrid", |options| without_options(sendgrid::SendGrid, options)),
    ("paypal", |options| Ok(Arc::new(paypal::PayPal::new(options)?))),
    ("standard", |options| without_options(standard::Standard, options)),
    ("svix", |options| without_options(svix::Svix, options)),
    ("generic", |options| without_options(generic::Generic, options)),
    ("custom", |options| Ok(Arc::new(custom::Custom::new(options)?))),
];

fn without_options(vendor: impl Vendor + 'static, options: &toml::Table) -> Result<Arc<dyn Vendor>, InvalidOption> {
    match options.keys().next() {
        None => Ok(Arc::new(vendor)),
        Some(key) => Err(InvalidOption { key: key.clone(), reason: format!("{} has no such key", vendor.name()) }),
    }
}

/// Builds the scheme of a source: `name` is its `vendor`, `options` the vendor's own keys of the
/// source's table (`scheme` of `custom`, `webhook_id` and `certificates` of `paypal`).
/// `None`: no such vendor.
pub fn build(name: &str, options: &toml::Table) -> Option<Result<Arc<dyn Vendor>, InvalidOption>> {
    let (_, build) = REGISTRY.iter().find(|(known, _)| *known == name)?;
    Some(build(options))
}

/// All vendor names, in the order of the README.
pub const NAMES: [&str; REGISTRY.len()] = {
    let mut names = [""; REGISTRY.len()];
    let mut next = 0;
    while next < names.len() {
        names[next] = REGISTRY[next].0;
        next += 1;
    }
    names
};
