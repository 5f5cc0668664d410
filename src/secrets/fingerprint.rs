//! By what a revoked secret is known where it must not be kept.

use std::fmt;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier},
};

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

#[cfg(test)]
mod tests {
    use super::*;

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
