//! An event and a job for unit tests.

use serde_json::json;
use sluice_actors::domain::{CheckpointStage, EventEnvelope, Fence, Job, JobClass, JobState, LaneKey, Timestamp};

fn lane() -> LaneKey {
    LaneKey::new("acme".parse().unwrap(), "payments".parse().unwrap())
}

pub(crate) fn event() -> EventEnvelope {
    EventEnvelope {
        id: "evt_0193a7d4c1e87cc0a3f0c5d6e7f80910".parse().unwrap(),
        lane: lane(),
        vendor: "stripe".into(),
        external_id: "evt_1".into(),
        event_type: "invoice.paid".into(),
        subject_id: Some("in_4711".into()),
        occurred_at: Timestamp::parse_rfc3339("2026-11-24T07:59:58.250Z").unwrap(),
        received_at: Timestamp::parse_rfc3339("2026-11-24T08:00:00Z").unwrap(),
        schema_version: 1,
        api_version: None,
        data: json!({ "amount": 1200 }),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap(),
        sampled: true,
    }
}

pub(crate) fn job() -> Job {
    Job {
        id: "job_0193a7d4c1e87cc0a3f0c5d6e7f80911".parse().unwrap(),
        event_id: event().id,
        lane: lane(),
        route: "invoices".parse().unwrap(),
        kind: "summarize_and_publish".into(),
        state: JobState::Running,
        class: JobClass::Fresh,
        attempts: 0,
        claims: 1,
        deaths: 0,
        suspicion: 0,
        next_run_at: Timestamp::parse_rfc3339("2026-11-24T08:00:00Z").unwrap(),
        fence: Fence(42),
        stage: CheckpointStage::None,
    }
}
