//! Wall time that moves with tokio's paused clock.

use tokio::time::Instant;

use crate::{domain::Timestamp, ports::Clock};

/// Wall time in a test: begins at a fixed date and moves with tokio's clock, so that
/// `tokio::time::advance` moves timers, buckets, breakers and wall time together.
///
/// Must be made inside a runtime; pause it first (`start_paused = true`).
#[derive(Debug, Clone)]
pub struct VirtualClock {
    origin: Instant,
    began: Timestamp,
}

impl VirtualClock {
    /// Wall time that is `began` now.
    pub fn beginning_at(began: Timestamp) -> Self {
        Self { origin: Instant::now(), began }
    }
}

impl Default for VirtualClock {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::beginning_at(Timestamp::from_secs(1_767_225_600))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.began.plus(self.origin.elapsed())
    }
}
