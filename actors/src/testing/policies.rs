//! Limits that a test can change.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    domain::{CalleeId, LaneKey},
    ports::{BreakerPolicy, CalleePolicy, LanePolicy, Policies, Rate},
};

/// The design's default breaker: 5 in a row or half of at least 10 in 60 s; open 30 s to 15 min;
/// a ramp of 30 s.
pub const BREAKER: BreakerPolicy = BreakerPolicy {
    failures: 5,
    ratio: 0.5,
    min_calls: 10,
    window: Duration::from_mins(1),
    cooldown: Duration::from_secs(30),
    max_cooldown: Duration::from_mins(15),
    ramp: Duration::from_secs(30),
};

/// The design's default limits of a lane: 10 a second, burst 20, 4 at once, 256 queued; an attempt
/// may take a minute.
pub fn default_lane() -> LanePolicy {
    LanePolicy {
        vendor: "generic".into(),
        rate: Rate { per_second: 10.0, burst: 20 },
        concurrency: 4,
        queue: 256,
        breaker: BREAKER,
        attempt_timeout: Duration::from_mins(1),
    }
}

/// A callee without limits of its own but the default breaker.
pub const fn default_callee() -> CalleePolicy {
    CalleePolicy { rate: None, concurrency: None, breaker: BREAKER, joining: Duration::ZERO }
}

/// The same limits for every lane, but those that a test names, and for every callee. Clones share it. The
/// tree hears of a change by `Gateway::reload`.
#[derive(Debug, Clone)]
pub struct TestPolicies {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    lane: LanePolicy,
    callee: CalleePolicy,
    lanes: HashMap<LaneKey, Option<LanePolicy>>,
}

impl TestPolicies {
    /// These for all.
    pub fn new(lane: LanePolicy, callee: CalleePolicy) -> Self {
        let inner = Inner { lane, callee, lanes: HashMap::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Other limits for one lane; none: its source is not configured.
    pub fn set_lane(&self, lane: &LaneKey, policy: Option<LanePolicy>) {
        self.lock().lanes.insert(lane.clone(), policy);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Policies for TestPolicies {
    fn lane(&self, lane: &LaneKey) -> Option<LanePolicy> {
        let inner = self.lock();
        inner.lanes.get(lane).cloned().unwrap_or_else(|| Some(inner.lane.clone()))
    }

    fn callee(&self, _callee: &CalleeId) -> CalleePolicy {
        self.lock().callee.clone()
    }
}
