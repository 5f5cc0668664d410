//! Sources: what is configured of them, when each of their secrets was used last (never a secret), and
//! how operators switch them off.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sluice_actors::domain::{LaneKey, RouteName, SourceName, TenantName, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, ApiError,
    access::{Allowed, Operate, See},
    answer::{DONE, Done, Json},
    events::Reason,
    records::{Page, Scope, SecretUse, Switch},
    request::{Body, Call, Query},
};
use crate::config::{Config, LiveKey, Source, TypePattern};

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
    /// Where the URL and the secret go in the vendor's own settings.
    pub setup: String,
}

/// A secret of a source, by its reference.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// The reference that names it.
    pub version: String,
    /// When it begins to verify.
    pub not_before: Option<Timestamp>,
    /// When it stops verifying.
    pub not_after: Option<Timestamp>,
    /// How often it verified a delivery since `first_used_at`, to a minute.
    pub uses: u64,
    /// When it verified the first delivery that is known of.
    pub first_used_at: Option<Timestamp>,
    /// When it verified the last one.
    pub last_used_at: Option<Timestamp>,
    /// Whether it can go.
    pub standing: Standing,
}

/// Whether a secret can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is the newest.
    Newest,
    /// The newest verified nothing yet: the vendor still signs with this one, or nothing came.
    AwaitsNewest,
    /// It verified a delivery within the last 24 hours.
    InUse,
    /// The newest verifies, and this one verified nothing since; for less than 24 hours so far, within
    /// which a vendor may still send again what it signed before.
    Overlaps,
    /// The newest has verified for 24 hours, and this one nothing since: it can be removed.
    SafeToRetire,
    /// It verifies nothing any more.
    Expired,
    /// An operator took it out of use.
    Revoked,
}

/// How long vendors send again what they signed with the secret before (DESIGN §10, rotation overlap).
const OVERLAP: Duration = Duration::from_hours(24);

/// `newest`: when the newest secret verified first.
fn standing(
    is_newest: bool,
    not_after: Option<Timestamp>,
    used: Option<&SecretUse>,
    newest: Option<Timestamp>,
    now: Timestamp,
) -> Standing {
    let day_ago = now.minus(OVERLAP);
    match newest {
        _ if not_after.is_some_and(|end| end <= now) => Standing::Expired,
        _ if is_newest => Standing::Newest,
        None => Standing::AwaitsNewest,
        Some(newest) => match used.map(|used| used.last) {
            Some(last) if last > day_ago && last >= newest => Standing::InUse,
            _ if newest > day_ago => Standing::Overlaps,
            Some(last) if last > day_ago => Standing::InUse,
            _ => Standing::SafeToRetire,
        },
    }
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

type Uses = BTreeMap<(String, String, String), SecretUse>;

fn view(config: &Config, source: &Source, uses: &Uses, now: Timestamp) -> SourceView {
    let LaneKey { tenant, source: name } = &source.lane;
    let origin = config.edge.origin();
    let used = |key: &LiveKey| uses.get(&(tenant.to_string(), name.to_string(), key.counted_as.to_string()));
    // The newest of those that can verify: a revoked one retires nobody.
    let first = source.keys.iter().position(|key| !key.is_revoked());
    let newest = first.and_then(|nth| used(&source.keys[nth])).map(|used| used.first);
    let secrets = source.keys.iter().enumerate().map(|(nth, key)| {
        let used = used(key);
        SecretView {
            version: key.version.to_string(),
            not_before: key.not_before,
            not_after: key.not_after,
            uses: used.map_or(0, |used| used.uses),
            first_used_at: used.map(|used| used.first),
            last_used_at: used.map(|used| used.last),
            standing: match first {
                _ if key.is_revoked() => Standing::Revoked,
                first => standing(first == Some(nth), key.not_after, used, newest, now),
            },
        }
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
        setup: source.vendor.profile().setup.to_owned(),
    }
}

/// How often secrets were used, by tenant, source and version.
async fn uses(api: &Api, scope: &Scope) -> Result<Uses, ApiError> {
    let uses = api.records.secret_uses(scope).await?.into_iter();
    Ok(uses.map(|used| ((used.tenant.clone(), used.source.clone(), used.secret_version.clone()), used)).collect())
}

pub(super) async fn list(
    api: Arc<Api>,
    who: Allowed<See>,
    call: Call<Query<Filter>>,
) -> Result<Json<Page<SourceView>>, ApiError> {
    let Filter { tenant, limit, cursor } = call.input.0;
    let uses = uses(&api, who.scope()).await?;
    let config = api.config.load();
    let wanted: Vec<&Arc<Source>> = config
        .tenants
        .values()
        .filter(|of| who.scope().holds(&of.name) && tenant.as_ref().is_none_or(|wanted| of.name.as_str() == wanted))
        .flat_map(|of| of.sources.values())
        .collect();
    let now = api.clock.now();
    let limit = limit.unwrap_or(50).clamp(1, 500);
    let from = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0_usize).min(wanted.len());
    let next = (from + limit < wanted.len()).then(|| (from + limit).to_string());
    let items = wanted.into_iter().skip(from).take(limit).map(|source| view(&config, source, &uses, now)).collect();
    Ok(Json(Page { items, next }))
}

pub(super) async fn show(api: Arc<Api>, who: Allowed<See>, call: Call<()>) -> Result<Json<SourceView>, ApiError> {
    let lane = LaneKey::new(call.parameter(0)?, call.parameter(1)?);
    let config = api.config.load();
    let found = config.source(&lane).filter(|_| who.scope().holds(&lane.tenant));
    let (_, source) = found.ok_or_else(|| ApiError::NotFound("no such source".to_owned()))?;
    let uses = uses(&api, &Scope::Tenants(vec![lane.tenant.clone()])).await?;
    Ok(Json(view(&config, source, &uses, api.clock.now())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_safe_to_retire_once_the_newest_alone_verified_for_a_day() {
        let now = Timestamp::from_secs(1_000_000);
        let ago = |hours: u64| now.minus(Duration::from_hours(hours));
        let used = |last| SecretUse {
            tenant: "acme".into(),
            source: "pay".into(),
            secret_version: "env:OLD".into(),
            uses: 3,
            first: ago(900),
            last,
        };
        let of = |last: Option<u64>, newest: Option<u64>| {
            standing(false, None, last.map(|hours| used(ago(hours))).as_ref(), newest.map(ago), now)
        };
        assert_eq!(standing(true, None, None, None, now), Standing::Newest);
        assert_eq!(standing(false, Some(now), None, Some(ago(100)), now), Standing::Expired);
        assert_eq!(of(Some(1), None), Standing::AwaitsNewest);
        assert_eq!(of(Some(1), Some(2)), Standing::InUse);
        assert_eq!(of(Some(3), Some(2)), Standing::Overlaps);
        assert_eq!(of(Some(1), Some(100)), Standing::InUse);
        assert_eq!(of(Some(25), Some(24)), Standing::SafeToRetire);
        assert_eq!(of(None, Some(24)), Standing::SafeToRetire);
    }
}
