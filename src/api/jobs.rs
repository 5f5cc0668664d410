//! Jobs: their history, another try, their cancellation.

use std::sync::Arc;

use sluice_actors::{
    domain::{JobId, JobState},
    ports::DeadLetterFilter,
};

use super::{
    Api, ApiError,
    access::{Allowed, Operate, RetryJobs, SeeJobs},
    answer::{DONE, Done, Free, Json, Rows},
    events::{Reason, gone},
    records::{AttemptRow, JobDetail, JobRow, Page, RecordFilter, Scope},
    request::{Body, Call, Query},
};

/// One letter a second is all that it may bring back.
const RETRY_RATE: f64 = 1.0;

pub(super) async fn list(
    api: Arc<Api>,
    who: Allowed<SeeJobs>,
    call: Call<Query<RecordFilter>>,
) -> Result<Json<Page<JobRow>>, ApiError> {
    Ok(Json(api.records.jobs(who.scope(), &call.input.0).await?))
}

async fn found(api: &Api, scope: &Scope, id: JobId) -> Result<JobDetail, ApiError> {
    api.records.job(scope, id).await?.ok_or_else(|| ApiError::NotFound("no such job".to_owned()))
}

pub(super) async fn show(api: Arc<Api>, who: Allowed<SeeJobs>, call: Call<()>) -> Result<Json<JobDetail>, ApiError> {
    Ok(Json(found(&api, who.scope(), call.parameter(0)?).await?))
}

pub(super) async fn attempts(
    api: Arc<Api>,
    who: Allowed<SeeJobs>,
    call: Call<()>,
) -> Result<Rows<AttemptRow>, ApiError> {
    Ok(Rows(found(&api, who.scope(), call.parameter(0)?).await?.attempts))
}

pub(super) async fn result(api: Arc<Api>, who: Allowed<SeeJobs>, call: Call<()>) -> Result<Json<Free>, ApiError> {
    let detail = found(&api, who.scope(), call.parameter(0)?).await?;
    if detail.erased {
        return Err(ApiError::NotFound("the result was erased with the key of its tenant".to_owned()));
    }
    detail.result.map(|result| Json(Free(result))).ok_or_else(|| ApiError::NotFound("the job has no result".to_owned()))
}

pub(super) async fn retry(
    api: Arc<Api>,
    who: Allowed<RetryJobs>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    let job = found(&api, who.scope(), call.parameter(0)?).await?.job;
    if job.state != JobState::DeadLetter {
        return Err(ApiError::Conflict(format!("the job is {}, no dead letter", job.state)));
    }
    if api.records.event(who.scope(), job.event_id).await?.is_some_and(|event| event.erased) {
        return Err(ApiError::Conflict(gone(true, "")));
    }
    let filter = DeadLetterFilter { job: Some(job.id), scope: who.tenants(), ..DeadLetterFilter::default() };
    // The change itself looks again whether it is a dead letter, and is audited.
    api.gateway.replay(filter, who.mandate(call.input.0.text()), RETRY_RATE).await?;
    Ok(DONE)
}

pub(super) async fn cancel(
    api: Arc<Api>,
    who: Allowed<Operate>,
    call: Call<Body<Reason>>,
) -> Result<Json<Done>, ApiError> {
    let job = found(&api, who.scope(), call.parameter(0)?).await?.job;
    let audit = who.acts("job.cancel", Some(&job.tenant), job.id, call.input.0.text());
    if !api.records.cancel(who.scope(), job.id, audit).await? {
        return Err(ApiError::Conflict(format!("the job is over ({})", job.state)));
    }
    Ok(DONE)
}
