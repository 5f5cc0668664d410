//! The end of a node's work: soft until a deadline, then hard, with a report.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    admission::Admission,
    lane::{InFlight, Phase},
    snapshot::DrainReport,
};

/// How long attempts that are cut off have to write their release.
const RELEASE: Duration = Duration::from_secs(3);

/// Begins nothing more, waits up to `deadline` for attempts, then cuts off and releases the rest.
pub(crate) async fn drain(in_flight: &InFlight, admission: &Admission, deadline: Duration) -> DrainReport {
    in_flight.enter(Phase::Draining);
    admission.stop();
    tracing::info!(in_flight = in_flight.count(), "draining");
    if timeout(deadline, in_flight.empty()).await.is_err() {
        in_flight.enter(Phase::Cut);
        // What is not written by then is found running by the next life and run again as a suspect.
        let _ = timeout(RELEASE, in_flight.empty()).await;
    }
    in_flight.enter(Phase::Cut);
    let (finished, released) = in_flight.report();
    tracing::info!(finished, released = released.len(), "drained");
    DrainReport { finished, released }
}
