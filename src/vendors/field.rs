//! Reading the envelope's fields out of a payload.

use serde_json::Value;
use sluice_actors::domain::Timestamp;

use super::{Envelope, Malformed, mac};
use crate::json::{self, JsonError};

/// The longest id in bytes, the vendor's or ours.
pub(super) const MAX_ID: usize = 256;

/// The longest event type in bytes.
const MAX_TYPE: usize = 128;

impl From<JsonError> for Malformed {
    fn from(error: JsonError) -> Self {
        Self(
            match error {
                JsonError::Syntax => "the body is not JSON",
                JsonError::Utf8 => "the body is not UTF-8",
                JsonError::DuplicateKey => "the body names a key twice",
                JsonError::TooDeep => "the body is nested too deep",
            }
            .into(),
        )
    }
}

impl Envelope {
    /// An envelope with what every event has; the rest by struct update.
    pub(super) fn new(external_id: String, event_type: String, payload: Value) -> Self {
        Self {
            external_id,
            id_signed: true,
            id_derived: false,
            event_type,
            subject_id: None,
            occurred_at: None,
            api_version: None,
            payload,
            unsigned_topic: None,
            signed_instead: None,
        }
    }
}

/// Parses the body as one JSON object.
pub(super) fn object(body: &[u8]) -> Result<Value, Malformed> {
    match json::parse_strict(body)? {
        value @ Value::Object(_) => Ok(value),
        _ => Err(Malformed("the body is not a JSON object".into())),
    }
}

/// Parses the body as a JSON array of 1 to `most` objects.
pub(super) fn objects(body: &[u8], most: usize) -> Result<Vec<Value>, Malformed> {
    match json::parse_strict(body)? {
        Value::Array(elements) => batch(elements, most),
        _ => Err(Malformed("the body is not a JSON array".into())),
    }
}

/// The elements of a batch: 1 to `most` objects.
pub(super) fn batch(elements: Vec<Value>, most: usize) -> Result<Vec<Value>, Malformed> {
    if elements.is_empty() || elements.len() > most {
        return Err(Malformed(format!("the batch has {} elements, not 1 to {most}", elements.len()).into()));
    }
    if elements.iter().any(|element| !element.is_object()) {
        return Err(Malformed("an element of the batch is not a JSON object".into()));
    }
    Ok(elements)
}

/// The value below a path of keys.
pub(super) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The text below a path of keys; empty is none.
pub(super) fn text<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    at(value, path)?.as_str().filter(|text| !text.is_empty())
}

/// The text or integer below a path of keys, as text.
pub(super) fn scalar(value: &Value, path: &[&str]) -> Option<String> {
    match at(value, path)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

/// The text of a mandatory key.
pub(super) fn needed<'v>(value: &'v Value, key: &str) -> Result<&'v str, Malformed> {
    text(value, &[key]).ok_or_else(|| missing(key))
}

/// Says that a mandatory key is missing.
pub(super) fn missing(key: &str) -> Malformed {
    Malformed(format!("{key} is missing or not of its type").into())
}

/// The Unix seconds below a path of keys.
pub(super) fn unix_seconds(value: &Value, path: &[&str]) -> Option<Timestamp> {
    at(value, path)?.as_i64().map(Timestamp::from_secs)
}

/// The Unix milliseconds below a path of keys.
pub(super) fn unix_millis(value: &Value, path: &[&str]) -> Option<Timestamp> {
    at(value, path)?.as_i64().map(Timestamp::from_millis)
}

/// The RFC 3339 time below a path of keys.
pub(super) fn rfc3339(value: &Value, path: &[&str]) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text(value, path)?).ok()
}

/// An id as it may be stored and shown: 1 to [`MAX_ID`] bytes without control characters.
pub(super) fn id(text: impl Into<String>) -> Result<String, Malformed> {
    bounded(text.into(), MAX_ID, "the event's id")
}

/// An event type as it may be stored and matched: 1 to 128 bytes without control characters.
pub(super) fn event_type(text: impl Into<String>) -> Result<String, Malformed> {
    bounded(text.into(), MAX_TYPE, "the event's type")
}

fn bounded(text: String, most: usize, what: &str) -> Result<String, Malformed> {
    if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
        return Err(Malformed(format!("{what} is empty, longer than {most} bytes or has control characters").into()));
    }
    Ok(text)
}

/// A subject, or none where it does not have the form of an id.
pub(super) fn subject(text: impl Into<String>) -> Option<String> {
    id(text).ok()
}

/// An id for an event that has none: a digest of its stable, signed parts.
pub(super) fn derived(parts: &[&[u8]]) -> String {
    format!("derived-{}", hex::encode(&mac::digest(parts)[..16]))
}

/// A value's one text, for digests: the order of keys does not matter.
pub(super) fn canonical(value: &Value) -> Vec<u8> {
    fn write(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Object(members) => {
                let mut keys: Vec<_> = members.keys().collect();
                keys.sort_unstable();
                out.push(b'{');
                for key in keys {
                    write(&Value::String(key.clone()), out);
                    out.push(b':');
                    write(&members[key], out);
                    out.push(b',');
                }
                out.push(b'}');
            }
            Value::Array(elements) => {
                out.push(b'[');
                for element in elements {
                    write(element, out);
                    out.push(b',');
                }
                out.push(b']');
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                out.extend_from_slice(value.to_string().as_bytes());
            }
        }
    }
    let mut out = Vec::new();
    write(value, &mut out);
    out
}
