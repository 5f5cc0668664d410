//! Public-key signatures: Ed25519, ECDSA P-256 with SHA-256, RSA PKCS#1 v1.5 with SHA-256.
//!
//! A public key is taken in the forms that settings pages show: PEM, base64 of the DER, and for
//! Ed25519 also hex and base64 of the 32 bytes.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use x509_parser::{
    oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519},
    prelude::FromDer,
    x509::SubjectPublicKeyInfo,
};

use super::{InvalidKey, Key, Refusal, mac};
use crate::secrets::Secret;

/// A public-key signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RFC 8032; signatures of 64 bytes.
    Ed25519,
    /// ECDSA over P-256 with SHA-256; signatures in DER. Malleable: never an identifier.
    EcdsaP256,
    /// RSA with PKCS#1 v1.5 padding and SHA-256; keys of 2048 bits and more.
    Rsa,
}

impl Algorithm {
    const fn expected(self) -> &'static str {
        match self {
            Self::Ed25519 => "expected an Ed25519 public key: PEM, or 32 bytes in hex or base64",
            Self::EcdsaP256 => "expected a P-256 public key: PEM, or base64 of its SubjectPublicKeyInfo",
            Self::Rsa => "expected an RSA public key of 2048 bits or more: PEM, or base64 of its SubjectPublicKeyInfo",
        }
    }

    /// Reads a public key.
    pub(super) fn public_key(self, secret: &Secret) -> Result<Key, InvalidKey> {
        let text = secret.expose_str().map(str::trim).unwrap_or_default();
        self.parse(text).ok_or_else(|| InvalidKey(self.expected().into()))
    }

    fn parse(self, text: &str) -> Option<Key> {
        let der = if text.starts_with("-----BEGIN") {
            SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok()?.to_vec()
        } else if self == Self::Ed25519
            && let Some(raw) = raw_ed25519(text)
        {
            return Some(Key::Ed25519(raw));
        } else {
            STANDARD.decode(text).ok()?
        };
        let key = from_spki(&der)?;
        matches!(
            (self, &key),
            (Self::Ed25519, Key::Ed25519(_)) | (Self::EcdsaP256, Key::EcdsaP256(_)) | (Self::Rsa, Key::Rsa(_))
        )
        .then_some(key)
    }

    /// Signs as the vendor would, with a PKCS#8 PEM key or, for Ed25519, the 32-byte seed in hex or
    /// base64. For `sluice send`, the demo and tests.
    pub(super) fn sign(self, secret: &Secret, message: &[u8]) -> Result<Vec<u8>, InvalidKey> {
        self.try_sign(secret, message).ok_or_else(|| {
            InvalidKey(
                match self {
                    Self::Ed25519 => "expected an Ed25519 private key: PKCS#8 PEM, or the seed in hex or base64",
                    Self::EcdsaP256 => "expected a P-256 private key as PKCS#8 PEM",
                    Self::Rsa => "expected an RSA private key as PKCS#8 PEM",
                }
                .into(),
            )
        })
    }

    fn try_sign(self, secret: &Secret, message: &[u8]) -> Option<Vec<u8>> {
        let text = secret.expose_str()?.trim();
        if self == Self::Ed25519
            && let Some(seed) = raw_ed25519(text)
        {
            return Some(Ed25519KeyPair::from_seed_unchecked(&seed).ok()?.sign(message).as_ref().to_vec());
        }
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?;
        let der = key.secret_pkcs8_der();
        match self {
            Self::Ed25519 => {
                Some(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?.sign(message).as_ref().to_vec())
            }
            Self::EcdsaP256 => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).ok()?;
                Some(key.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec())
            }
            Self::Rsa => {
                let key = rsa::KeyPair::from_pkcs8(der).ok()?;
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

fn raw_ed25519(text: &str) -> Option<[u8; 32]> {
    mac::hex(text).or_else(|| mac::base64(text))
}

/// Reads a key from a DER `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7).
pub(super) fn from_spki(der: &[u8]) -> Option<Key> {
    let (rest, spki) = SubjectPublicKeyInfo::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let algorithm = &spki.algorithm.algorithm;
    let bits = spki.subject_public_key.data.as_ref();
    if *algorithm == OID_SIG_ED25519 {
        Some(Key::Ed25519(bits.try_into().ok()?))
    } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, bits).parse().ok()?;
        Some(Key::EcdsaP256(bits.to_vec()))
    } else if *algorithm == OID_PKCS1_RSAENCRYPTION {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, bits).parse().ok()?;
        Some(Key::Rsa(bits.to_vec()))
    } else {
        None
    }
}

/// Whether `signature` over `message` verifies under `key`; never under a symmetric one.
pub(super) fn verifies(key: &Key, message: &[u8], signature: &[u8]) -> bool {
    match key {
        Key::Symmetric(_) => false,
        Key::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
        Key::EcdsaP256(key) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(message, signature).is_ok(),
        Key::Rsa(key) | Key::Certified { rsa: key, .. } => {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message, signature).is_ok()
        }
    }
}

/// The first key under which `signature` over the parts verifies.
pub(super) fn matching(keys: &[Key], parts: &[&[u8]], signature: &[u8]) -> Result<usize, Refusal> {
    if keys.is_empty() {
        return Err(Refusal::NoLiveSecret);
    }
    let message = parts.concat();
    keys.iter().position(|key| verifies(key, &message, signature)).ok_or(Refusal::BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const PUBLIC: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[test]
    fn an_ed25519_key_is_read_in_each_form() {
        let raw: [u8; 32] = mac::hex(PUBLIC).expect("hex");
        let spki = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &raw].concat();
        let der = mac::to_base64(&spki);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        for text in [PUBLIC, &mac::to_base64(&raw), &der, &pem] {
            let key = Algorithm::Ed25519.public_key(&secret(text)).expect(text);
            assert!(matches!(key, Key::Ed25519(bytes) if bytes == raw));
            assert!(Algorithm::Rsa.public_key(&secret(text)).is_err());
        }
        for text in ["", "zz", &PUBLIC[2..], "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"] {
            assert!(Algorithm::Ed25519.public_key(&secret(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
        let key = Algorithm::Ed25519.public_key(&secret(PUBLIC)).expect("a key");
        let signature = Algorithm::Ed25519.sign(&secret(SEED), b"ab").expect("a seed");
        let other = Key::Ed25519([7; 32]);
        assert_eq!(matching(&[other, key.clone()], &[b"a", b"b"], &signature), Ok(1));
        assert_eq!(matching(std::slice::from_ref(&key), &[b"ac"], &signature), Err(Refusal::BadSignature));
        assert_eq!(matching(&[key], &[b"ab"], &signature[1..]), Err(Refusal::BadSignature));
        assert_eq!(matching(&[], &[b"ab"], &signature), Err(Refusal::NoLiveSecret));
    }
}
