//! Whether this node knows well enough which secrets are revoked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// When this node last saw what is revoked. Where other nodes can revoke, what was seen is good for a
/// while: a node that is cut off from the database takes nothing rather than what was signed with a
/// secret that others refuse. Clones share it.
#[derive(Debug, Clone)]
pub struct Informed(Option<Arc<Seen>>);

#[derive(Debug)]
struct Seen {
    good_for: Duration,
    born: Instant,
    /// In milliseconds after `born`.
    last: AtomicU64,
}

impl Informed {
    /// Nobody else can revoke.
    pub fn always() -> Self {
        Self(None)
    }

    /// Seen now, and good for as long.
    pub fn for_a(good_for: Duration) -> Self {
        Self(Some(Arc::new(Seen { good_for, born: Instant::now(), last: AtomicU64::new(0) })))
    }

    /// What is revoked was read by a question asked at `at`.
    pub fn saw(&self, at: Instant) {
        if let Some(seen) = &self.0 {
            let millis = at.saturating_duration_since(seen.born).as_millis();
            seen.last.fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Whether it is known well enough now.
    pub fn is_current(&self) -> bool {
        self.0.as_ref().is_none_or(|seen| {
            let last = seen.born + Duration::from_millis(seen.last.load(Ordering::Relaxed));
            last.elapsed() < seen.good_for
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_is_good_for_a_while_and_counts_from_the_question() {
        let informed = Informed::for_a(Duration::from_secs(5));
        let advance = |secs| tokio::time::advance(Duration::from_secs(secs));
        advance(3).await;
        assert!(informed.is_current());
        let asked = Instant::now();
        advance(1).await;
        informed.saw(asked);
        advance(3).await;
        assert!(informed.is_current());
        advance(1).await;
        assert!(!informed.is_current());
        informed.saw(asked);
        assert!(!informed.is_current(), "an answer that was long on its way");
        informed.saw(Instant::now());
        assert!(informed.is_current());
        advance(60).await;
        assert!(!informed.is_current() && Informed::always().is_current());
    }
}
