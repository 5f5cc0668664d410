//! Standard Webhooks 1.0.0: `{id}.{timestamp}.{body}`, signed `v1` (HMAC-SHA256, base64) or `v1a`
//! (Ed25519), several signatures separated by single spaces.
//!
//! `svix` and `openai` are the same scheme with other header names or another dialect of the secret.
//! The id takes part in the signed text, so one with a `.` could be read in two ways
//! (`a.1` + `2` = `a` + `1.2`); such ids are refused, as the specification tells senders not to make them.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;
use smallvec::SmallVec;

use super::{
    Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor,
    Verified,
    asymmetric::{self, Algorithm},
    field, header,
    mac::{self, MAX_SIGNATURES, Signatures},
    window,
};
use crate::secrets::Secret;

/// What the three vendors of the scheme share.
pub(super) const PROFILE_BASE: Profile = Profile {
    content_types: &["application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Ignore,
    volatile: &[],
    signs_time: true,
    signs_url: false,
    weak: false,
    id_only: &[],
    setup: "In the sender's webhook settings: the URL; then copy the signing secret `whsec_…` (or the public key `whpk_…`).",
};

/// What holds for `standard` and `svix`.
pub(super) static PROFILE: Profile = PROFILE_BASE;

/// The names of the three headers. They are never mixed between families: svix's own library falls
/// back header by header, so half of one delivery could come from another.
#[derive(Debug)]
pub(super) struct Headers {
    id: HeaderName,
    timestamp: HeaderName,
    signature: HeaderName,
}

/// `webhook-…`, of the specification.
pub(super) static WEBHOOK: Headers = Headers {
    id: HeaderName::from_static("webhook-id"),
    timestamp: HeaderName::from_static("webhook-timestamp"),
    signature: HeaderName::from_static("webhook-signature"),
};

/// `svix-…`, older than the specification and still what Svix, Clerk and Resend send.
pub(super) static SVIX: Headers = Headers {
    id: HeaderName::from_static("svix-id"),
    timestamp: HeaderName::from_static("svix-timestamp"),
    signature: HeaderName::from_static("svix-signature"),
};

/// The signatures of the versions we know.
#[derive(Default)]
struct Offered {
    v1: Signatures<32>,
    v1a: SmallVec<[[u8; 64]; 1]>,
}

fn offered(header: &str) -> Result<Offered, Refusal> {
    let mut offered = Offered::default();
    for (position, entry) in header.split(' ').enumerate() {
        let (version, signature) = entry.split_once(',').ok_or(Refusal::MalformedSignature)?;
        if position == MAX_SIGNATURES {
            return Err(Refusal::MalformedSignature);
        }
        match version {
            "v1" => offered.v1.extend(mac::base64(signature)),
            "v1a" => offered.v1a.extend(mac::base64(signature)),
            // "Unknown versions are skipped" is how the scheme grows.
            _ => {}
        }
    }
    if offered.v1.is_empty() && offered.v1a.is_empty() { Err(Refusal::MalformedSignature) } else { Ok(offered) }
}

fn is_id(text: &str) -> bool {
    (1..=field::MAX_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
}

impl Headers {
    /// Verifies a request whose headers have these names.
    pub(super) fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let offered = offered(header::needed(request, &self.signature)?)?;
        let id = header::needed(request, &self.id)?;
        let timestamp = header::needed(request, &self.timestamp)?;
        let signed_at = window::seconds(timestamp)?;
        if !is_id(id) {
            return Err(Refusal::MalformedSignature);
        }
        let parts: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", request.body];
        let by_code = mac::matching(keys, &offered.v1, |key| mac::hmac_sha256(key, &parts));
        let by_key = offered.v1a.iter().find_map(|signature| asymmetric::matching(keys, &parts, signature).ok());
        let key = match (by_code, by_key) {
            (Ok(code), Some(key)) => code.min(key),
            (Ok(key), None) | (Err(_), Some(key)) => key,
            (Err(refusal), None) => return Err(refusal),
        };
        window::check(signed_at, request.now, tolerance)?;
        Ok(Verified { key, signed_at: Some(signed_at) })
    }

    /// The id of a verified request.
    pub(super) fn id(&self, request: &Request<'_>) -> Result<String, Malformed> {
        field::id(header::envelope_needed(request, &self.id)?)
    }

    /// The headers of a request signed by `signature`, which gets the text to sign and gives an
    /// entry of the list.
    pub(super) fn sign(
        &self,
        sample: &Outgoing<'_>,
        signature: impl FnOnce(&[&[u8]]) -> Result<String, InvalidKey>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let timestamp = sample.now.as_secs().to_string();
        let parts: [&[u8]; 5] = [sample.id.as_bytes(), b".", timestamp.as_bytes(), b".", sample.body];
        Ok(vec![
            (self.id.clone(), header::made(sample.id)),
            (self.timestamp.clone(), header::made(&timestamp)),
            (self.signature.clone(), header::made(&signature(&parts)?)),
        ])
    }
}

/// The entry of an HMAC.
pub(super) fn v1(key: &[u8], parts: &[&[u8]]) -> String {
    format!("v1,{}", mac::to_base64(&mac::hmac_sha256(key, parts)))
}

/// Reads a secret of the specification: `whsec_` (or nothing) before base64, or `whpk_` before a
/// public key.
pub(super) fn key(secret: &Secret) -> Result<Key, InvalidKey> {
    let text = secret.expose_str().map(str::trim).unwrap_or_default();
    if let Some(public) = text.strip_prefix("whpk_") {
        return mac::base64(public)
            .map(Key::Ed25519)
            .ok_or_else(|| InvalidKey("after whpk_ comes the base64 of an Ed25519 public key of 32 bytes".into()));
    }
    if text.starts_with("whsk_") {
        return Err(InvalidKey("whsk_ is the sender's private key; give the public key whpk_…".into()));
    }
    symmetric(text.strip_prefix("whsec_").unwrap_or(text))
        .ok_or_else(|| InvalidKey("expected whsec_ and the base64 of the secret, or whpk_ and a public key".into()))
}

/// The key behind base64.
pub(super) fn symmetric(encoded: &str) -> Option<Key> {
    let bytes = STANDARD.decode(encoded).ok().filter(|bytes| !bytes.is_empty())?;
    Some(Key::Symmetric(Secret::new(bytes)))
}

/// Signs with a secret of the specification, private keys `whsk_` included.
pub(super) fn sign(
    headers: &Headers,
    sample: &Outgoing<'_>,
    secret: &Secret,
) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
    headers.sign(sample, |parts| {
        if let Some(private) = secret.expose_str().and_then(|text| text.trim().strip_prefix("whsk_")) {
            // Seed, or seed and public key in a row as libsodium keeps them.
            let bytes = STANDARD.decode(private).unwrap_or_default();
            let seed = mac::to_base64(bytes.get(..32).unwrap_or_default());
            let signature = Algorithm::Ed25519.sign(&Secret::new(seed.into_bytes()), &parts.concat())?;
            return Ok(format!("v1a,{}", mac::to_base64(&signature)));
        }
        match key(secret)? {
            Key::Symmetric(key) => Ok(v1(key.expose(), parts)),
            _ => Err(InvalidKey("a public key cannot sign; give whsec_… or whsk_…".into())),
        }
    })
}

/// Reads a payload as the specification advises it: `type`, `timestamp`, `data`. Clerk writes the
/// time in milliseconds, Resend calls it `created_at`.
pub(super) fn read(id: String, body: &[u8]) -> Result<Reading, Malformed> {
    let payload = field::object(body)?;
    let event_type = field::event_type(field::needed(&payload, "type")?)?;
    let occurred_at = field::rfc3339(&payload, &["timestamp"])
        .or_else(|| field::unix_millis(&payload, &["timestamp"]))
        .or_else(|| field::rfc3339(&payload, &["created_at"]));
    let subject_id = field::scalar(&payload, &["data", "id"]).and_then(field::subject);
    let api_version = payload.get("api_version").and_then(Value::as_str).map(str::to_owned);
    Ok(Reading::one(Envelope { subject_id, occurred_at, api_version, ..Envelope::new(id, event_type, payload) }))
}

/// A sample that both families send.
pub(super) fn sample(id: &str, now: Timestamp) -> Sample {
    Sample::json(
        "user.created",
        &json!({
            "type": "user.created",
            "timestamp": now.to_string(),
            "data": {
                "id": format!("user_{id}"),
                "email": "ada@example.com",
                "first_name": "Ada",
                "last_name": "Example",
                "created_at": now.to_string(),
            },
        }),
    )
}

/// The scheme with the headers of the specification; it has no options.
#[derive(Debug)]
pub(super) struct Standard;

impl Vendor for Standard {
    fn name(&self) -> &'static str {
        "standard"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        WEBHOOK.verify(request, keys, tolerance)
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        read(WEBHOOK.id(request)?, request.body)
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        sign(&WEBHOOK, sample, secret)
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        sample(id, now)
    }
}
