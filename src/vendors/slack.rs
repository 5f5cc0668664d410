//! Slack: Events API, slash commands, interactivity, and the handshakes around them.
//!
//! `X-Slack-Signature: v0=…` is the hex HMAC-SHA256 of `v0:{X-Slack-Request-Timestamp}:{body}` under
//! the app's signing secret; forms are signed by the same rule over their bytes
//! (python-slack-sdk `slack_sdk/signature`). One app signs all its workspaces with one secret.
//!
//! Bolt answers `ssl_check=1` without a signature; we do not: nothing unsigned is answered here.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;

use super::{
    Answer, Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample,
    Vendor, Verified, field,
    form::{self, Repeated},
    header, key, mac, window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("x-slack-signature");
static TIMESTAMP: HeaderName = HeaderName::from_static("x-slack-request-timestamp");

/// The longest challenge we echo. Slack's have some fifty characters.
const MAX_CHALLENGE: usize = 512;

static PROFILE: Profile = Profile {
    content_types: &["application/json", "application/x-www-form-urlencoded"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Ignore,
    volatile: &[],
    signs_time: true,
    signs_url: false,
    weak: false,
    id_only: &[],
    setup: "api.slack.com/apps, your app: Basic Information shows the signing secret; Event Subscriptions, \
            Interactivity and each slash command take the URL.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Slack;

impl Vendor for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = header::needed(request, &SIGNATURE)?.strip_prefix("v0=").and_then(mac::hex);
        let signature = signature.ok_or(Refusal::MalformedSignature)?;
        let timestamp = header::needed(request, &TIMESTAMP)?;
        let signed_at = window::seconds(timestamp)?;
        let key = mac::matching(keys, &[signature], |key| {
            mac::hmac_sha256(key, &[b"v0:", timestamp.as_bytes(), b":", request.body])
        })?;
        window::check(signed_at, request.now, tolerance)?;
        Ok(Verified { key, signed_at: Some(signed_at) })
    }

    fn read(&self, request: &Request<'_>, verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        if header::is_form(request) {
            return read_form(request.body, verified);
        }
        let payload = field::object(request.body)?;
        match field::needed(&payload, "type")? {
            "url_verification" => challenge(&payload).map(Reading::Handshake),
            "event_callback" => callback(payload).map(Reading::one),
            // `app_rate_limited` and whatever comes next: no id of their own.
            other => {
                let event_type = field::event_type(other)?;
                let id = field::derived(&[&field::canonical(&payload)]);
                let occurred_at = field::unix_seconds(&payload, &["minute_rate_limited"]).or(verified.signed_at);
                let subject_id = field::scalar(&payload, &["team_id"]).and_then(field::subject);
                Ok(Reading::one(Envelope {
                    id_derived: true,
                    subject_id,
                    occurred_at,
                    ..Envelope::new(id, event_type, payload)
                }))
            }
        }
    }

    fn success_answer(&self, request: &Request<'_>) -> Option<Answer> {
        // What answers a command is posted into the channel, what answers a dialog is a command to it.
        header::is_form(request).then(|| Answer::empty(StatusCode::OK))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let timestamp = sample.now.as_secs().to_string();
        let code = mac::hmac_sha256(secret.expose(), &[b"v0:", timestamp.as_bytes(), b":", sample.body]);
        Ok(vec![
            (SIGNATURE.clone(), header::made(&format!("v0={}", hex::encode(code)))),
            (TIMESTAMP.clone(), header::made(&timestamp)),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        let ts = format!("{}.{:03}100", now.as_secs(), now.as_millis().rem_euclid(1000));
        Sample::json(
            "message",
            &json!({
                "token": "XXYYZZ",
                "team_id": "T0001EXMPL",
                "api_app_id": "A0001EXMPL",
                "type": "event_callback",
                "event_id": format!("Ev{id}"),
                "event_time": now.as_secs(),
                "event_context": "4-eyJldCI6Im1lc3NhZ2UifQ",
                "authorizations": [{"team_id": "T0001EXMPL", "user_id": "U0BOTEXMPL", "is_bot": true}],
                "event": {
                    "type": "message",
                    "channel": "C0001EXMPL",
                    "channel_type": "channel",
                    "user": "U0001EXMPL",
                    "team": "T0001EXMPL",
                    "text": "The release went out at noon; please summarise the open questions.",
                    "ts": ts,
                    "event_ts": ts,
                },
            }),
        )
    }
}

fn challenge(payload: &Value) -> Result<Answer, Malformed> {
    let challenge = field::needed(payload, "challenge")?;
    if challenge.len() > MAX_CHALLENGE {
        return Err(Malformed("challenge is too long".into()));
    }
    Ok(Answer::json(&json!({ "challenge": challenge })))
}

fn callback(payload: Value) -> Result<Envelope, Malformed> {
    let id = field::id(field::needed(&payload, "event_id")?)?;
    let event = payload.get("event").ok_or_else(|| field::missing("event"))?;
    let event_type = field::event_type(field::needed(event, "type")?)?;
    let subject_id = subject(event);
    let occurred_at = field::text(event, &["event_ts"])
        .and_then(fractional)
        .or_else(|| field::unix_seconds(&payload, &["event_time"]));
    Ok(Envelope { subject_id, occurred_at, ..Envelope::new(id, event_type, payload) })
}

/// What an event is about. A message is about itself, not its channel: two messages of one channel
/// are not versions of one thing, while an edit is a version of the message it edits.
fn subject(event: &Value) -> Option<String> {
    let channel = field::text(event, &["channel"])
        .or_else(|| field::text(event, &["channel", "id"]))
        .or_else(|| field::text(event, &["item", "channel"]))
        .or_else(|| field::text(event, &["channel_id"]));
    let message = field::text(event, &["message", "ts"])
        .or_else(|| field::text(event, &["deleted_ts"]))
        .or_else(|| field::text(event, &["item", "ts"]))
        .or_else(|| field::text(event, &["ts"]));
    let user = field::text(event, &["user"]).or_else(|| field::text(event, &["user", "id"]));
    let file = field::text(event, &["file_id"]);
    let text = match (channel, message, user) {
        (Some(channel), Some(message), _) => format!("{channel}:{message}"),
        (Some(channel), None, Some(user)) => format!("{channel}:{user}"),
        (Some(only), None, None) => only.to_owned(),
        (None, _, user) => file.or(user)?.to_owned(),
    };
    field::subject(text)
}

/// Reads Slack's `seconds.micros`.
fn fractional(text: &str) -> Option<Timestamp> {
    let (seconds, micros) = text.split_once('.')?;
    if micros.len() != 6 || !micros.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = micros[..3].parse().ok()?;
    Some(Timestamp::from_millis(window::seconds(seconds).ok()?.as_millis() + millis))
}

/// Slash commands are plain fields; interactivity is one field `payload` that holds JSON.
fn read_form(body: &[u8], verified: &Verified) -> Result<Reading, Malformed> {
    let fields = form::object(body, Repeated::Refused)?;
    if fields.get("ssl_check").is_some() {
        return Ok(Reading::Handshake(Answer::empty(StatusCode::OK)));
    }
    let (payload, event_type) = if let Some(text) = fields.get("payload").and_then(Value::as_str) {
        let payload = field::object(text.as_bytes())?;
        let event_type = field::event_type(field::needed(&payload, "type")?)?;
        (payload, event_type)
    } else {
        field::needed(&fields, "command")?;
        (fields, "slash_command".to_owned())
    };
    let id = match field::text(&payload, &["trigger_id"]) {
        Some(trigger) => field::derived(&[event_type.as_bytes(), trigger.as_bytes()]),
        None => field::derived(&[event_type.as_bytes(), &field::canonical(&payload)]),
    };
    Ok(Reading::one(Envelope {
        id_derived: true,
        occurred_at: verified.signed_at,
        ..Envelope::new(id, event_type, payload)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_the_thing_that_changes() {
        let cases = [
            (json!({"channel": "C1", "ts": "1.000001", "user": "U1"}), Some("C1:1.000001")),
            (json!({"channel": "C1", "ts": "3.000000", "message": {"ts": "1.000001"}}), Some("C1:1.000001")),
            (json!({"channel": "C1", "ts": "3.000000", "deleted_ts": "1.000001"}), Some("C1:1.000001")),
            (json!({"user": "U1", "item": {"channel": "C1", "ts": "1.000001"}}), Some("C1:1.000001")),
            (json!({"channel": "C1", "user": "U1"}), Some("C1:U1")),
            (json!({"channel": {"id": "C1"}}), Some("C1")),
            (json!({"user": {"id": "U1"}}), Some("U1")),
            (json!({"file_id": "F1", "user_id": "U1"}), Some("F1")),
            (json!({}), None),
        ];
        for (event, expected) in cases {
            assert_eq!(subject(&event).as_deref(), expected, "{event}");
        }
    }

    #[test]
    fn slack_times_keep_their_milliseconds() {
        assert_eq!(fractional("1700000000.123456"), Some(Timestamp::from_millis(1_700_000_000_123)));
        for text in ["1700000000", "1700000000.1", "1700000000.12345x", ".123456", "-1.123456"] {
            assert_eq!(fractional(text), None, "{text}");
        }
    }
}
