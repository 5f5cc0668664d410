//! How often what is reported: an outage is one report for each lane and kind, not a flood.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// One kind of error is reported once in this time.
pub const PER_KIND: Duration = Duration::from_secs(60);
/// Reports within a minute over all kinds.
pub const BURST: u32 = 30;
/// Kinds that are remembered; past that all are forgotten, so that each is reported again.
const MAX_KINDS: usize = 4096;

/// What becomes of a report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It is sent; so often the same was not, since the last time.
    Report {
        /// How often.
        repeated: u64,
    },
    /// The same was reported a moment ago.
    Repeats,
    /// Too much else was.
    TooMany,
}

/// Counts what was reported.
#[derive(Debug)]
pub(super) struct Limit {
    kinds: HashMap<String, (Instant, u64)>,
    minute: (Instant, u32),
}

impl Limit {
    pub(super) fn new(now: Instant) -> Self {
        Self { kinds: HashMap::new(), minute: (now, 0) }
    }

    pub(super) fn pass(&mut self, kind: &str, now: Instant) -> Passed {
        let mut repeated = 0;
        if let Some((at, again)) = self.kinds.get_mut(kind) {
            if now.duration_since(*at) < PER_KIND {
                *again += 1;
                return Passed::Repeats;
            }
            repeated = *again;
        }
        let (begun, sent) = &mut self.minute;
        if now.duration_since(*begun) >= Duration::from_secs(60) {
            (*begun, *sent) = (now, 0);
        }
        if *sent >= BURST {
            return Passed::TooMany;
        }
        *sent += 1;
        if self.kinds.len() >= MAX_KINDS {
            self.kinds.clear();
        }
        self.kinds.insert(kind.to_owned(), (now, 0));
        Passed::Report { repeated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_one_report_a_minute_for_each_kind_and_few_in_all() {
        let mut limit = Limit::new(Instant::now());
        assert_eq!(limit.pass("a", Instant::now()), Passed::Report { repeated: 0 });
        for _ in 0..100 {
            assert_eq!(limit.pass("a", Instant::now()), Passed::Repeats);
        }
        let others = (0..100).filter(|n| limit.pass(&n.to_string(), Instant::now()) != Passed::TooMany).count();
        assert_eq!(others, BURST as usize - 1);
        tokio::time::advance(PER_KIND).await;
        assert_eq!(limit.pass("a", Instant::now()), Passed::Report { repeated: 100 });
        assert_eq!(limit.pass("99", Instant::now()), Passed::Report { repeated: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_without_end_take_no_memory_without_end() {
        let mut limit = Limit::new(Instant::now());
        for n in 0..MAX_KINDS * 2 {
            tokio::time::advance(Duration::from_secs(3)).await;
            limit.pass(&n.to_string(), Instant::now());
        }
        assert!(limit.kinds.len() <= MAX_KINDS);
    }
}
