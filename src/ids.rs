//! New ids and tokens: the one home of unpredictable numbers. Nothing here decides anything; what
//! decides by chance (jitter) is handed a seeded generator.

use std::sync::{Mutex, PoisonError};

use rand::{RngExt, rngs::ThreadRng};
use sluice_actors::domain::{ArtifactId, EventId, JobId, Timestamp, TokenId, TraceId};
use uuid::{Builder, Uuid};

/// Where the last id of this process stood: its millisecond and the counter within it.
static LAST: Mutex<Position> = Mutex::new(Position { millis: 0, counter: 0 });

/// The counter takes the 12 bits after the milliseconds (RFC 9562 §6.2, method 1).
const MAX_COUNTER: u16 = 0x0fff;

struct Position {
    millis: u64,
    counter: u16,
}

impl Position {
    /// The position after this one at the time `now`. A clock that stands still or goes back
    /// continues from the last id; a used-up counter borrows the next millisecond.
    fn advance(&mut self, now: u64, fresh: u16) -> (u64, u16) {
        if now > self.millis {
            (self.millis, self.counter) = (now, fresh);
        } else if self.counter < MAX_COUNTER {
            self.counter += 1;
        } else {
            (self.millis, self.counter) = (self.millis + 1, 0);
        }
        (self.millis, self.counter)
    }
}

/// A UUID version 7 of the time `now`, greater than every one this process made before.
fn uuid(now: Timestamp) -> Uuid {
    let mut bytes: [u8; 10] = rng().random();
    // The upper half of the counter's range stays free, so that a burst rarely borrows time.
    let fresh = u16::from_be_bytes([bytes[0], bytes[1]]) & (MAX_COUNTER >> 1);
    let now = u64::try_from(now.as_millis()).unwrap_or(0);
    let (millis, counter) = LAST.lock().unwrap_or_else(PoisonError::into_inner).advance(now, fresh);
    bytes[..2].copy_from_slice(&counter.to_be_bytes());
    Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

#[expect(clippy::disallowed_methods, reason = "the one home of the thread's generator")]
fn rng() -> ThreadRng {
    rand::rng()
}

/// A new event's id. Ids of one process sort in the order they were made.
pub fn event_id(now: Timestamp) -> EventId {
    EventId::from_uuid(uuid(now))
}

/// A new artifact's id.
pub fn artifact_id(now: Timestamp) -> ArtifactId {
    ArtifactId::from_uuid(uuid(now))
}

/// A new job's id. Ids of one process sort in the order they were made.
pub fn job_id(now: Timestamp) -> JobId {
    JobId::from_uuid(uuid(now))
}

/// A new token's id. Ids of one process sort in the order they were made.
pub fn token_id(now: Timestamp) -> TokenId {
    TokenId::from_uuid(uuid(now))
}

/// A new data key's id. Ids of one process sort in the order they were made.
pub fn data_key_id(now: Timestamp) -> Uuid {
    uuid(now)
}

/// A new trace's id.
pub fn trace_id() -> TraceId {
    loop {
        if let Some(id) = TraceId::from_bytes(rng().random()) {
            return id;
        }
    }
}

/// 16 random bytes, for what must be unique but carries no secret: a boot id, a token's `jti`.
pub fn nonce() -> [u8; 16] {
    rng().random()
}

/// A new secret of 256 bits, for keys and tokens. The generator is cryptographically secure
/// (`ThreadRng`, `ChaCha12` reseeded from the operating system).
pub fn secret_bytes() -> [u8; 32] {
    rng().random()
}

/// A seed for a generator that decides something (jitter).
pub fn seed() -> u64 {
    rng().random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_process_rise_even_when_the_clock_goes_back() {
        let ids: Vec<JobId> = (0..20_000).map(|n| job_id(Timestamp::from_millis(1_000_000 - n / 100))).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn an_id_is_a_version_7_uuid_of_its_time() {
        // Later than what the other tests of this process use, so that nothing is borrowed.
        let at = Timestamp::parse_rfc3339("2100-01-01T00:00:00Z").unwrap();
        let id = event_id(at).as_uuid();
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        let (secs, nanos) = id.get_timestamp().unwrap().to_unix();
        assert_eq!((secs as i64, nanos), (at.as_secs(), 0));
    }

    #[test]
    fn a_used_up_counter_borrows_the_next_millisecond() {
        let mut position = Position { millis: 5, counter: MAX_COUNTER - 1 };
        assert_eq!(position.advance(5, 0), (5, MAX_COUNTER));
        assert_eq!(position.advance(5, 0), (6, 0));
        assert_eq!(position.advance(5, 0), (6, 1));
        assert_eq!(position.advance(7, 9), (7, 9));
    }
}
