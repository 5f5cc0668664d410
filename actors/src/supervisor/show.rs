//! How it all looks from outside.

use super::{Lane, State, Status};
use crate::{
    domain::LaneKey,
    snapshot::{LaneSnapshot, LaneStatus, NodeSnapshot},
};

impl State {
    pub(super) fn snapshot(&self) -> NodeSnapshot {
        let at = self.now();
        let mut lanes: Vec<LaneSnapshot> = self.lanes.iter().map(|(key, lane)| self.show(key, lane)).collect();
        lanes.extend(self.unconfigured.iter().filter(|(key, _)| !self.lanes.contains_key(key)).map(|(key, since)| {
            LaneSnapshot {
                lane: key.clone(),
                vendor: "".into(),
                status: LaneStatus::Unconfigured,
                reason: Some("its source is not configured or not enabled".into()),
                since: *since,
                bucket_tokens: 0.0,
                queued: 0,
                oldest_due: None,
                in_flight: Vec::new(),
                restarts: 0,
                breakers: Vec::new(),
            }
        }));
        lanes.sort_by_key(|lane| (badness(lane.status), lane.oldest_due.unwrap_or(at), lane.lane.clone()));
        NodeSnapshot {
            at,
            in_flight: self.admission.running(),
            concurrency: self.around.world.limits.concurrency,
            lanes,
            callees: self.admission.callees(),
        }
    }

    pub(super) fn show(&self, key: &LaneKey, lane: &Lane) -> LaneSnapshot {
        let view = self.admission.view(key);
        let held = view.as_ref().and_then(|view| view.held.clone());
        let (status, reason) = match lane.status {
            Status::Paused => (LaneStatus::Paused, Some("paused by an operator".to_owned())),
            Status::Parked => (LaneStatus::Parked, Some("it panicked too often".to_owned())),
            Status::Restarting => (LaneStatus::Flowing, Some("it panicked and is started again".to_owned())),
            _ if held.is_some() => (LaneStatus::Held, held.map(|reason| reason.to_string())),
            _ if lane.board.is_unconfigured() => {
                (LaneStatus::Unconfigured, Some("a route or credential of its jobs is not configured".to_owned()))
            }
            Status::Loading | Status::Awake(_) | Status::Stopping { .. } => (LaneStatus::Flowing, None),
        };
        let policy = || self.around.world.policies.lane(key).map(|policy| policy.vendor);
        let vendor = view.as_ref().map(|view| view.vendor.clone()).or_else(policy);
        let (bucket_tokens, in_flight, breakers) =
            view.map(|view| (view.bucket_tokens, view.in_flight, view.breakers)).unwrap_or_default();
        LaneSnapshot {
            lane: key.clone(),
            vendor: vendor.unwrap_or_else(|| "".into()),
            status,
            reason,
            since: lane.since,
            bucket_tokens,
            queued: lane.board.queued(),
            oldest_due: lane.board.oldest_due(),
            in_flight,
            restarts: lane.restarts,
            breakers,
        }
    }
}

/// Worst first.
const fn badness(status: LaneStatus) -> u8 {
    match status {
        LaneStatus::Parked => 0,
        LaneStatus::Held => 1,
        LaneStatus::Unconfigured => 2,
        LaneStatus::Paused => 3,
        LaneStatus::Flowing => 4,
    }
}
