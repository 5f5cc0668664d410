//! The digests that tell deliveries apart (DESIGN §5).

use serde_json::Value;
use sha2::{Digest, Sha256};
use sluice_actors::domain::Timestamp;

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
        .finish();
        // Neither the signature (ECDSA is malleable) nor the id (it is what the replayer changes).
        let replay_key = (rules.replay_guard && !envelope.id_signed).then(|| {
            Key::new("sluice replay 1")
                .optional(signed_at.map(|at| at.as_millis().to_be_bytes()).as_ref().map(<[u8; 8]>::as_slice))
                .optional(envelope.unsigned_topic.as_deref().map(str::as_bytes))
                .field(&payload_hash)
                .finish()
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

    fn finish(self) -> [u8; 16] {
        let digest: [u8; 32] = self.0.finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        key
    }
}
