//! Jobs and their cancellation.

use std::sync::Arc;

use super::{
    Api, ApiError, entry,
    events::reason,
    records::Scope,
    request::{Answer, Call},
};

pub(super) async fn list(api: Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    Answer::json(&api.records.jobs(&Scope::All, &call.query()?).await?)
}

pub(super) async fn show(api: Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    let job = api.records.job(&Scope::All, call.parameter(0)?).await?;
    Answer::json(&job.ok_or_else(no_such_job)?)
}

pub(super) async fn cancel(api: Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    let id = call.parameter(0)?;
    let job = api.records.job(&Scope::All, id).await?.ok_or_else(no_such_job)?;
    let audit = entry("job.cancel", id.to_string(), reason(&call)?);
    if !api.records.cancel(&Scope::All, id, audit).await? {
        return Err(ApiError::Conflict(format!("the job is over ({})", job.job.state)));
    }
    Answer::json(&serde_json::json!({ "ok": true }))
}

fn no_such_job() -> ApiError {
    ApiError::NotFound("no such job".to_owned())
}
