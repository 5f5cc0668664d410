//! The lanes' token bucket, shared: deliveries of all connections take from one.

use std::sync::{Mutex, PoisonError};

use sluice_actors::{policy::bucket, ports::Rate};
use tokio::time::{Duration, Instant};

/// Admits `per_second` a second and `burst` at once; starts full.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    // A lane owns its bucket alone; here each request holds it for one subtraction.
    tokens: Mutex<bucket::Bucket>,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, tokens: Mutex::new(bucket::Bucket::full(rate)) }
    }

    /// The rate it was made with.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one token, or says after how long one is there.
    pub fn take(&self) -> Result<(), Duration> {
        let taken = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map_err(|at| at.saturating_duration_since(Instant::now()))
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
