//! Artifacts of a job: what it keeps in the object store, and the uploads that its event refers to. The
//! object store is a callee like any other: asked through the gate, held by its breaker, and one that is away
//! is a reason to come again.

use std::future::Future;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_actors::domain::{CallResult, CalleeId, Timestamp};
use tokio::time::{Instant, timeout};

use super::{
    auth::Authorization,
    classify::{self, Fate, Health},
    run::{End, MARGIN, Progress, Run, Step, invalid, not_configured},
};
use crate::{
    artifacts::{Artifact, ArtifactError, Artifacts, Key, Kind, NewArtifact, ObjectError},
    http_client::{CallEvent, CallOutcome},
};

/// Links that a callback may carry (the plugin takes no more).
pub(crate) const MAX_LINKS: usize = 20;
/// Characters of a link (the plugin takes no more). Those of S3 hold the token of a role, which has no limit of its own.
const MAX_URL: usize = 8192;

/// What was paid for and is still to be kept; in the checkpoint until it lies in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    kind: String,
    text: String,
}

impl Owed {
    /// A text to be kept.
    pub(crate) fn new(kind: Kind, text: String) -> Self {
        Self { kind: kind.as_str().to_owned(), text }
    }
}

/// A link as the callback tells it. The id names the artifact for as long as it is kept; the URL ends.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Shared {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    url: String,
    expires_at: Timestamp,
}

/// The object store as a callee.
pub(crate) fn callee(artifacts: &Artifacts) -> CalleeId {
    CalleeId::new("artifacts", artifacts.objects().host())
}

impl Run<'_> {
    fn artifacts(&self) -> Step<&Artifacts> {
        self.world.artifacts.as_deref().ok_or_else(|| not_configured("an object store for artifacts"))
    }

    /// Asks the object store through the gate, within what is left of the attempt.
    async fn objects<T>(&self, work: impl Future<Output = Result<T, ArtifactError>>) -> Step<Result<T, ObjectError>> {
        let callee = callee(self.artifacts()?);
        let permit = self.enter(&callee).await?;
        let left = self.attempt.deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let begun = Instant::now();
        let done = timeout(left, work).await;
        let (outcome, report, step) = match done {
            Ok(Ok(value)) => (CallOutcome::Success, CallResult::Success, Ok(Ok(value))),
            Ok(Err(ArtifactError::Objects(ObjectError::NotFound))) => {
                (CallOutcome::Success, CallResult::Success, Ok(Err(ObjectError::NotFound)))
            }
            Ok(Err(ArtifactError::Objects(ObjectError::Refused))) => {
                let end = classify::outcome(Fate::Unauthorized, &callee, "refuses our credentials", None);
                (CallOutcome::Unauthorized, classify::call_result(Health::Unknown, None), Err(End::from(end)))
            }
            Ok(Err(ArtifactError::Objects(error @ ObjectError::Unavailable(_)))) => {
                let end = classify::outcome(Fate::Retry, &callee, &error.to_string(), None);
                (CallOutcome::ConnectError, classify::call_result(Health::Ill, None), Err(End::from(end)))
            }
            // Of the gateway's own store.
            Ok(Err(error @ ArtifactError::Store(_))) => {
                let end = classify::outcome(Fate::Retry, &callee, &error.to_string(), None);
                (CallOutcome::Broken, classify::call_result(Health::Unknown, None), Err(End::from(end)))
            }
            Err(_) => {
                let end = classify::outcome(Fate::Retry, &callee, "did not answer in time", None);
                (CallOutcome::Timeout, classify::call_result(Health::Ill, None), Err(End::from(end)))
            }
        };
        permit.report(report);
        self.tell(&CallEvent::Ended { callee: &callee, outcome, took: Some(begun.elapsed()) });
        step
    }

    /// Keeps what this job made; returns its key. None: what it was made of is erased, so nothing is kept of it.
    pub(crate) async fn keep(&self, kind: Kind, media_type: &'static str, content: Bytes) -> Step<Option<String>> {
        let (job, event) = (self.job(), self.event());
        let new = NewArtifact {
            lane: job.lane.clone(),
            kind,
            event: event.id,
            job: Some(job.id),
            subject: event.subject_id.clone(),
            media_type,
            delete_after: None,
        };
        let artifacts = self.artifacts()?;
        let kept = self.objects(artifacts.keep(new, content)).await?;
        Ok(kept.ok().map(|artifact| artifact.key().to_string()))
    }

    /// Keeps what earlier steps owe, and remembers that it did.
    pub(crate) async fn settle(&self, progress: &mut Progress) -> Step<()> {
        let Some(owed) = progress.owed.clone() else { return Ok(()) };
        let kind = owed.kind.parse().map_err(|_| invalid("a checkpoint of another version of the gateway"))?;
        let media_type = if kind == Kind::Transcript { "application/json" } else { "text/plain; charset=utf-8" };
        progress.artifacts.extend(self.keep(kind, media_type, owed.text.into()).await?);
        progress.owed = None;
        self.checkpoint(progress).await
    }

    /// The rows of a job's keys. One that is gone is left out: its time was over.
    async fn rows(&self, keys: &[String]) -> Step<Vec<Artifact>> {
        let artifacts = self.artifacts()?;
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            let Ok(key) = key.parse::<Key>() else { continue };
            let found = artifacts.find(&self.tenant.name, key.id()).await;
            rows.extend(found.map_err(|error| retry(artifacts, &error))?);
        }
        Ok(rows)
    }

    /// What a callback tells of a job's artifacts: signed now, for this attempt. A gateway without an https
    /// address has no link that a site would take, and tells none.
    pub(crate) async fn links(&self, keys: &[String], attachments: &[Artifact]) -> Step<Vec<Shared>> {
        if keys.is_empty() && attachments.is_empty() {
            return Ok(Vec::new());
        }
        let artifacts = self.artifacts()?;
        let mut links = Vec::new();
        for artifact in self.rows(keys).await?.iter().chain(attachments).take(MAX_LINKS) {
            let link = artifacts.link(artifact).await.map_err(|error| retry(artifacts, &error.into()))?;
            if link.url.starts_with("https://") && link.url.len() <= MAX_URL {
                let (kind, id) = (artifact.kind.shown(), artifact.id.to_string());
                links.push(Shared { kind, id, url: link.url, expires_at: link.expires_at });
            }
        }
        Ok(links)
    }

    /// The uploads that the event refers to, each of them this source's own and in place.
    pub(crate) async fn attachments(&self) -> Step<Vec<Artifact>> {
        if self.route.attachments.is_empty() {
            return Ok(Vec::new());
        }
        let artifacts = self.artifacts()?;
        let event = self.event();
        let view = json!({ "event_type": event.event_type, "subject_id": event.subject_id, "data": event.data });
        let mut keys = Vec::new();
        for pointer in &self.route.attachments {
            match view.pointer(pointer) {
                None | Some(Value::Null) => {}
                Some(Value::String(key)) => keys.push(key.as_str()),
                Some(Value::Array(several)) if several.iter().all(Value::is_string) => {
                    keys.extend(several.iter().filter_map(Value::as_str));
                }
                Some(_) => return Err(invalid(format!("attachments: {pointer} holds something else than keys"))),
            }
        }
        if keys.len() > MAX_LINKS {
            return Err(invalid(format!("attachments: the event names more than {MAX_LINKS}")));
        }
        let foreign =
            || invalid("attachments: the event names an upload that is not one of this source, or not any more");
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            // The tenant is looked at twice: in the key, and by the store.
            let key: Key = key.parse().map_err(|_| foreign())?;
            if key.tenant() != &self.tenant.name || key.kind() != Kind::Upload {
                return Err(foreign());
            }
            match self.objects(artifacts.used(key.id(), event)).await? {
                Ok(Some(artifact)) if artifact.key() == key => found.push(artifact),
                Ok(_) => return Err(foreign()),
                Err(_) => {
                    let what = "an upload that the event names has not arrived";
                    return Err(End::from(classify::outcome(Fate::Retry, &callee(artifacts), what, None)));
                }
            }
        }
        Ok(found)
    }

    /// The attachments as templates and receivers of events see them.
    pub(crate) async fn shown(&self, attachments: &[Artifact]) -> Step<Option<Value>> {
        if self.route.attachments.is_empty() {
            return Ok(None);
        }
        let artifacts = self.artifacts()?;
        let mut shown = Vec::with_capacity(attachments.len());
        for artifact in attachments {
            let link = artifacts.link(artifact).await.map_err(|error| retry(artifacts, &error.into()))?;
            shown.push(json!({
                "key": artifact.key().to_string(),
                "type": artifact.media_type,
                "bytes": artifact.bytes,
                "url": link.url,
                "expires_at": link.expires_at,
            }));
        }
        Ok(Some(Value::Array(shown)))
    }

    /// A reply that a result cannot hold, in the object store: redacted as any. Its call is done and not made
    /// again for this, so where the store is away it is left out, as it was before there was one.
    pub(crate) async fn large_reply(
        &self,
        body: &[u8],
        mut omitted: Value,
        authorization: &Authorization,
    ) -> (Value, Vec<String>) {
        let value = authorization.hidden_in(super::reply::read(body, usize::MAX));
        let (media_type, text) = match self.redacted(value) {
            Value::String(text) => ("text/plain; charset=utf-8", text),
            value => ("application/json", value.to_string()),
        };
        match self.keep(Kind::Result, media_type, text.into()).await {
            Ok(Some(key)) => {
                omitted["artifact"] = json!(key);
                (omitted, vec![key])
            }
            Ok(None) => (omitted, Vec::new()),
            Err(_) => {
                tracing::warn!(bytes = body.len(), "a reply is left out: the object store did not take it");
                (omitted, Vec::new())
            }
        }
    }
}

fn retry(artifacts: &Artifacts, error: &ArtifactError) -> End {
    let fate = match error {
        ArtifactError::Objects(ObjectError::Refused) => Fate::Unauthorized,
        ArtifactError::Objects(_) | ArtifactError::Store(_) => Fate::Retry,
    };
    End::from(classify::outcome(fate, &callee(artifacts), &error.to_string(), None))
}
