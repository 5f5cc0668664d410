//! Artifacts: the way to one, by an address that stays.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use sluice_actors::domain::ArtifactId;

use super::{
    Api, ApiError,
    access::{Allowed, SeePayloads},
    answer::{Answer, Content},
    request::Call,
};
use crate::artifacts::{Artifact, ArtifactError, Kind};

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Api {
    /// Removes what was erased just now, also where who erased it hangs up.
    pub(super) async fn remove_erased(&self) {
        let (artifacts, now) = (self.artifacts.clone(), self.clock.now());
        let removing = tokio::spawn(async move { artifacts.remove_erased(now).await });
        // A panic is told where all are; the sweeps go on.
        let _ = removing.await;
    }
}

/// Leads to a fresh URL of the artifact: whoever follows the address later is asked again who they are. An
/// archived payload is the answer itself, for only the gateway opens what is sealed.
pub(super) async fn open(api: Arc<Api>, who: Allowed<SeePayloads>, call: Call<()>) -> Result<Answer, ApiError> {
    let id: ArtifactId = call.parameter(0)?;
    let found = api.artifacts.register().artifact(who.scope(), id).await?;
    let artifact = found.ok_or_else(|| ApiError::NotFound("no such artifact".to_owned()))?;
    let answer = match artifact.kind {
        Kind::Payload => payload(&api, &artifact).await?,
        Kind::Upload | Kind::Result | Kind::Transcript => moved(&api, &artifact).await?,
    };
    // What is opened is content of others: who saw it is written down.
    api.records.audit(who.acts("artifact.open", Some(artifact.lane.tenant.as_str()), id, "")).await?;
    Ok(answer)
}

async fn payload(api: &Api, artifact: &Artifact) -> Result<Answer, ApiError> {
    let opened = api.artifacts.payload(artifact).await?;
    let bytes = opened.ok_or_else(|| ApiError::NotFound("its tenant's key was erased".to_owned()))?;
    let name = format!("attachment; filename=\"payload-{}\"", artifact.id);
    let disposition = HeaderValue::try_from(name).map_err(|error| ApiError::Unavailable(error.to_string()))?;
    Ok(Answer::new("application/octet-stream", Content::Bytes(bytes)).with(header::CONTENT_DISPOSITION, disposition))
}

async fn moved(api: &Api, artifact: &Artifact) -> Result<Answer, ApiError> {
    let link = api.artifacts.link(artifact).await.map_err(ArtifactError::from)?;
    let location = HeaderValue::try_from(link.url).map_err(|error| ApiError::Unavailable(error.to_string()))?;
    let mut answer = Answer::new("text/plain; charset=utf-8", Content::Text(String::new()));
    answer.status = StatusCode::SEE_OTHER;
    Ok(answer.with(header::LOCATION, location))
}
