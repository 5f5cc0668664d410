//! `log`: a line per event, without its payload.

use sluice_actors::domain::JobResult;

use super::run::Run;

pub(crate) fn run(run: &Run<'_>) -> JobResult {
    // Whose it is, is told by the span of the attempt.
    tracing::info!(event_type = %run.event().event_type, "event");
    JobResult::default()
}
