//! Deliveries that were not taken, and what vendors handed over while a webhook was set up.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use sluice_actors::domain::{SourceName, TenantName, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    access::{Allowed, See, SeePayloads, TakeHandshakes},
    answer::{Json, Rows},
    records::{HandshakeRow, RefusalFilter, RefusalRow},
    request::{Body, Call, Query},
};

/// Which refused deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// One tenant.
    tenant: Option<String>,
    /// One source.
    source: Option<String>,
    /// At or after.
    since: Option<Timestamp>,
    /// Before.
    until: Option<Timestamp>,
    /// Older than the one with this id: where a former page ended.
    before: Option<i64>,
    /// Rows, 1 to 500; default 50. The newest 50 of each source are kept.
    limit: Option<usize>,
}

/// Without what only some may see.
fn withhold(row: &mut RefusalRow) {
    row.headers = Value::Null;
    row.body.clear();
}

pub(super) async fn list(
    api: Arc<Api>,
    who: Allowed<See>,
    call: Call<Query<Filter>>,
) -> Result<Rows<RefusalRow>, ApiError> {
    let Filter { tenant, source, since, until, before, limit } = call.input.0;
    let limit = limit.unwrap_or(50).clamp(1, 500);
    let filter = RefusalFilter { tenant, source, since, until, before };
    let mut rows = api.records.refusals(who.scope(), &filter, limit).await?;
    if !who.also::<SeePayloads>() {
        rows.iter_mut().for_each(withhold);
    }
    Ok(Rows(rows))
}

pub(super) async fn show(api: Arc<Api>, who: Allowed<See>, call: Call<()>) -> Result<Json<RefusalRow>, ApiError> {
    let row = api.records.refusal(who.scope(), call.parameter(0)?).await?;
    let mut row = row.ok_or_else(|| ApiError::NotFound("no such refused delivery".to_owned()))?;
    if !who.also::<SeePayloads>() {
        withhold(&mut row);
    }
    Ok(Json(row))
}

/// A source that waited for a token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HandshakeOf {
    tenant: TenantName,
    source: SourceName,
}

pub(super) async fn take_handshake(
    api: Arc<Api>,
    who: Allowed<TakeHandshakes>,
    call: Call<Body<HandshakeOf>>,
) -> Result<Json<HandshakeRow>, ApiError> {
    let HandshakeOf { tenant, source } = call.input.0;
    let none = || ApiError::NotFound("no token was handed over".to_owned());
    if !who.scope().holds(&tenant) {
        return Err(none());
    }
    let audit = who.acts("handshake.take", Some(tenant.as_str()), format!("{tenant}/{source}"), "");
    let row = api.records.take_handshake(tenant.as_str(), source.as_str(), audit).await?;
    row.map(Json).ok_or_else(none)
}
