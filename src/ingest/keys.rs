//! The digests that tell deliveries apart (DESIGN §5).

use serde_json::Value;
use sha2::{Digest, Sha256};
use sluice_actors::domain::Timestamp;

use super::id_time;
use crate::{
    redact::pointer,
    vendors::{Envelope, OnConflict},
};

/// The rules of a source by which its keys are made.
#[derive(Debug, Clone, Copy)]
pub struct KeyRules<'a> {
    /// Whether the content is part of the identity.
    pub on_conflict: OnConflict,
    /// Whether replay keys are kept where the id is not signed.
    pub replay_guard: bool,
    /// JSON pointers into the payload that change between retries; `*` for any key or element.
    pub volatile: &'a [&'a str],
}

/// The digests of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// SHA-256 of the raw body (of the element, in a batch).
    pub payload_hash: [u8; 32],
    /// Equal for deliveries of the same event.
    pub dedupe_key: [u8; 16],
    /// Equal for the same signed bytes under another unsigned id; none where the id is signed or
    /// the guard is off.
    pub replay_key: Option<[u8; 16]>,
}

impl Keys {
    /// The keys of an event. `raw` is its own bytes: the body, or the element of a batch.
    /// `signed_at` is the time that the signature covers beside the body, where the scheme has one.
    pub fn of(rules: KeyRules<'_>, envelope: &Envelope, raw: &[u8], signed_at: Option<Timestamp>) -> Self {
        let payload_hash = sha256(raw);
        let dedupe_key = match rules.on_conflict {
            OnConflict::Ignore => Key::new("sluice dedupe id 1").field(envelope.external_id.as_bytes()),
            OnConflict::Revision => Key::new("sluice dedupe revision 1")
                .field(envelope.external_id.as_bytes())
                .field(&content_hash(&envelope.payload, rules.volatile).unwrap_or(payload_hash)),
        }
        .finish(id_time::time_of(&envelope.external_id));
        // Neither the signature (ECDSA is malleable) nor the id (it is what the replayer changes).
        let replay_key = (rules.replay_guard && !envelope.id_signed).then(|| {
            Key::new("sluice replay 1")
                .optional(signed_at.map(|at| at.as_millis().to_be_bytes()).as_ref().map(<[u8; 8]>::as_slice))
                .optional(envelope.unsigned_topic.as_deref().map(str::as_bytes))
                .field(envelope.signed_instead.as_deref().map_or(&payload_hash[..], str::as_bytes))
                .finish(signed_at)
        });
        Self { payload_hash, dedupe_key, replay_key }
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The digest of the payload without its volatile paths; none where there are none in it, so that
/// the hash of the raw bytes serves.
fn content_hash(payload: &Value, volatile: &[&str]) -> Option<[u8; 32]> {
    if volatile.is_empty() {
        return None;
    }
    let mut content = payload.clone();
    for path in volatile {
        pointer::remove(&mut content, &pointer::split(path));
    }
    // `Value` keeps its keys sorted: equal content gives equal text.
    Some(sha256(content.to_string().as_bytes()))
}

/// A digest over fields with their lengths, so that no two lists of fields read the same.
struct Key(Sha256);

impl Key {
    fn new(domain: &str) -> Self {
        Self(Sha256::new()).field(domain.as_bytes())
    }

    fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    fn optional(mut self, bytes: Option<&[u8]>) -> Self {
        self.0.update([u8::from(bytes.is_some())]);
        self.field(bytes.unwrap_or_default())
    }

    /// The digest. Where what it is of carries its time, that stands in front of 80 bits of it: new keys
    /// then lie side by side in their index, and a batch changes one page of it instead of one for each
    /// key.
    fn finish(self, time: Option<Timestamp>) -> [u8; 16] {
        let digest: [u8; 32] = self.0.finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        if let Some(time) = time {
            key[..6].copy_from_slice(&time.as_millis().to_be_bytes()[2..]);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const IGNORE: KeyRules<'_> = KeyRules { on_conflict: OnConflict::Ignore, replay_guard: true, volatile: &[] };
    const REVISION: KeyRules<'_> = KeyRules { on_conflict: OnConflict::Revision, ..IGNORE };

    fn envelope(id: &str, payload: Value) -> Envelope {
        Envelope {
            external_id: id.to_owned(),
            id_signed: false,
            id_derived: false,
            event_type: "a.b".to_owned(),
            subject_id: None,
            occurred_at: None,
            api_version: None,
            payload,
            unsigned_topic: None,
            signed_instead: None,
        }
    }

    fn keys(rules: KeyRules<'_>, envelope: &Envelope) -> Keys {
        Keys::of(rules, envelope, envelope.payload.to_string().as_bytes(), None)
    }

    #[test]
    fn a_retry_that_differs_only_where_the_vendor_changes_it_is_the_same_event() {
        for (path, first, retry) in [
            (
                "/pending_webhooks",
                json!({"id": "evt_1", "pending_webhooks": 2}),
                json!({"id": "evt_1", "pending_webhooks": 1}),
            ),
            ("/attempt_number", json!({"id": "a", "attempt_number": 1}), json!({"id": "a", "attempt_number": 8})),
            ("/attemptNumber", json!({"eventId": 1, "attemptNumber": 0}), json!({"eventId": 1, "attemptNumber": 9})),
            ("/webhookTimestamp", json!({"data": 1, "webhookTimestamp": 1}), json!({"data": 1, "webhookTimestamp": 2})),
        ] {
            for rules in [IGNORE, REVISION] {
                let rules = KeyRules { volatile: &[path], ..rules };
                let (first, retry) =
                    (keys(rules, &envelope("1", first.clone())), keys(rules, &envelope("1", retry.clone())));
                assert_eq!(first.dedupe_key, retry.dedupe_key, "{path}");
                assert_ne!(first.payload_hash, retry.payload_hash, "{path}");
            }
        }
    }

    #[test]
    fn other_content_under_the_same_id_is_a_revision_or_a_duplicate_by_policy() {
        let (a, b) = (envelope("1", json!({"x": 1})), envelope("1", json!({"x": 2})));
        assert_eq!(keys(IGNORE, &a).dedupe_key, keys(IGNORE, &b).dedupe_key);
        assert_ne!(keys(REVISION, &a).dedupe_key, keys(REVISION, &b).dedupe_key);
    }

    #[test]
    fn a_captured_request_under_a_fresh_unsigned_id_has_the_same_replay_key() {
        let of = |id: &str, topic: Option<&str>, at: Option<i64>, body: &str| {
            let mut envelope = envelope(id, json!({}));
            envelope.unsigned_topic = topic.map(str::to_owned);
            Keys::of(REVISION, &envelope, body.as_bytes(), at.map(Timestamp::from_secs)).replay_key
        };
        let first = of("1", Some("push"), Some(5), "{}");
        assert!(first.is_some());
        assert_eq!(first, of("2", Some("push"), Some(5), "{}"));
        // What the signature or the topic header says otherwise is another delivery.
        assert_ne!(first, of("1", Some("ping"), Some(5), "{}"));
        assert_ne!(first, of("1", None, Some(5), "{}"));
        assert_ne!(first, of("1", Some("push"), Some(6), "{}"));
        assert_ne!(first, of("1", Some("push"), None, "{}"));
        assert_ne!(first, of("1", Some("push"), Some(5), "{ }"));
    }

    #[test]
    fn a_body_that_a_weak_digest_cannot_tell_from_the_real_one_has_its_replay_key() {
        let of = |id: &str, amount: i64, signed: &str| {
            let envelope =
                Envelope { signed_instead: Some(signed.into()), ..envelope(id, json!({ "amount": amount })) };
            keys(REVISION, &envelope).replay_key
        };
        assert_eq!(of("real", 1, "t1|now|wh|42"), of("forged", 1_000_000, "t1|now|wh|42"));
        assert_ne!(of("real", 1, "t1|now|wh|42"), of("real", 1, "t2|now|wh|42"));
    }

    #[test]
    fn no_replay_key_where_the_id_is_signed_or_the_guard_is_off() {
        let mut envelope = envelope("1", json!({}));
        assert_eq!(keys(KeyRules { replay_guard: false, ..REVISION }, &envelope).replay_key, None);
        envelope.id_signed = true;
        assert_eq!(keys(REVISION, &envelope).replay_key, None);
    }

    #[test]
    fn the_length_of_a_field_is_part_of_the_digest() {
        let of = |a: &str, b: &str| Key::new("d").field(a.as_bytes()).field(b.as_bytes()).finish(None);
        assert_ne!(of("a.b", "c"), of("a", "b.c"));
        assert_ne!(of("", "ab"), of("ab", ""));
    }

    fn small() -> impl Strategy<Value = (String, i64, i64)> {
        ("[ab]{1,2}", 0_i64..3, 0_i64..3)
    }

    proptest! {
        #[test]
        fn dedupe_keys_are_equal_exactly_when_the_rule_says_so(a in small(), b in small(), revision: bool) {
            let rules = KeyRules { volatile: &["/attempt"], ..if revision { REVISION } else { IGNORE } };
            let of = |(id, content, attempt): &(String, i64, i64)| {
                keys(rules, &envelope(id, json!({"content": content, "attempt": attempt}))).dedupe_key
            };
            let same = a.0 == b.0 && (!revision || a.1 == b.1);
            prop_assert_eq!(of(&a) == of(&b), same);
        }
    }
}
