//! `custom`: a scheme written down as data, for senders that none of the others fits.
//!
//! ```toml
//! [sources.orders.scheme]
//! algorithm = "hmac-sha256"   # hmac-sha1, hmac-sha512, ed25519, ecdsa-p256-sha256, rsa-sha256, token
//! signature = { header = "X-Sig", prefix = "sha256=", encoding = "hex" }   # or base64, base64url
//! signed = "{timestamp}.{body}"   # of {timestamp} {id} {body} {url} {method} {header:NAME}
//! timestamp = { header = "X-Time", unit = "s" }   # or pointer = "/time"; ms, rfc3339
//! id = { header = "X-Id" }   # or pointer = "/id"; without it, the content's digest is the id
//! type = { pointer = "/event" }   # or header, or value = "order.changed"
//! subject = { pointer = "/order/id" }
//! occurred_at = { pointer = "/at", unit = "rfc3339" }
//! handshake = { query_token = "hub.verify_token", query_challenge = "hub.challenge", token = "…" }
//! ```

mod scheme;
mod template;

use std::{borrow::Cow, time::Duration};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;
use subtle::ConstantTimeEq;

use self::scheme::{Algorithm, Encoding, Hash, Place, Scheme, Time, Type, Unit};
use super::{
    Answer, Envelope, InvalidKey, InvalidOption, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal,
    Request, Sample, Vendor, Verified, asymmetric, field,
    form::{self, Repeated},
    header, key, mac, window,
};
use crate::{json::parse_strict, secrets::Secret};

/// The scheme of one source.
#[derive(Debug)]
pub(super) struct Custom {
    scheme: Scheme,
    profile: Profile,
}

impl Custom {
    /// Reads the `scheme` table.
    pub(super) fn new(options: &toml::Table) -> Result<Self, InvalidOption> {
        let scheme = Scheme::read(options)?;
        let on_conflict = if scheme.id_is_signed() { OnConflict::Ignore } else { OnConflict::Revision };
        let profile = Profile {
            content_types: &["application/json", "application/x-www-form-urlencoded"],
            max_body: super::DEFAULT_MAX_BODY,
            tolerance: window::FIVE_MINUTES,
            success: StatusCode::OK,
            on_conflict,
            volatile: &[],
            signs_time: scheme.timestamp.is_some(),
            signs_url: scheme.signed.contains_url(),
            weak: scheme.algorithm == Algorithm::Token,
            id_only: &[],
            setup: "In the sender's webhook settings: the URL, and the secret or key that `scheme` names.",
        };
        Ok(Self { scheme, profile })
    }

    /// The text that is signed, or `None` if it could be read in two ways.
    fn message(&self, request: &Request<'_>, timestamp: &str) -> Result<Vec<u8>, Refusal> {
        let id = match &self.scheme.id {
            Some(Place::Header(name)) if self.scheme.signed.contains_id() => header::needed(request, name)?,
            _ => "",
        };
        self.scheme.signed.fill(request, timestamp, id)?.ok_or(Refusal::MalformedSignature)
    }

    /// The signed time as text and as a moment; neither where the scheme signs none.
    fn time<'r>(&self, request: &Request<'r>) -> Result<(Cow<'r, str>, Option<Timestamp>), Refusal> {
        let Some(Time { place, unit }) = &self.scheme.timestamp else { return Ok(("".into(), None)) };
        let text: Cow<'r, str> = match place {
            Place::Header(name) => header::needed(request, name)?.into(),
            // Its body is authentic or will be refused; one that cannot be read is malformed then.
            Place::Pointer(pointer) => match body_scalar(request.body, pointer) {
                Some(text) => text.into(),
                None => return Ok(("".into(), None)),
            },
        };
        let signed_at = unit.parse(&text).ok_or(Refusal::MalformedSignature)?;
        Ok((text, Some(signed_at)))
    }

    fn matching(&self, keys: &[Key], message: &[u8], text: &str) -> Result<usize, Refusal> {
        let encoding = self.scheme.encoding;
        let malformed = Refusal::MalformedSignature;
        match self.scheme.algorithm {
            Algorithm::Token => token(keys, text.as_bytes()),
            Algorithm::Hmac(Hash::Sha1) => {
                mac::matching(keys, &[encoding.fixed(text).ok_or(malformed)?], |key| mac::hmac_sha1(key, &[message]))
            }
            Algorithm::Hmac(Hash::Sha256) => {
                mac::matching(keys, &[encoding.fixed(text).ok_or(malformed)?], |key| mac::hmac_sha256(key, &[message]))
            }
            Algorithm::Hmac(Hash::Sha512) => {
                mac::matching(keys, &[encoding.fixed(text).ok_or(malformed)?], |key| mac::hmac_sha512(key, &[message]))
            }
            Algorithm::Public(_) => asymmetric::matching(keys, &[message], &encoding.decode(text).ok_or(malformed)?),
        }
    }

    fn payload(request: &Request<'_>) -> Result<Value, Malformed> {
        if header::is_form(request) {
            form::object(request.body, Repeated::Listed)
        } else {
            field::object(request.body)
        }
    }
}

/// Compares a static token. Both sides are hashed first, so that the time tells not even the length.
fn token(keys: &[Key], received: &[u8]) -> Result<usize, Refusal> {
    let received = mac::digest(&[received]);
    mac::matching(keys, &[received], |key| mac::digest(&[key]))
}

fn body_scalar(body: &[u8], pointer: &str) -> Option<String> {
    scalar(&parse_strict(body).ok()?, pointer)
}

fn scalar(payload: &Value, pointer: &str) -> Option<String> {
    payload.pointer(pointer).and_then(|value| field::scalar(value, &[]))
}

impl Place {
    fn find(&self, request: &Request<'_>, payload: &Value) -> Result<Option<String>, Malformed> {
        match self {
            Self::Header(name) => Ok(header::envelope(request, name)?.map(str::to_owned)),
            Self::Pointer(pointer) => Ok(scalar(payload, pointer)),
        }
    }
}

impl Unit {
    fn parse(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Seconds => window::seconds(text).ok(),
            Self::Millis => window::millis(text).ok(),
            Self::Rfc3339 => Timestamp::parse_rfc3339(text).ok(),
        }
    }

    fn write(self, time: Timestamp) -> String {
        match self {
            Self::Seconds => time.as_secs().to_string(),
            Self::Millis => time.as_millis().to_string(),
            Self::Rfc3339 => time.to_string(),
        }
    }
}

impl Encoding {
    fn fixed<const N: usize>(self, text: &str) -> Option<[u8; N]> {
        match self {
            Self::Hex => mac::hex(text),
            Self::Base64 => mac::base64(text),
            Self::Base64Url => self.decode(text)?.try_into().ok(),
        }
    }

    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex if text.bytes().any(|byte| byte.is_ascii_uppercase()) => None,
            Self::Hex => hex::decode(text).ok(),
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Base64Url if text.ends_with('=') => URL_SAFE.decode(text).ok(),
            Self::Base64Url => URL_SAFE_NO_PAD.decode(text).ok(),
        }
    }

    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

impl Vendor for Custom {
    fn name(&self) -> &'static str {
        "custom"
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        match self.scheme.algorithm {
            Algorithm::Hmac(_) | Algorithm::Token => key::symmetric(secret),
            Algorithm::Public(algorithm) => algorithm.public_key(secret),
        }
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let header = header::needed(request, &self.scheme.signature)?;
        let signature = header.strip_prefix(&self.scheme.prefix).ok_or(Refusal::MalformedSignature)?;
        let (timestamp, signed_at) = self.time(request)?;
        let message = self.message(request, &timestamp)?;
        let key = self.matching(keys, &message, signature)?;
        if let Some(signed_at) = signed_at {
            window::check(signed_at, request.now, tolerance)?;
        }
        Ok(Verified { key, signed_at })
    }

    fn read(&self, request: &Request<'_>, verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let scheme = &self.scheme;
        let payload = Self::payload(request)?;
        if scheme.timestamp.is_some() && verified.signed_at.is_none() {
            return Err(Malformed("the signed time is missing".into()));
        }
        let (event_type, unsigned_topic) = match &scheme.event_type {
            Type::Fixed(text) => (text.clone(), None),
            Type::At(place) => {
                let text = place.find(request, &payload)?.ok_or_else(|| field::missing("the event's type"))?;
                let unsigned = (!scheme.is_signed(place)).then(|| text.clone());
                (field::event_type(text)?, unsigned)
            }
        };
        let (id, id_derived) = match &scheme.id {
            Some(place) => {
                let text = place.find(request, &payload)?.ok_or_else(|| field::missing("the event's id"))?;
                (field::id(text)?, false)
            }
            None => (field::derived(&[event_type.as_bytes(), &field::canonical(&payload)]), true),
        };
        let find = |place: &Option<Place>| match place {
            Some(place) => place.find(request, &payload),
            None => Ok(None),
        };
        let subject_id = find(&scheme.subject)?.and_then(field::subject);
        let occurred_at = match &scheme.occurred_at {
            Some(Time { place, unit }) => place.find(request, &payload)?.and_then(|text| unit.parse(&text)),
            None => None,
        };
        Ok(Reading::one(Envelope {
            id_signed: scheme.id_is_signed(),
            id_derived,
            subject_id,
            occurred_at,
            unsigned_topic,
            ..Envelope::new(id, event_type, payload)
        }))
    }

    fn get_handshake(&self, request: &Request<'_>, _keys: &[Key]) -> Option<Result<Answer, Refusal>> {
        let handshake = self.scheme.handshake.as_ref()?;
        let query = request.url.split_once('?').map_or("", |(_, query)| query);
        let fields = form::object(query.as_bytes(), Repeated::Refused).unwrap_or_default();
        let get = |key: &str| fields.get(key).and_then(Value::as_str);
        let Some(offered) = get(&handshake.query_token) else { return Some(Err(Refusal::MissingSignature)) };
        let expected = mac::digest(&[handshake.token.expose()]);
        if !bool::from(expected.ct_eq(&mac::digest(&[offered.as_bytes()]))) {
            return Some(Err(Refusal::BadSignature));
        }
        let challenge = get(&handshake.query_challenge).filter(|text| is_challenge(text));
        Some(challenge.ok_or(Refusal::MalformedSignature).map(|challenge| Answer {
            status: StatusCode::OK,
            content_type: Some("text/plain"),
            body: challenge.as_bytes().to_vec(),
        }))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let scheme = &self.scheme;
        let mut headers = Vec::new();
        if let Some(Place::Header(name)) = &scheme.id {
            headers.push((name.clone(), header::made(sample.id)));
        }
        if let Type::At(Place::Header(name)) = &scheme.event_type {
            headers.push((name.clone(), header::made(sample.event_type)));
        }
        if let Some(Time { place: Place::Header(name), unit }) = &scheme.timestamp {
            headers.push((name.clone(), header::made(&unit.write(sample.now))));
        }
        let map: HeaderMap = headers.iter().cloned().collect();
        let request =
            Request { method: &Method::POST, url: sample.url, headers: &map, body: sample.body, now: sample.now };
        let unfit = |_| InvalidKey("the sample does not fit the scheme's signed text".into());
        let (timestamp, _) = self.time(&request).map_err(unfit)?;
        let message = self.message(&request, &timestamp).map_err(unfit)?;
        let signature = match scheme.algorithm {
            Algorithm::Token => {
                secret.expose_str().ok_or_else(|| InvalidKey("the token is not text".into()))?.to_owned()
            }
            Algorithm::Hmac(Hash::Sha1) => scheme.encoding.encode(&mac::hmac_sha1(secret.expose(), &[&message])),
            Algorithm::Hmac(Hash::Sha256) => scheme.encoding.encode(&mac::hmac_sha256(secret.expose(), &[&message])),
            Algorithm::Hmac(Hash::Sha512) => scheme.encoding.encode(&mac::hmac_sha512(secret.expose(), &[&message])),
            Algorithm::Public(algorithm) => scheme.encoding.encode(&algorithm.sign(secret, &message)?),
        };
        headers.push((scheme.signature.clone(), header::made(&format!("{}{signature}", scheme.prefix))));
        Ok(headers)
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        let scheme = &self.scheme;
        let mut body = json!({ "data": { "note": "a sample of a custom scheme" } });
        let mut put = |place: Option<&Place>, text: String| {
            if let Some(Place::Pointer(pointer)) = place {
                insert(&mut body, pointer, text);
            }
        };
        put(scheme.id.as_ref(), id.to_owned());
        put(scheme.subject.as_ref(), format!("subject-{id}"));
        if let Type::At(place) = &scheme.event_type {
            put(Some(place), "sample.created".to_owned());
        }
        for time in [&scheme.timestamp, &scheme.occurred_at].into_iter().flatten() {
            put(Some(&time.place), time.unit.write(now));
        }
        Sample::json("sample.created", &body)
    }
}

/// Puts a text where a pointer looks for it, making the objects on the way.
fn insert(body: &mut Value, pointer: &str, text: String) {
    let mut place = body;
    for token in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[token.replace("~1", "/").replace("~0", "~").as_str()];
    }
    *place = Value::String(text);
}

/// What is echoed is plain, so that no stranger's markup is.
fn is_challenge(text: &str) -> bool {
    (1..=field::MAX_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests;
