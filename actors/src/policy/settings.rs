//! What an operator can set of the policies, and the words they are shown in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A token bucket: `per_second` tokens a second, at most `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens a second; above zero.
    pub per_second: f64,
    /// The bucket's size; at least 1.
    pub burst: u32,
}

impl Rate {
    /// How long an empty bucket takes to be full.
    pub fn refill(&self) -> Duration {
        let seconds = f64::from(self.burst.max(1)) / self.per_second.max(1e-6);
        Duration::from_secs_f64(seconds.min(1e9))
    }
}

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Share of failures within the window that opens it.
    pub ratio: f64,
    /// Calls within the window before the share counts.
    pub min_calls: u32,
    /// The window.
    pub window: Duration,
    /// How long it stays open first; doubles up to `max_cooldown`, ±20 %.
    pub cooldown: Duration,
    /// The longest it stays open.
    pub max_cooldown: Duration,
    /// After a good probe, the time over which calls return to the full rate.
    pub ramp: Duration,
}

/// The state of a breaker, in the field's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls flow.
    Closed,
    /// Calls are held.
    Open,
    /// One probe.
    HalfOpen,
}

impl BreakerState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}
