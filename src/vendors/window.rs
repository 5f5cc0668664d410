//! The signed time: plain decimal digits, within the tolerance on both sides of now.
//!
//! Official SDKs accept `+1700000000`, `NaN`, fractions or milliseconds in one language or another,
//! and several look only at the past. A genuine sender writes plain digits, so nothing is lost by
//! taking only those.

use std::time::Duration;

use sluice_actors::domain::Timestamp;

use super::Refusal;

/// The tolerance of DESIGN §6.
pub(super) const FIVE_MINUTES: Duration = Duration::from_mins(5);

/// Reads Unix seconds: 1 to 11 digits.
pub(super) fn seconds(text: &str) -> Result<Timestamp, Refusal> {
    digits(text, 11).map(Timestamp::from_secs)
}

/// Reads Unix milliseconds: 1 to 14 digits.
pub(super) fn millis(text: &str) -> Result<Timestamp, Refusal> {
    digits(text, 14).map(Timestamp::from_millis)
}

fn digits(text: &str, most: usize) -> Result<i64, Refusal> {
    if text.is_empty() || text.len() > most || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::MalformedSignature);
    }
    text.parse().map_err(|_| Refusal::MalformedSignature)
}

/// Whether `signed` lies within `tolerance` of `now`; exactly at the border it does.
pub(super) fn check(signed: Timestamp, now: Timestamp, tolerance: Duration) -> Result<(), Refusal> {
    if now.since(signed) > tolerance {
        Err(Refusal::StaleTimestamp)
    } else if signed.since(now) > tolerance {
        Err(Refusal::FutureTimestamp)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digits_are_a_time() {
        assert_eq!(seconds("1700000000"), Ok(Timestamp::from_secs(1_700_000_000)));
        assert_eq!(seconds("0"), Ok(Timestamp::from_secs(0)));
        assert_eq!(millis("1700000000123"), Ok(Timestamp::from_millis(1_700_000_000_123)));
        for text in [
            "",
            " 1700000000",
            "1700000000 ",
            "+1700000000",
            "-1700000000",
            "1700000000.0",
            "1700000000abc",
            "0x10",
            "1e9",
            "NaN",
            "１７０",
            "1700000000000",
            "100000000000000000000",
        ] {
            assert_eq!(seconds(text), Err(Refusal::MalformedSignature), "{text}");
        }
    }

    #[test]
    fn the_window_has_two_sides_and_includes_its_border() {
        let now = Timestamp::from_secs(1_700_000_000);
        let at = |offset: i64| check(Timestamp::from_millis(now.as_millis() + offset), now, FIVE_MINUTES);
        assert_eq!(at(-300_001), Err(Refusal::StaleTimestamp));
        assert_eq!(at(-300_000), Ok(()));
        assert_eq!(at(300_000), Ok(()));
        assert_eq!(at(300_001), Err(Refusal::FutureTimestamp));
        assert_eq!(check(Timestamp::from_millis(i64::MIN), now, FIVE_MINUTES), Err(Refusal::StaleTimestamp));
        assert_eq!(check(Timestamp::from_millis(i64::MAX), now, FIVE_MINUTES), Err(Refusal::FutureTimestamp));
    }
}
