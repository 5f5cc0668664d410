//! Lanes and callees: how they are now, and the operator's verbs.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sluice_actors::{
    domain::LaneKey,
    handle::{GatewayError, LaneSnapshot, NodeSnapshot},
};

use super::{
    Api, ApiError,
    events::reason,
    records::LaneBacklog,
    request::{Answer, Call},
};
use crate::{config::Config, telemetry::lanes::LaneNow};

/// A lane as people see it: what the tree knows and what the store holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaneView {
    /// Which.
    pub lane: LaneKey,
    /// Its vendor; `unknown` where its source is not configured (any more).
    pub vendor: Arc<str>,
    /// What the tree knows; none for a lane that is asleep.
    pub snapshot: Option<LaneSnapshot>,
    /// What the store holds; none without jobs.
    pub backlog: Option<LaneBacklog>,
    /// The node that has it, where several share the store; the snapshot is only there at its own.
    pub owner: Option<String>,
}

/// All lanes: those configured, those awake and those with a backlog.
pub(super) fn views(config: &Config, snapshot: &NodeSnapshot, backlog: Vec<LaneBacklog>) -> Vec<LaneView> {
    let mut views: BTreeMap<LaneKey, LaneView> = BTreeMap::new();
    let unknown: Arc<str> = "unknown".into();
    let view = |lane: &LaneKey| LaneView {
        lane: lane.clone(),
        vendor: config.source(lane).map_or_else(|| unknown.clone(), |(_, source)| source.vendor.name().into()),
        snapshot: None,
        backlog: None,
        owner: None,
    };
    for source in config.tenants.values().flat_map(|tenant| tenant.sources.values()) {
        views.entry(source.lane.clone()).or_insert_with_key(view);
    }
    for awake in &snapshot.lanes {
        views.entry(awake.lane.clone()).or_insert_with_key(view).snapshot = Some(awake.clone());
    }
    for of_lane in backlog {
        if let (Ok(tenant), Ok(source)) = (of_lane.tenant.parse(), of_lane.source.parse()) {
            views.entry(LaneKey::new(tenant, source)).or_insert_with_key(view).backlog = Some(of_lane);
        }
    }
    views.into_values().collect()
}

/// The lane as its series see it.
pub(super) fn now(config: &Config, view: &LaneView) -> LaneNow {
    LaneNow {
        lane: view.lane.clone(),
        vendor: view.vendor.clone(),
        snapshot: view.snapshot.clone(),
        burst: config.source(&view.lane).map_or(0, |(_, source)| source.limits.outbound.burst),
        jobs: view.backlog.as_ref().map(|backlog| backlog.jobs.clone()).unwrap_or_default(),
        oldest_due: view.backlog.as_ref().and_then(|backlog| backlog.oldest_due),
    }
}

pub(super) async fn list(api: Arc<Api>, _call: Call) -> Result<Answer, ApiError> {
    let (snapshot, backlog, owners) =
        tokio::join!(api.gateway.snapshot(), api.records.backlog(), api.operations.owners());
    let config = api.config.load();
    let mut owners = owners?;
    let mut lanes = views(&config, &snapshot?, backlog?);
    for view in &mut lanes {
        view.owner = owners.remove(&view.lane);
    }
    let at = api.clock.now();
    // Worst first; lanes that are equally bad in the order of their names.
    lanes.sort_by_cached_key(|view| std::cmp::Reverse(now(&config, view).badness(at)));
    Answer::json(&lanes)
}

pub(super) async fn callees(api: Arc<Api>, _call: Call) -> Result<Answer, ApiError> {
    Answer::json(&api.gateway.snapshot().await?.callees)
}

pub(super) async fn snapshot(api: Arc<Api>, _call: Call) -> Result<Answer, ApiError> {
    Answer::json(&api.gateway.snapshot().await?)
}

pub(super) async fn pause(api: Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    let lane = lane(&api, &call)?;
    acted(&api, &call, "lane.pause", &lane, api.gateway.pause(&lane).await).await
}

pub(super) async fn resume(api: Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    let lane = lane(&api, &call)?;
    acted(&api, &call, "lane.resume", &lane, api.gateway.resume(&lane).await).await
}

pub(super) async fn probe(api: Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    let lane = lane(&api, &call)?;
    acted(&api, &call, "lane.probe", &lane, api.gateway.probe(&lane).await).await
}

fn lane(api: &Api, call: &Call) -> Result<LaneKey, ApiError> {
    reason(call)?;
    let lane = LaneKey::new(call.parameter(0)?, call.parameter(1)?);
    if api.config.load().source(&lane).is_none() {
        return Err(ApiError::NotFound(format!("no such lane: {lane}")));
    }
    Ok(lane)
}

async fn acted(
    api: &Api,
    call: &Call,
    action: &str,
    lane: &LaneKey,
    done: Result<(), GatewayError>,
) -> Result<Answer, ApiError> {
    done?;
    api.audit(action, lane.to_string(), reason(call)?).await;
    Answer::json(&serde_json::json!({ "ok": true }))
}
