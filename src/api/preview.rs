//! A stored event through the prompt of a route, without publishing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_actors::domain::{EventEnvelope, LaneKey, RouteName, TraceId};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{
    Api, ApiError,
    access::{Allowed, PreviewPrompts},
    answer::Json,
    events::{found, gone},
    records::EventDetail,
    request::{Body, Call},
};

/// What to preview.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewOf {
    /// A route of the event's source that summarises.
    route: RouteName,
    /// Whether the model is asked, which costs what it costs; else only the prompt is shown.
    #[serde(default)]
    ask_model: bool,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// What would be asked, and what was answered. It is not kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The model.
    pub model: String,
    /// The instructions.
    pub system: String,
    /// The event's part, as the model gets it; without what the route's `fetch` loads, unless the model
    /// was asked.
    pub user: String,
    /// The model's answer, validated and cleaned as for a job.
    pub answer: Option<PreviewAnswer>,
    /// Why there is no answer, where it was asked for.
    pub problem: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// A model's answer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PreviewAnswer {
    /// The title.
    pub title: String,
    /// The text.
    pub summary: String,
    /// What it calls the event.
    pub category: String,
}

/// The event as an attempt sees it, in its newest form.
fn envelope(detail: EventDetail) -> Result<EventEnvelope, ApiError> {
    let EventDetail { event, forms, erased, .. } = detail;
    let Some((schema_version, data)) = forms.into_iter().next() else {
        let otherwise = "the event has no form to work on: it is quarantined, or past retention";
        return Err(ApiError::Conflict(gone(erased, otherwise)));
    };
    let unusable = || ApiError::Conflict("its source has no valid name".to_owned());
    let tenant = event.tenant.parse().map_err(|_| unusable())?;
    let source = event.source.parse().map_err(|_| unusable())?;
    let trace_id: TraceId = event.trace_id.parse().map_err(|_| unusable())?;
    Ok(EventEnvelope {
        id: event.id,
        lane: LaneKey::new(tenant, source),
        vendor: event.vendor.into(),
        external_id: event.external_id,
        event_type: event.event_type,
        subject_id: event.subject_id,
        occurred_at: event.occurred_at,
        received_at: event.received_at,
        schema_version,
        api_version: event.api_version,
        data,
        trace_id,
        sampled: false,
    })
}

pub(super) async fn preview(
    api: Arc<Api>,
    who: Allowed<PreviewPrompts>,
    call: Call<Body<PreviewOf>>,
) -> Result<Json<Preview>, ApiError> {
    let event = envelope(found(&api, who.scope(), call.parameter(0)?).await?)?;
    let PreviewOf { route, ask_model, reason } = call.input.0;
    let action = if ask_model { "prompt.preview" } else { "prompt.show" };
    let line = who.acts(
        action,
        Some(event.lane.tenant.as_str()),
        format!("{} {}/{route}", event.id, event.lane),
        reason.as_deref().unwrap_or_default(),
    );
    // It changes nothing in the store: its line is all there is of it, and comes before what it costs.
    api.records.audit(line).await?;
    let begun = Instant::now();
    let mut preview = api.operations.preview(event, route, ask_model).await.map_err(ApiError::Conflict)?;
    preview.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(preview))
}
