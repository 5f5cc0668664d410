//! `[sources.*.limits]`.

use std::time::Duration;

use sluice_actors::ports::{BreakerPolicy, Rate};

use super::{section::Section, server::LARGEST_BODY};

/// `[sources.*.limits]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceLimits {
    /// Deliveries, charged after verification.
    pub inbound: Rate,
    /// Attempts.
    pub outbound: Rate,
    /// Attempts at once.
    pub concurrency: u32,
    /// Jobs not yet done, above which deliveries get 429.
    pub pending: u64,
    /// The largest body in bytes.
    pub max_body: usize,
    /// The breaker of each callee.
    pub breaker: BreakerPolicy,
}

/// The design's limits of a source (DESIGN §10).
const INBOUND: Rate = Rate { per_second: 50.0, burst: 200 };
const OUTBOUND: Rate = Rate { per_second: 10.0, burst: 20 };
const CONCURRENCY: u32 = 4;
const PENDING: u64 = 100_000;
const BREAKER: BreakerPolicy = BreakerPolicy {
    failures: 5,
    ratio: 0.5,
    min_calls: 10,
    window: Duration::from_mins(1),
    cooldown: Duration::from_secs(30),
    max_cooldown: Duration::from_mins(15),
    ramp: Duration::from_secs(30),
};
const MAX_RATE: f64 = 100_000.0;

impl SourceLimits {
    /// The design's limits with this body cap.
    pub fn with_max_body(max_body: usize) -> Self {
        Self {
            inbound: INBOUND,
            outbound: OUTBOUND,
            concurrency: CONCURRENCY,
            pending: PENDING,
            max_body,
            breaker: BREAKER,
        }
    }

    pub(super) fn read(section: Option<Section<'_>>, max_body: usize) -> Self {
        let mut limits = Self::with_max_body(max_body);
        let Some(mut section) = section else { return limits };
        if let Some(mut inbound) = section.table("inbound") {
            limits.inbound = read_rate(&mut inbound, INBOUND);
            inbound.finish();
        }
        if let Some(mut outbound) = section.table("outbound") {
            limits.outbound = read_rate(&mut outbound, OUTBOUND);
            limits.concurrency = outbound.number("concurrency", CONCURRENCY, 1..=1_000);
            outbound.finish();
        }
        limits.pending = section.number("pending", PENDING, 1..=100_000_000);
        limits.max_body = section.size("max_body", 1..=LARGEST_BODY).unwrap_or(max_body);
        if let Some(breaker) = section.table("breaker") {
            limits.breaker = read_breaker(breaker);
        }
        section.finish();
        limits
    }
}

/// A rate without a burst bursts for two seconds' worth.
fn read_rate(section: &mut Section<'_>, default: Rate) -> Rate {
    let per_second = section.positive("per_second", MAX_RATE);
    let burst = section.opt_number("burst", 1..=1_000_000);
    match (per_second, burst) {
        (None, None) => default,
        (None, Some(burst)) => Rate { burst, ..default },
        (Some(per_second), burst) => {
            Rate { per_second, burst: burst.unwrap_or_else(|| (per_second * 2.0).ceil().max(1.0) as u32) }
        }
    }
}

fn read_breaker(mut section: Section<'_>) -> BreakerPolicy {
    let seconds = Duration::from_secs;
    let breaker = BreakerPolicy {
        failures: section.number("failures", BREAKER.failures, 1..=10_000),
        ratio: section.positive("ratio", 1.0).unwrap_or(BREAKER.ratio),
        min_calls: section.number("min_calls", BREAKER.min_calls, 1..=10_000),
        window: section.duration("window", seconds(1)..=Duration::from_hours(1)).unwrap_or(BREAKER.window),
        cooldown: section.duration("cooldown", seconds(1)..=BREAKER.max_cooldown).unwrap_or(BREAKER.cooldown),
        max_cooldown: BREAKER.max_cooldown,
        ramp: BREAKER.ramp,
    };
    section.finish();
    breaker
}
