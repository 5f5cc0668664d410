//! Secrets as the vendors' settings pages show them, made into keys.

use crate::secrets::Secret;

use super::{InvalidKey, Key};

/// A shared secret used as it is: the bytes of the text, whatever it looks like.
pub(super) fn symmetric(secret: &Secret) -> Result<Key, InvalidKey> {
    if secret.expose().iter().all(u8::is_ascii_whitespace) {
        return Err(InvalidKey("the secret is empty".into()));
    }
    Ok(Key::Symmetric(secret.clone()))
}
