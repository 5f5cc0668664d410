//! By what a revoked secret is known where it must not be kept.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use sha2::{Digest, Sha256};

/// A slow, salted digest (Argon2id, in PHC form): who reads the database can only guess at a weak
/// secret, and dearly. Takes tens of milliseconds to make and to compare: nothing for a thread that
/// others wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a value. `salt`: fresh.
    pub fn of(value: &[u8], salt: &[u8; 16]) -> Self {
        let hash = Argon2::default().hash_password_with_salt(value, salt);
        Self(hash.expect("the default parameters and a salt of 16 bytes fit").to_string())
    }

    /// One that was kept.
    pub fn kept(text: String) -> Self {
        Self(text)
    }

    /// Whether it is of this value. A text that is no fingerprint is of none.
    pub fn is_of(&self, value: &[u8]) -> bool {
        PasswordVerifier::<str>::verify_password(&Argon2::default(), value, &self.0).is_ok()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A few digits that tell a credential from others in labels and logs, the same at every node. Slow to make (Argon2id
/// with 8 MiB; remembered by the process): who reads them can only guess at a weak one, and dearly.
pub fn digits(credential: &[u8]) -> String {
    static KNOWN: Mutex<BTreeMap<[u8; 32], String>> = Mutex::new(BTreeMap::new());
    let key: [u8; 32] = Sha256::digest(credential).into();
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = known().get(&key) {
        return made.clone();
    }
    let params = Params::new(8 * 1024, 1, 1, Some(4)).expect("within the limits");
    let mut made = [0; 4];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(&key, b"sluice: digits of a credential", &mut made)
        .expect("a salt and an output of lengths that fit");
    known().entry(key).or_insert_with(|| hex::encode(made)).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_tell_credentials_apart_and_stay() {
        let made = digits(b"hunter2");
        // At every node, of every release: limits and breakers are shared by it.
        assert_eq!((&*made, &made), ("986e6804", &digits(b"hunter2")));
        assert_ne!(made, digits(b"hunter3"));
        assert_ne!(made, hex::encode(&Sha256::digest(b"hunter2")[..4]));
    }

    #[test]
    fn it_is_of_one_value_and_does_not_hold_it() {
        let made = Fingerprint::of(b"hunter2", &[7; 16]);
        assert_ne!(made, Fingerprint::of(b"hunter2", &[8; 16]), "salted");
        let kept = Fingerprint::kept(made.to_string());
        assert!(kept.is_of(b"hunter2"));
        assert!(!kept.is_of(b"hunter3") && !kept.is_of(b""));
        assert!(!Fingerprint::kept(String::new()).is_of(b""));
    }
}
