//! Message authentication codes: computed over raw bytes, compared in constant time.
//!
//! A received code is decoded to exactly as many bytes as the algorithm makes and only then
//! compared, so an empty, shortened or lengthened one never gets as far as the comparison
//! (RUSTSEC-2024-0010 is what happens otherwise).

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use smallvec::SmallVec;
use subtle::{Choice, ConstantTimeEq};

use super::{Key, Refusal};

/// How many signatures one header may carry. Stripe and Standard Webhooks send one for each live
/// secret, so two or three; each more only buys the sender our CPU.
pub(super) const MAX_SIGNATURES: usize = 8;

/// The decoded signatures of one request.
pub(super) type Signatures<const N: usize> = SmallVec<[[u8; N]; 2]>;

macro_rules! hmac {
    ($(#[$doc:meta])* $name:ident, $hash:ty, $len:literal) => {
        $(#[$doc])*
        pub(super) fn $name(key: &[u8], parts: &[&[u8]]) -> [u8; $len] {
            let mut mac = Hmac::<$hash>::new_from_slice(key).expect("HMAC takes a key of any length");
            for part in parts {
                mac.update(part);
            }
            mac.finalize().into_bytes().into()
        }
    };
}

hmac!(
    /// HMAC-SHA1 (RFC 2104) of the parts in a row. Sound as a MAC; Twilio uses it.
    hmac_sha1,
    Sha1,
    20
);
hmac!(
    /// HMAC-SHA256 of the parts in a row.
    hmac_sha256,
    Sha256,
    32
);
hmac!(
    /// HMAC-SHA512 of the parts in a row.
    hmac_sha512,
    Sha512,
    64
);

/// The first key whose code is among `signatures`. The work depends on how many keys and signatures
/// there are, never on their values or on where the match is.
pub(super) fn matching<const N: usize>(
    keys: &[Key],
    signatures: &[[u8; N]],
    code: impl Fn(&[u8]) -> [u8; N],
) -> Result<usize, Refusal> {
    if keys.is_empty() {
        return Err(Refusal::NoLiveSecret);
    }
    let mut found = None;
    for (position, key) in keys.iter().enumerate() {
        let Key::Symmetric(secret) = key else { continue };
        let expected = code(secret.expose());
        let hit = signatures.iter().fold(Choice::from(0), |hit, received| hit | expected.ct_eq(received));
        if bool::from(hit) && found.is_none() {
            found = Some(position);
        }
    }
    found.ok_or(Refusal::BadSignature)
}

/// Decodes lowercase hex of exactly `N` bytes.
pub(super) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// Decodes canonical, padded base64 of exactly `N` bytes.
pub(super) fn base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Encodes padded base64.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// SHA-256 of the parts, each preceded by its length, so that no two lists of parts are alike. The
/// base of ids that we derive ourselves.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Secret;

    #[test]
    fn hex_is_lowercase_and_of_the_exact_length() {
        assert_eq!(hex::<2>("00ff"), Some([0, 255]));
        for text in ["", "00f", "00ff00", "00FF", "00fg", " 00ff", "00ff ", "0xff"] {
            assert_eq!(hex::<2>(text), None, "{text}");
        }
    }

    #[test]
    fn base64_is_canonical_and_of_the_exact_length() {
        assert_eq!(base64::<2>("AP8="), Some([0, 255]));
        for text in ["", "AP8", "AP9=", "AP8=00", "AP8A", "A_8=", "AP8= ", " AP8="] {
            assert_eq!(base64::<2>(text), None, "{text}");
        }
    }

    #[test]
    fn rfc_4231_and_2202_second_cases_hold() {
        let (key, parts): (&[u8], [&[u8]; 2]) = (b"Jefe", [b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex::encode(hmac_sha1(key, &parts)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(
            hex::encode(hmac_sha256(key, &parts)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(hex::encode(hmac_sha512(key, &parts)).starts_with("164b7a7bfcf819e2e395fbe73b56e0a3"));
    }

    #[test]
    fn the_first_key_that_matches_any_signature_is_told() {
        let keys = ["a", "b", "b"].map(|key| Key::Symmetric(Secret::new(key.into())));
        let made = |key: &str| hmac_sha256(key.as_bytes(), &[b"m"]);
        let find = |signatures: &[[u8; 32]]| matching(&keys, signatures, |key| hmac_sha256(key, &[b"m"]));
        assert_eq!(find(&[made("z"), made("b")]), Ok(1));
        assert_eq!(find(&[made("b"), made("a")]), Ok(0));
        assert_eq!(find(&[made("z")]), Err(Refusal::BadSignature));
        assert_eq!(find(&[]), Err(Refusal::BadSignature));
        assert_eq!(matching(&[], &[made("a")], |key| hmac_sha256(key, &[b"m"])), Err(Refusal::NoLiveSecret));
    }

    #[test]
    fn parts_of_a_digest_do_not_run_together() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"ab"]), digest(&[b"ab", b""]));
    }
}
