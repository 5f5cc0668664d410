//! Stripe: snapshot events and thin v2 events, one scheme.
//!
//! `Stripe-Signature: t=…,v1=…[,v1=…][,v0=…]`; `v1` is the hex HMAC-SHA256 of `{t}.{body}` under the
//! secret as text, `whsec_` **included** (Standard Webhooks strips and decodes the same prefix).
//! Items are split on `,` without trimming, other schemes than `v1` ignored: stripe-python
//! `stripe/_webhook.py`, stripe-node `Webhooks.js`. Both SDKs look only at the past; we do not.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;

use super::{
    Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor,
    Verified, field, header, key,
    mac::{self, MAX_SIGNATURES, Signatures},
    window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

static PROFILE: Profile = Profile {
    content_types: &["application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Ignore,
    // "Number of webhooks that haven't been successfully delivered": it counts down between retries.
    volatile: &["/pending_webhooks"],
    signs_time: true,
    signs_url: false,
    weak: false,
    // Thin events name the object and leave its content to a fetch.
    id_only: &["v1.*", "v2.*"],
    setup: "Stripe Dashboard, Workbench, Webhooks, Add destination: the URL; then copy the signing secret `whsec_…`. \
            Test and live mode have secrets of their own.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Stripe;

/// The items of the header that count.
struct Signed<'h> {
    timestamp: &'h str,
    signatures: Signatures<32>,
}

fn signed(header: &str) -> Result<Signed<'_>, Refusal> {
    let mut timestamp = None;
    let mut signatures = Signatures::new();
    for item in header.split(',') {
        match item.split_once('=').ok_or(Refusal::MalformedSignature)? {
            // The SDKs disagree whether the first or the last `t` counts, so there is only one.
            ("t", value) if timestamp.replace(value).is_some() => return Err(Refusal::MalformedSignature),
            ("v1", value) => signatures.push(mac::hex(value).ok_or(Refusal::MalformedSignature)?),
            _ => {}
        }
    }
    match timestamp {
        Some(timestamp) if (1..=MAX_SIGNATURES).contains(&signatures.len()) => Ok(Signed { timestamp, signatures }),
        _ => Err(Refusal::MalformedSignature),
    }
}

impl Vendor for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let Signed { timestamp, signatures } = signed(header::needed(request, &SIGNATURE)?)?;
        let signed_at = window::seconds(timestamp)?;
        let key =
            mac::matching(keys, &signatures, |key| mac::hmac_sha256(key, &[timestamp.as_bytes(), b".", request.body]))?;
        window::check(signed_at, request.now, tolerance)?;
        Ok(Verified { key, signed_at: Some(signed_at) })
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let payload = field::object(request.body)?;
        let id = field::id(field::needed(&payload, "id")?)?;
        let event_type = field::event_type(field::needed(&payload, "type")?)?;
        let (subject_id, occurred_at) = match field::needed(&payload, "object")? {
            "event" => {
                (field::scalar(&payload, &["data", "object", "id"]), field::unix_seconds(&payload, &["created"]))
            }
            "v2.core.event" => {
                (field::scalar(&payload, &["related_object", "id"]), field::rfc3339(&payload, &["created"]))
            }
            _ => return Err(Malformed("object is neither event nor v2.core.event".into())),
        };
        let api_version = payload.get("api_version").and_then(Value::as_str).map(str::to_owned);
        Ok(Reading::one(Envelope {
            subject_id: subject_id.and_then(field::subject),
            occurred_at,
            api_version,
            ..Envelope::new(id, event_type, payload)
        }))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let timestamp = sample.now.as_secs().to_string();
        let code = mac::hmac_sha256(secret.expose(), &[timestamp.as_bytes(), b".", sample.body]);
        let value = format!("t={timestamp},v1={}", hex::encode(code));
        Ok(vec![(SIGNATURE.clone(), header::made(&value))])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        Sample::json(
            "invoice.paid",
            &json!({
                "id": format!("evt_{id}"),
                "object": "event",
                "api_version": "2026-06-24.dahlia",
                "created": now.as_secs(),
                "livemode": false,
                "pending_webhooks": 1,
                "request": {"id": Value::Null, "idempotency_key": Value::Null},
                "type": "invoice.paid",
                "data": {"object": {
                    "id": format!("in_{id}"),
                    "object": "invoice",
                    "number": "ACME-0042",
                    "status": "paid",
                    "currency": "eur",
                    "amount_due": 4900,
                    "amount_paid": 4900,
                    "amount_remaining": 0,
                    "customer": "cus_QnT7Yk2fW9LmAb",
                    "customer_name": "Example GmbH",
                    "customer_email": "billing@example.com",
                    "hosted_invoice_url": "https://invoice.stripe.com/i/example",
                    "created": now.as_secs(),
                    "lines": {"object": "list", "data": [
                        {"id": "il_1", "object": "line_item", "amount": 4900, "currency": "eur", "description": "1 × Team plan", "quantity": 1}
                    ]},
                }},
            }),
        )
    }
}
