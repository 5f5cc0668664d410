//! Dead letters: list and replay.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_actors::{
    domain::{DeadReason, JobId, Timestamp},
    ports::DeadLetterFilter,
};

use super::{
    ACTOR, Api, ApiError,
    records::Scope,
    request::{Answer, Call},
};

/// Dead letters a second that a replay without a rate of its own brings back.
const DEFAULT_RATE: f64 = 10.0;
/// The fastest replay that may be asked for.
const MAX_RATE: f64 = 1000.0;

/// The query of the list: [`DeadLetterFilter`] with a page (a flattened struct would read numbers
/// as text).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    job: Option<JobId>,
    tenant: Option<String>,
    source: Option<String>,
    route: Option<String>,
    reason: Option<DeadReason>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list(api: Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    let Query { job, tenant, source, route, reason, since, until, limit, cursor } = call.query()?;
    let filter = DeadLetterFilter { job, tenant, source, route, reason, since, until };
    let limit = limit.unwrap_or(50).clamp(1, 500);
    Answer::json(&api.records.dead_letters(&Scope::All, &filter, limit, cursor.as_deref()).await?)
}

/// Which dead letters come back, and how fast.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[derive(Debug, Serialize, Deserialize)]
pub struct Replaying {
    /// Dead letters that match now.
    pub matched: u64,
    /// Whether they are being brought back (not in a dry run).
    pub replayed_in_background: bool,
}

pub(super) async fn replay(api: Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    let ask: Replay = call.body()?;
    let rate = ask.per_second.unwrap_or(DEFAULT_RATE);
    if !(rate > 0.0 && rate <= MAX_RATE) {
        return Err(ApiError::Invalid(format!("per_second must be above 0 and at most {MAX_RATE}")));
    }
    if ask.dry_run {
        let matched = api.jobs.count_dead_letters(&ask.filter).await?;
        return Answer::json(&Replaying { matched, replayed_in_background: false });
    }
    let object = serde_json::to_string(&ask.filter).unwrap_or_default();
    let matched = api.gateway.replay(ask.filter, ACTOR, rate).await?;
    api.audit("dead.replay", object, ask.reason.unwrap_or_default()).await;
    Answer::json(&Replaying { matched, replayed_in_background: true })
}
