//! Sources: what is configured of them, when each of their secrets was used last (never a secret), and
//! how operators switch them off.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sluice_actors::domain::{LaneKey, RouteName, SourceName, TenantName, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    access::{Allowed, Operate, See},
    answer::{DONE, Done, Json},
    events::Reason,
    records::{Page, Switch},
    request::{Body, Call, Query},
};
use crate::config::{Config, Source, TypePattern};

/// Which sources.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// One tenant.
    tenant: Option<String>,
    /// Sources a page, 1 to 500; default 50.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

/// A source as people see it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceView {
    /// The tenant.
    pub tenant: TenantName,
    /// The source.
    pub source: SourceName,
    /// Its vendor.
    pub vendor: String,
    /// Whether it takes deliveries and runs jobs.
    pub enabled: bool,
    /// Where the vendor delivers.
    pub url: String,
    /// How far a signed time may lie from now, in seconds.
    pub tolerance_seconds: u64,
    /// Its secrets, newest first.
    pub secrets: Vec<SecretView>,
    /// Its routes.
    pub routes: Vec<RouteView>,
}

/// A secret of a source, by its reference.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// The reference that names it.
    pub version: String,
    /// When it stops verifying.
    pub not_after: Option<Timestamp>,
    /// When it verified the last delivery, among the newest 20 000 events of all.
    pub last_used_at: Option<Timestamp>,
}

/// A route of a source.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RouteView {
    /// Its name.
    pub name: RouteName,
    /// The event types it wants; none: all.
    pub event_types: Vec<String>,
    /// What it does.
    pub action: String,
}

type Uses = BTreeMap<(String, String, String), Timestamp>;

fn view(config: &Config, source: &Source, uses: &Uses) -> SourceView {
    let LaneKey { tenant, source: name } = &source.lane;
    let origin = config.edge.origin();
    let secrets = source.keys.iter().map(|key| SecretView {
        version: key.version.to_string(),
        not_after: key.not_after,
        last_used_at: uses.get(&(tenant.to_string(), name.to_string(), key.version.to_string())).copied(),
    });
    let pattern = |pattern: &TypePattern| match pattern {
        TypePattern::Exact(text) => text.clone(),
        TypePattern::Prefix(text) => format!("{text}*"),
    };
    let routes = source.routes.iter().map(|route| RouteView {
        name: route.name.clone(),
        event_types: route.event_types.iter().map(pattern).collect(),
        action: route.action.kind().to_owned(),
    });
    SourceView {
        tenant: tenant.clone(),
        source: name.clone(),
        vendor: source.vendor.name().to_owned(),
        enabled: source.is_on(),
        url: format!("{origin}/webhooks/{tenant}/{name}"),
        tolerance_seconds: source.tolerance.as_secs(),
        secrets: secrets.collect(),
        routes: routes.collect(),
    }
}

pub(super) async fn list(
    api: Arc<Api>,
    who: Allowed<See>,
    call: Call<Query<Filter>>,
) -> Result<Json<Page<SourceView>>, ApiError> {
    let Filter { tenant, limit, cursor } = call.input.0;
    let uses = api.records.secret_uses(who.scope()).await?;
    let uses: Uses = uses.into_iter().map(|used| ((used.tenant, used.source, used.secret_version), used.at)).collect();
    let config = api.config.load();
    let wanted: Vec<&Arc<Source>> = config
        .tenants
        .values()
        .filter(|of| who.scope().holds(&of.name) && tenant.as_ref().is_none_or(|wanted| of.name.as_str() == wanted))
        .flat_map(|of| of.sources.values())
        .collect();
    let limit = limit.unwrap_or(50).clamp(1, 500);
    let from = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0_usize).min(wanted.len());
    let next = (from + limit < wanted.len()).then(|| (from + limit).to_string());
    let items = wanted.into_iter().skip(from).take(limit).map(|source| view(&config, source, &uses)).collect();
    Ok(Json(Page { items, next }))
}

/// What the path names, if it is there and the caller sees it.
fn named(api: &Api, who: &Allowed<Operate>, call: &Call<Body<Reason>>, whole: bool) -> Result<Switch, ApiError> {
    let tenant: TenantName = call.parameter(0)?;
    let config = api.config.load();
    let of = config.tenants.get(&tenant).filter(|_| who.scope().holds(&tenant));
    let of = of.ok_or_else(|| ApiError::NotFound("no such source".to_owned()))?;
    if whole {
        return Ok((tenant, None));
    }
    let source: SourceName = call.parameter(1)?;
    if !of.sources.contains_key(&source) {
        return Err(ApiError::NotFound("no such source".to_owned()));
    }
    Ok((tenant, Some(source)))
}

async fn switch(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
    (whole, on): (bool, bool),
) -> Result<Json<Done>, ApiError> {
    let named = named(&api, &who, &call, whole)?;
    let object = named.1.as_ref().map_or_else(|| named.0.to_string(), |source| format!("{}/{source}", named.0));
    let action = match (whole, on) {
        (false, true) => "source.enable",
        (false, false) => "source.disable",
        (true, true) => "tenant.enable",
        (true, false) => "tenant.disable",
    };
    let audit = who.acts(action, Some(named.0.as_str()), object, call.input.0.text());
    if !api.records.switch(named, on, audit).await? {
        return Err(ApiError::Conflict(format!("it is {} already", if on { "on" } else { "off" })));
    }
    api.operations.follow_switches().await?;
    Ok(DONE)
}

pub(super) async fn disable(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    switch(api, who, call, (false, false)).await
}

pub(super) async fn enable(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    switch(api, who, call, (false, true)).await
}

pub(super) async fn disable_tenant(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    switch(api, who, call, (true, false)).await
}

pub(super) async fn enable_tenant(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    switch(api, who, call, (true, true)).await
}
