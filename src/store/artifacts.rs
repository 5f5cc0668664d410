//! The rows of artifacts.

use async_trait::async_trait;
use bytes::Bytes;
use sluice_actors::{
    domain::{ArtifactId, EventId, JobId, TenantName, Timestamp},
    ports::StoreUnavailable,
};

use super::{
    Store,
    batch::Batch,
    command::Command,
    jobs::{ReadFailed, limit_value},
    records::scope_value,
    rows::{BadRow, Reader, Row},
    sql::{Bulk, bulk, sql},
    value::values,
};
use crate::{
    api::records::Scope,
    artifacts::{Added, After, Artifact, ENDED_AT_ONCE, Leave, OldPayload, Register, Use},
    seal::{Column, Place},
};

/// Artifacts of one subject that are told.
const MAX_OF_SUBJECT: usize = 10_000;

bulk!(DELETE_ARTIFACTS, "delete_artifacts");
bulk!(EMPTY_UPLOADS, "empty_uploads");
bulk!(END_PROMISES, "end_promises");

#[async_trait]
impl Register for Store {
    async fn add(&self, artifact: Artifact, leave: Option<Leave>) -> Result<Added, StoreUnavailable> {
        let artifact = Box::new(artifact);
        Ok(self.shared.writer.submit(|reply| Command::AddArtifact { artifact, leave, reply }).await?)
    }

    async fn stored(&self, id: ArtifactId) -> Result<bool, StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::ArtifactStored { id, reply }).await?)
    }

    async fn artifact(&self, scope: &Scope, id: ArtifactId) -> Result<Option<Artifact>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("artifact"), values![scope_value(scope), id, self.shared.clock.now()]).await?;
            Ok(rows.first().map(row).transpose()?)
        };
        Ok(read().await?)
    }

    async fn use_upload(&self, used: Use) -> Result<Option<Artifact>, StoreUnavailable> {
        let used = Box::new(used);
        Ok(self.shared.writer.submit(|reply| Command::UseUpload { used, reply }).await?)
    }

    async fn promised(
        &self,
        now: Timestamp,
        from: ArtifactId,
        limit: usize,
    ) -> Result<Vec<Artifact>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("promised_uploads"), values![now, limit_value(limit), from]).await?;
            Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn end_promises(&self, ids: Vec<ArtifactId>, now: Timestamp) -> Result<u64, StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::EndPromises { ids, now, reply }).await?)
    }

    async fn end_erased(&self, now: Timestamp) -> Result<u64, StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::EndErased { now, reply }).await?)
    }

    async fn expired(&self, now: Timestamp, from: After, limit: usize) -> Result<Vec<Artifact>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let After(time, id) = from;
            let rows = self.rows(sql!("expired_artifacts"), values![now, limit_value(limit), time, id]).await?;
            Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn forget(&self, ids: Vec<ArtifactId>, now: Timestamp) -> Result<u64, StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::ForgetArtifacts { ids, now, reply }).await?)
    }

    async fn old_payload(&self, event: EventId) -> Result<Option<OldPayload>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("old_payload"), values![event]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let row = Reader::new(row, "payloads", "id");
            Ok(Some(OldPayload {
                lane: row.lane()?,
                event: row.event_id("id")?,
                subject: row.opt("subject_id")?,
                raw: Bytes::from(row.get::<Vec<u8>>("raw")?),
            }))
        };
        Ok(read().await?)
    }

    async fn opened(&self, artifact: &Artifact, bytes: Bytes) -> Result<Option<Bytes>, StoreUnavailable> {
        let Some(event) = artifact.event.map(|event| event.as_uuid()) else { return Ok(Some(bytes)) };
        let place = Place { tenant: artifact.lane.tenant.as_str(), column: Column::Raw, row: event.as_bytes() };
        Ok(self.open_bytes(&place, bytes.into()).await?.plain().map(Bytes::from))
    }

    async fn of_subject(&self, tenant: &TenantName, subject: &str) -> Result<Vec<Artifact>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let now = self.shared.clock.now();
            let values = values![tenant.as_str(), subject, now, limit_value(MAX_OF_SUBJECT)];
            let rows = self.rows(sql!("artifacts_of_subject"), values).await?;
            Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn erase_subject(&self, tenant: &TenantName, subject: &str) -> Result<u64, StoreUnavailable> {
        let (tenant, subject) = (tenant.to_string(), subject.to_owned());
        Ok(self.shared.writer.submit(|reply| Command::EraseArtifacts { tenant, subject, reply }).await?)
    }
}

fn row(row: &Row) -> Result<Artifact, BadRow> {
    let row = Reader::new(row, "artifacts", "id");
    let digest: Vec<u8> = row.get("digest")?;
    Ok(Artifact {
        id: ArtifactId::from_uuid(row.get("id")?),
        lane: row.lane()?,
        kind: row.parse("kind")?,
        event: row.opt("event_id")?.map(EventId::from_uuid),
        job: row.opt("job_id")?.map(JobId::from_uuid),
        subject: row.opt("subject_id")?,
        media_type: row.get("media_type")?,
        bytes: row.number("bytes")?,
        digest: digest.try_into().unwrap_or_default(),
        created_at: row.time("created_at")?,
        stored_at: row.time_or_none("stored_at")?,
        delete_after: row.time_or_none("delete_after")?,
    })
}

/// Adds a row, unless it is there or its tenant's uploads take as much as they may.
pub(super) async fn add(
    batch: &mut Batch<'_>,
    artifact: &Artifact,
    leave: Option<Leave>,
) -> Result<Added, sqlx::Error> {
    let (tenant, source) = (artifact.lane.tenant.as_str(), artifact.lane.source.as_str());
    let known = batch.fetch(sql!("known_artifact"), values![artifact.id, tenant, source]).await?;
    if let Some(known) = known.first() {
        let known = row(known)?;
        if known.delete_after.is_some_and(|end| end <= batch.now) {
            return Ok(Added::Gone);
        }
        if let Some(leave) = leave.filter(|_| known.stored_at.is_none()) {
            batch.execute(sql!("upload_asked_again"), values![known.id, leave.until]).await?;
        }
        return Ok(Added::Known(Box::new(known)));
    }
    if let Some(event) = artifact.event
        && batch.fetch(sql!("event_is_kept"), values![event]).await?.is_empty()
    {
        return Ok(Added::Gone);
    }
    if let Some(Leave { quota, .. }) = leave {
        let rows = batch.fetch(sql!("uploads_of_tenant"), values![tenant, batch.now]).await?;
        if let Some(row) = rows.first() {
            let row = Reader::new(row, "artifacts", "count");
            let (count, bytes): (u64, u64) = (row.number("count")?, row.number("bytes")?);
            if count >= quota.count || bytes.saturating_add(artifact.bytes) > quota.bytes {
                return Ok(Added::Full);
            }
        }
    }
    let values = values![
        artifact.id,
        tenant,
        source,
        artifact.kind.as_str(),
        artifact.event,
        artifact.job,
        artifact.subject.as_deref(),
        artifact.media_type.as_str(),
        i64::try_from(artifact.bytes).unwrap_or(i64::MAX),
        artifact.digest.as_slice(),
        artifact.created_at,
        artifact.stored_at,
        artifact.delete_after,
        leave.map(|leave| leave.until),
    ];
    batch.fetch(sql!("insert_artifact"), values).await?;
    Ok(Added::New)
}

/// Its object lies in the store. `false`: its time is over, or there is none.
pub(super) async fn stored(batch: &mut Batch<'_>, id: ArtifactId) -> Result<bool, sqlx::Error> {
    Ok(batch.execute(sql!("artifact_stored"), values![id, batch.now]).await? > 0)
}

/// Marks an upload as used.
pub(super) async fn use_upload(batch: &mut Batch<'_>, used: &Use) -> Result<Option<Artifact>, sqlx::Error> {
    let values = values![
        used.id,
        used.lane.tenant.as_str(),
        used.lane.source.as_str(),
        used.event,
        used.subject.as_deref(),
        used.until,
        batch.now,
    ];
    let rows = batch.fetch(sql!("use_upload"), values).await?;
    Ok(rows.first().map(row).transpose()?)
}

/// Removes uploads that were promised and did not come.
pub(super) async fn end_promises(
    batch: &mut Batch<'_>,
    ids: &[ArtifactId],
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    Ok(looked_at(batch, &END_PROMISES, ids, now).await? as u64)
}

/// Ends the time of some artifacts of erased tenants.
pub(super) async fn end_erased(batch: &mut Batch<'_>, now: Timestamp) -> Result<u64, sqlx::Error> {
    batch.execute(sql!("end_erased_artifacts"), values![now, limit_value(ENDED_AT_ONCE)]).await
}

/// Removes rows whose time is over, and empties those that must stay a little.
pub(super) async fn forget(batch: &mut Batch<'_>, ids: &[ArtifactId], now: Timestamp) -> Result<u64, sqlx::Error> {
    let removed = looked_at(batch, &DELETE_ARTIFACTS, ids, now).await?;
    if removed < ids.len() {
        looked_at(batch, &EMPTY_UPLOADS, ids, now).await?;
    }
    Ok(removed as u64)
}

/// Runs a statement for artifacts as they are at the time `now`; returns how many rows it returned.
async fn looked_at(
    batch: &mut Batch<'_>,
    statement: &Bulk,
    ids: &[ArtifactId],
    now: Timestamp,
) -> Result<usize, sqlx::Error> {
    let rows = batch.bulk(statement, ids, |id, values| {
        values.add(*id);
        values.add(now);
    });
    Ok(rows.await?.len())
}

/// The time of a subject's artifacts is over.
pub(super) async fn erase_subject(batch: &mut Batch<'_>, tenant: &str, subject: &str) -> Result<u64, sqlx::Error> {
    batch.execute(sql!("erase_artifacts_of_subject"), values![tenant, subject, batch.now]).await
}
