//! The series of single lanes. Up to a limit each lane has its own; past it a lane is counted in
//! `tenant="other"`, the worst lanes keeping theirs.
//!
//! A counter never goes back: what a lane counted while it was folded stays in `other`, and a lane
//! that loses its own series takes them away with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sluice_actors::{
    domain::{JobState, LaneKey, Timestamp},
    handle::{LaneSnapshot, LaneStatus},
    ports::BreakerState,
};

use super::metrics::Metrics;

/// The label value of what is folded.
const OTHER: &str = "other";

/// Job states with a series: those that are not over, and dead letters.
const QUEUED: [JobState; 4] = [JobState::Pending, JobState::Running, JobState::Failed, JobState::DeadLetter];

/// A lane whose oldest due job waits longer than this is among the bad ones.
const BAD_AGE: Duration = Duration::from_mins(1);

/// How an attempt ended, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The job succeeded.
    Succeeded,
    /// It will be tried again.
    Retried,
    /// Nothing was tried; no attempt was burned.
    Held,
    /// It became a dead letter.
    DeadLettered,
    /// Its lease was lost; the result was dropped.
    LeaseLost,
}

impl AttemptOutcome {
    /// All outcomes.
    pub const ALL: [Self; 5] = [Self::Succeeded, Self::Retried, Self::Held, Self::DeadLettered, Self::LeaseLost];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Retried => "retried",
            Self::Held => "held",
            Self::DeadLettered => "deadlettered",
            Self::LeaseLost => "lease_lost",
        }
    }
}

/// One lane as it is now, from the tree and the store.
#[derive(Debug, Clone)]
pub struct LaneNow {
    /// Which.
    pub lane: LaneKey,
    /// Its vendor.
    pub vendor: Arc<str>,
    /// What the tree knows; none for a lane that is asleep.
    pub snapshot: Option<LaneSnapshot>,
    /// Tokens of a full bucket, which a lane that is asleep has.
    pub burst: u32,
    /// Jobs by state, from the store.
    pub jobs: Vec<(JobState, u64)>,
    /// When the oldest job that could start was due.
    pub oldest_due: Option<Timestamp>,
}

impl LaneNow {
    /// How long the oldest job that could start has waited.
    pub fn oldest_age(&self, now: Timestamp) -> Duration {
        let awake = self.snapshot.as_ref().and_then(|lane| lane.oldest_due);
        self.oldest_due.into_iter().chain(awake).min().map_or(Duration::ZERO, |due| now.since(due))
    }

    /// How bad it is: greater is worse.
    pub fn badness(&self, now: Timestamp) -> (u8, Duration, u64) {
        let rank = match self.snapshot.as_ref().map(|lane| lane.status) {
            Some(LaneStatus::Parked) => 4,
            Some(LaneStatus::Held) => 3,
            Some(LaneStatus::Unconfigured) => 2,
            Some(LaneStatus::Paused) => 1,
            Some(LaneStatus::Flowing) | None => 0,
        };
        let dead = self.jobs.iter().find(|(state, _)| *state == JobState::DeadLetter).map_or(0, |(_, count)| *count);
        (rank, self.oldest_age(now), dead)
    }

    fn is_bad(&self, now: Timestamp) -> bool {
        let (rank, age, _) = self.badness(now);
        rank > 0 || age > BAD_AGE
    }
}

/// The labels `tenant, source, vendor` of a lane, or of what is folded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Labels([Arc<str>; 3]);

impl Labels {
    fn of(lane: &LaneKey, vendor: &str) -> Self {
        Self([lane.tenant.as_str().into(), lane.source.as_str().into(), vendor.into()])
    }

    fn folded(vendor: &str) -> Self {
        Self([OTHER.into(), OTHER.into(), vendor.into()])
    }

    fn with<'a, const N: usize>(&'a self, more: [&'a str; N]) -> Vec<&'a str> {
        self.0.iter().map(AsRef::as_ref).chain(more).collect()
    }
}

/// Which lanes have series of their own.
pub struct Lanes {
    metrics: Metrics,
    limit: usize,
    named: Mutex<BTreeMap<LaneKey, Labels>>,
}

impl Lanes {
    /// At most `limit` lanes get series of their own.
    pub fn new(metrics: Metrics, limit: usize) -> Self {
        Self { metrics, limit, named: Mutex::default() }
    }

    /// The lane's counters exist from now on, at 0.
    pub fn introduce(&self, lane: &LaneKey, vendor: &str) {
        self.labels(lane, vendor);
    }

    /// An attempt of the lane ended.
    pub fn attempt(&self, lane: &LaneKey, vendor: &str, outcome: AttemptOutcome) {
        let labels = self.labels(lane, vendor);
        self.metrics.lane_attempts_total.with_label_values(&labels.with([outcome.as_str()])).inc();
    }

    /// A breaker of the lane opened.
    pub fn breaker_opened(&self, lane: &LaneKey, vendor: &str) {
        let labels = self.labels(lane, vendor);
        self.metrics.lane_breaker_opens_total.with_label_values(&labels.with([])).inc();
    }

    /// The lane's actor is started again.
    pub fn restarted(&self, lane: &LaneKey, vendor: &str) {
        let labels = self.labels(lane, vendor);
        self.metrics.lane_restarts_total.with_label_values(&labels.with([])).inc();
    }

    /// Sets the gauges of all lanes. Bad lanes take series of their own from good ones.
    pub fn refresh(&self, now: Timestamp, lanes: &[LaneNow]) {
        self.promote_bad_lanes(now, lanes);
        let metrics = &self.metrics;
        metrics.lane_breaker_state.reset();
        metrics.lane_bucket_tokens.reset();
        metrics.lane_queue_jobs.reset();
        metrics.lane_oldest_due_age_seconds.reset();
        metrics.lane_in_flight.reset();
        for lane in lanes {
            let labels = self.labels(&lane.lane, &lane.vendor);
            let folded = &*labels.0[0] == OTHER;
            let of_lane = labels.with([]);
            for state in QUEUED {
                let count = lane.jobs.iter().find(|(of, _)| *of == state).map_or(0, |(_, count)| *count);
                metrics.lane_queue_jobs.with_label_values(&labels.with([state.as_str()])).add(count as i64);
            }
            let age = metrics.lane_oldest_due_age_seconds.with_label_values(&of_lane);
            age.set(age.get().max(lane.oldest_age(now).as_secs_f64()));
            let in_flight = lane.snapshot.as_ref().map_or(0, |lane| lane.in_flight.len());
            metrics.lane_in_flight.with_label_values(&of_lane).add(in_flight as i64);
            let tokens = lane.snapshot.as_ref().map_or(f64::from(lane.burst), |lane| lane.bucket_tokens);
            metrics.lane_bucket_tokens.with_label_values(&of_lane).add(tokens);
            for breaker in lane.snapshot.iter().flat_map(|lane| &lane.breakers) {
                let callee = if folded { OTHER } else { breaker.callee.as_str() };
                for state in BreakerState::ALL {
                    metrics
                        .lane_breaker_state
                        .with_label_values(&labels.with([callee, state.as_str()]))
                        .add(i64::from(breaker.state == state));
                }
            }
        }
    }

    fn named(&self) -> MutexGuard<'_, BTreeMap<LaneKey, Labels>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane's labels; a lane that is new takes series of its own while there is room.
    fn labels(&self, lane: &LaneKey, vendor: &str) -> Labels {
        let mut named = self.named();
        if let Some(labels) = named.get(lane) {
            return labels.clone();
        }
        if named.len() >= self.limit {
            return Labels::folded(vendor);
        }
        self.name(&mut named, lane, vendor)
    }

    fn name(&self, named: &mut BTreeMap<LaneKey, Labels>, lane: &LaneKey, vendor: &str) -> Labels {
        let labels = Labels::of(lane, vendor);
        for outcome in AttemptOutcome::ALL {
            self.metrics.lane_attempts_total.with_label_values(&labels.with([outcome.as_str()]));
        }
        self.metrics.lane_breaker_opens_total.with_label_values(&labels.with([]));
        self.metrics.lane_restarts_total.with_label_values(&labels.with([]));
        named.insert(lane.clone(), labels.clone());
        labels
    }

    fn unname(&self, named: &mut BTreeMap<LaneKey, Labels>, lane: &LaneKey) {
        let Some(labels) = named.remove(lane) else { return };
        for outcome in AttemptOutcome::ALL {
            // `Err`: the series was never there.
            let _ = self.metrics.lane_attempts_total.remove_label_values(&labels.with([outcome.as_str()]));
        }
        let _ = self.metrics.lane_breaker_opens_total.remove_label_values(&labels.with([]));
        let _ = self.metrics.lane_restarts_total.remove_label_values(&labels.with([]));
    }

    fn promote_bad_lanes(&self, now: Timestamp, lanes: &[LaneNow]) {
        if lanes.len() <= self.limit {
            return;
        }
        let mut named = self.named();
        let mut bad: Vec<&LaneNow> = lanes.iter().filter(|lane| lane.is_bad(now)).collect();
        bad.sort_by_key(|lane| std::cmp::Reverse(lane.badness(now)));
        let keep: BTreeSet<&LaneKey> = bad.iter().take(self.limit).map(|lane| &lane.lane).collect();
        for lane in bad.iter().take(self.limit) {
            if named.contains_key(&lane.lane) {
                continue;
            }
            if named.len() >= self.limit {
                let Some(good) = named.keys().find(|known| !keep.contains(*known)).cloned() else { return };
                self.unname(&mut named, &good);
            }
            self.name(&mut named, &lane.lane, &lane.vendor);
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_actors::{domain::CalleeId, handle::BreakerSnapshot};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(n: usize) -> LaneKey {
        LaneKey::new(format!("tenant-{n}").parse().unwrap(), "pay".parse().unwrap())
    }

    fn lane(n: usize, status: LaneStatus) -> LaneNow {
        let snapshot = LaneSnapshot {
            lane: key(n),
            vendor: "stripe".into(),
            status,
            reason: None,
            since: NOW,
            bucket_tokens: 7.0,
            queued: 1,
            oldest_due: None,
            in_flight: Vec::new(),
            restarts: 0,
            breakers: vec![BreakerSnapshot {
                callee: CalleeId::new("host", "crm.example"),
                state: if status == LaneStatus::Held { BreakerState::Open } else { BreakerState::Closed },
                probe_at: None,
                opens: 0,
            }],
        };
        LaneNow {
            lane: key(n),
            vendor: "stripe".into(),
            snapshot: Some(snapshot),
            burst: 20,
            jobs: vec![(JobState::Pending, 3)],
            oldest_due: Some(NOW.minus(Duration::from_secs(2))),
        }
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    #[test]
    fn a_lane_shows_its_breaker_bucket_queue_and_age() {
        let metrics = Metrics::new();
        let lanes = Lanes::new(metrics.clone(), 10);
        lanes.refresh(NOW, &[lane(1, LaneStatus::Held)]);
        lanes.breaker_opened(&key(1), "stripe");
        let text = metrics.render();
        let of = r#"source="pay""#;
        has(
            &text,
            &format!(
                r#"sluice_lane_breaker_state{{callee="host:crm.example",{of},state="open",tenant="tenant-1",vendor="stripe"}} 1"#
            ),
        );
        has(
            &text,
            &format!(
                r#"sluice_lane_breaker_state{{callee="host:crm.example",{of},state="closed",tenant="tenant-1",vendor="stripe"}} 0"#
            ),
        );
        has(&text, &format!(r#"sluice_lane_bucket_tokens{{{of},tenant="tenant-1",vendor="stripe"}} 7"#));
        has(&text, &format!(r#"sluice_lane_queue_jobs{{{of},state="pending",tenant="tenant-1",vendor="stripe"}} 3"#));
        has(&text, &format!(r#"sluice_lane_oldest_due_age_seconds{{{of},tenant="tenant-1",vendor="stripe"}} 2"#));
        has(&text, &format!(r#"sluice_lane_breaker_opens_total{{{of},tenant="tenant-1",vendor="stripe"}} 1"#));
        has(
            &text,
            &format!(r#"sluice_lane_attempts_total{{outcome="lease_lost",{of},tenant="tenant-1",vendor="stripe"}} 0"#),
        );
    }

    #[test]
    fn lanes_past_the_limit_are_folded_and_their_sums_are_right() {
        let metrics = Metrics::new();
        let lanes = Lanes::new(metrics.clone(), 2);
        let all: Vec<LaneNow> = (0..5).map(|n| lane(n, LaneStatus::Flowing)).collect();
        lanes.refresh(NOW, &all);
        for n in 0..5 {
            lanes.attempt(&key(n), "stripe", AttemptOutcome::Succeeded);
        }
        let text = metrics.render();
        has(&text, r#"sluice_lane_queue_jobs{source="other",state="pending",tenant="other",vendor="stripe"} 9"#);
        has(
            &text,
            r#"sluice_lane_attempts_total{outcome="succeeded",source="other",tenant="other",vendor="stripe"} 3"#,
        );
        has(
            &text,
            r#"sluice_lane_breaker_state{callee="other",source="other",state="closed",tenant="other",vendor="stripe"} 3"#,
        );
        assert!(!text.contains("tenant-3"), "{text}");
    }

    #[test]
    fn a_lane_that_turns_bad_takes_the_series_of_a_good_one_and_other_never_goes_back() {
        let metrics = Metrics::new();
        let lanes = Lanes::new(metrics.clone(), 2);
        let mut all: Vec<LaneNow> = (0..4).map(|n| lane(n, LaneStatus::Flowing)).collect();
        lanes.refresh(NOW, &all);
        lanes.attempt(&key(3), "stripe", AttemptOutcome::Retried);
        all[3] = lane(3, LaneStatus::Parked);
        lanes.refresh(NOW, &all);
        lanes.attempt(&key(3), "stripe", AttemptOutcome::Retried);
        let text = metrics.render();
        has(&text, r#"sluice_lane_attempts_total{outcome="retried",source="other",tenant="other",vendor="stripe"} 1"#);
        has(&text, r#"sluice_lane_attempts_total{outcome="retried",source="pay",tenant="tenant-3",vendor="stripe"} 1"#);
        assert!(text.contains("tenant-1") && !text.contains("tenant-0"), "{text}");
    }
}
