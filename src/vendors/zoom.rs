//! Zoom: signed bytes, no event id, and a handshake that must not become an oracle.
//!
//! `x-zm-signature: v0=…` is the hex HMAC-SHA256 of `v0:{x-zm-request-timestamp}:{body}` under the
//! secret token. Zoom's own code re-serialises the JSON before it hashes; the raw bytes are what was
//! signed. `endpoint.url_validation` is answered with `HMAC(secret, plainToken)`, so whoever gets an
//! unsigned one answered gets a valid signature for a body of his choice: it is answered only after
//! it verified, and never for a token that looks like a signed text.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;

use super::{
    Answer, Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample,
    Vendor, Verified, field, header, key, mac, window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("x-zm-signature");
static TIMESTAMP: HeaderName = HeaderName::from_static("x-zm-request-timestamp");

static PROFILE: Profile = Profile {
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
    setup: "marketplace.zoom.us, Manage, your app, Features, Access: the secret token is the secret; Event \
            subscriptions take the URL, Validate asks this gateway.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Zoom;

impl Vendor for Zoom {
    fn name(&self) -> &'static str {
        "zoom"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = header::needed(request, &SIGNATURE)?.strip_prefix("v0=").and_then(mac::hex);
        let signature = signature.ok_or(Refusal::MalformedSignature)?;
        let timestamp = header::needed(request, &TIMESTAMP)?;
        let signed_at = window::seconds(timestamp)?;
        let key = mac::matching(keys, &[signature], |key| {
            mac::hmac_sha256(key, &[b"v0:", timestamp.as_bytes(), b":", request.body])
        })?;
        window::check(signed_at, request.now, tolerance)?;
        Ok(Verified { key, signed_at: Some(signed_at) })
    }

    fn read(&self, request: &Request<'_>, verified: &Verified, keys: &[Key]) -> Result<Reading, Malformed> {
        let payload = field::object(request.body)?;
        let event = field::needed(&payload, "event")?;
        if event == "endpoint.url_validation" {
            return validation(&payload, keys.get(verified.key)).map(Reading::Handshake);
        }
        let event_type = field::event_type(event)?;
        let occurred_at = field::unix_millis(&payload, &["event_ts"]);
        let object = |key: &str| field::scalar(&payload, &["payload", "object", key]);
        let subject_id = object("uuid").or_else(|| object("id")).and_then(field::subject);
        let id = derived_id(&payload, &event_type);
        Ok(Reading::one(Envelope {
            id_derived: true,
            subject_id,
            occurred_at,
            ..Envelope::new(id, event_type, payload)
        }))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let timestamp = sample.now.as_secs().to_string();
        let code = mac::hmac_sha256(secret.expose(), &[b"v0:", timestamp.as_bytes(), b":", sample.body]);
        Ok(vec![
            (SIGNATURE.clone(), header::made(&format!("v0={}", hex::encode(code)))),
            (TIMESTAMP.clone(), header::made(&timestamp)),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        Sample::json(
            "meeting.started",
            &json!({
                "event": "meeting.started",
                "event_ts": now.as_millis(),
                "payload": {
                    "account_id": "lq8KK_EBRcyQeYzAMPlEXA",
                    "object": {
                        "id": "85746065432",
                        "uuid": format!("{id}=="),
                        "topic": "Weekly planning",
                        "type": 8,
                        "host_id": "30R7kT7bTIKSNUFEuH_Qlg",
                        "start_time": now.to_string(),
                        "duration": 30,
                        "timezone": "Europe/Berlin",
                    },
                },
            }),
        )
    }
}

fn validation(payload: &Value, key: Option<&Key>) -> Result<Answer, Malformed> {
    let token = field::text(payload, &["payload", "plainToken"]).ok_or_else(|| field::missing("plainToken"))?;
    let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte));
    let Some(Key::Symmetric(secret)) = key.filter(|_| plain && token.len() <= field::MAX_ID) else {
        return Err(Malformed("plainToken is not of its form".into()));
    };
    let encrypted = hex::encode(mac::hmac_sha256(secret.expose(), &[token.as_bytes()]));
    Ok(Answer::json(&json!({ "plainToken": token, "encryptedToken": encrypted })))
}

/// Zoom has no signed id. Event, moment, account, object and participant tell two events apart; the
/// rest (download tokens, for one) may differ between attempts.
fn derived_id(payload: &Value, event_type: &str) -> String {
    let parts: [&[&str]; 8] = [
        &["event_ts"],
        &["payload", "account_id"],
        &["payload", "object", "uuid"],
        &["payload", "object", "id"],
        &["payload", "object", "participant", "participant_uuid"],
        &["payload", "object", "participant", "user_id"],
        &["payload", "object", "participant", "id"],
        &["payload", "object", "participant", "join_time"],
    ];
    let values = parts.map(|path| field::scalar(payload, path).unwrap_or_default());
    let mut bytes: Vec<&[u8]> = vec![event_type.as_bytes()];
    bytes.extend(values.iter().map(String::as_bytes));
    field::derived(&bytes)
}
