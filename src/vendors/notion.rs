//! Notion: signals about pages and databases, signed without a time.
//!
//! `X-Notion-Signature: sha256=…` is the hex HMAC-SHA256 of the body under the subscription's
//! verification token (notion-sdk-js `webhooks.ts`). Notion hands that token over itself, in a first
//! request signed with it: that proves nothing, so [`Vendor::offered_secret`] is for a source that
//! waits for one only.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;

use super::{
    Answer, Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample,
    Vendor, Verified, field, header, key, mac, window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("x-notion-signature");

static PROFILE: Profile = Profile {
    content_types: &["application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Ignore,
    volatile: &["/attempt_number"],
    signs_time: false,
    signs_url: false,
    weak: false,
    // Every event is a signal: what changed has to be fetched.
    id_only: &["*"],
    setup: "notion.so/my-integrations, your integration, Webhooks, Create a subscription: the URL. Notion then sends a \
            verification token; `sluice handshake show` shows it, paste it there and keep it as the secret.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Notion;

fn signature(request: &Request<'_>) -> Result<[u8; 32], Refusal> {
    let header = header::needed(request, &SIGNATURE)?;
    header.strip_prefix("sha256=").and_then(mac::hex).ok_or(Refusal::MalformedSignature)
}

fn token(payload: &Value) -> Option<&str> {
    field::text(payload, &["verification_token"])
        .filter(|token| token.len() <= field::MAX_ID && payload.get("type").is_none())
}

impl Vendor for Notion {
    fn name(&self) -> &'static str {
        "notion"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], _tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = signature(request)?;
        let key = mac::matching(keys, &[signature], |key| mac::hmac_sha256(key, &[request.body]))?;
        Ok(Verified { key, signed_at: None })
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let payload = field::object(request.body)?;
        if token(&payload).is_some() {
            return Ok(Reading::Handshake(Answer::empty(StatusCode::OK)));
        }
        let id = field::id(field::needed(&payload, "id")?)?;
        let event_type = field::event_type(field::needed(&payload, "type")?)?;
        let subject_id = field::scalar(&payload, &["entity", "id"]).and_then(field::subject);
        let occurred_at = field::rfc3339(&payload, &["timestamp"]);
        let api_version = field::scalar(&payload, &["api_version"]);
        Ok(Reading::one(Envelope { subject_id, occurred_at, api_version, ..Envelope::new(id, event_type, payload) }))
    }

    fn offered_secret(&self, request: &Request<'_>) -> Option<Secret> {
        let payload = field::object(request.body).ok()?;
        let offered = Secret::new(token(&payload)?.as_bytes().to_vec());
        let key = self.key(&offered).ok()?;
        self.verify(request, &[key], PROFILE.tolerance).ok()?;
        Some(offered)
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let code = mac::hmac_sha256(secret.expose(), &[sample.body]);
        Ok(vec![(SIGNATURE.clone(), header::made(&format!("sha256={}", hex::encode(code))))])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        Sample::json(
            "page.content_updated",
            &json!({
                "id": id,
                "timestamp": now.to_string(),
                "workspace_id": "13950b26-c203-4f3b-b97d-93ec06319565",
                "workspace_name": "Example",
                "subscription_id": "29d75c0d-5546-4414-8459-7b7a92f1fc4b",
                "integration_id": "0ef2e755-4912-8096-91c1-00376a88a5ca",
                "authors": [{"id": "c7c11cca-1d73-471d-9b6e-bdef51470190", "type": "person"}],
                "accessible_by": [{"id": "556a1abf-4f08-40c6-878a-75890d2a88ba", "type": "person"}],
                "attempt_number": 1,
                "api_version": "2026-03-11",
                "type": "page.content_updated",
                "entity": {"id": "1d4b3c5e-9f6a-4a1e-8f0d-6b8a5d2e7c91", "type": "page"},
                "data": {
                    "updated_blocks": [{"id": "1d4b3c5e-0000-4a1e-8f0d-6b8a5d2e7c91", "type": "block"}],
                    "parent": {"id": "0ef104cd-477e-80e1-8571-cfd10e92339a", "type": "page"},
                },
            }),
        )
    }
}
