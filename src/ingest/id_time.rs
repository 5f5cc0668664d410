//! The time that an id carries, where its form is one that begins with it.

use sluice_actors::domain::Timestamp;
use uuid::Uuid;

/// Milliseconds since the Unix epoch in 2010 and in 2100: a time outside is no time.
const PLAUSIBLE: std::ops::Range<u64> = 1_262_304_000_000..4_102_444_800_000;

/// KSUIDs count from here, in seconds since the Unix epoch.
const KSUID_EPOCH: u64 = 1_400_000_000;

/// When an id was made, by what the id itself says: a UUID of version 1, 6 or 7 (RFC
/// 9562, as GitHub's deliveries have), a ULID, a KSUID (as Svix and Standard Webhooks have), each also
/// behind a prefix that ends with `_`. `None` for every other id; a matter of speed only, so that a
/// wrong guess does no harm.
pub(super) fn time_of(id: &str) -> Option<Timestamp> {
    let id = id.rsplit_once('_').map_or(id, |(_, rest)| rest);
    let millis = match id.len() {
        26 => ulid(id.as_bytes()),
        27 => ksuid(id.as_bytes()),
        32 | 36 => uuid(id),
        _ => None,
    }?;
    PLAUSIBLE.contains(&millis).then(|| Timestamp::from_millis(millis as i64))
}

fn uuid(id: &str) -> Option<u64> {
    let (seconds, nanos) = Uuid::try_parse(id).ok()?.get_timestamp()?.to_unix();
    Some(seconds * 1000 + u64::from(nanos / 1_000_000))
}

/// 10 characters of Crockford's base 32 are milliseconds.
fn ulid(id: &[u8]) -> Option<u64> {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digit = |of: &u8| ALPHABET.iter().position(|known| *known == of.to_ascii_uppercase());
    if !id.iter().all(|of| digit(of).is_some()) {
        return None;
    }
    Some(id[..10].iter().filter_map(digit).fold(0, |sum, digit| sum << 5 | digit as u64))
}

/// 27 characters of base 62 are 160 bits, the first 32 of them seconds.
fn ksuid(id: &[u8]) -> Option<u64> {
    let mut limbs = [0_u32; 5];
    for of in id {
        let mut carry = u64::from(match of {
            b'0'..=b'9' => of - b'0',
            b'A'..=b'Z' => of - b'A' + 10,
            b'a'..=b'z' => of - b'a' + 36,
            _ => return None,
        });
        for limb in limbs.iter_mut().rev() {
            let sum = u64::from(*limb) * 62 + carry;
            *limb = sum as u32;
            carry = sum >> 32;
        }
        if carry != 0 {
            return None;
        }
    }
    Some((u64::from(limbs[0]) + KSUID_EPOCH) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_begin_with_their_time_tell_it() {
        for (id, millis) in [
            // The examples of RFC 9562, A.1, A.5 and A.6: 2022-02-22 14:22:22 -05:00.
            ("C232AB00-9414-11EC-B3C8-9F6BDECED846", 1_645_557_742_000),
            ("1EC9414C-232A-6B00-B3C8-9F6BDECED846", 1_645_557_742_000),
            ("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", 1_645_557_742_000),
            ("evt_017f22e279b07cc398c4dc0c0c07398f", 1_645_557_742_000),
            // The example of the ULID specification's readme.
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_469_922_850_259),
            // The example of segmentio/ksuid's readme.
            ("0ujtsYcgvSTl8PAuAdqWYSMnLOv", 1_507_608_047_000),
            ("msg_0ujtsYcgvSTl8PAuAdqWYSMnLOv", 1_507_608_047_000),
        ] {
            assert_eq!(time_of(id).map(Timestamp::as_millis), Some(millis), "{id}");
        }
    }

    #[test]
    fn no_other_id_does() {
        for id in [
            "",
            "_",
            "1",
            "evt_1",
            "018f",
            "49171234567890123456789012",
            "jane.doe@example.com",
            "919108f7-52d1-4320-9bac-f847db4148a8",
            "00000000-0000-0000-0000-000000000000",
            "ffffffffffffffffffffffffffffffff",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "01ARZ3NDEKTSV4RRFFQ69G5FA\u{fffd}",
            "éééééééééééééé",
        ] {
            assert_eq!(time_of(id), None, "{id}");
        }
    }
}
