//! Events, their release and replay.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_actors::domain::{EventId, LaneKey, RouteName, SourceName, TenantName};
use utoipa::ToSchema;

use super::{
    Api, ApiError,
    access::{Allowed, Operate, See, SeePayloads},
    answer::Json,
    records::{EventDetail, EventRow, Page, RecordFilter, RoutedEvent, Scope},
    request::{Body, Call, Query},
};
use crate::{
    config,
    ingest::{EventStatus, prepare},
};

/// Events that match at which a replay stops that is not asked for in steps.
const MAX_REPLAY: u64 = 100_000;
/// Events read and written at once during a replay.
const REPLAY_PAGE: usize = 200;

/// Why something is done, in the operator's words.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// The words.
    #[serde(default)]
    pub(super) reason: Option<String>,
}

impl Reason {
    /// The words, if there are any.
    pub(super) fn text(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }
}

pub(super) async fn list(
    api: Arc<Api>,
    who: Allowed<See>,
    call: Call<Query<RecordFilter>>,
) -> Result<Json<Page<EventRow>>, ApiError> {
    Ok(Json(api.records.events(who.scope(), &call.input.0).await?))
}

pub(super) async fn show(api: Arc<Api>, who: Allowed<See>, call: Call<()>) -> Result<Json<EventDetail>, ApiError> {
    let mut event = found(&api, who.scope(), call.parameter(0)?).await?;
    if !who.also::<SeePayloads>() {
        event.withhold();
    }
    Ok(Json(event))
}

pub(super) async fn found(api: &Api, scope: &Scope, id: EventId) -> Result<EventDetail, ApiError> {
    api.records.event(scope, id).await?.ok_or_else(|| ApiError::NotFound("no such event".to_owned()))
}

/// What a release made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// Jobs that began by it.
    pub jobs: usize,
    /// What still does not fit the schema, if so: a person may release it all the same.
    pub misfit: Option<String>,
}

pub(super) async fn release(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
) -> Result<Json<Released>, ApiError> {
    let event = found(&api, who.scope(), call.parameter(0)?).await?;
    let id = event.event.id;
    if event.event.status != EventStatus::Quarantined.as_str() {
        return Err(ApiError::Conflict(format!("the event is {}, not quarantined", event.event.status)));
    }
    let lane = lane(&event.event).ok_or_else(|| ApiError::Conflict("its source has no valid name".to_owned()))?;
    let config = api.config.load_full();
    let (_, source) =
        config.source(&lane).ok_or_else(|| ApiError::Conflict(format!("{lane} is not configured (any more)")))?;
    let gone = || ApiError::Conflict(gone(event.erased, "its payload is gone (retention)"));
    let raw = event.raw.as_deref().ok_or_else(gone)?;
    let (event_type, subject) = (&event.event.event_type, event.event.subject_id.as_deref());
    let again = prepare::renormalise(source, event_type, raw.as_bytes())
        .map_err(|unreadable| ApiError::Conflict(unreadable.to_string()))?;
    let jobs = prepare::route_event(source, event_type, subject, &again.data, api.clock.now());
    let released = Released { jobs: jobs.len(), misfit: again.misfit };
    let audit = who.acts("event.release", Some(&event.event.tenant), id, call.input.0.text());
    if !api.records.release(id, again.form, jobs, audit).await? {
        return Err(ApiError::Conflict("the event is not quarantined any more".to_owned()));
    }
    api.gateway.wake(&lane);
    Ok(Json(released))
}

/// Why something of an event is not there.
pub(super) fn gone(erased: bool, otherwise: &str) -> String {
    if erased { "its payload was erased with the key of its tenant".to_owned() } else { otherwise.to_owned() }
}

fn lane(event: &EventRow) -> Option<LaneKey> {
    Some(LaneKey::new(event.tenant.parse().ok()?, event.source.parse().ok()?))
}

/// Which events run through which route.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReplayEvents)]
pub struct Replay {
    /// The tenant.
    pub tenant: TenantName,
    /// Its source.
    pub source: SourceName,
    /// The route of that source.
    pub route: RouteName,
    /// Which of the source's events.
    #[serde(default)]
    pub filter: RecordFilter,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
    /// Look at about so many events and answer then, for who goes on from `next`. Without it, at up to 100,000 that match.
    #[serde(default)]
    pub step: Option<u64>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a replay did.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// Events that the filter and the route want.
    pub matched: u64,
    /// Jobs that are new, or would be in a dry run; an event that already has a job for the route keeps it.
    pub new_jobs: u64,
    /// Where the rest begins, if there is one: ask again with this `cursor` in the filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

pub(super) async fn replay(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Replay>>,
) -> Result<Json<Replayed>, ApiError> {
    let ask = call.input.0;
    let lane = LaneKey::new(ask.tenant, ask.source);
    let config = api.config.load_full();
    let (_, source) = config
        .source(&lane)
        .filter(|_| who.scope().holds(&lane.tenant))
        .ok_or_else(|| ApiError::NotFound("no such source".to_owned()))?;
    let route = source
        .routes
        .iter()
        .find(|route| route.name == ask.route)
        .ok_or_else(|| ApiError::NotFound(format!("{lane} has no route `{}`", ask.route)))?;
    let object = format!("{lane}/{}", route.name);
    let audit = who.acts("event.replay", Some(lane.tenant.as_str()), object, &ask.reason.unwrap_or_default());
    let page = ask.step.and_then(|step| usize::try_from(step).ok()).unwrap_or(REPLAY_PAGE);
    let mut filter = RecordFilter {
        tenant: Some(lane.tenant.to_string()),
        source: Some(lane.source.to_string()),
        limit: Some(page.clamp(1, REPLAY_PAGE)),
        ..ask.filter
    };
    let mut done = Replayed::default();
    let mut looked = 0;
    loop {
        let page = api.records.events(who.scope(), &filter).await?;
        let mut batch = Vec::new();
        looked += page.items.len() as u64;
        for event in page.items {
            let Some(has_job) = wants(&api, who.scope(), route, &event).await? else { continue };
            done.new_jobs += u64::from(ask.dry_run && !has_job);
            let jobs = vec![prepare::new_job(route, api.clock.now())];
            batch.push(RoutedEvent { event: event.id, jobs });
        }
        done.matched += batch.len() as u64;
        if !ask.dry_run && !batch.is_empty() {
            done.new_jobs += api.records.record_jobs(batch, audit.clone()).await?;
            api.gateway.wake(&lane);
        }
        filter.cursor = page.next;
        let is_enough = ask.step.map_or(done.matched >= MAX_REPLAY, |step| looked >= step);
        if filter.cursor.is_none() || is_enough {
            break;
        }
    }
    done.next = filter.cursor;
    Ok(Json(done))
}

/// Whether a route wants a past event, in its newest form, and if so, whether the event has a job for it. One
/// without a form (quarantined) must be released first.
async fn wants(api: &Api, scope: &Scope, route: &config::Route, event: &EventRow) -> Result<Option<bool>, ApiError> {
    let Some(detail) = api.records.event(scope, event.id).await? else { return Ok(None) };
    let subject = event.subject_id.as_deref();
    let wanted = event.status != EventStatus::Quarantined.as_str()
        && detail
            .forms
            .first()
            .is_some_and(|(_, form)| prepare::route_matches(route, &event.event_type, subject, form));
    Ok(wanted.then(|| detail.jobs.iter().any(|job| job.route == route.name.as_str())))
}
