//! How a lane comes back after a panic.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The wait before the first restart; doubles with each further panic in the period.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait before a restart.
const LONGEST: Duration = Duration::from_secs(30);
/// More panics than this within [`PERIOD`] park the lane.
pub const INTENSITY: usize = 5;
/// The period over which panics are counted.
pub const PERIOD: Duration = Duration::from_mins(1);
/// How long a lane stays parked.
pub const PARKED: Duration = Duration::from_mins(5);
/// The period over which panics of different lanes are counted for the node.
const NODE_PERIOD: Duration = Duration::from_secs(10);

/// What to do about a lane that panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start it again after this wait.
    Restart(Duration),
    /// Leave it for [`PARKED`] and raise an alarm.
    Park,
}

/// The panics of one lane.
#[derive(Debug, Default)]
pub struct Panics {
    recent: VecDeque<Instant>,
}

impl Panics {
    /// Counts a panic and decides.
    pub fn record(&mut self, now: Instant) -> Decision {
        while self.recent.front().is_some_and(|at| now.duration_since(*at) > PERIOD) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        if self.recent.len() > INTENSITY {
            self.recent.clear();
            return Decision::Park;
        }
        let doublings = u32::try_from(self.recent.len() - 1).unwrap_or(0).min(16);
        Decision::Restart((FIRST * (1 << doublings)).min(LONGEST))
    }
}

/// The panics of all lanes: many at once are a fault of the node, not of a lane.
#[derive(Debug, Default)]
pub struct NodePanics {
    recent: VecDeque<(Instant, u64)>,
}

impl NodePanics {
    /// Counts a panic of `lane`. True if more than max(10, 5 %) of `active` lanes panicked within
    /// 10 s: the tree itself is broken and its owner must be told.
    pub fn record(&mut self, now: Instant, lane: u64, active: usize) -> bool {
        self.recent.retain(|(at, who)| now.duration_since(*at) <= NODE_PERIOD && *who != lane);
        self.recent.push_back((now, lane));
        self.recent.len() > (active / 20).max(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_doubles_and_the_sixth_panic_in_a_minute_parks() {
        let mut panics = Panics::default();
        let now = Instant::now();
        let millis: Vec<_> = (0..6).map(|n| panics.record(now + secs(n))).collect();
        let wait = |ms| Decision::Restart(Duration::from_millis(ms));
        assert_eq!(millis, [wait(100), wait(200), wait(400), wait(800), wait(1600), Decision::Park]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_now_and_then_never_parks() {
        let mut panics = Panics::default();
        let now = Instant::now();
        for n in 0..1000 {
            assert_ne!(panics.record(now + secs(13 * n)), Decision::Park);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_was_parked_begins_anew() {
        let mut panics = Panics::default();
        let now = Instant::now();
        while panics.record(now) != Decision::Park {}
        assert_eq!(panics.record(now + PARKED), Decision::Restart(FIRST));
    }

    #[tokio::test(start_paused = true)]
    async fn one_lane_never_escalates() {
        let mut node = NodePanics::default();
        let now = Instant::now();
        assert!((0..1000).all(|_| !node.record(now, 1, 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_ten_or_a_twentieth_of_the_lanes_escalate() {
        for (active, needed) in [(11, 11), (200, 11), (1000, 51)] {
            let mut node = NodePanics::default();
            let now = Instant::now();
            let first = (1..100).find(|lane| node.record(now, *lane, active));
            assert_eq!(first, Some(needed), "of {active}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn panics_far_apart_do_not_escalate() {
        let mut node = NodePanics::default();
        let now = Instant::now();
        assert!((0..100).all(|lane| !node.record(now + secs(2 * lane), lane, 10)));
    }
}
