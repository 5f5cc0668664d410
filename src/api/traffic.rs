//! Rates, acknowledgements and backlog of the last hours, minute by minute: what the console draws.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sluice_actors::domain::{LaneKey, SourceName, TenantName, Timestamp};
use utoipa::{IntoParams, ToSchema};

pub use crate::telemetry::traffic::{ACK_BOUNDS, Counts, Uses};

use super::{
    Api, ApiError,
    access::{Allowed, See},
    answer::Json,
    records::{LaneBacklog, Scope},
    request::{Call, Query},
};

/// Milliseconds of a minute.
pub const MINUTE: i64 = 60_000;
/// Minutes that are kept.
pub const KEPT_MINUTES: u32 = 360;

/// The beginning of the minute of `at`.
pub const fn minute(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() - at.as_millis().rem_euclid(MINUTE))
}

/// One minute of a lane at this node; without a lane: of all lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneMinute {
    /// Which.
    pub lane: Option<LaneKey>,
    /// The beginning of the minute.
    pub at: Timestamp,
    /// What was counted.
    pub counts: Counts,
    /// Jobs that are not over, at its end.
    pub waiting: u64,
}

/// One minute of what was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// What was counted.
    pub counts: Counts,
    /// Jobs that are not over, at its end.
    pub waiting: u64,
}

/// What nodes keep once a minute.
#[derive(Debug, Clone, Default)]
pub struct KeptTraffic {
    /// The minute, lane by lane and as a whole.
    pub minutes: Vec<LaneMinute>,
    /// Secrets that verified deliveries.
    pub secrets: Vec<(LaneKey, Box<str>, Uses)>,
    /// Minutes before this one are forgotten.
    pub forget_before: Timestamp,
}

/// Whose traffic.
#[derive(Debug, Clone)]
pub enum Whose {
    /// That of all, lanes without a minute of their own included.
    All,
    /// That of these tenants, or of this source of theirs.
    Lanes(Vec<TenantName>, Option<SourceName>),
}

impl Whose {
    /// Whether the lane is one of theirs.
    pub fn holds(&self, lane: &LaneKey) -> bool {
        match self {
            Self::All => true,
            Self::Lanes(tenants, source) => {
                tenants.contains(&lane.tenant) && source.as_ref().is_none_or(|source| *source == lane.source)
            }
        }
    }
}

/// Which traffic.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// One tenant.
    #[param(value_type = Option<String>)]
    tenant: Option<TenantName>,
    /// One source of that tenant.
    #[param(value_type = Option<String>)]
    source: Option<SourceName>,
    /// How far back, 1 to 360; default 60.
    minutes: Option<u32>,
}

/// Traffic, minute by minute.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TrafficView {
    /// The minutes, oldest first. One in which no gateway ran is not among them.
    pub points: Vec<TrafficPoint>,
}

/// One minute.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TrafficPoint {
    /// Its beginning.
    pub at: Timestamp,
    /// Its length in seconds; the last one still runs, and counts what this node saw of it.
    pub seconds: f64,
    /// New events.
    pub events: u64,
    /// Deliveries that were not taken.
    pub refused: u64,
    /// Attempts that delivered.
    pub succeeded: u64,
    /// Attempts that will be made again.
    pub failed: u64,
    /// Jobs that became dead letters.
    pub dead: u64,
    /// Jobs that were not over at its end.
    pub waiting: u64,
    /// Half of the acknowledgements went out within so many milliseconds; none without any.
    pub ack_p50_ms: Option<f64>,
    /// 95 of 100 did.
    pub ack_p95_ms: Option<f64>,
    /// 99 of 100 did.
    pub ack_p99_ms: Option<f64>,
}

fn point(at: Timestamp, seconds: f64, Minute { counts, waiting }: Minute) -> TrafficPoint {
    TrafficPoint {
        at,
        seconds,
        events: counts.events,
        refused: counts.refused,
        succeeded: counts.succeeded,
        failed: counts.failed,
        dead: counts.dead,
        waiting,
        ack_p50_ms: counts.quantile(0.5),
        ack_p95_ms: counts.quantile(0.95),
        ack_p99_ms: counts.quantile(0.99),
    }
}

/// Jobs of a lane that are not over.
pub fn waiting(of: &LaneBacklog) -> u64 {
    of.jobs.iter().filter(|(state, _)| !state.is_final()).map(|(_, count)| count).sum()
}

pub(super) async fn show(
    api: Arc<Api>,
    who: Allowed<See>,
    call: Call<Query<Filter>>,
) -> Result<Json<TrafficView>, ApiError> {
    let Filter { tenant, source, minutes } = call.input.0;
    if source.is_some() && tenant.is_none() {
        return Err(ApiError::Invalid("a source is named with its tenant".to_owned()));
    }
    let whose = match (who.scope(), tenant) {
        (Scope::All, None) => Whose::All,
        (Scope::Tenants(tenants), None) => Whose::Lanes(tenants.clone(), None),
        // What is foreign looks like what is not there.
        (scope, Some(tenant)) if scope.holds(&tenant) => Whose::Lanes(vec![tenant], source),
        (_, Some(_)) => Whose::Lanes(Vec::new(), source),
    };
    let now = api.clock.now();
    let minutes = minutes.unwrap_or(60).clamp(1, KEPT_MINUTES);
    let running = minute(now);
    let since = running.minus(Duration::from_secs(60 * u64::from(minutes - 1)));
    let mut found: BTreeMap<Timestamp, Minute> = api.records.traffic(&whose, since).await?;
    let backlog = api.records.counts();
    let fits = |of: &&LaneBacklog| match (of.tenant.parse(), of.source.parse()) {
        (Ok(tenant), Ok(source)) => whose.holds(&LaneKey::new(tenant, source)),
        _ => false,
    };
    let last = found.entry(running).or_default();
    last.counts.add(&api.traffic.so_far(|lane| whose.holds(lane)));
    last.waiting = backlog.iter().filter(fits).map(waiting).sum();
    let seconds = |at: Timestamp| if at == running { now.since(at).as_secs_f64().max(1.0) } else { 60.0 };
    Ok(Json(TrafficView { points: found.into_iter().map(|(at, found)| point(at, seconds(at), found)).collect() }))
}
