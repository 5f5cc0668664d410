//! The series of single lanes. Up to a limit each lane has its own; past it a lane is counted in
//! `tenant="other"`, the worst lanes keeping theirs.
//!
//! A counter never goes back: what a lane counted while it was folded stays in `other`, and a lane
//! that loses its own series takes them away with it.

mod series;

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

pub use self::series::described;
use self::series::{QUEUED, Row, SECRETS, Told};
use super::metrics::Metrics;

/// The label value of what is folded.
const OTHER: &str = "other";

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
    /// When the newest secret of its source ends, if it does.
    pub current_secret_ends: Option<Timestamp>,
    /// When older ones do.
    pub previous_secrets_end: Vec<Timestamp>,
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

    /// The ends of [`SECRETS`]: of several older secrets, the one that ends next.
    fn secret_ends(&self, now: Timestamp) -> [Option<f64>; SECRETS.len()] {
        let previous = self.previous_secrets_end.iter().copied().filter(|end| *end > now).min();
        [self.current_secret_ends, previous].map(|end| end.map(|end| end.as_millis() as f64 / 1000.0))
    }

    fn is_bad(&self, now: Timestamp) -> bool {
        let (rank, age, _) = self.badness(now);
        rank > 0 || age > BAD_AGE
    }
}

/// All rows.
#[derive(Debug, Clone, Default)]
struct Rows {
    /// Of lanes that have series of their own, with the vendor they name.
    named: BTreeMap<LaneKey, (Arc<str>, Row)>,
    /// Of all others, by vendor.
    folded: BTreeMap<Arc<str>, Row>,
}

impl Rows {
    /// The lane's row; a lane that is new takes one of its own while there are fewer than `limit`.
    fn of(&mut self, lane: &LaneKey, vendor: &str, limit: usize) -> &mut Row {
        let may_take = self.named.len() < limit;
        if may_take || self.named.contains_key(lane) {
            return &mut self.named.entry(lane.clone()).or_insert_with(|| (vendor.into(), Row::default())).1;
        }
        self.folded.entry(vendor.into()).or_default()
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Row> {
        self.named.values_mut().map(|(_, row)| row).chain(self.folded.values_mut())
    }
}

/// Which lanes have series of their own, and what all count.
pub struct Lanes {
    limit: usize,
    rows: Arc<Mutex<Rows>>,
}

impl Lanes {
    /// At most `limit` lanes get series of their own among `metrics`.
    pub fn new(metrics: &Metrics, limit: usize) -> Self {
        let rows = Arc::new(Mutex::default());
        metrics.register(Arc::new(Told(rows.clone())));
        Self { limit, rows }
    }

    /// The lane's counters exist from now on, at 0.
    pub fn introduce(&self, lane: &LaneKey, vendor: &str) {
        self.rows().of(lane, vendor, self.limit);
    }

    /// A new event of the lane was stored.
    pub fn event(&self, lane: &LaneKey, vendor: &str) {
        self.rows().of(lane, vendor, self.limit).counters.events += 1;
    }

    /// A delivery to the lane did not verify.
    pub fn refused(&self, lane: &LaneKey, vendor: &str) {
        self.rows().of(lane, vendor, self.limit).counters.refusals += 1;
    }

    /// An attempt of the lane ended.
    pub fn attempt(&self, lane: &LaneKey, vendor: &str, outcome: AttemptOutcome) {
        self.rows().of(lane, vendor, self.limit).counters.attempts[outcome as usize] += 1;
    }

    /// A breaker of the lane opened.
    pub fn breaker_opened(&self, lane: &LaneKey, vendor: &str) {
        self.rows().of(lane, vendor, self.limit).counters.breaker_opens += 1;
    }

    /// The lane's actor is started again.
    pub fn restarted(&self, lane: &LaneKey, vendor: &str) {
        self.rows().of(lane, vendor, self.limit).counters.restarts += 1;
    }

    /// Sets the gauges of all lanes. Bad lanes take series of their own from good ones.
    pub fn refresh(&self, now: Timestamp, lanes: &[LaneNow]) {
        self.promote_bad_lanes(now, lanes);
        self.rows().all().for_each(|row| row.gauges = None);
        for lane in lanes {
            let mut rows = self.rows();
            let is_named = rows.named.len() < self.limit || rows.named.contains_key(&lane.lane);
            let gauges = rows.of(&lane.lane, &lane.vendor, self.limit).gauges.get_or_insert_default();
            for (sum, of) in gauges.queue.iter_mut().zip(QUEUED) {
                *sum += lane.jobs.iter().find(|(state, _)| *state == of).map_or(0, |(_, count)| *count);
            }
            gauges.oldest_due_age = gauges.oldest_due_age.max(lane.oldest_age(now).as_secs_f64());
            for (end, of) in gauges.secret_ends.iter_mut().zip(lane.secret_ends(now)) {
                *end = [*end, of].into_iter().flatten().reduce(f64::min);
            }
            gauges.in_flight += lane.snapshot.as_ref().map_or(0, |lane| lane.in_flight.len());
            gauges.tokens += lane.snapshot.as_ref().map_or(f64::from(lane.burst), |lane| lane.bucket_tokens);
            for breaker in lane.snapshot.iter().flat_map(|lane| &lane.breakers) {
                let callee = if is_named { breaker.callee.as_str() } else { OTHER };
                let of_callee = match gauges.breakers.iter_mut().find(|(known, _)| **known == *callee) {
                    Some((_, states)) => states,
                    None => &mut gauges.breakers.push_mut((callee.into(), [0; _])).1,
                };
                for (sum, state) in of_callee.iter_mut().zip(BreakerState::ALL) {
                    *sum += u64::from(breaker.state == state);
                }
            }
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn promote_bad_lanes(&self, now: Timestamp, lanes: &[LaneNow]) {
        if lanes.len() <= self.limit {
            return;
        }
        let mut bad: Vec<&LaneNow> = lanes.iter().filter(|lane| lane.is_bad(now)).collect();
        bad.sort_by_cached_key(|lane| std::cmp::Reverse(lane.badness(now)));
        bad.truncate(self.limit);
        let keep: BTreeSet<&LaneKey> = bad.iter().map(|lane| &lane.lane).collect();
        let named = &mut self.rows().named;
        for lane in bad {
            if named.contains_key(&lane.lane) {
                continue;
            }
            if named.len() >= self.limit {
                let Some(good) = named.keys().find(|known| !keep.contains(*known)).cloned() else { return };
                named.remove(&good);
            }
            named.insert(lane.lane.clone(), (lane.vendor.clone(), Row::default()));
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
            current_secret_ends: None,
            previous_secrets_end: Vec::new(),
        }
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    #[test]
    fn a_lane_shows_its_breaker_bucket_queue_and_age() {
        let metrics = Metrics::new();
        let lanes = Lanes::new(&metrics, 10);
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
        let lanes = Lanes::new(&metrics, 2);
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
        let lanes = Lanes::new(&metrics, 2);
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

    #[test]
    fn secrets_that_end_are_told_and_of_older_ones_that_which_ends_next() {
        let metrics = Metrics::new();
        let lanes = Lanes::new(&metrics, 1);
        let after = |seconds| NOW.plus(Duration::from_secs(seconds));
        let (mut rotating, mut folded) = (lane(1, LaneStatus::Held), lane(2, LaneStatus::Flowing));
        rotating.previous_secrets_end = vec![after(90), NOW.minus(Duration::from_secs(1)), after(60)];
        folded.current_secret_ends = Some(after(30));
        lanes.refresh(NOW, &[rotating, folded, lane(3, LaneStatus::Flowing)]);
        let text = metrics.render();
        let name = "sluice_lane_secret_not_after_timestamp_seconds";
        has(&text, &format!(r#"{name}{{secret="previous",source="pay",tenant="tenant-1",vendor="stripe"}} 1000060"#));
        has(&text, &format!(r#"{name}{{secret="current",source="other",tenant="other",vendor="stripe"}} 1000030"#));
        assert_eq!(text.matches(&format!("{name}{{")).count(), 2, "{text}");
    }

    #[test]
    fn a_lane_counts_what_came_and_what_did_not_verify() {
        let metrics = Metrics::new();
        let lanes = Lanes::new(&metrics, 1);
        lanes.introduce(&key(1), "stripe");
        has(&metrics.render(), r#"sluice_lane_events_total{source="pay",tenant="tenant-1",vendor="stripe"} 0"#);
        lanes.event(&key(1), "stripe");
        lanes.refused(&key(2), "stripe");
        let text = metrics.render();
        has(&text, r#"sluice_lane_events_total{source="pay",tenant="tenant-1",vendor="stripe"} 1"#);
        has(&text, r#"sluice_lane_refusals_total{source="other",tenant="other",vendor="stripe"} 1"#);
    }
}
