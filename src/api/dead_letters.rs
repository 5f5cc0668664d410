//! Dead letters: list and replay.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_actors::{
    domain::{DeadReason, JobId, Timestamp},
    ports::DeadLetterFilter,
};

use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    access::{Allowed, Operate, See},
    answer::Json,
    records::{DeadLetterRow, Page},
    request::{Body, Call, Query},
};

/// Dead letters a second that a replay without a rate of its own brings back.
const DEFAULT_RATE: f64 = 10.0;
/// The fastest replay that may be asked for.
const MAX_RATE: f64 = 1000.0;

/// Which dead letters: [`DeadLetterFilter`] with a page (a flattened struct would read numbers as
/// text).
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// One job.
    job: Option<JobId>,
    /// One tenant.
    tenant: Option<String>,
    /// One source.
    source: Option<String>,
    /// One route.
    route: Option<String>,
    /// One reason.
    reason: Option<DeadReason>,
    /// The type of their event, or a prefix ending in `*`.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// What their event is about.
    subject: Option<String>,
    /// Died at or after.
    since: Option<Timestamp>,
    /// Before.
    until: Option<Timestamp>,
    /// Rows a page, 1 to 500; default 50.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

pub(super) async fn list(
    api: Arc<Api>,
    who: Allowed<See>,
    call: Call<Query<Filter>>,
) -> Result<Json<Page<DeadLetterRow>>, ApiError> {
    let Filter { job, tenant, source, route, reason, event_type, subject, since, until, limit, cursor } = call.input.0;
    let filter =
        DeadLetterFilter { job, tenant, source, route, reason, event_type, subject, since, until, scope: None };
    let limit = limit.unwrap_or(50).clamp(1, 500);
    Ok(Json(api.records.dead_letters(who.scope(), &filter, limit, cursor.as_deref()).await?))
}

/// Which dead letters come back, and how fast.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReplayDeadLetters)]
pub struct Replay {
    /// Which.
    #[serde(default)]
    pub filter: DeadLetterFilter,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
    /// At most so many a second; above 0.
    #[serde(default)]
    pub per_second: Option<f64>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a replay will do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Replaying {
    /// Dead letters that match now.
    pub matched: u64,
    /// Whether they are being brought back (not in a dry run).
    pub replayed_in_background: bool,
}

pub(super) async fn replay(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Replay>>,
) -> Result<Json<Replaying>, ApiError> {
    let ask = call.input.0;
    let rate = ask.per_second.unwrap_or(DEFAULT_RATE);
    if !(rate > 0.0 && rate <= MAX_RATE) {
        return Err(ApiError::Invalid(format!("per_second must be above 0 and at most {MAX_RATE}")));
    }
    let object = serde_json::to_string(&ask.filter).unwrap_or_default();
    let filter = DeadLetterFilter { scope: who.tenants(), ..ask.filter };
    if ask.dry_run {
        let matched = api.jobs.count_dead_letters(&filter).await?;
        return Ok(Json(Replaying { matched, replayed_in_background: false }));
    }
    let reason = ask.reason.unwrap_or_default();
    // The order; each letter that it brings back has a line of its own, written with the change.
    api.records.audit(who.acts("dead.replay_all", filter.tenant.as_deref(), object, &reason)).await?;
    let matched = api.gateway.replay(filter, who.mandate(&reason), rate).await?;
    Ok(Json(Replaying { matched, replayed_in_background: true }))
}
