//! A sealed value: its form, what it is bound to.
//!
//! Bytes: `ff 73 6c 01`, 16 bytes id of the data key, 16 bytes salt, 12 bytes nonce, the ciphertext, 16 bytes tag. No
//! payload begins so: the first byte is never one of UTF-8. A text is `sealed1.` and those bytes in base64 (URL
//! alphabet, no padding): the columns that are sealed hold JSON, which does not begin with an `s`. So sealed and plain
//! rows live side by side, and each says by which key it opens.

use std::fmt;

use aws_lc_rs::{aead::NONCE_LEN, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::key::{DataKey, SALT};

/// Bytes of a tag of GCM.
pub(super) const TAG: usize = 16;
/// How sealed bytes begin; the last is the version of the form.
const MAGIC: [u8; 4] = [0xff, b's', b'l', 1];
/// How a sealed text begins.
const MARK: &str = "sealed1.";
const ID: usize = 16;
const HEADER: usize = MAGIC.len() + ID + SALT + NONCE_LEN;

/// What is sealed. A value opens in no other column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// What the vendor sent, redacted.
    Raw,
    /// Its headers.
    Headers,
    /// A normalised form.
    Form,
    /// What an attempt leaves to the next.
    Checkpoint,
    /// What a job produced.
    Result,
    /// Headers and body of a refused delivery.
    Refusal,
}

impl Column {
    /// Table and column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "payloads.raw",
            Self::Headers => "payloads.headers",
            Self::Form => "forms.form",
            Self::Checkpoint => "jobs.checkpoint",
            Self::Result => "results.result",
            Self::Refusal => "refusals.headers",
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a value belongs: it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Whose.
    pub tenant: &'a str,
    /// In which column.
    pub column: Column,
    /// In which row: its id, of one form for each column.
    pub row: &'a [u8],
}

impl Place<'_> {
    /// What a value sealed by a key is bound to. Names hold no NUL and an id is of fixed length: no two places are the
    /// same bytes.
    pub(super) fn bound_to(&self, key: Uuid) -> Vec<u8> {
        let column = self.column.as_str().as_bytes();
        [b"sluice value 1\0".as_slice(), self.tenant.as_bytes(), b"\0", column, b"\0", key.as_bytes(), self.row]
            .concat()
    }
}

/// Why a value cannot be sealed or opened. Never carries it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// None of the tenant's wrapping keys opens the data key.
    #[error(
        "the data key {id} of tenant {tenant} is wrapped by the key {wrapped_by}, which its [encryption] does not name (docs/errors/SLU16.md)"
    )]
    Locked {
        /// Whose.
        tenant: String,
        /// Which data key.
        id: Uuid,
        /// The fingerprint of the wrapping key.
        wrapped_by: String,
    },
    /// The database does not hold the data key.
    #[error("the data key {id} is not in the database")]
    Unknown {
        /// Which data key.
        id: Uuid,
    },
    /// The value was changed, or is of another place.
    #[error("a sealed value of {column} does not open: it was damaged, or moved here from elsewhere")]
    Damaged {
        /// Where.
        column: Column,
    },
    /// The system has no random numbers, or the cipher did not work.
    #[error("the cipher did not work")]
    Random,
}

/// The data key by which bytes are sealed; `None` for plain ones.
pub fn value_sealed_by(value: &[u8]) -> Option<Uuid> {
    let rest = value.strip_prefix(&MAGIC)?;
    // What is cut off is sealed all the same: by a key that there is not.
    Some(rest.first_chunk().map_or(Uuid::nil(), |id| Uuid::from_bytes(*id)))
}

/// The data key by which a text is sealed; `None` for a plain one.
pub fn text_sealed_by(text: &str) -> Option<Uuid> {
    // 28 digits are 21 bytes: magic and id.
    let digits = text.strip_prefix(MARK)?.as_bytes();
    let head = URL_SAFE_NO_PAD.decode(&digits[..digits.len().min(28)]).unwrap_or_default();
    Some(value_sealed_by(&head).unwrap_or(Uuid::nil()))
}

impl DataKey {
    /// Bytes, sealed.
    pub fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut chance = [0; SALT + NONCE_LEN];
        rand::fill(&mut chance).map_err(|_| SealError::Random)?;
        let (salt, nonce) = parts(&chance).ok_or(SealError::Random)?;
        let mut sealed = Vec::with_capacity(HEADER + plain.len() + TAG);
        sealed.extend_from_slice(&MAGIC);
        sealed.extend_from_slice(self.id().as_bytes());
        sealed.extend_from_slice(&chance);
        sealed.extend_from_slice(plain);
        let tag = self.encrypt(place, salt, nonce, &mut sealed[HEADER..])?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// A text, sealed, as a text.
    pub fn seal_text(&self, place: &Place<'_>, plain: &str) -> Result<String, SealError> {
        let sealed = self.seal(place, plain.as_bytes())?;
        let mut text = String::with_capacity(MARK.len() + sealed.len().div_ceil(3) * 4);
        text.push_str(MARK);
        URL_SAFE_NO_PAD.encode_string(sealed, &mut text);
        Ok(text)
    }

    /// Opens what this key sealed at this place.
    pub fn open(&self, place: &Place<'_>, mut sealed: Vec<u8>) -> Result<Vec<u8>, SealError> {
        let damaged = SealError::Damaged { column: place.column };
        let (header, text) = sealed.split_at_mut_checked(HEADER).ok_or(damaged.clone())?;
        if !header.starts_with(&MAGIC) || value_sealed_by(header) != Some(self.id()) {
            return Err(damaged);
        }
        let (salt, nonce) = parts(&header[MAGIC.len() + ID..]).ok_or(damaged)?;
        let length = self.decrypt(place, salt, nonce, text)?;
        sealed.truncate(HEADER + length);
        sealed.drain(..HEADER);
        Ok(sealed)
    }

    /// Opens a text that this key sealed at this place.
    pub fn open_text(&self, place: &Place<'_>, sealed: &str) -> Result<String, SealError> {
        let damaged = || SealError::Damaged { column: place.column };
        let digits = sealed.strip_prefix(MARK).ok_or_else(damaged)?;
        let sealed = URL_SAFE_NO_PAD.decode(digits).map_err(|_| damaged())?;
        String::from_utf8(self.open(place, sealed)?).map_err(|_| damaged())
    }
}

/// Salt and nonce.
fn parts(chance: &[u8]) -> Option<(&[u8; SALT], [u8; NONCE_LEN])> {
    let (salt, nonce) = chance.split_first_chunk()?;
    Some((salt, nonce.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: u128) -> DataKey {
        DataKey::new(Uuid::from_u128(id)).unwrap()
    }

    fn column() -> impl Strategy<Value = Column> {
        use Column::{Checkpoint, Form, Headers, Raw, Refusal, Result};
        prop::sample::select(vec![Raw, Headers, Form, Checkpoint, Result, Refusal])
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_at_its_place_and_nowhere_else(
            plain in prop::collection::vec(any::<u8>(), 0..300),
            (tenant, other) in ("[a-z]{1,8}", "[a-z]{1,8}"),
            (here, there) in (column(), column()),
            (row, elsewhere) in (any::<[u8; 16]>(), any::<[u8; 16]>()),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let key = key(1);
            let place = Place { tenant: &tenant, column: here, row: &row };
            let sealed = key.seal(&place, &plain).unwrap();
            prop_assert_eq!(value_sealed_by(&sealed), Some(key.id()));
            prop_assert_eq!(&key.open(&place, sealed.clone()).unwrap(), &plain);
            prop_assert_ne!(&key.seal(&place, &plain).unwrap(), &sealed);
            let damaged: Result<Vec<u8>, SealError> = Err(SealError::Damaged { column: here });
            if tenant != other {
                prop_assert_eq!(&key.open(&Place { tenant: &other, ..place }, sealed.clone()), &damaged);
            }
            if here != there {
                let moved = Place { column: there, ..place };
                prop_assert!(key.open(&moved, sealed.clone()).is_err());
            }
            if row != elsewhere {
                prop_assert_eq!(&key.open(&Place { row: &elsewhere, ..place }, sealed.clone()), &damaged);
            }
            prop_assert_eq!(&super::tests::key(1).open(&place, sealed.clone()), &damaged, "another key of the same id");
            let mut changed = sealed.clone();
            changed[at.index(sealed.len())] ^= 1_u8 << bit;
            prop_assert_eq!(&key.open(&place, changed), &damaged);
            prop_assert_eq!(&key.open(&place, sealed[..at.index(sealed.len())].to_vec()), &damaged);
        }

        #[test]
        fn a_sealed_text_opens_and_says_by_which_key(plain in ".{0,200}", row in any::<[u8; 16]>()) {
            let key = key(2);
            let place = Place { tenant: "acme", column: Column::Form, row: &row };
            let sealed = key.seal_text(&place, &plain).unwrap();
            prop_assert_eq!(text_sealed_by(&sealed), Some(key.id()));
            prop_assert_eq!(key.open_text(&place, &sealed).unwrap(), plain);
            for cut in 0..sealed.len() {
                prop_assert!(key.open_text(&place, &sealed[..cut]).is_err());
            }
        }

        #[test]
        fn what_is_plain_is_never_taken_for_sealed(json in "[\\[{\"0-9tfn -].{0,40}", text in ".{0,40}") {
            prop_assert_eq!(text_sealed_by(&json), None);
            prop_assert_eq!(value_sealed_by(text.as_bytes()), None);
        }
    }

    #[test]
    fn what_only_begins_as_sealed_names_no_key() {
        assert_eq!(value_sealed_by(b"\xffsl\x01"), Some(Uuid::nil()));
        for text in ["sealed1.", "sealed1.AAAA", "sealed1.\u{e9}\u{e9}", &format!("sealed1.{}", "~".repeat(80))] {
            assert_eq!(text_sealed_by(text), Some(Uuid::nil()), "{text}");
        }
    }
}
