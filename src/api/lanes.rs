//! Lanes and callees: how they are now, and the operator's verbs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sluice_actors::{
    domain::{LaneKey, Timestamp},
    handle::{CalleeSnapshot, LaneSnapshot, LaneStatus, NodeSnapshot},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    access::{Allowed, Operate, Permission, See, SeeNode},
    answer::{DONE, Done, Json, Rows},
    events::Reason,
    nodes::{Elsewhere, TOLD_LANES},
    records::{LaneBacklog, Page},
    request::{Body, Call, Query},
};
use crate::{config::Config, telemetry::lanes::LaneNow};

/// What a lane does, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    /// Work flows.
    Flowing,
    /// It has no work, and nothing of it is in memory here.
    Asleep,
    /// A breaker is open or half open.
    Held,
    /// Paused by an operator.
    Paused,
    /// Panicked too often.
    Parked,
    /// Its source is not configured or not enabled.
    Unconfigured,
}

/// A lane as people see it: what the tree knows and what the store holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LaneView {
    /// Which.
    pub lane: LaneKey,
    /// Its vendor; `unknown` where its source is not configured (any more).
    pub vendor: Arc<str>,
    /// What it does.
    pub state: LaneState,
    /// When the next probe of what holds it may go.
    pub next_probe: Option<Timestamp>,
    /// What the tree knows; none for a lane that is asleep. Of a lane at another node: where it does not flow, what
    /// that one told a moment ago, without its queue and what is in flight.
    pub snapshot: Option<LaneSnapshot>,
    /// What the store holds; none without jobs.
    pub backlog: Option<LaneBacklog>,
    /// The node that has it, where several share the store.
    pub owner: Option<String>,
}

/// All lanes: those configured, those awake and those with a backlog.
pub(super) fn views(config: &Config, snapshot: &NodeSnapshot, backlog: Vec<LaneBacklog>) -> Vec<LaneView> {
    let mut views: BTreeMap<LaneKey, LaneView> = BTreeMap::new();
    let unknown: Arc<str> = "unknown".into();
    let view = |lane: &LaneKey| LaneView {
        lane: lane.clone(),
        vendor: config.source(lane).map_or_else(|| unknown.clone(), |(_, source)| source.vendor.name().into()),
        state: if config.source(lane).is_some_and(|(_, source)| source.is_on()) {
            LaneState::Asleep
        } else {
            LaneState::Unconfigured
        },
        next_probe: None,
        snapshot: None,
        backlog: None,
        owner: None,
    };
    for source in config.tenants.values().flat_map(|tenant| tenant.sources.values()) {
        views.entry(source.lane.clone()).or_insert_with_key(view);
    }
    for awake in &snapshot.lanes {
        views.entry(awake.lane.clone()).or_insert_with_key(view).awake(awake.clone());
    }
    for of_lane in backlog {
        if let (Ok(tenant), Ok(source)) = (of_lane.tenant.parse(), of_lane.source.parse()) {
            views.entry(LaneKey::new(tenant, source)).or_insert_with_key(view).backlog = Some(of_lane);
        }
    }
    views.into_values().collect()
}

impl LaneView {
    fn awake(&mut self, snapshot: LaneSnapshot) {
        self.state = state(snapshot.status);
        self.next_probe = snapshot.breakers.iter().filter_map(|breaker| breaker.probe_at).min();
        self.snapshot = Some(snapshot);
    }
}

/// Adds how the lanes are that other nodes have, by what the one that has a lane tells of it.
fn add_elsewhere(views: &mut [LaneView], Elsewhere { mut owners, mut lanes }: Elsewhere) {
    // Of a node that tells of as many as it may, the others are not known to flow.
    let tells_all = |told: &BTreeMap<_, _>| told.len() < TOLD_LANES;
    let whole: BTreeSet<String> = lanes.iter().filter(|(_, told)| tells_all(told)).map(|(id, _)| id.clone()).collect();
    for view in views {
        view.owner = owners.remove(&view.lane);
        if view.snapshot.is_some() {
            continue;
        }
        let Some(owner) = &view.owner else { continue };
        match lanes.get_mut(owner).and_then(|told| told.remove(&view.lane)) {
            Some(snapshot) => view.awake(snapshot),
            None if whole.contains(owner) && view.state == LaneState::Asleep => view.state = LaneState::Flowing,
            None => {}
        }
    }
}

const fn state(status: LaneStatus) -> LaneState {
    match status {
        LaneStatus::Flowing => LaneState::Flowing,
        LaneStatus::Held => LaneState::Held,
        LaneStatus::Paused => LaneState::Paused,
        LaneStatus::Parked => LaneState::Parked,
        LaneStatus::Unconfigured => LaneState::Unconfigured,
    }
}

/// The lane as its series see it.
pub(super) fn now(config: &Config, view: &LaneView) -> LaneNow {
    let mut ends =
        config.source(&view.lane).into_iter().flat_map(|(_, source)| source.keys.iter()).map(|key| key.not_after);
    LaneNow {
        current_secret_ends: ends.next().flatten(),
        previous_secrets_end: ends.flatten().collect(),
        lane: view.lane.clone(),
        vendor: view.vendor.clone(),
        snapshot: view.snapshot.clone(),
        burst: config.source(&view.lane).map_or(0, |(_, source)| source.limits.outbound.burst),
        jobs: view.backlog.as_ref().map(|backlog| backlog.jobs.clone()).unwrap_or_default(),
        oldest_due: view.backlog.as_ref().and_then(|backlog| backlog.oldest_due),
    }
}

/// Which lanes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// One tenant.
    pub tenant: Option<String>,
    /// Part of the lane's name, `tenant/source`.
    pub name: Option<String>,
    /// One vendor.
    pub vendor: Option<String>,
    /// What they do.
    #[param(inline)]
    pub state: Option<LaneState>,
    /// Lanes a page, 1 to 500; default 50.
    pub limit: Option<usize>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl Filter {
    fn wants(&self, view: &LaneView) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| view.lane.tenant.as_str() == tenant)
            && self.vendor.as_ref().is_none_or(|vendor| &*view.vendor == vendor)
            && self.state.is_none_or(|state| view.state == state)
            && self.name.as_ref().is_none_or(|name| view.lane.to_string().contains(name.as_str()))
    }
}

pub(super) async fn list(
    api: Arc<Api>,
    who: Allowed<See>,
    call: Call<Query<Filter>>,
) -> Result<Json<Page<LaneView>>, ApiError> {
    let filter = call.input.0;
    let (snapshot, backlog, elsewhere) =
        tokio::join!(api.gateway.snapshot(), api.backlogs.of(&*api.records), api.operations.elsewhere());
    let config = api.config.load();
    let at = api.clock.now();
    let mut lanes = views(&config, &snapshot?, backlog?);
    add_elsewhere(&mut lanes, elsewhere?);
    lanes.retain(|view| who.scope().holds(&view.lane.tenant) && filter.wants(view));
    // Worst first; lanes that are equally bad in the order of their names.
    lanes.sort_by_cached_key(|view| std::cmp::Reverse(now(&config, view).badness(at)));
    let limit = filter.limit.unwrap_or(50).clamp(1, 500);
    // The order moves: a page begins where the one before ended, whatever stands there now.
    let from = filter.cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0_usize).min(lanes.len());
    let next = (from + limit < lanes.len()).then(|| (from + limit).to_string());
    let items = lanes.into_iter().skip(from).take(limit).collect();
    Ok(Json(Page { items, next }))
}

pub(super) async fn callees(api: Arc<Api>, _: Allowed<SeeNode>, _: Call<()>) -> Result<Rows<CalleeSnapshot>, ApiError> {
    Ok(Rows(api.gateway.snapshot().await?.callees))
}

pub(super) async fn snapshot(api: Arc<Api>, _: Allowed<SeeNode>, _: Call<()>) -> Result<Json<NodeSnapshot>, ApiError> {
    Ok(Json(api.gateway.snapshot().await?))
}

pub(super) async fn pause(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    let lane = lane(&api, &who, &call)?;
    api.gateway.pause(&lane, who.mandate(call.input.0.text())).await?;
    Ok(DONE)
}

pub(super) async fn resume(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    let lane = lane(&api, &who, &call)?;
    api.gateway.resume(&lane, who.mandate(call.input.0.text())).await?;
    Ok(DONE)
}

pub(super) async fn probe(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    let lane = lane(&api, &who, &call)?;
    // A probe changes nothing in the store: its line is all there is of it, and comes first.
    let line = who.acts("lane.probe", Some(lane.tenant.as_str()), &lane, call.input.0.text());
    api.records.audit(line).await?;
    api.gateway.probe(&lane).await?;
    Ok(DONE)
}

/// The lane that the path names, if there is one and the caller sees it.
fn lane<P: Permission, I>(api: &Api, who: &Allowed<P>, call: &Call<I>) -> Result<LaneKey, ApiError> {
    let lane = LaneKey::new(call.parameter(0)?, call.parameter(1)?);
    if !who.scope().holds(&lane.tenant) || api.config.load().source(&lane).is_none() {
        return Err(ApiError::NotFound(format!("no such lane: {lane}")));
    }
    Ok(lane)
}

#[cfg(test)]
mod tests {
    use super::{LaneState::*, *};

    fn lane(source: &str) -> LaneKey {
        LaneKey::new("acme".parse().unwrap(), source.parse().unwrap())
    }

    fn view(source: &str, state: LaneState) -> LaneView {
        let (lane, vendor) = (lane(source), "generic".into());
        LaneView { lane, vendor, state, next_probe: None, snapshot: None, backlog: None, owner: None }
    }

    fn held(source: &str) -> (LaneKey, LaneSnapshot) {
        let snapshot = LaneSnapshot {
            lane: lane(source),
            vendor: "generic".into(),
            status: LaneStatus::Held,
            reason: Some("breaker".to_owned()),
            since: Timestamp::from_secs(1),
            bucket_tokens: 0.0,
            queued: 0,
            oldest_due: None,
            in_flight: Vec::new(),
            restarts: 0,
            breakers: Vec::new(),
        };
        (lane(source), snapshot)
    }

    #[test]
    fn of_a_lane_at_another_node_only_what_that_one_tells_is_believed() {
        let told = |lanes: &[&str]| lanes.iter().map(|source| held(source)).collect::<BTreeMap<_, _>>();
        let many: Vec<String> = (0..TOLD_LANES).map(|n| format!("many{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let owned = [("pay", "b"), ("chat", "b"), ("many0", "full"), ("rest", "full"), ("old", "silent"), ("off", "b")];
        let elsewhere = Elsewhere {
            owners: owned.iter().map(|(source, node)| (lane(source), (*node).to_owned())).collect(),
            // `c` no longer has `chat`; `silent` is of a release that tells nothing.
            lanes: [("b", told(&["pay"])), ("c", told(&["chat", "nobody"])), ("full", told(&many))]
                .map(|(id, lanes)| (id.to_owned(), lanes))
                .into(),
        };
        let asleep = ["pay", "chat", "many0", "rest", "old", "nobody"].map(|source| view(source, LaneState::Asleep));
        let mut views = asleep.to_vec();
        views.push(view("off", LaneState::Unconfigured));
        add_elsewhere(&mut views, elsewhere);
        let states: Vec<_> = views.iter().map(|view| (view.lane.source.as_str(), view.state)).collect();
        let expected = [
            ("pay", Held),
            ("chat", Flowing),
            ("many0", Held),
            ("rest", Asleep),
            ("old", Asleep),
            ("nobody", Asleep),
            ("off", Unconfigured),
        ];
        assert_eq!(states, expected);
    }
}
