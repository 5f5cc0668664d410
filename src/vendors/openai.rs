//! OpenAI: Standard Webhooks with its own reading of the secret and thin events.
//!
//! openai-python `lib/_webhooks.py`: a secret with `whsec_` is base64, one without is taken as text
//! (Standard Webhooks decodes that too). Its SDKs also take a signature without `v1,`; OpenAI does
//! not send one, and we do not take it.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::json;
use sluice_actors::domain::Timestamp;

use super::{
    Envelope, InvalidKey, Key, Malformed, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor, Verified,
    field, key,
    standard::{self, WEBHOOK},
};
use crate::secrets::Secret;

static PROFILE: Profile = Profile {
    id_only: &["response.*", "batch.*", "fine_tuning.job.*", "eval.run.*", "video.*"],
    setup: "OpenAI platform, Project settings, Webhooks, Create: the URL and the events; then copy the signing secret \
            `whsec_…`, shown once.",
    ..standard::PROFILE_BASE
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct OpenAi;

fn parse(secret: &Secret) -> Result<Key, InvalidKey> {
    match secret.expose_str().and_then(|text| text.trim().strip_prefix("whsec_")) {
        Some(encoded) => {
            standard::symmetric(encoded).ok_or_else(|| InvalidKey("after whsec_ comes the base64 of the secret".into()))
        }
        None => key::symmetric(secret),
    }
}

impl Vendor for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        parse(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        WEBHOOK.verify(request, keys, tolerance)
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let payload = field::object(request.body)?;
        if payload.get("object").is_some_and(|object| object != "event") {
            return Err(Malformed("object is not event".into()));
        }
        let event_type = field::event_type(field::needed(&payload, "type")?)?;
        let subject_id = field::scalar(&payload, &["data", "id"]).and_then(field::subject);
        let occurred_at = field::unix_seconds(&payload, &["created_at"]);
        Ok(Reading::one(Envelope {
            subject_id,
            occurred_at,
            ..Envelope::new(WEBHOOK.id(request)?, event_type, payload)
        }))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let Key::Symmetric(key) = parse(secret)? else {
            return Err(InvalidKey("expected whsec_… or a text".into()));
        };
        WEBHOOK.sign(sample, |parts| Ok(standard::v1(key.expose(), parts)))
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        Sample::json(
            "response.completed",
            &json!({
                "id": format!("evt_{id}"),
                "object": "event",
                "created_at": now.as_secs(),
                "type": "response.completed",
                "data": {"id": format!("resp_{id}")},
            }),
        )
    }
}
