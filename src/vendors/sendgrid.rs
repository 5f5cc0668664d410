//! `SendGrid`'s event webhook: an array of events, signed with ECDSA.
//!
//! `X-Twilio-Email-Event-Webhook-Signature` is the base64 of the DER signature (P-256, SHA-256) over
//! `{timestamp}{body}`, trailing line break included (sendgrid-python `helpers/eventwebhook`). Both
//! SDKs ignore what follows the base64 padding; we do not. An ECDSA signature has a twin that
//! verifies as well, so nothing is ever recognised by it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;

use super::{
    Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor,
    Verified,
    asymmetric::{self, Algorithm},
    field, header, mac, window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-email-event-webhook-signature");
static TIMESTAMP: HeaderName = HeaderName::from_static("x-twilio-email-event-webhook-timestamp");

/// The most events of one delivery; the body cap is usually reached first.
const MAX_BATCH: usize = 10_000;

/// The longest DER signature over P-256: two integers of 33 bytes with their heads.
const MAX_SIGNATURE: usize = 72;

static PROFILE: Profile = Profile {
    content_types: &["application/json"],
    // SendGrid posts batches of up to 768 KiB.
    max_body: 1024 * 1024,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Ignore,
    volatile: &[],
    signs_time: true,
    signs_url: false,
    weak: false,
    id_only: &[],
    setup: "SendGrid, Settings, Mail Settings, Event Webhook: the URL; switch the signature on and copy the \
            verification key, which is the secret here.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct SendGrid;

impl Vendor for SendGrid {
    fn name(&self) -> &'static str {
        "sendgrid"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        Algorithm::EcdsaP256.public_key(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = STANDARD.decode(header::needed(request, &SIGNATURE)?).ok();
        let signature = signature.filter(|der| der.len() <= MAX_SIGNATURE).ok_or(Refusal::MalformedSignature)?;
        let timestamp = header::needed(request, &TIMESTAMP)?;
        let signed_at = window::seconds(timestamp)?;
        let key = asymmetric::matching(keys, &[timestamp.as_bytes(), request.body], &signature)?;
        window::check(signed_at, request.now, tolerance)?;
        Ok(Verified { key, signed_at: Some(signed_at) })
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let elements = field::objects(request.body, MAX_BATCH)?;
        elements.into_iter().map(envelope).collect::<Result<_, _>>().map(Reading::Events)
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let timestamp = sample.now.as_secs().to_string();
        let signature = Algorithm::EcdsaP256.sign(secret, &[timestamp.as_bytes(), sample.body].concat())?;
        Ok(vec![
            (SIGNATURE.clone(), header::made(&mac::to_base64(&signature))),
            (TIMESTAMP.clone(), header::made(&timestamp)),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        let body = json!([{
            "email": "ada@example.com",
            "timestamp": now.as_secs(),
            "smtp-id": "<14c5d75ce93.dfd.64b469@example.com>",
            "event": "delivered",
            "category": ["newsletter"],
            "sg_event_id": id,
            "sg_message_id": format!("14c5d75ce93.dfd.64b469.{id}"),
            "response": "250 OK",
        }]);
        // The real ones end in a line break, which is signed.
        Sample { body: format!("{body}\r\n").into_bytes(), ..Sample::json("delivered", &Value::Null) }
    }
}

fn envelope(element: Value) -> Result<Envelope, Malformed> {
    let id = field::id(field::needed(&element, "sg_event_id")?)?;
    let event_type = field::event_type(field::needed(&element, "event")?)?;
    let subject_id = field::scalar(&element, &["sg_message_id"]).and_then(field::subject);
    let occurred_at = field::unix_seconds(&element, &["timestamp"]);
    Ok(Envelope { subject_id, occurred_at, ..Envelope::new(id, event_type, element) })
}
