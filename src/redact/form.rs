//! Bodies that are forms (`application/x-www-form-urlencoded`) or neither.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::Redactor;

/// The field that holds a JSON payload (Slack interactivity, GitHub hooks set to form encoding).
const PAYLOAD: &str = "payload";

/// Whether bytes begin as a JSON object or array.
pub(super) fn is_json(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| matches!(byte, b'{' | b'['))
}

/// A form as the vendors read it: the JSON of its `payload` field, or an object of its fields.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().filter(|text| text.contains('='))?;
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        if name == PAYLOAD && is_json(value.as_bytes()) {
            return crate::json::parse_strict(value.as_bytes()).ok();
        }
        match fields.get_mut(name.as_ref()) {
            None => {
                fields.insert(name.into_owned(), Value::from(value));
            }
            Some(Value::Array(values)) => values.push(Value::from(value)),
            Some(first) => *first = Value::Array(vec![first.take(), Value::from(value)]),
        }
    }
    Some(Value::Object(fields))
}

/// The bytes to store for a body that is not JSON, whose `payload` is already redacted.
pub(super) fn redact(redactor: &Redactor<'_>, raw: &[u8], payload: &Value, changed: bool) -> Option<Vec<u8>> {
    let Some(text) = std::str::from_utf8(raw).ok().filter(|text| text.contains('=')) else {
        let text = String::from_utf8_lossy(raw);
        let redacted = redactor.text(&text);
        return (changed || *redacted != *text).then(|| redacted.into_owned().into_bytes());
    };
    let mut rebuilt = form_urlencoded::Serializer::new(String::new());
    let mut differs = changed;
    let mut seen = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let kept = if name == PAYLOAD && is_json(value.as_bytes()) {
            Some(payload.to_string())
        } else {
            let place = seen.entry(name.clone().into_owned()).or_insert(Value::from(0));
            let index = place.as_u64().unwrap_or_default();
            *place = Value::from(index + 1);
            match payload.get(name.as_ref()).or_else(|| payload.get(&*redactor.text(&name))) {
                Some(Value::String(text)) if index == 0 => Some(text.clone()),
                Some(Value::Array(values)) => values.get(index as usize).and_then(Value::as_str).map(str::to_owned),
                // A field that a rule dropped, or one beside `payload` that no adapter read.
                _ => None,
            }
        };
        differs |= kept.as_deref().is_none_or(|kept| kept != value && name != PAYLOAD);
        if let Some(kept) = kept {
            rebuilt.append_pair(&redactor.text(&name), &kept);
        }
    }
    differs.then(|| rebuilt.finish().into_bytes())
}
