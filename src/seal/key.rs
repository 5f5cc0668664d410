//! The keys: those that wrap, and those that are wrapped and seal.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, hmac, rand,
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::value::{Place, SealError, TAG};

/// Bytes of a key of AES-256.
const KEY: usize = 32;
/// Bytes from which the key of one value is derived.
pub(super) const SALT: usize = 16;

type Bytes = Zeroizing<[u8; KEY]>;

/// A text that is no wrapping key. Never carries the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Neither hexadecimal digits nor base64 of 32 bytes.
    #[error("is not 32 bytes in base64 or hexadecimal digits")]
    Form,
    /// The same byte 32 times.
    #[error("is the same byte 32 times, which is no key")]
    Placeholder,
}

/// A key of the operator, which wraps data keys. Zeroed when dropped; `Debug` shows where it is from.
pub struct WrappingKey {
    bytes: Bytes,
    reference: String,
    fingerprint: String,
}

impl WrappingKey {
    /// From what `reference` leads to: 32 bytes in base64 (either alphabet) or hexadecimal digits.
    pub fn parse(text: &[u8], reference: String) -> Result<Self, InvalidKey> {
        let text = text.trim_ascii();
        let mut bytes = Bytes::default();
        if text.len() == 2 * KEY && text.iter().all(u8::is_ascii_hexdigit) {
            hex::decode_to_slice(text, &mut *bytes).map_err(|_| InvalidKey::Form)?;
        } else {
            base64(text, &mut bytes)?;
        }
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(InvalidKey::Placeholder);
        }
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*bytes), b"sluice wrapping key 1");
        let fingerprint = hex::encode(&tag.as_ref()[..8]);
        Ok(Self { bytes, reference, fingerprint })
    }

    /// Which key it is, without telling anything of it: 16 hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Where it is from, as the configuration names it.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// A data key as the database holds it. Its nonce is random: one key wraps thousands, not billions.
    pub fn wrap(&self, tenant: &str, key: &DataKey) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Random)?;
        let mut body = Zeroizing::new(*key.bytes);
        let tag = self.cipher()?.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(of_key(tenant, key.id)),
            &mut *body,
        );
        let tag = tag.map_err(|_| SealError::Random)?;
        Ok([nonce.as_slice(), body.as_slice(), tag.as_ref()].concat())
    }

    /// The data key that it wrapped; `None`: it did not, or not for this tenant and id.
    pub fn unwrap(&self, tenant: &str, id: Uuid, wrapped: &[u8]) -> Option<DataKey> {
        let (nonce, body) = wrapped.split_at_checked(NONCE_LEN)?;
        let mut body = Zeroizing::new(<[u8; KEY + TAG]>::try_from(body).ok()?);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.cipher().ok()?.open_in_place(nonce, Aad::from(of_key(tenant, id)), &mut *body).ok()?;
        let mut bytes = Bytes::default();
        bytes.copy_from_slice(opened);
        Some(DataKey { id, bytes })
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*self.bytes).map_err(|_| SealError::Random)?))
    }
}

impl fmt::Debug for WrappingKey {
    /// Only the reference: nodes compare configurations by it, and providers are not read by all at once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference)
    }
}

fn base64(text: &[u8], bytes: &mut Bytes) -> Result<(), InvalidKey> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.iter().any(|byte| b"-_".contains(byte)) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    // A few bytes more: the decoder wants room for whole groups.
    let mut room = Zeroizing::new([0; KEY + 4]);
    let length = GeneralPurpose::new(alphabet, config).decode_slice(text, &mut *room).map_err(|_| InvalidKey::Form)?;
    if length != KEY {
        return Err(InvalidKey::Form);
    }
    bytes.copy_from_slice(&room[..KEY]);
    Ok(())
}

/// What a wrapped key is bound to.
fn of_key(tenant: &str, id: Uuid) -> Vec<u8> {
    [b"sluice data key 1\0".as_slice(), tenant.as_bytes(), b"\0", id.as_bytes()].concat()
}

/// A key of one tenant, by which its values are sealed. Zeroed when dropped; `Debug` shows its id.
pub struct DataKey {
    id: Uuid,
    bytes: Bytes,
}

impl DataKey {
    /// A new one.
    pub fn new(id: Uuid) -> Result<Self, SealError> {
        let mut bytes = Bytes::default();
        rand::fill(&mut *bytes).map_err(|_| SealError::Random)?;
        Ok(Self { id, bytes })
    }

    /// Its id, which stands before every value that it sealed.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Encrypts `text` in place; returns its tag. Salt and nonce are random, 28 bytes together: however many values a
    /// data key seals, no pair of key and nonce comes twice.
    pub(super) fn encrypt(
        &self,
        place: &Place<'_>,
        salt: &[u8; SALT],
        nonce: [u8; NONCE_LEN],
        text: &mut [u8],
    ) -> Result<[u8; TAG], SealError> {
        let cipher = self.cipher(salt)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(place.bound_to(self.id)), text);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(SealError::Random)
    }

    /// Decrypts `text`, which ends with its tag, in place; returns how long it is now.
    pub(super) fn decrypt(
        &self,
        place: &Place<'_>,
        salt: &[u8; SALT],
        nonce: [u8; NONCE_LEN],
        text: &mut [u8],
    ) -> Result<usize, SealError> {
        let cipher = self.cipher(salt)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = cipher.open_in_place(nonce, Aad::from(place.bound_to(self.id)), text);
        opened.map(|text| text.len()).map_err(|_| SealError::Damaged { column: place.column })
    }

    /// The key of one value.
    fn cipher(&self, salt: &[u8; SALT]) -> Result<LessSafeKey, SealError> {
        let info: [&[u8]; 2] = [b"sluice value 1", salt];
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &*self.bytes);
        let derived = prk.expand(&info, &AES_256_GCM).map_err(|_| SealError::Random)?;
        Ok(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "fbff02030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";

    fn parse(text: &str) -> Result<WrappingKey, InvalidKey> {
        WrappingKey::parse(text.as_bytes(), "env:KEY".into())
    }

    #[test]
    fn a_wrapping_key_is_the_same_in_every_form() {
        let hexadecimal = parse(HEX).unwrap();
        for text in [
            "+/8CAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=",
            "+/8CAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8\n",
            "-_8CAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=",
            &HEX.to_uppercase(),
        ] {
            assert_eq!(parse(text).unwrap().fingerprint(), hexadecimal.fingerprint(), "{text}");
        }
        assert_eq!(format!("{hexadecimal:?}"), "env:KEY");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "short", &HEX[2..], &format!("{HEX}00"), "correct horse battery staple correct horse!!", "🔑"]
        {
            assert_eq!(parse(text).err(), Some(InvalidKey::Form), "{text}");
        }
        assert_eq!(parse(&"00".repeat(32)).err(), Some(InvalidKey::Placeholder));
        assert_eq!(parse(&"A".repeat(43)).err(), Some(InvalidKey::Placeholder));
    }

    #[test]
    fn a_wrapped_key_opens_for_its_tenant_and_id_under_its_key_only() {
        let (one, other) = (parse(HEX).unwrap(), parse(&HEX.replace("1eff", "1efe")).unwrap());
        let id = Uuid::from_u128(7);
        let key = DataKey::new(id).unwrap();
        let wrapped = one.wrap("acme", &key).unwrap();
        assert_eq!(*one.unwrap("acme", id, &wrapped).unwrap().bytes, *key.bytes);
        assert!(!wrapped.windows(KEY).any(|window| window == &key.bytes[..]));
        assert!(other.unwrap("acme", id, &wrapped).is_none());
        assert!(one.unwrap("bravo", id, &wrapped).is_none());
        assert!(one.unwrap("acme", Uuid::from_u128(8), &wrapped).is_none());
        for cut in 0..wrapped.len() {
            assert!(one.unwrap("acme", id, &wrapped[..cut]).is_none());
        }
        assert_ne!(one.wrap("acme", &key).unwrap(), wrapped, "its nonce is new each time");
        assert_eq!(format!("{key:?}"), format!("DataKey({id})"));
    }
}
