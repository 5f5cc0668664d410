//! Discord: webhook events and interactions, one Ed25519 scheme.
//!
//! `X-Signature-Ed25519` is the hex signature of `{X-Signature-Timestamp}{body}` under the
//! application's key; the time is plain digits and a JSON body starts with none, so the two parts
//! cannot run together. Neither SDK nor documentation has a replay window; ours is 300 s. Discord
//! probes with forged signatures and removes an endpoint that does not answer them 401.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;

use super::{
    Answer, Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample,
    Vendor, Verified,
    asymmetric::{self, Algorithm},
    field, header, mac, window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("x-signature-ed25519");
static TIMESTAMP: HeaderName = HeaderName::from_static("x-signature-timestamp");

static PROFILE: Profile = Profile {
    content_types: &["application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::NO_CONTENT,
    on_conflict: OnConflict::Ignore,
    volatile: &[],
    signs_time: true,
    signs_url: false,
    weak: false,
    id_only: &[],
    setup: "discord.com/developers, your application: General Information shows the public key, which is the secret \
            here; Webhooks, Endpoint takes the URL.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Discord;

impl Vendor for Discord {
    fn name(&self) -> &'static str {
        "discord"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        Algorithm::Ed25519.public_key(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let signature: [u8; 64] = mac::hex(header::needed(request, &SIGNATURE)?).ok_or(Refusal::MalformedSignature)?;
        let timestamp = header::needed(request, &TIMESTAMP)?;
        let signed_at = window::seconds(timestamp)?;
        let key = asymmetric::matching(keys, &[timestamp.as_bytes(), request.body], &signature)?;
        window::check(signed_at, request.now, tolerance)?;
        Ok(Verified { key, signed_at: Some(signed_at) })
    }

    fn read(&self, request: &Request<'_>, verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let payload = field::object(request.body)?;
        let kind = payload.get("type").and_then(Value::as_u64).ok_or_else(|| field::missing("type"))?;
        match (kind, payload.get("event").is_some()) {
            (0, _) => Ok(Reading::Handshake(Answer::empty(StatusCode::NO_CONTENT))),
            (1, false) => Ok(Reading::Handshake(Answer::json(&json!({ "type": 1 })))),
            (_, true) => webhook_event(payload).map(Reading::one),
            (kind, false) => interaction(kind, payload, verified).map(Reading::one),
        }
    }

    fn success_answer(&self, request: &Request<'_>) -> Option<Answer> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: u64,
            event: Option<IgnoredAny>,
        }
        let Kind { kind, event } = serde_json::from_slice(request.body).ok()?;
        if event.is_some() {
            return None;
        }
        // An interaction wants its reply here; a deferred one leaves the action 15 minutes to follow up.
        Some(Answer::json(&match kind {
            3 => json!({ "type": 6 }),
            4 => json!({ "type": 8, "data": { "choices": [] } }),
            _ => json!({ "type": 5 }),
        }))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let timestamp = sample.now.as_secs().to_string();
        let signature = Algorithm::Ed25519.sign(secret, &[timestamp.as_bytes(), sample.body].concat())?;
        Ok(vec![
            (SIGNATURE.clone(), header::made(&hex::encode(signature))),
            (TIMESTAMP.clone(), header::made(&timestamp)),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        let number = u32::from_be_bytes(mac::digest(&[id.as_bytes()])[..4].try_into().unwrap_or_default());
        Sample::json(
            "APPLICATION_AUTHORIZED",
            &json!({
                "version": 1,
                "application_id": "1234560123453231555",
                "type": 1,
                "event": {
                    "type": "APPLICATION_AUTHORIZED",
                    "timestamp": now.to_string(),
                    "data": {
                        "integration_type": 1,
                        "scopes": ["applications.commands"],
                        "user": {
                            "id": (80_351_110_224_678_912_u64 + u64::from(number)).to_string(),
                            "username": "ada.example",
                            "global_name": "Ada Example",
                            "discriminator": "0",
                            "avatar": null,
                        },
                    },
                },
            }),
        )
    }
}

/// Webhook events have no id: application, type, moment and data tell them apart.
fn webhook_event(payload: Value) -> Result<Envelope, Malformed> {
    let event = payload.get("event").ok_or_else(|| field::missing("event"))?;
    let event_type = field::event_type(field::needed(event, "type")?)?;
    let application = field::scalar(&payload, &["application_id"]).unwrap_or_default();
    let moment = field::text(event, &["timestamp"]).unwrap_or_default();
    let data = event.get("data").map(field::canonical).unwrap_or_default();
    let id = field::derived(&[application.as_bytes(), event_type.as_bytes(), moment.as_bytes(), &data]);
    let subject_id = field::scalar(event, &["data", "user", "id"])
        .or_else(|| field::scalar(event, &["data", "id"]))
        .and_then(field::subject);
    let occurred_at = field::rfc3339(event, &["timestamp"]);
    Ok(Envelope { id_derived: true, subject_id, occurred_at, ..Envelope::new(id, event_type, payload) })
}

/// Interactions have an id.
fn interaction(kind: u64, payload: Value, verified: &Verified) -> Result<Envelope, Malformed> {
    let id = field::id(field::needed(&payload, "id")?)?;
    let event_type = match kind {
        2 => "interaction.application_command".to_owned(),
        3 => "interaction.message_component".to_owned(),
        4 => "interaction.autocomplete".to_owned(),
        5 => "interaction.modal_submit".to_owned(),
        kind => format!("interaction.{kind}"),
    };
    Ok(Envelope { occurred_at: verified.signed_at, ..Envelope::new(id, event_type, payload) })
}
