//! Shopify: the body is signed; topic, shop and ids are headers outside it.
//!
//! `X-Shopify-Hmac-Sha256` is the base64 HMAC-SHA256 of the body under the app's client secret, one
//! secret for all its shops (`@shopify/shopify-api` `lib/webhooks`). The newer "Events" family has
//! the same names without `X-`. Because the shop's name is not signed, it never chooses a tenant.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use sluice_actors::domain::Timestamp;

use super::{
    Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor,
    Verified, field, header, key, mac, window,
};
use crate::secrets::Secret;

/// The names of one family. A request is read with the family whose signature it carries; the two
/// are never mixed.
struct Headers {
    signature: HeaderName,
    topic: HeaderName,
    webhook_id: HeaderName,
    api_version: HeaderName,
}

static WEBHOOKS: Headers = Headers {
    signature: HeaderName::from_static("x-shopify-hmac-sha256"),
    topic: HeaderName::from_static("x-shopify-topic"),
    webhook_id: HeaderName::from_static("x-shopify-webhook-id"),
    api_version: HeaderName::from_static("x-shopify-api-version"),
};

static EVENTS: Headers = Headers {
    signature: HeaderName::from_static("shopify-hmac-sha256"),
    topic: HeaderName::from_static("shopify-topic"),
    webhook_id: HeaderName::from_static("shopify-webhook-id"),
    api_version: HeaderName::from_static("shopify-api-version"),
};

static PROFILE: Profile = Profile {
    content_types: &["application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Revision,
    volatile: &[],
    signs_time: false,
    signs_url: false,
    weak: false,
    id_only: &[],
    setup: "Shopify admin, Settings, Notifications, Webhooks (or the app's `shopify.app.toml`): the URL; the secret is \
            the app's client secret. Subscribe the mandatory privacy topics too.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Shopify;

fn family(request: &Request<'_>) -> &'static Headers {
    let old = request.headers.contains_key(&WEBHOOKS.signature);
    if !old && request.headers.contains_key(&EVENTS.signature) { &EVENTS } else { &WEBHOOKS }
}

impl Vendor for Shopify {
    fn name(&self) -> &'static str {
        "shopify"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], _tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = mac::base64(header::needed(request, &family(request).signature)?);
        let signature = signature.ok_or(Refusal::MalformedSignature)?;
        let key = mac::matching(keys, &[signature], |key| mac::hmac_sha256(key, &[request.body]))?;
        Ok(Verified { key, signed_at: None })
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let names = family(request);
        let topic = header::envelope_needed(request, &names.topic)?;
        let id = field::id(header::envelope_needed(request, &names.webhook_id)?)?;
        let event_type = field::event_type(topic)?;
        let payload = field::object(request.body)?;
        let subject_id = field::scalar(&payload, &["admin_graphql_api_id"])
            .or_else(|| field::scalar(&payload, &["id"]))
            .and_then(field::subject);
        let occurred_at =
            field::rfc3339(&payload, &["updated_at"]).or_else(|| field::rfc3339(&payload, &["created_at"]));
        let api_version = header::envelope(request, &names.api_version)?.map(str::to_owned);
        Ok(Reading::one(Envelope {
            id_signed: false,
            subject_id,
            occurred_at,
            api_version,
            unsigned_topic: Some(topic.to_owned()),
            ..Envelope::new(id, event_type, payload)
        }))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let code = mac::hmac_sha256(secret.expose(), &[sample.body]);
        Ok(vec![
            (WEBHOOKS.signature.clone(), header::made(&mac::to_base64(&code))),
            (WEBHOOKS.topic.clone(), header::made(sample.event_type)),
            (WEBHOOKS.webhook_id.clone(), header::made(sample.id)),
            (WEBHOOKS.api_version.clone(), HeaderValue::from_static("2026-07")),
            (HeaderName::from_static("x-shopify-shop-domain"), HeaderValue::from_static("example.myshopify.com")),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        let number = u32::from_be_bytes(mac::digest(&[id.as_bytes()])[..4].try_into().unwrap_or_default());
        Sample::json(
            "orders/create",
            &json!({
                "id": 820_982_000_000_000_000_u64 + u64::from(number),
                "admin_graphql_api_id": format!("gid://shopify/Order/{}", 820_982_000_000_000_000_u64 + u64::from(number)),
                "name": "#1042",
                "order_number": 1042,
                "email": "ada@example.com",
                "created_at": now.to_string(),
                "updated_at": now.to_string(),
                "currency": "EUR",
                "total_price": "49.00",
                "subtotal_price": "41.18",
                "total_tax": "7.82",
                "financial_status": "paid",
                "fulfillment_status": null,
                "customer": {"id": 115_310_627_314_723_954_u64, "email": "ada@example.com", "first_name": "Ada", "last_name": "Example"},
                "line_items": [
                    {"id": 866_550_311_766_439_020_u64, "title": "Field notebook", "quantity": 1, "price": "49.00", "sku": "NOTE-01"}
                ],
            }),
        )
    }
}
