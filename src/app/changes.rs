//! Tells pages that look what the tree and ingest do, counts it for what they draw, and passes all on.

use std::sync::Arc;

use sluice_actors::ports::{Clock, Observer, ObserverEvent};

use crate::{
    api::live::{Change, Changes},
    ingest::{self, IngestEvent, Recorded},
    telemetry::traffic::Traffic,
};

/// Tells and counts, then passes on.
pub(super) struct Telling<O> {
    pub(super) changes: Changes,
    pub(super) traffic: Arc<Traffic>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) next: O,
}

impl<O: Observer> Observer for Telling<O> {
    fn observe(&self, event: &ObserverEvent<'_>) {
        self.traffic.worked(event);
        match event {
            ObserverEvent::AttemptBegan { job, .. }
            | ObserverEvent::AttemptEnded { job, .. }
            | ObserverEvent::DeadLettered { job, .. } => {
                self.changes.tell(|| Change::Job { lane: job.lane.clone(), id: job.id, event: job.event_id });
            }
            ObserverEvent::LaneBreaker { lane, .. }
            | ObserverEvent::LanePaused { lane, .. }
            | ObserverEvent::LaneParked { lane, .. } => {
                self.changes.tell(|| Change::Lane { lane: (*lane).clone() });
            }
            _ => {}
        }
        self.next.observe(event);
    }
}

impl<O: ingest::Observer> ingest::Observer for Telling<O> {
    fn observe(&self, event: &IngestEvent<'_>) {
        self.traffic.ingested(event, self.clock.now());
        match event {
            IngestEvent::Recorded { place, recorded: Recorded::New(id), .. } => {
                self.changes.tell(|| Change::Event { lane: place.lane.clone(), id: *id });
            }
            IngestEvent::Refused { place: Some(place), .. } => {
                self.changes.tell(|| Change::Refusal { lane: place.lane.clone() });
            }
            _ => {}
        }
        self.next.observe(event);
    }
}
