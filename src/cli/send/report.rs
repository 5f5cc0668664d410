//! What a run showed.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::output;

/// Why a delivery has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    Connect,
    NoAnswer,
    Unsigned,
}

/// Answers as they come.
pub(super) struct Tally {
    /// Microseconds.
    latency: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<Failure, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            // Up to an hour; longer ones count as one.
            latency: Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("three digits within an hour"),
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }
}

impl Tally {
    pub(super) fn answer(&mut self, status: u16, latency: Duration) {
        self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        *self.statuses.entry(status).or_default() += 1;
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    pub(super) fn answered(&self) -> u64 {
        self.latency.len()
    }

    /// A few words for the progress bar.
    pub(super) fn brief(&self) -> String {
        let refused: u64 = self.statuses.iter().filter(|(status, _)| !accepted(**status)).map(|(_, n)| n).sum();
        let failed: u64 = self.failures.values().sum();
        format!("p95 {:.1} ms, {refused} refused, {failed} failed", self.at(95.0))
    }

    fn at(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1000.0
    }

    pub(super) fn report(&self, offered: u64, took: Duration) -> Report {
        let failures = |failure| self.failures.get(&failure).copied().unwrap_or(0);
        let answered = self.answered();
        Report {
            offered,
            answered,
            accepted: self.statuses.iter().filter(|(status, _)| accepted(**status)).map(|(_, n)| n).sum(),
            statuses: self.statuses.iter().map(|(status, n)| (status.to_string(), *n)).collect(),
            connect_failures: failures(Failure::Connect),
            no_answer: failures(Failure::NoAnswer),
            unsigned: failures(Failure::Unsigned),
            seconds: took.as_secs_f64(),
            per_second: answered as f64 / took.as_secs_f64().max(f64::EPSILON),
            latency_ms: Latency {
                p50: self.at(50.0),
                p95: self.at(95.0),
                p99: self.at(99.0),
                max: self.latency.max() as f64 / 1000.0,
                mean: self.latency.mean() / 1000.0,
            },
        }
    }
}

const fn accepted(status: u16) -> bool {
    status >= 200 && status < 300
}

/// The result of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Deliveries that were due.
    offered: u64,
    answered: u64,
    /// Answered with success.
    accepted: u64,
    statuses: BTreeMap<String, u64>,
    connect_failures: u64,
    no_answer: u64,
    unsigned: u64,
    seconds: f64,
    /// Answers a second.
    per_second: f64,
    latency_ms: Latency,
}

/// Milliseconds from the moment a delivery was due (open model) or sent (closed loop).
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
    mean: f64,
}

impl Report {
    pub(super) fn all_accepted(&self) -> bool {
        self.accepted == self.offered
    }

    pub(super) fn print(&self) {
        let Latency { p50, p95, p99, max, mean } = self.latency_ms;
        let ms = |value: f64| format!("{value:.2}");
        output::table(
            &["SENT", "ACCEPTED", "PER SECOND", "P50 MS", "P95 MS", "P99 MS", "MAX MS", "MEAN MS"],
            vec![vec![
                self.offered.to_string(),
                self.accepted.to_string(),
                format!("{:.0}", self.per_second),
                ms(p50),
                ms(p95),
                ms(p99),
                ms(max),
                ms(mean),
            ]],
            "",
        );
        let failures = [
            ("no connection", self.connect_failures),
            ("no answer", self.no_answer),
            ("not signed", self.unsigned),
            (
                "never sent",
                self.offered.saturating_sub(self.answered + self.connect_failures + self.no_answer + self.unsigned),
            ),
        ];
        let statuses = self.statuses.iter().map(|(status, n)| vec![status.clone(), n.to_string()]);
        let failures = failures.iter().filter(|(_, n)| *n > 0).map(|(what, n)| vec![(*what).to_owned(), n.to_string()]);
        output::line("");
        output::table(&["ANSWER", "COUNT"], statuses.chain(failures).collect(), "nothing was sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_by_status_and_tells_what_was_lost() {
        let mut tally = Tally::default();
        for n in 1..=100 {
            tally.answer(if n <= 98 { 200 } else { 503 }, Duration::from_millis(n));
        }
        tally.failed(Failure::NoAnswer);
        let report = tally.report(101, Duration::from_secs(10));
        assert_eq!((report.accepted, report.answered, report.no_answer), (98, 100, 1));
        assert!(!report.all_accepted());
        assert!((report.latency_ms.p50 - 50.0).abs() < 0.1, "{}", report.latency_ms.p50);
        assert!((report.per_second - 10.0).abs() < 1e-9);
    }
}
