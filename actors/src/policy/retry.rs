//! When a job that failed runs again.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Retries of one job after its first attempt.
pub const MAX_RETRIES: u32 = 7;
/// The ceiling of the wait before the first retry; doubles with each further one.
const BASE: Duration = Duration::from_secs(5);
/// The longest ceiling.
const MAX_CEILING: Duration = Duration::from_mins(5);
/// The longest wait that a callee can ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_mins(15);
/// The longest wait of a suspect.
const MAX_SUSPECT_BACKOFF: Duration = Duration::from_mins(1);

/// The most that a job waits after its `attempts`-th outcome (from 1):
/// `min(300 s, 5 s · 2^(attempts - 1))`.
pub fn ceiling(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    (BASE * (1 << doublings)).min(MAX_CEILING)
}

/// How long a job waits after its `attempts`-th outcome (from 1): full jitter below [`ceiling`].
/// A wait that the callee asked for is a floor, up to 15 min, with the jitter on top, so that the
/// jobs that were told the same do not come back together. A short wait takes nothing from the
/// jitter: "come again at once" would spend all attempts of a job in a moment.
pub fn delay(attempts: u32, asked: Option<Duration>, rng: &mut impl Rng) -> Duration {
    let jitter = ceiling(attempts).mul_f64(rng.random_range(0.0..1.0));
    match asked {
        None => jitter,
        Some(asked) if asked < BASE => jitter.max(asked),
        Some(asked) => asked.min(MAX_RETRY_AFTER) + jitter.min(asked / 4),
    }
}

/// How long a job waits that a death of the process made a suspect, by its deaths in a row (from
/// 1): `min(60 s, 1 s · 2^(suspicion - 1))`.
pub fn suspect_backoff(suspicion: u32) -> Duration {
    let doublings = suspicion.saturating_sub(1).min(16);
    (Duration::from_secs(1) * (1 << doublings)).min(MAX_SUSPECT_BACKOFF)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn the_ceiling_doubles_from_5_s_to_300_s() {
        let table = [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (8, 300), (u32::MAX, 300)];
        for (attempts, seconds) in table {
            assert_eq!(ceiling(attempts), Duration::from_secs(seconds), "after outcome {attempts}");
        }
    }

    #[test]
    fn the_wait_is_spread_over_the_whole_range() {
        let mut rng = StdRng::seed_from_u64(7);
        let waits: Vec<_> = (0..1000).map(|_| delay(3, None, &mut rng)).collect();
        assert!(waits.iter().all(|wait| *wait < Duration::from_secs(20)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_secs(1)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(19)));
    }

    #[test]
    fn a_wait_that_was_asked_for_is_a_floor_up_to_15_minutes() {
        let mut rng = StdRng::seed_from_u64(7);
        let table = [(60, 60, 75), (900, 900, 1125), (86_400, 900, 1200)];
        for (asked, least, most) in table {
            let wait = delay(7, Some(Duration::from_secs(asked)), &mut rng);
            assert!(wait >= Duration::from_secs(least) && wait <= Duration::from_secs(most), "{asked}: {wait:?}");
        }
    }

    #[test]
    fn who_asks_to_come_again_at_once_does_not_spend_the_attempts_of_a_job() {
        for asked in [Duration::ZERO, Duration::from_secs(1)] {
            let mut rng = StdRng::seed_from_u64(7);
            let all: Duration = (1..=MAX_RETRIES).map(|attempts| delay(attempts, Some(asked), &mut rng)).sum();
            assert!(all > Duration::from_mins(1), "{asked:?}: {all:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            (1..=8).map(|n| delay(n, None, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn a_suspect_waits_from_1_s_to_60_s() {
        for (suspicion, seconds) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (40, 60)] {
            assert_eq!(suspect_backoff(suspicion), Duration::from_secs(seconds));
        }
    }
}
