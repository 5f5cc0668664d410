//! Redaction before storage, after hashing.
//!
//! Two things are redacted: what the rules of a source name (JSON pointers with `*`; dropped,
//! masked or hashed), and what the built-in patterns find. Patterns look at free text and at
//! telling key names, never at ids and times:
//!
//! - a value is an **id** if its key says so (`id`, `…_id`, `…Id`, `sid`, `uuid`, `sha`, `etag`, …; see
//!   [`names`]) and it has neither an `@` nor white space, or if it is a UUID whatever its key;
//! - a value is a **time** if its key says so (`created`, `…_at`, `…_time`, `ts`, …) and it holds
//!   nothing but the characters of times, or if it is a number of the size of an epoch.
//!
//! Only tokens in a well-known form (`sk-…`, `ghp_…`, a JWT) are removed from ids too: nothing that
//! is an id looks like them. Everything is linear in the size of the payload, and redacting what is
//! already redacted changes nothing.

mod escapes;
mod form;
pub mod names;
mod numbers;
pub mod pointer;
mod secrets;
mod text;

use std::borrow::Cow;

use http::HeaderMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::{PiiPattern, RedactMethod, RedactRule, Source};
use names::Name;

pub use text::Patterns;

/// What stands where something was masked.
pub const MASK: &str = "[redacted]";

/// Texts that are JSON themselves are opened this many times; what is nested deeper is masked.
const MAX_NESTED: usize = 4;

/// The request headers that are stored; every other is dropped, signatures and credentials before
/// all. Lowercase, sorted.
pub const KEPT_HEADERS: [&str; 41] = [
    "content-type",
    "linear-delivery",
    "linear-event",
    "linear-timestamp",
    "paypal-auth-algo",
    "paypal-cert-url",
    "paypal-transmission-id",
    "paypal-transmission-time",
    "shopify-api-version",
    "shopify-event-id",
    "shopify-shop-domain",
    "shopify-topic",
    "shopify-triggered-at",
    "shopify-webhook-id",
    "svix-id",
    "svix-timestamp",
    "traceparent",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "x-event-id",
    "x-github-delivery",
    "x-github-event",
    "x-github-hook-id",
    "x-github-hook-installation-target-id",
    "x-github-hook-installation-target-type",
    "x-hubspot-request-timestamp",
    "x-request-id",
    "x-shopify-api-version",
    "x-shopify-event-id",
    "x-shopify-shop-domain",
    "x-shopify-topic",
    "x-shopify-triggered-at",
    "x-shopify-webhook-id",
    "x-signature-timestamp",
    "x-slack-request-timestamp",
    "x-slack-retry-num",
    "x-slack-retry-reason",
    "x-timestamp",
    "x-twilio-email-event-webhook-timestamp",
    "x-zm-request-timestamp",
];

/// The redaction of one source. Cheap to make.
#[derive(Debug, Clone, Copy)]
pub struct Redactor<'a> {
    rules: &'a [RedactRule],
    patterns: Patterns,
    hash: HashKey<'a>,
}

/// Keys digests, so that they mean nothing outside their tenant.
#[derive(Debug, Clone, Copy)]
struct HashKey<'a> {
    tenant: &'a str,
    secret: &'a [u8],
}

/// All patterns, no rules: for errors, refusals and other texts that belong to no source.
static ALL: Redactor<'static> =
    Redactor { rules: &[], patterns: Patterns::ALL, hash: HashKey { tenant: "", secret: &[] } };

/// Masks what the built-in patterns find in a text.
pub fn text(text: &str) -> Cow<'_, str> {
    ALL.text(text)
}

/// Masks what the built-in patterns find in a value.
pub fn everything(value: &mut Value) {
    ALL.value(value);
}

/// Reads stored bytes back as a payload: JSON, or a form as an object.
pub fn read_stored(stored: &[u8]) -> Option<Value> {
    crate::json::parse_strict(stored).ok().or_else(|| form::read(stored))
}

impl<'a> Redactor<'a> {
    /// The redaction of `source`.
    pub fn of(source: &'a Source) -> Self {
        Self {
            rules: &source.redact,
            patterns: Patterns::of(&source.redact_patterns),
            hash: HashKey {
                tenant: source.lane.tenant.as_str(),
                secret: source.redact_key.as_ref().map_or(&[], |key| key.expose()),
            },
        }
    }

    /// A redaction with these rules and patterns. `secret` keys the digests of `hash` rules; where
    /// it is empty they mask.
    pub fn new(tenant: &'a str, rules: &'a [RedactRule], patterns: &[PiiPattern], secret: &'a [u8]) -> Self {
        Self { rules, patterns: Patterns::of(patterns), hash: HashKey { tenant, secret } }
    }

    /// Redacts a payload in place and says which bytes to store instead of `raw`; `None`: nothing
    /// was redacted, `raw` itself is stored.
    pub fn payload(&self, payload: &mut Value, raw: &[u8]) -> Option<Vec<u8>> {
        let changed = self.value(payload);
        if form::is_json(raw) {
            return changed.then(|| payload.to_string().into_bytes());
        }
        form::redact(self, raw, payload, changed)
    }

    /// Redacts a value in place; says whether anything changed.
    pub fn value(&self, value: &mut Value) -> bool {
        let mut changed = false;
        for rule in self.rules {
            changed |= match rule.method {
                RedactMethod::Drop => pointer::remove(value, &rule.pointer),
                RedactMethod::Mask => pointer::edit(value, &rule.pointer, &mut mask),
                RedactMethod::Hash => pointer::edit(value, &rule.pointer, &mut |value| self.hash.value(value)),
            };
        }
        if !self.patterns.is_empty() {
            changed |= self.patterns_in(value, Name::Plain, MAX_NESTED);
        }
        changed
    }

    /// Masks what the patterns find in a text.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.patterns.redact(text)
    }

    /// The kept headers as a JSON object, redacted.
    pub fn headers(&self, headers: &HeaderMap) -> String {
        let mut kept = Map::new();
        for name in headers.keys().filter(|name| KEPT_HEADERS.binary_search(&name.as_str()).is_ok()) {
            let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            if let Some(first) = values.next() {
                let joined = values.fold(first.to_owned(), |all, value| all + ", " + value);
                let mut value = Value::String(joined);
                self.patterns_in(&mut value, Name::of(name.as_str()), 0);
                kept.insert(name.as_str().to_owned(), value);
            }
        }
        Value::Object(kept).to_string()
    }

    /// A subject or an event's id as it is stored. One that is a person's address becomes a digest,
    /// so that what belongs together still does.
    pub fn identity(&self, id: String) -> String {
        if self.patterns.names_a_person(&id) { self.hash.digest(id.as_bytes()) } else { id }
    }

    fn patterns_in(&self, value: &mut Value, name: Name, nested: usize) -> bool {
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => {
                let hit = match name {
                    Name::Telling(pattern) => self.patterns.has(pattern),
                    Name::Id | Name::Time => false,
                    Name::Plain => self.patterns.number(number),
                };
                hit && mask(value)
            }
            Value::String(text) => {
                let redacted = match name {
                    Name::Telling(pattern) if self.patterns.has(pattern) && names::is_told(pattern, text) => {
                        if text == MASK || is_digest(text) {
                            return false;
                        }
                        Some(MASK.to_owned())
                    }
                    Name::Id if names::is_id(text) => self.patterns.tokens(text),
                    Name::Time if names::is_time(text) => self.patterns.tokens(text),
                    _ => self.free_text(text, nested),
                };
                match redacted {
                    Some(redacted) => {
                        *text = redacted;
                        true
                    }
                    None => false,
                }
            }
            // What lies below a telling name is told by it, unless its own name says otherwise.
            Value::Array(items) => {
                items.iter_mut().fold(false, |changed, item| self.patterns_in(item, name, nested) | changed)
            }
            Value::Object(map) => self.object(map, name, nested),
        }
    }

    fn object(&self, map: &mut Map<String, Value>, above: Name, nested: usize) -> bool {
        let mut changed = false;
        let mut keys = Vec::new();
        let pair = self.told_by_neighbour(map);
        for (key, value) in map.iter_mut() {
            let redacted = self.patterns.redact(key);
            let name = match (Name::of(key).once_redacted(&redacted), above, pair) {
                (Name::Plain, _, Some((told, pattern))) if told == key => Name::Telling(pattern),
                (Name::Plain, Name::Telling(pattern), _) => Name::Telling(pattern),
                (name, ..) => name,
            };
            changed |= self.patterns_in(value, name, nested);
            if let Cow::Owned(redacted) = redacted {
                keys.push((key.clone(), redacted));
            }
        }
        for (key, redacted) in keys {
            let Some(value) = map.remove(&key) else { continue };
            let mut free = redacted.clone();
            let mut number = 2;
            while map.contains_key(&free) {
                free = format!("{redacted} {number}");
                number += 1;
            }
            map.insert(free, value);
            changed = true;
        }
        changed
    }

    fn free_text(&self, text: &str, nested: usize) -> Option<String> {
        if names::is_uuid(text) {
            return None;
        }
        if form::is_json(text.as_bytes())
            && text.len() > MASK.len()
            && let Ok(mut inner) = crate::json::parse_strict(text.as_bytes())
        {
            if nested == 0 {
                return Some(MASK.to_owned());
            }
            return self.patterns_in(&mut inner, Name::Plain, nested - 1).then(|| inner.to_string());
        }
        match self.patterns.redact(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(redacted) => Some(redacted),
        }
    }

    /// Objects that write a key as a value: `{"name": "password", "value": "…"}`, HubSpot's
    /// `propertyName` and `propertyValue`. Returns the key whose value is told, and by which pattern.
    fn told_by_neighbour(&self, map: &Map<String, Value>) -> Option<(&'static str, PiiPattern)> {
        const PAIRS: [(&str, &[&str]); 2] =
            [("value", &["name", "key", "field", "header"]), ("propertyValue", &["propertyName"])];
        PAIRS.iter().filter(|(value, _)| map.contains_key(*value)).find_map(|(value, names)| {
            let name = names.iter().find_map(|name| map.get(*name)?.as_str())?;
            match Name::of(name).once_redacted(&self.patterns.redact(name)) {
                Name::Telling(pattern) => Some((*value, pattern)),
                Name::Id | Name::Time | Name::Plain => None,
            }
        })
    }
}

fn mask(value: &mut Value) -> bool {
    let done = value.is_null() || value.as_str().is_some_and(|text| text == MASK || is_digest(text));
    if !done {
        *value = Value::from(MASK);
    }
    !done
}

const DIGEST_PREFIX: &str = "[hash:";

/// Whether a text is a digest of ours. Someone who sends such a text keeps it: there is nothing in
/// it to hide.
fn is_digest(text: &str) -> bool {
    text.strip_prefix(DIGEST_PREFIX)
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

impl HashKey<'_> {
    fn value(&self, value: &mut Value) -> bool {
        if self.secret.is_empty() {
            return mask(value);
        }
        match value {
            Value::Null => return false,
            Value::String(text) if is_digest(text) || text == MASK => return false,
            Value::String(text) => *text = self.digest(text.as_bytes()),
            other => *other = Value::from(self.digest(other.to_string().as_bytes())),
        }
        true
    }

    fn digest(&self, bytes: &[u8]) -> String {
        let mut mac = Sha256::new();
        for part in [self.tenant.as_bytes(), self.secret, bytes] {
            mac.update((part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let digest: [u8; 32] = mac.finalize().into();
        format!("{DIGEST_PREFIX}{}]", hex::encode(&digest[..16]))
    }
}
