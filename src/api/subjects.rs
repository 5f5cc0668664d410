//! What is kept of one subject: exported, or erased for good.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use sluice_actors::domain::TenantName;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::{
    Api, ApiError,
    access::{Allowed, HandleSubjects},
    answer::{Answer, Json, lines},
    records::{EventRow, Page, RecordFilter, Scope},
    request::{Body, Call},
};

/// Events that are read, and erased in one transaction, at once.
const PAGE: usize = 100;
/// Bytes of a subject's id.
const MAX_SUBJECT: usize = 4096;
/// Lines of an export that wait for a slow reader.
const LINES: usize = 4;

/// Which subject. It stands in the body, for paths are logged by what is in between.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Subject)]
pub struct Asked {
    /// Its id, as events name it (`subject_id`).
    pub subject: String,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What an erasure did, or would do.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Erased {
    /// Events of the subject.
    pub matched: u64,
    /// Jobs of them that could still run: cancelled first, and erased with the rest.
    pub cancelled_jobs: u64,
    /// Events that are gone, with their jobs and results.
    pub erased: u64,
    /// Events that got another job meanwhile and are still there: ask again.
    pub left: u64,
    /// Artifacts of the subject: their objects go within minutes, or as soon as the object store is back.
    #[serde(default)]
    pub artifacts: u64,
}

/// How the audit names a subject: it must outlive the erasure, the id must not.
fn digest(tenant: &TenantName, subject: &str) -> String {
    let digest = Sha256::new().chain_update(tenant.as_str()).chain_update([0]).chain_update(subject).finalize();
    format!("subject:{}", hex::encode(&digest[..8]))
}

/// The tenant, if the caller sees it, and the subject's name for the audit.
fn named(who: &Allowed<HandleSubjects>, call: &Call<Body<Asked>>) -> Result<(TenantName, String), ApiError> {
    let tenant: TenantName = call.parameter(0)?;
    if !who.scope().holds(&tenant) {
        return Err(ApiError::NotFound("no such tenant".to_owned()));
    }
    let subject = &call.input.0.subject;
    if subject.is_empty() || subject.len() > MAX_SUBJECT {
        return Err(ApiError::Invalid(format!("subject must have 1 to {MAX_SUBJECT} bytes")));
    }
    let object = digest(&tenant, subject);
    Ok((tenant, object))
}

/// The events of a subject, page by page.
struct Walk {
    filter: Option<RecordFilter>,
    scope: Scope,
}

impl Walk {
    fn new(tenant: &TenantName, subject: String) -> Self {
        let scope = Scope::Tenants(vec![tenant.clone()]);
        let tenant = Some(tenant.to_string());
        let filter = RecordFilter { tenant, subject: Some(subject), limit: Some(PAGE), ..RecordFilter::default() };
        Self { filter: Some(filter), scope }
    }

    /// The next page; none after the last.
    async fn next(&mut self, api: &Api) -> Result<Option<Vec<EventRow>>, ApiError> {
        let Some(filter) = self.filter.take() else { return Ok(None) };
        let Page { items, next } = api.records.events(&self.scope, &filter).await?;
        self.filter = next.map(|next| RecordFilter { cursor: Some(next), ..filter });
        Ok(Some(items))
    }
}

pub(super) async fn erase(
    api: Arc<Api>,
    who: Allowed<HandleSubjects>,
    call: Call<Body<Asked>>,
) -> Result<Json<Erased>, ApiError> {
    let (tenant, object) = named(&who, &call)?;
    // An erasure that began goes on when who asked hangs up. One that the end of the process cuts off is asked again.
    let erasing = tokio::spawn(erase_all(api, who, tenant, object, call.input.0));
    let erased = erasing.await.map_err(|_| ApiError::Unavailable("the erasure broke off; ask again".to_owned()))?;
    Ok(Json(erased?))
}

async fn erase_all(
    api: Arc<Api>,
    who: Allowed<HandleSubjects>,
    tenant: TenantName,
    object: String,
    asked: Asked,
) -> Result<Erased, ApiError> {
    let Asked { subject, dry_run, reason } = asked;
    let reason = reason.unwrap_or_default();
    let name = Some(tenant.as_str());
    if !dry_run {
        // The order; what it erases has lines of its own, written with the change.
        api.records.audit(who.acts("subject.erase", name, &object, &reason)).await?;
    }
    let mut done = Erased::default();
    let register = api.artifacts.register();
    done.artifacts = register.of_subject(&tenant, &subject).await?.len() as u64;
    let mut walk = Walk::new(&tenant, subject.clone());
    while let Some(events) = walk.next(&api).await? {
        done.matched += events.len() as u64;
        for event in &events {
            let Some(detail) = api.records.event(&walk.scope, event.id).await? else { continue };
            for job in detail.jobs.iter().filter(|job| !job.state.is_final()) {
                let audit = who.acts("job.cancel", name, job.id, &reason);
                // What a lane is about to begin, it may begin before: then its attempt finds its lease lost.
                done.cancelled_jobs += u64::from(dry_run || api.records.cancel(&walk.scope, job.id, audit).await?);
            }
        }
        if dry_run || events.is_empty() {
            continue;
        }
        let found = events.len() as u64;
        let audit = who.acts("subject.erased", name, &object, &reason);
        let erased = api.records.erase(events.into_iter().map(|event| event.id).collect(), audit).await?;
        done.erased += erased;
        done.left += found - erased;
    }
    if !dry_run {
        // What outlives its events, too. An object store that is away keeps nobody from asking: the rows say
        // that the time is over.
        register.erase_subject(&tenant, &subject).await?;
        api.remove_erased().await;
    }
    Ok(done)
}

pub(super) async fn export(
    api: Arc<Api>,
    who: Allowed<HandleSubjects>,
    call: Call<Body<Asked>>,
) -> Result<Answer, ApiError> {
    let (tenant, object) = named(&who, &call)?;
    let Asked { subject, reason, .. } = call.input.0;
    let audit = who.acts("subject.export", Some(tenant.as_str()), object, &reason.unwrap_or_default());
    api.records.audit(audit).await?;
    let (sender, receiver) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let walk = Walk::new(&tenant, subject.clone());
        let written = match artifacts(&api, (&tenant, &subject), &sender).await {
            Ok(()) => write(&api, walk, &sender).await,
            Err(error) => Err(error),
        };
        let last = match written {
            Ok(events) => json!({ "end": true, "events": events }),
            // The status is sent already: who reads knows by the last line.
            Err(error) => json!({ "end": false, "error": error.to_string() }),
        };
        // `Err`: the reader is gone.
        let _ = sender.send(format!("{last}\n")).await;
    });
    Ok(lines(receiver))
}

/// One line for each artifact: what it is, and where it is opened.
async fn artifacts(
    api: &Api,
    (tenant, subject): (&TenantName, &str),
    sender: &mpsc::Sender<String>,
) -> Result<(), ApiError> {
    for artifact in api.artifacts.register().of_subject(tenant, subject).await? {
        let line = json!({
            "artifact": {
                "id": artifact.id,
                "key": artifact.key().to_string(),
                "type": artifact.media_type,
                "bytes": artifact.bytes,
                "created_at": artifact.created_at,
                "open": format!("/api/v1/artifacts/{}", artifact.id),
            }
        });
        if sender.send(format!("{line}\n")).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// One line for each event, with its payload, forms, jobs and what they produced.
async fn write(api: &Api, mut walk: Walk, sender: &mpsc::Sender<String>) -> Result<u64, ApiError> {
    let mut written = 0;
    while let Some(events) = walk.next(api).await? {
        for event in events {
            let Some(detail) = api.records.event(&walk.scope, event.id).await? else { continue };
            let mut jobs = Vec::with_capacity(detail.jobs.len());
            for job in &detail.jobs {
                jobs.extend(api.records.job(&walk.scope, job.id).await?);
            }
            let line = json!({
                "event": detail.event,
                "headers": detail.headers,
                "raw": detail.raw,
                "redacted": detail.redacted,
                "erased": detail.erased,
                "forms": detail.forms,
                "jobs": jobs,
            });
            if sender.send(format!("{line}\n")).await.is_err() {
                return Ok(written);
            }
            written += 1;
        }
    }
    Ok(written)
}
