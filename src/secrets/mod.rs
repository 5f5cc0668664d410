//! Secrets by reference: one file per provider, values that never show themselves.

use std::fmt;

use zeroize::Zeroizing;

/// A secret value: zeroed when dropped, without `Debug`, `Display` or `Serialize`.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes as they are.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value. The name is loud on purpose: grep for it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value as text; `None` if it is not UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
