//! The series of who is called. Up to a limit each callee has its own; those past it are counted
//! together, by their kind.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use sluice_actors::domain::CalleeId;

use super::metrics::Metrics;
use crate::http_client::{CallEvent, CallObserver, CallOutcome};

/// Which callees have series of their own.
pub struct Callees {
    limit: usize,
    named: RwLock<HashSet<CalleeId>>,
}

impl Callees {
    /// At most `limit` of them.
    pub fn new(limit: usize) -> Self {
        Self { limit, named: RwLock::default() }
    }

    /// The value of the label `callee`; a callee that is new takes one of its own while there are
    /// fewer than the limit.
    pub fn label<'a>(&self, callee: &'a CalleeId) -> &'a str {
        if self.named.read().unwrap_or_else(PoisonError::into_inner).contains(callee) {
            return callee.as_str();
        }
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        if named.contains(callee) || named.len() < self.limit {
            named.insert(callee.clone());
            return callee.as_str();
        }
        match callee.as_str().split(':').next() {
            Some("llm") => "llm:other",
            Some("wordpress") => "wordpress:other",
            Some("queue") => "queue:other",
            _ => "host:other",
        }
    }
}

/// Listens to the calls of attempts.
pub struct Calls {
    metrics: Metrics,
    callees: Arc<Callees>,
}

impl Calls {
    /// Counts into `metrics`.
    pub fn new(metrics: Metrics, callees: Arc<Callees>) -> Self {
        Self { metrics, callees }
    }
}

/// A callee has its counters from the start.
pub(super) fn begin_at_zero(metrics: &Metrics, label: &str) {
    for outcome in CallOutcome::ALL {
        metrics.outbound_requests_total.with_label_values(&[label, outcome.as_str()]);
    }
    metrics.circuit_breaker_opens_total.with_label_values(&[label]);
}

impl CallObserver for Calls {
    fn observe(&self, event: &CallEvent<'_>) {
        let metrics = &self.metrics;
        match event {
            CallEvent::Waited { callee, waited } => {
                let labels = [self.callees.label(callee)];
                metrics.outbound_rate_limit_wait_seconds.with_label_values(&labels).observe(waited.as_secs_f64());
            }
            CallEvent::Ended { callee, outcome, took } => {
                let label = self.callees.label(callee);
                metrics.outbound_requests_total.with_label_values(&[label, outcome.as_str()]).inc();
                if let Some(took) = took {
                    metrics.outbound_request_duration_seconds.with_label_values(&[label]).observe(took.as_secs_f64());
                }
            }
            CallEvent::Tokens { callee, model, tokens } => {
                let label = self.callees.label(callee);
                for (direction, count) in [("input", tokens.input), ("output", tokens.output)] {
                    metrics.llm_tokens_total.with_label_values(&[label, model, direction]).inc_by(count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn callees_past_the_limit_are_counted_together_by_their_kind() {
        let metrics = Metrics::new();
        let calls = Calls::new(metrics.clone(), Arc::new(Callees::new(2)));
        for n in 0..5 {
            let callee = CalleeId::new("wordpress", &format!("blog-{n}.example"));
            let ended =
                CallEvent::Ended { callee: &callee, outcome: CallOutcome::Success, took: Some(Duration::from_secs(1)) };
            calls.observe(&ended);
            calls.observe(&ended);
        }
        let llm = CalleeId::new("llm", "llm.example#1");
        calls.observe(&CallEvent::Ended { callee: &llm, outcome: CallOutcome::BreakerOpen, took: None });
        let text = metrics.render();
        for line in [
            r#"sluice_outbound_requests_total{callee="wordpress:blog-1.example",outcome="success"} 2"#,
            r#"sluice_outbound_requests_total{callee="wordpress:other",outcome="success"} 6"#,
            r#"sluice_outbound_requests_total{callee="llm:other",outcome="breaker_open"} 1"#,
            r#"sluice_outbound_request_duration_seconds_count{callee="wordpress:other"} 6"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("blog-2"), "{text}");
    }
}
