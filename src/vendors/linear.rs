//! Linear: the body is signed and holds its own time, good for one minute.
//!
//! `Linear-Signature` is the hex HMAC-SHA256 of the body, without a prefix. `@linear/sdk` 98 trusts
//! only the body's `webhookTimestamp` (milliseconds, ±60 s) and ignores the header of that name; a
//! retry is stamped afresh. Type and action are read from the signed body; the delivery's id is a
//! header outside it.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::json;
use sluice_actors::domain::Timestamp;

use super::{
    Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor,
    Verified, field, header, key, mac, window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("linear-signature");
static DELIVERY: HeaderName = HeaderName::from_static("linear-delivery");
static EVENT: HeaderName = HeaderName::from_static("linear-event");

static PROFILE: Profile = Profile {
    content_types: &["application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: Duration::from_mins(1),
    // "Non-200" counts as a failure.
    success: StatusCode::OK,
    on_conflict: OnConflict::Revision,
    volatile: &["/webhookTimestamp"],
    signs_time: true,
    signs_url: false,
    weak: false,
    id_only: &[],
    setup: "Linear, Settings, API, Webhooks, New webhook: the URL; then copy the signing secret.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Linear;

/// The one field that verification needs.
#[derive(Deserialize)]
struct Stamp {
    #[serde(rename = "webhookTimestamp")]
    webhook_timestamp: i64,
}

impl Vendor for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    /// An authentic body without a time verifies with `signed_at: None`; [`Vendor::read`] then finds
    /// it malformed, so that the sender learns of it.
    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = mac::hex(header::needed(request, &SIGNATURE)?).ok_or(Refusal::MalformedSignature)?;
        let key = mac::matching(keys, &[signature], |key| mac::hmac_sha256(key, &[request.body]))?;
        let stamp: Option<Stamp> = serde_json::from_slice(request.body).ok();
        let signed_at = stamp.map(|stamp| Timestamp::from_millis(stamp.webhook_timestamp));
        if let Some(signed_at) = signed_at {
            window::check(signed_at, request.now, tolerance)?;
        }
        Ok(Verified { key, signed_at })
    }

    fn read(&self, request: &Request<'_>, verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let payload = field::object(request.body)?;
        if verified.signed_at.is_none() {
            return Err(field::missing("webhookTimestamp"));
        }
        let id = field::id(header::envelope_needed(request, &DELIVERY)?)?;
        let (kind, action) = (field::needed(&payload, "type")?, field::needed(&payload, "action")?);
        let event_type = field::event_type(format!("{kind}.{action}"))?;
        let subject_id = field::scalar(&payload, &["data", "id"]).and_then(field::subject);
        let occurred_at = field::rfc3339(&payload, &["createdAt"]);
        Ok(Reading::one(Envelope {
            id_signed: false,
            subject_id,
            occurred_at,
            ..Envelope::new(id, event_type, payload)
        }))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let code = mac::hmac_sha256(secret.expose(), &[sample.body]);
        let kind = sample.event_type.split('.').next().unwrap_or_default();
        Ok(vec![
            (SIGNATURE.clone(), header::made(&hex::encode(code))),
            (DELIVERY.clone(), header::made(sample.id)),
            (EVENT.clone(), header::made(kind)),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        Sample::json(
            "Issue.create",
            &json!({
                "action": "create",
                "type": "Issue",
                "createdAt": now.to_string(),
                "organizationId": "8d1b7a6e-2c43-4e0f-9a51-7f3f6a1f5e2d",
                "webhookId": "000042e3-d123-4980-b49f-8e140eef9329",
                "webhookTimestamp": now.as_millis(),
                "url": "https://linear.app/example/issue/EXA-42/answer-webhooks-before-the-work",
                "actor": {"id": "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba", "type": "user", "name": "Ada Example"},
                "data": {
                    "id": id,
                    "identifier": "EXA-42",
                    "number": 42,
                    "title": "Answer webhooks before the work is done",
                    "description": "Vendors give us three seconds.",
                    "priority": 2,
                    "createdAt": now.to_string(),
                    "updatedAt": now.to_string(),
                    "teamId": "72b2a2dc-6f4f-4423-9d34-24b5bd10634a",
                    "state": {"id": "4bc2d8a5-0000-4c2e-8d31-0d2c7dc0a0b1", "name": "Todo", "type": "unstarted"},
                    "team": {"id": "72b2a2dc-6f4f-4423-9d34-24b5bd10634a", "key": "EXA", "name": "Example"},
                },
            }),
        )
    }
}
