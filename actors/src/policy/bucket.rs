//! A token bucket on tokio's clock, by `governor`.
//!
//! governor keeps one number, the moment at which the bucket is full again. Holding that number
//! ourselves (through its `StateStore`) lets a bucket give a token back, stand empty for a
//! `Retry-After`, and be put away as one [`Instant`] when its lane goes idle.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{NotKeyed, StateStore},
};
use tokio::time::Instant;

use super::Rate;

/// The rates at which a bucket makes sense: one token in 11 days, a token a microsecond.
const RATES: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// The bucket's clock: tokio's, as time since the bucket was made.
#[derive(Debug, Clone)]
struct SinceMade(Instant);

impl Clock for SinceMade {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The moment at which the bucket is full again, in nanoseconds of [`SinceMade`].
#[derive(Debug, Clone, Default)]
struct FullAt(Arc<AtomicU64>);

impl StateStore for FullAt {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // Every writer goes through `&mut Bucket`: none can come between.
        let (answer, full_at) = decide(Some(self.0.load(Ordering::Relaxed).into()))?;
        self.0.store(full_at.as_u64(), Ordering::Relaxed);
        Ok(answer)
    }
}

impl FullAt {
    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, full_at: Duration) {
        self.0.store(u64::try_from(full_at.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A token bucket. Its owner before may have spent everything just now, so a bucket that is taken
/// over begins [`empty`](Self::empty).
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    quota: Quota,
    made: Instant,
    full_at: FullAt,
    limiter: RateLimiter<NotKeyed, FullAt, SinceMade, NoOpMiddleware<Duration>>,
}

impl Bucket {
    /// A full bucket.
    pub fn full(rate: Rate) -> Self {
        let per_second = rate.per_second.clamp(*RATES.start(), *RATES.end());
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_secs_f64(1.0 / per_second))
            .expect("the period is at least a microsecond")
            .allow_burst(burst);
        let made = Instant::now();
        let full_at = FullAt::default();
        let limiter = RateLimiter::new(quota, full_at.clone(), SinceMade(made));
        Self { rate, quota, made, full_at, limiter }
    }

    /// An empty bucket.
    pub fn empty(rate: Rate) -> Self {
        let bucket = Self::full(rate);
        bucket.full_at.set(bucket.quota.burst_size_replenished_in());
        bucket
    }

    /// A bucket that was put away as [`Self::full_at`].
    pub fn restored(rate: Rate, full_at: Instant) -> Self {
        let bucket = Self::full(rate);
        let refill = bucket.quota.burst_size_replenished_in();
        bucket.full_at.set(full_at.saturating_duration_since(bucket.made).min(refill));
        bucket
    }

    /// Its rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The moment at which it is full if nothing more is taken: all there is to remember of it.
    pub fn full_at(&self) -> Instant {
        self.made + self.full_at.get()
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The moment at which one will be there.
    pub fn take(&mut self) -> Result<(), Instant> {
        self.limiter.check().map_err(|early| {
            let wait = early.wait_time_from(self.limiter.clock().now());
            Instant::now() + wait.max(Duration::from_nanos(1))
        })
    }

    /// The moment at which a token will be there; none if one is there now.
    pub fn next_at(&self) -> Option<Instant> {
        let at = self.made + self.full_at.get().saturating_sub(self.spare());
        (at > Instant::now()).then_some(at)
    }

    /// Gives a token back that was taken for nothing.
    pub fn give_back(&mut self) {
        self.full_at.set(self.full_at.get().saturating_sub(self.quota.replenish_interval()));
    }

    /// Lets no token out for `wait`, then one, then its rate: what a `Retry-After` asks for.
    pub fn stand_empty(&mut self, wait: Duration) {
        let until = self.made.elapsed() + wait + self.spare();
        self.full_at.set(self.full_at.get().max(until));
    }

    /// Tokens that are there now.
    pub fn tokens(&self) -> f64 {
        let missing = self.full_at().saturating_duration_since(Instant::now()).as_secs_f64();
        let burst = f64::from(self.quota.burst_size().get());
        (burst - missing / self.quota.replenish_interval().as_secs_f64()).max(0.0)
    }

    /// How far [`Self::full_at`] may lie ahead while one token is there.
    fn spare(&self) -> Duration {
        self.quota.burst_size_replenished_in().saturating_sub(self.quota.replenish_interval())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, advance};

    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 5 };

    fn drain(bucket: &mut Bucket) -> u32 {
        std::iter::from_fn(|| bucket.take().ok()).map(|()| 1).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_bucket_lets_its_burst_out_and_then_its_rate() {
        let mut bucket = Bucket::full(RATE);
        assert_eq!(drain(&mut bucket), 5);
        let mut taken = 0;
        for _ in 0..100 {
            advance(Duration::from_millis(50)).await;
            taken += drain(&mut bucket);
        }
        assert_eq!(taken, 50, "5 s at 10 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_is_taken_over_begins_empty() {
        let mut bucket = Bucket::empty(RATE);
        assert_eq!(drain(&mut bucket), 0);
        advance(Duration::from_millis(100)).await;
        assert_eq!(drain(&mut bucket), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_when_the_next_token_is_there() {
        let mut bucket = Bucket::full(RATE);
        assert_eq!(bucket.next_at(), None);
        drain(&mut bucket);
        let at = bucket.take().unwrap_err();
        assert_eq!(bucket.next_at(), Some(at));
        tokio::time::sleep_until(at).await;
        assert_eq!(bucket.next_at(), None);
        assert_eq!(bucket.take(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_given_back_can_be_taken_again() {
        let mut bucket = Bucket::full(RATE);
        drain(&mut bucket);
        bucket.give_back();
        assert_eq!(drain(&mut bucket), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_empties_it_for_that_long() {
        let mut bucket = Bucket::full(RATE);
        bucket.stand_empty(Duration::from_secs(30));
        advance(Duration::from_millis(29_999)).await;
        assert_eq!(drain(&mut bucket), 0);
        advance(Duration::from_millis(1)).await;
        assert_eq!(drain(&mut bucket), 1, "one token, not the burst");
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_put_away_as_one_moment() {
        let mut bucket = Bucket::full(RATE);
        bucket.take().unwrap();
        bucket.take().unwrap();
        let kept = bucket.full_at();
        advance(Duration::from_millis(100)).await;
        let restored = Bucket::restored(RATE, kept);
        assert!((restored.tokens() - 4.0).abs() < 1e-6, "{}", restored.tokens());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_nonsense_is_the_nearest_that_makes_sense() {
        for per_second in [0.0, -1.0, f64::INFINITY] {
            assert_eq!(drain(&mut Bucket::full(Rate { per_second, burst: 0 })), 1);
        }
    }
}
