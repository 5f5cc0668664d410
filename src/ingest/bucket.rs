//! A token bucket without a lock or a timer: the generic cell rate algorithm on one atomic.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sluice_actors::ports::Rate;
use tokio::time::{Duration, Instant};

/// Admits `per_second` a second and `burst` at once; starts full.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    base: Instant,
    /// Nanoseconds that one token takes.
    period: u64,
    /// How far ahead of now the next admission may lie: `burst - 1` periods.
    slack: u64,
    /// When the next admission would be due if all were evenly spaced, in nanoseconds after `base`.
    due: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        let period = (1e9 / rate.per_second.max(1e-6)) as u64;
        let slack = period.saturating_mul(u64::from(rate.burst.max(1)) - 1);
        Self { rate, base: Instant::now(), period, slack, due: AtomicU64::new(0) }
    }

    /// The rate it was made with.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one token, or says after how long one is there.
    pub fn take(&self) -> Result<(), Duration> {
        let now = u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let admit =
            |due: u64| (due <= now.saturating_add(self.slack)).then(|| due.max(now).saturating_add(self.period));
        match self.due.fetch_update(Relaxed, Relaxed, admit) {
            Ok(_) => Ok(()),
            Err(due) => Err(Duration::from_nanos(due - now - self.slack)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate() {
        let bucket = Bucket::new(Rate { per_second: 10.0, burst: 3 });
        let taken = |bucket: &Bucket| (0..10).take_while(|_| bucket.take().is_ok()).count();
        assert_eq!(taken(&bucket), 3);
        assert_eq!(bucket.take(), Err(Duration::from_millis(100)));
        advance(Duration::from_millis(99)).await;
        assert_eq!(bucket.take(), Err(Duration::from_millis(1)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(taken(&bucket), 1);
        advance(Duration::from_hours(1)).await;
        assert_eq!(taken(&bucket), 3, "an idle hour fills the bucket, no more");
    }
}
