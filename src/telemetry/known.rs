//! Series that are known before anything happens begin at 0: `increase()` does not see a counter
//! that is born with its first event.

use std::collections::BTreeSet;

use sluice_actors::domain::{CalleeId, DeadReason};

use super::{
    calls,
    calls::Callees,
    deliveries,
    lanes::AttemptOutcome,
    metrics::{Metrics, NONE},
};
use crate::{artifacts::Written, config::Config};

/// Begins the series that a configuration lets expect: of its vendors, actions and callees. The others
/// come with their first event.
pub fn begin_at_zero(metrics: &Metrics, callees: &Callees, config: &Config, called: &BTreeSet<CalleeId>) {
    for callee in called {
        calls::begin_at_zero(metrics, callees.label(callee));
    }
    for source in config.tenants.values().flat_map(|tenant| tenant.sources.values()) {
        let vendor = source.vendor.name();
        deliveries::begin_at_zero(metrics, vendor);
        for reason in DeadReason::ALL {
            metrics.dead_letters_total.with_label_values(&[vendor, reason.as_str()]);
        }
        for kind in source.routes.iter().map(|route| route.action.kind()) {
            metrics.jobs_enqueued_total.with_label_values(&[vendor, kind]);
            for outcome in AttemptOutcome::ALL {
                metrics.job_attempts_total.with_label_values(&[vendor, kind, outcome.as_str()]);
            }
        }
    }
    for outcome in ["applied", "refused"] {
        metrics.config_reloads_total.with_label_values(&[outcome]);
    }
    for receiver in &config.alerts.receivers {
        for counter in [&metrics.alerts_sent_total, &metrics.alerts_retries_total, &metrics.alerts_failed_total] {
            counter.with_label_values(&[&receiver.name]);
        }
    }
    for kind in ["payloads", "events", "dead_letters", "artifacts", "archived", "other"] {
        metrics.retention_swept_total.with_label_values(&[kind]);
    }
    let backend = config.artifacts.place.backend();
    metrics.artifact_bytes_total.with_label_values(&[backend]);
    for outcome in Written::ALL {
        metrics.artifact_uploads_total.with_label_values(&[backend, outcome.as_str()]);
    }
    for counter in [
        &metrics.dead_letter_replays_total,
        &metrics.node_taken_for_dead_total,
        &metrics.node_stale_writes_total,
        &metrics.alerts_dropped_total,
    ] {
        counter.with_label_values(NONE);
    }
}
