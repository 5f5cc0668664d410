//! What a browser carries through a sign-in: sealed, so that it can neither be read nor made. The key
//! comes from the client's secret, which every node of a gateway has.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sluice_actors::domain::Timestamp;

use super::OidcError;
use crate::secrets::Secret;

/// Tells this use of the secret from others.
const PURPOSE: &[u8] = b"sluice oidc ticket 1";

/// A sign-in between its two halves.
#[derive(Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) state: String,
    pub(super) nonce: String,
    /// Of PKCE.
    pub(super) verifier: String,
    pub(super) return_to: String,
    pub(super) expires_at: Timestamp,
}

fn key(secret: &Secret) -> Option<RandomizedNonceKey> {
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), PURPOSE);
    RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).ok()
}

impl Ticket {
    pub(super) fn seal(&self, secret: &Secret) -> Result<String, OidcError> {
        let failed = || OidcError::Down("the sign-in cannot be sealed".to_owned());
        let mut sealed = serde_json::to_vec(self).map_err(|_| failed())?;
        let key = key(secret).ok_or_else(failed)?;
        let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut sealed).map_err(|_| failed())?;
        sealed.splice(0..0, *nonce.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// None for what was not sealed with this secret.
    pub(super) fn open(text: &[u8], secret: &Secret) -> Option<Self> {
        let mut sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, rest) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = key(secret)?.open_in_place(nonce, Aad::empty(), rest).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_by_who_has_the_secret_and_only_as_it_was_made() {
        let (secret, other) = (Secret::new(b"one".to_vec()), Secret::new(b"two".to_vec()));
        let ticket = Ticket {
            state: "s".into(),
            nonce: "n".into(),
            verifier: "a-verifier".into(),
            return_to: "/events".into(),
            expires_at: Timestamp::from_secs(1),
        };
        let sealed = ticket.seal(&secret).unwrap();
        assert_ne!(sealed, ticket.seal(&secret).unwrap());
        assert_eq!(Ticket::open(sealed.as_bytes(), &secret).unwrap().verifier, "a-verifier");
        assert!(Ticket::open(sealed.as_bytes(), &other).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(Ticket::open(&changed, &secret).is_none(), "{at}");
        }
        for none in ["", "AAAA", "!"] {
            assert!(Ticket::open(none.as_bytes(), &secret).is_none());
        }
    }
}
