//! `generic`: the scheme for senders that have none of their own.
//!
//! `X-Signature` is the hex HMAC-SHA256 of `{X-Timestamp}.{body}` under the shared secret; `X-Event-Id`
//! is **outside** the signature, so the content decides about duplicates too.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use sluice_actors::domain::Timestamp;

use super::{
    Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor,
    Verified, field, header, key, mac, window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
static TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");
static EVENT_ID: HeaderName = HeaderName::from_static("x-event-id");

static PROFILE: Profile = Profile {
    content_types: &["application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Revision,
    volatile: &[],
    signs_time: true,
    signs_url: false,
    weak: false,
    id_only: &[],
    setup: "In the sender: the URL, and the same secret as here; sign `{timestamp}.{body}` with HMAC-SHA256, hex.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Generic;

impl Vendor for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = mac::hex(header::needed(request, &SIGNATURE)?).ok_or(Refusal::MalformedSignature)?;
        let timestamp = header::needed(request, &TIMESTAMP)?;
        let signed_at = window::seconds(timestamp)?;
        let key = mac::matching(keys, &[signature], |key| {
            mac::hmac_sha256(key, &[timestamp.as_bytes(), b".", request.body])
        })?;
        window::check(signed_at, request.now, tolerance)?;
        Ok(Verified { key, signed_at: Some(signed_at) })
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let payload = field::object(request.body)?;
        let id = field::id(header::envelope_needed(request, &EVENT_ID)?)?;
        let event_type = field::event_type(field::needed(&payload, "event_type")?)?;
        let subject_id = field::scalar(&payload, &["subject_id"]).and_then(field::subject);
        let occurred_at = field::rfc3339(&payload, &["occurred_at"]);
        Ok(Reading::one(Envelope {
            id_signed: false,
            subject_id,
            occurred_at,
            ..Envelope::new(id, event_type, payload)
        }))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let timestamp = sample.now.as_secs().to_string();
        let code = mac::hmac_sha256(secret.expose(), &[timestamp.as_bytes(), b".", sample.body]);
        Ok(vec![
            (SIGNATURE.clone(), header::made(&hex::encode(code))),
            (TIMESTAMP.clone(), header::made(&timestamp)),
            (EVENT_ID.clone(), header::made(sample.id)),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        Sample::json(
            "assistant.completed",
            &json!({
                "event_type": "assistant.completed",
                "subject_id": format!("thread_{id}"),
                "occurred_at": now.to_string(),
                "data": {
                    "thread_id": format!("thread_{id}"),
                    "assistant": "support",
                    "answer": "The order was shipped on Monday and arrives within three days.",
                },
            }),
        )
    }
}
