//! What is told of lanes, and how. A lane's numbers are kept as numbers, side by side; the names,
//! helps and labels of series, which weigh a multiple of them, are written only when somebody asks.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use sluice_actors::{domain::JobState, ports::BreakerState};
use smallvec::SmallVec;

use super::{AttemptOutcome, OTHER, Rows};
use crate::telemetry::metrics::{Described, Tell};

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
        "Seconds since the oldest job of the lane that is due was due, whatever it waits for; 0 without one.",
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

/// Writes the series of one metric in the text format of Prometheus: of ten thousand lanes there are
/// more than a hundred thousand, too many to be objects first.
struct Teller<'a> {
    name: &'static str,
    of_lane: [(&'a str, &'a str); 3],
    text: &'a mut String,
}

impl Teller<'_> {
    fn say(&mut self, more: &[(&str, &str)], value: f64) {
        let mut labels: SmallVec<[(&str, &str); 5]> = self.of_lane.iter().chain(more).copied().collect();
        labels.sort_unstable();
        self.text.push_str(self.name);
        let mut before = '{';
        for (label, value) in labels {
            self.text.push(before);
            self.text.push_str(label);
            self.text.push_str("=\"");
            push_escaped(self.text, value);
            self.text.push('"');
            before = ',';
        }
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "}} {value}");
    }

    fn say_now(&mut self, row: &Row, value: impl Fn(&Gauges) -> f64) {
        if let Some(now) = &row.gauges {
            self.say(&[], value(now));
        }
    }
}

/// A label value as Prometheus' text format wants it.
fn push_escaped(text: &mut String, value: &str) {
    for piece in value.split_inclusive(['\\', '"', '\n']) {
        let plain = piece.trim_end_matches(['\\', '"', '\n']);
        text.push_str(plain);
        match &piece[plain.len()..] {
            "\n" => text.push_str("\\n"),
            "" => {}
            special => {
                text.push('\\');
                text.push_str(special);
            }
        }
    }
}

/// What a scrape asks.
pub(super) struct Told(pub(super) Arc<Mutex<Rows>>);

impl Tell for Told {
    fn tell(&self, text: &mut String) {
        // A copy, so that no attempt waits for texts.
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for Series { described, tell } in &SERIES {
            let before = text.len();
            let Described { name, kind, help, .. } = described;
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            let head = text.len();
            let named = rows
                .named
                .iter()
                .map(|(lane, (vendor, row))| ([lane.tenant.as_str(), lane.source.as_str(), vendor], row));
            let folded = rows.folded.iter().map(|(vendor, row)| ([OTHER, OTHER, vendor], row));
            let mut told = Teller { name, of_lane: [("", ""); 3], text };
            for ([tenant, source, vendor], row) in named.chain(folded) {
                told.of_lane = [("tenant", tenant), ("source", source), ("vendor", vendor)];
                tell(row, &mut told);
            }
            if text.len() == head {
                text.truncate(before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_value_with_special_characters_is_escaped() {
        let mut text = String::new();
        push_escaped(&mut text, "a\\b\"\"c\nd");
        assert_eq!(text, "a\\\\b\\\"\\\"c\\nd");
    }
}
