//! What is told of lanes, and how. A lane's numbers are kept as numbers, side by side; the name, help
//! and label texts of a series, which weigh a multiple of them, are made only while somebody asks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use sluice_actors::{domain::JobState, ports::BreakerState};

use super::{AttemptOutcome, OTHER, Rows};
use crate::telemetry::metrics::Described;

/// Job states with a series: those that are not over, and dead letters.
pub(super) const QUEUED: [JobState; 4] = [JobState::Pending, JobState::Running, JobState::Failed, JobState::DeadLetter];

/// Secrets with a series for their end.
pub(super) const SECRETS: [&str; 2] = ["current", "previous"];

/// The numbers of a lane, or the sums of lanes that are folded.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) counters: Counters,
    /// None where nobody has asked yet.
    pub(super) gauges: Option<Gauges>,
}

/// What only grows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    /// By [`AttemptOutcome`].
    pub(super) attempts: [u64; AttemptOutcome::ALL.len()],
    pub(super) events: u64,
    pub(super) refusals: u64,
    pub(super) breaker_opens: u64,
    pub(super) restarts: u64,
}

/// How it was when somebody asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauges {
    pub(super) tokens: f64,
    /// By [`QUEUED`].
    pub(super) queue: [u64; QUEUED.len()],
    pub(super) oldest_due_age: f64,
    pub(super) in_flight: usize,
    /// By [`SECRETS`], in seconds; none without an end.
    pub(super) secret_ends: [Option<f64>; SECRETS.len()],
    /// Breakers in each of [`BreakerState::ALL`], by callee.
    pub(super) breakers: Vec<(Arc<str>, [u64; BreakerState::ALL.len()])>,
}

/// One metric of lanes.
struct Series {
    described: Described,
    tell: fn(&Row, &mut Teller<'_>),
}

/// Labels `tenant, source, vendor` and more, in the order of their names.
macro_rules! series {
    ($kind:literal $name:literal [$($label:literal),*] $help:literal, $tell:expr) => {
        Series { described: Described { name: $name, kind: $kind, labels: &[$($label),*], help: $help }, tell: $tell }
    };
}

const SERIES: [Series; 11] = [
    series!(
        "counter" "sluice_lane_events_total" ["tenant", "source", "vendor"]
        "New events of the lane, with or without a route, quarantined ones as well.",
        |row, told| told.say(&[], row.counters.events as f64)
    ),
    series!(
        "counter" "sluice_lane_refusals_total" ["tenant", "source", "vendor"]
        "Deliveries to the lane that did not verify.",
        |row, told| told.say(&[], row.counters.refusals as f64)
    ),
    series!(
        "gauge" "sluice_lane_secret_not_after_timestamp_seconds" ["tenant", "source", "vendor", "secret"]
        "When the newest secret of the lane's source ends, and the next of the older ones; none without an end.",
        |row, told| for (secret, end) in row.gauges.iter().flat_map(|now| SECRETS.iter().zip(now.secret_ends)) {
            if let Some(end) = end {
                told.say(&[("secret", secret)], end);
            }
        }
    ),
    series!(
        "gauge" "sluice_lane_breaker_state" ["tenant", "source", "vendor", "callee", "state"]
        "State of a lane's breaker for a callee: 1 in the state it has, 0 in the others. Folded lanes count their breakers.",
        |row, told| for (callee, states) in row.gauges.iter().flat_map(|now| &now.breakers) {
            for (state, count) in BreakerState::ALL.iter().zip(states) {
                told.say(&[("callee", callee), ("state", state.as_str())], *count as f64);
            }
        }
    ),
    series!(
        "counter" "sluice_lane_breaker_opens_total" ["tenant", "source", "vendor"]
        "Times a breaker of the lane opened.",
        |row, told| told.say(&[], row.counters.breaker_opens as f64)
    ),
    series!(
        "gauge" "sluice_lane_bucket_tokens" ["tenant", "source", "vendor"]
        "Tokens in the lane's outbound bucket.",
        |row, told| told.say_now(row, |now| now.tokens)
    ),
    series!(
        "gauge" "sluice_lane_queue_jobs" ["tenant", "source", "vendor", "state"]
        "Jobs in the store that are not over, and dead letters.",
        |row, told| for (state, count) in row.gauges.iter().flat_map(|now| QUEUED.iter().zip(now.queue)) {
            told.say(&[("state", state.as_str())], count as f64);
        }
    ),
    series!(
        "gauge" "sluice_lane_oldest_due_age_seconds" ["tenant", "source", "vendor"]
        "Seconds since the oldest job of the lane that could start was due; 0 without one.",
        |row, told| told.say_now(row, |now| now.oldest_due_age)
    ),
    series!(
        "gauge" "sluice_lane_in_flight" ["tenant", "source", "vendor"]
        "Attempts of the lane in flight.",
        |row, told| told.say_now(row, |now| now.in_flight as f64)
    ),
    series!(
        "counter" "sluice_lane_attempts_total" ["tenant", "source", "vendor", "outcome"]
        "Attempts of the lane that ended, by outcome.",
        |row, told| for (outcome, count) in AttemptOutcome::ALL.iter().zip(row.counters.attempts) {
            told.say(&[("outcome", outcome.as_str())], count as f64);
        }
    ),
    series!(
        "counter" "sluice_lane_restarts_total" ["tenant", "source", "vendor"]
        "Restarts of the lane's actor after a panic.",
        |row, told| told.say(&[], row.counters.restarts as f64)
    ),
];

/// The metrics of lanes, for the documentation.
pub fn described() -> impl Iterator<Item = &'static Described> {
    const { &SERIES }.iter().map(|series| &series.described)
}

/// Writes the series of one metric.
struct Teller<'a> {
    of_lane: [(&'a str, &'a str); 3],
    kind: MetricType,
    metrics: Vec<Metric>,
}

impl Teller<'_> {
    fn say(&mut self, more: &[(&str, &str)], value: f64) {
        let mut labels: Vec<(&str, &str)> = self.of_lane.iter().chain(more).copied().collect();
        labels.sort_unstable();
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut metric = Metric::from_label(labels.into_iter().map(pair).collect());
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    fn say_now(&mut self, row: &Row, value: impl Fn(&Gauges) -> f64) {
        if let Some(now) = &row.gauges {
            self.say(&[], value(now));
        }
    }
}

/// What the registry asks.
pub(super) struct Told {
    pub(super) rows: Arc<Mutex<Rows>>,
    descs: Vec<Desc>,
}

impl Told {
    pub(super) fn new(rows: Arc<Mutex<Rows>>) -> Self {
        let desc = |of: &Described| {
            let labels = of.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(of.name.to_owned(), of.help.to_owned(), labels, HashMap::new())
                .expect("names and labels of the table are valid")
        };
        Self { rows, descs: described().map(desc).collect() }
    }
}

impl Collector for Told {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // A copy, so that no attempt waits for texts.
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let family = |series: &Series| {
            let kind = if series.described.kind == "counter" { MetricType::COUNTER } else { MetricType::GAUGE };
            let mut told = Teller { of_lane: [("", ""); 3], kind, metrics: Vec::new() };
            let named = rows
                .named
                .iter()
                .map(|(lane, (vendor, row))| ([lane.tenant.as_str(), lane.source.as_str(), vendor], row));
            let folded = rows.folded.iter().map(|(vendor, row)| ([OTHER, OTHER, vendor], row));
            for ([tenant, source, vendor], row) in named.chain(folded) {
                told.of_lane = [("tenant", tenant), ("source", source), ("vendor", vendor)];
                (series.tell)(row, &mut told);
            }
            let mut family = MetricFamily::default();
            family.set_name(series.described.name.to_owned());
            family.set_help(series.described.help.to_owned());
            family.set_field_type(kind);
            family.set_metric(told.metrics);
            family
        };
        SERIES.iter().map(family).collect()
    }
}
