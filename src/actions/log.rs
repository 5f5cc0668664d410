//! `log`: a line per event, without its payload.

use sluice_actors::domain::JobResult;

use super::run::Run;

pub(crate) fn run(run: &Run<'_>) -> JobResult {
    let event = run.event();
    tracing::info!(
        event_id = %event.id,
        job_id = %run.job().id,
        tenant = %event.lane.tenant,
        source = %event.lane.source,
        vendor = %event.vendor,
        route = %run.route.name,
        event_type = %event.event_type,
        trace_id = %event.trace_id,
        "event"
    );
    JobResult::default()
}
