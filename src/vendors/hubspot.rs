//! `HubSpot` v3: one signed request carries up to a hundred events.
//!
//! `X-HubSpot-Signature-v3` is the base64 HMAC-SHA256 of `{method}{url}{body}{timestamp}` under the
//! app's client secret, the time in milliseconds. Versions 1 and 2 are plain hashes without a time
//! and replay for ever, so they are not accepted. The URL is the public one, with twelve escapes
//! decoded first, as HubSpot's guide asks; none of its SDKs does that for its caller.

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;

use super::{
    Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor,
    Verified, field, header, key, mac, window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("x-hubspot-signature-v3");
static TIMESTAMP: HeaderName = HeaderName::from_static("x-hubspot-request-timestamp");

/// The most events of one delivery, by HubSpot's guide.
const MAX_BATCH: usize = 100;

/// The escapes that HubSpot decodes before it signs; `%20`, `%26`, `%3D` and the rest stay.
const DECODED: [(&str, char); 12] = [
    ("3A", ':'),
    ("2F", '/'),
    ("3F", '?'),
    ("40", '@'),
    ("21", '!'),
    ("24", '$'),
    ("27", '\''),
    ("28", '('),
    ("29", ')'),
    ("2A", '*'),
    ("2C", ','),
    ("3B", ';'),
];

static PROFILE: Profile = Profile {
    content_types: &["application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Ignore,
    volatile: &["/attemptNumber"],
    signs_time: true,
    signs_url: true,
    weak: false,
    id_only: &[],
    setup: "HubSpot developer account, your app: Auth shows the client secret; Webhooks takes the URL, exactly as \
            `edge.public_url` builds it.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct HubSpot;

fn signed_url(url: &str) -> Cow<'_, str> {
    if !url.contains('%') {
        return Cow::Borrowed(url);
    }
    let mut pieces = url.split('%');
    let mut decoded = String::from(pieces.next().unwrap_or_default());
    for piece in pieces {
        let escape = piece.get(..2).unwrap_or_default();
        if let Some((_, character)) = DECODED.iter().find(|(hex, _)| escape.eq_ignore_ascii_case(hex)) {
            decoded.push(*character);
            decoded.push_str(&piece[2..]);
        } else {
            decoded.push('%');
            decoded.push_str(piece);
        }
    }
    Cow::Owned(decoded)
}

fn code(key: &[u8], method: &Method, url: &str, body: &[u8], timestamp: &str) -> [u8; 32] {
    mac::hmac_sha256(key, &[method.as_str().as_bytes(), url.as_bytes(), body, timestamp.as_bytes()])
}

impl Vendor for HubSpot {
    fn name(&self) -> &'static str {
        "hubspot"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = mac::base64(header::needed(request, &SIGNATURE)?).ok_or(Refusal::MalformedSignature)?;
        let timestamp = header::needed(request, &TIMESTAMP)?;
        let signed_at = window::millis(timestamp)?;
        let url = signed_url(request.url);
        let key = mac::matching(keys, &[signature], |key| code(key, request.method, &url, request.body, timestamp))?;
        window::check(signed_at, request.now, tolerance)?;
        Ok(Verified { key, signed_at: Some(signed_at) })
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let elements = field::objects(request.body, MAX_BATCH)?;
        elements.into_iter().map(envelope).collect::<Result<_, _>>().map(Reading::Events)
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let timestamp = sample.now.as_millis().to_string();
        let code = code(secret.expose(), &Method::POST, &signed_url(sample.url), sample.body, &timestamp);
        Ok(vec![
            (SIGNATURE.clone(), header::made(&mac::to_base64(&code))),
            (TIMESTAMP.clone(), header::made(&timestamp)),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        // HubSpot's ids are integers; one is made of the given id so that samples differ.
        let number = u32::from_be_bytes(mac::digest(&[id.as_bytes()])[..4].try_into().unwrap_or_default());
        Sample::json(
            "contact.propertyChange",
            &json!([{
                "eventId": number,
                "subscriptionId": 2_284_201,
                "portalId": 44_021_337,
                "appId": 1_160_452,
                "occurredAt": now.as_millis(),
                "subscriptionType": "contact.propertyChange",
                "attemptNumber": 0,
                "objectId": 90_210_551,
                "propertyName": "lifecyclestage",
                "propertyValue": "customer",
                "changeSource": "CRM",
                "sourceId": "userId:5120",
                "isSensitive": false,
            }]),
        )
    }
}

/// `eventId` is documented as not unique, so the id is what tells two changes apart; the attempt
/// number is no part of it.
fn envelope(element: Value) -> Result<Envelope, Malformed> {
    let event_type = field::event_type(field::needed(&element, "subscriptionType")?)?;
    let number = |key: &str| field::scalar(&element, &[key]).ok_or_else(|| field::missing(key));
    let (portal, event) = (number("portalId")?, number("eventId")?);
    let occurred_at = field::unix_millis(&element, &["occurredAt"]).ok_or_else(|| field::missing("occurredAt"))?;
    let object = object_id(&element);
    let id = field::id(format!(
        "{portal}:{event_type}:{}:{event}:{}",
        object.as_deref().unwrap_or_default(),
        occurred_at.as_millis()
    ))?;
    // Ids are unique per kind of object only.
    let kind = field::scalar(&element, &["objectTypeId"])
        .unwrap_or_else(|| event_type.split('.').next().unwrap_or_default().to_owned());
    let subject_id = object.and_then(|object| field::subject(format!("{kind}:{object}")));
    Ok(Envelope { subject_id, occurred_at: Some(occurred_at), ..Envelope::new(id, event_type, element) })
}

/// The object of an event; a merge names the surviving one, an association both ends.
fn object_id(element: &Value) -> Option<String> {
    field::scalar(element, &["objectId"]).or_else(|| field::scalar(element, &["primaryObjectId"])).or_else(|| {
        let from = field::scalar(element, &["fromObjectId"])?;
        let to = field::scalar(element, &["toObjectId"])?;
        Some(format!("{from}-{to}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_escapes_are_decoded_and_only_those() {
        let url = "https://a.example/%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B?q=%20%26%3D%25%3a";
        assert_eq!(signed_url(url), "https://a.example/:/?@!$'()*,;?q=%20%26%3D%25:");
        assert_eq!(signed_url("https://a.example/%253A"), "https://a.example/%253A");
        assert_eq!(signed_url("https://a.example/%2"), "https://a.example/%2");
        assert_eq!(signed_url("https://a.example/%é3A"), "https://a.example/%é3A");
    }
}
