//! Twilio: the URL and the decoded form are signed, not the bytes.
//!
//! `X-Twilio-Signature` is the base64 HMAC-SHA1 of the called URL followed by each field's name and
//! value, sorted and without repetitions, under the account's auth token; with
//! `X-Twilio-Webhooks-Signature-Settings: algorithm=HMAC_SHA256` it is HMAC-SHA256 under a shared
//! key. A JSON body is covered by the `bodySHA256` of the URL's query instead. Twilio is not
//! consistent about the port, so its SDKs try the URL with and without it; so do we
//! (twilio-python `request_validator.py`). No time is signed.
//!
//! Nothing stands between a name and its value in the signed text, so `Digits=12` and `Digits1=2` are
//! signed alike: whoever holds one delivery can move such borders. That is Twilio's scheme; a route
//! that must not be fooled fetches the message or call by its SID.

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sluice_actors::domain::Timestamp;

use super::{
    Answer, Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample,
    Vendor, Verified, field,
    form::{self, Repeated},
    header, key, mac, window,
};
use crate::{json::parse_strict, secrets::Secret};

static SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");
static SETTINGS: HeaderName = HeaderName::from_static("x-twilio-webhooks-signature-settings");

/// The query key that covers a JSON body.
const BODY_HASH: &str = "bodySHA256=";

/// The most events of one Event Streams delivery.
const MAX_BATCH: usize = 1000;

static PROFILE: Profile = Profile {
    content_types: &["application/x-www-form-urlencoded", "application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Ignore,
    volatile: &[],
    signs_time: false,
    signs_url: true,
    weak: false,
    id_only: &[],
    setup: "Twilio Console: Account Info shows the auth token, which is the secret; the number's or messaging service's \
            webhook and status callback take the URL, exactly as `edge.public_url` builds it.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Twilio;

impl Vendor for Twilio {
    fn name(&self) -> &'static str {
        "twilio"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], _tolerance: Duration) -> Result<Verified, Refusal> {
        let header = header::needed(request, &SIGNATURE)?;
        let fields = signed_fields(request)?;
        let urls = [Cow::Borrowed(request.url), other_port(request.url).map_or(Cow::Borrowed(request.url), Cow::Owned)];
        let results = if uses_sha256(request)? {
            let signature = mac::base64(header).ok_or(Refusal::MalformedSignature)?;
            urls.map(|url| mac::matching(keys, &[signature], |key| mac::hmac_sha256(key, &[url.as_bytes(), &fields])))
        } else {
            let signature = mac::base64(header).ok_or(Refusal::MalformedSignature)?;
            urls.map(|url| mac::matching(keys, &[signature], |key| mac::hmac_sha1(key, &[url.as_bytes(), &fields])))
        };
        let [as_called, other] = results;
        Ok(Verified { key: as_called.or(other)?, signed_at: None })
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        if header::is_form(request) {
            return read_form(form::object(request.body, Repeated::Listed)?).map(Reading::one);
        }
        let events = match parse_strict(request.body)? {
            Value::Array(events) => field::batch(events, MAX_BATCH)?,
            event @ Value::Object(_) => vec![event],
            _ => return Err(Malformed("the body is neither a JSON object nor an array".into())),
        };
        events.into_iter().map(cloud_event).collect::<Result<_, _>>().map(Reading::Events)
    }

    fn success_answer(&self, request: &Request<'_>) -> Option<Answer> {
        // The answer to a call or message is its next instruction; this is TwiML's "none".
        header::is_form(request).then(|| Answer {
            status: StatusCode::OK,
            content_type: Some("text/xml"),
            body: b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>".to_vec(),
        })
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let fields = joined(sample.body).map_err(|error| InvalidKey(error.to_string()))?;
        let code = mac::hmac_sha1(secret.expose(), &[sample.url.as_bytes(), &fields]);
        Ok(vec![(SIGNATURE.clone(), header::made(&mac::to_base64(&code)))])
    }

    fn sample(&self, id: &str, _now: Timestamp) -> Sample {
        let sid = hex::encode(&mac::digest(&[id.as_bytes()])[..16]);
        let body = format!(
            "AccountSid=AC00000000000000000000000000000000&ApiVersion=2010-04-01&ChannelToAddress=%2B4930000000\
             &From=%2B15005550006&MessageSid=SM{sid}&MessageStatus=delivered&SmsSid=SM{sid}&SmsStatus=delivered\
             &To=%2B4930000000"
        );
        Sample {
            event_type: "message.delivered",
            content_type: "application/x-www-form-urlencoded",
            body: body.into_bytes(),
        }
    }
}

fn uses_sha256(request: &Request<'_>) -> Result<bool, Refusal> {
    let Some(settings) = header::optional(request.headers, &SETTINGS)? else { return Ok(false) };
    let algorithm = settings.split(',').find_map(|item| item.trim().strip_prefix("algorithm="));
    match algorithm {
        None | Some("HMAC_SHA1") => Ok(false),
        Some("HMAC_SHA256") => Ok(true),
        Some(_) => Err(Refusal::MalformedSignature),
    }
}

/// What is signed after the URL. Where the query covers the body, the body has to match it and no
/// field counts, whatever the content type says: else one kind of body could be passed for another.
fn signed_fields(request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let query = request.url.split_once('?').map_or("", |(_, query)| query);
    let mut hashes = query.split('&').filter_map(|pair| pair.strip_prefix(BODY_HASH));
    match (hashes.next(), hashes.next()) {
        (None, _) if header::is_form(request) => joined(request.body).map_err(|_| Refusal::MalformedSignature),
        (Some(hash), None) => {
            let expected = mac::hex::<32>(hash).ok_or(Refusal::MalformedSignature)?;
            let actual: [u8; 32] = Sha256::digest(request.body).into();
            if actual == expected { Ok(Vec::new()) } else { Err(Refusal::BadSignature) }
        }
        _ => Err(Refusal::MalformedSignature),
    }
}

fn joined(form: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut fields = form::fields(form)?;
    fields.sort_unstable();
    fields.dedup();
    Ok(fields.into_iter().flat_map(|field| [field.name, field.value]).flatten().collect())
}

/// The URL without its port, or with the standard one where it has none.
fn other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(format!("{scheme}://{host}{tail}"))
        }
        _ => {
            let port = if scheme == "https" { 443 } else { 80 };
            Some(format!("{scheme}://{authority}:{port}{tail}"))
        }
    }
}

/// A status callback or an incoming message or call.
///
/// A message passes through each status once, so its SID and status are its id. Other callbacks may
/// come several times with one SID and status (each `<Gather>` of a call), so content tells them apart.
fn read_form(payload: Value) -> Result<Envelope, Malformed> {
    let get = |key: &str| field::text(&payload, &[key]);
    let sid = ["MessageSid", "SmsSid", "CallSid", "RecordingSid", "ConferenceSid", "Sid"].into_iter().find_map(get);
    let message = get("MessageStatus").or_else(|| get("SmsStatus"));
    let event_type = field::event_type(if let Some(status) = message {
        format!("message.{status}")
    } else if let Some(status) = get("RecordingStatus") {
        format!("recording.{status}")
    } else if let Some(status) = get("CallStatus") {
        format!("call.{status}")
    } else {
        "callback".to_owned()
    })?;
    let (id, id_derived) = match (message, sid) {
        (Some(status), Some(sid)) => (field::id(format!("{sid}:{status}"))?, false),
        _ => (field::derived(&[&field::canonical(&payload)]), true),
    };
    let subject_id = sid.and_then(field::subject);
    let occurred_at = get("Timestamp")
        .and_then(|text| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok())
        .map(|time| Timestamp::from_millis(time.as_millisecond()));
    let api_version = get("ApiVersion").map(str::to_owned);
    Ok(Envelope { id_derived, subject_id, occurred_at, api_version, ..Envelope::new(id, event_type, payload) })
}

/// A `CloudEvent` of Twilio's Event Streams, or any other JSON, which then has a derived id.
fn cloud_event(payload: Value) -> Result<Envelope, Malformed> {
    let event_type = field::event_type(field::text(&payload, &["type"]).unwrap_or("callback"))?;
    let (id, id_derived) = match field::text(&payload, &["id"]) {
        Some(id) => (field::id(id)?, false),
        None => (field::derived(&[&field::canonical(&payload)]), true),
    };
    let sid = |key: &str| field::text(&payload, &["data", key]);
    let subject_id = sid("messageSid").or_else(|| sid("callSid")).and_then(field::subject);
    let occurred_at = field::rfc3339(&payload, &["time"]);
    Ok(Envelope { id_derived, subject_id, occurred_at, ..Envelope::new(id, event_type, payload) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_added_or_taken_away() {
        for (url, expected) in [
            ("https://a.example/x?y:1", "https://a.example:443/x?y:1"),
            ("http://a.example", "http://a.example:80"),
            ("https://a.example:443/x", "https://a.example/x"),
            ("https://[::1]/x", "https://[::1]:443/x"),
            ("https://[::1]:8443?q", "https://[::1]?q"),
        ] {
            assert_eq!(other_port(url).as_deref(), Some(expected), "{url}");
        }
    }
}
