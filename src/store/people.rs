//! The writes that people and the edge cause: routing past events, release, cancel, audit,
//! refusals, handshakes, what lanes remember.

use std::{borrow::Cow, collections::HashSet};

use sluice_actors::{
    domain::{EventId, JobClass, JobId, JobState, LaneKey, Mandate, SourceName},
    ports::BreakerMemory,
};

use super::{
    batch::Batch,
    record::{Routed, insert_jobs},
    rows::Reader,
    sql::sql,
    value::values,
};
use crate::{
    api::records::{AuditEntry, HandshakeRow, RefusalRow, RoutedEvent, Switch},
    ingest::{EventStatus, NewForm, NewJob},
};

fn json(value: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// Adds jobs to past events. They stand behind fresh work. An event that was `unrouted` becomes
/// `released`.
pub(super) async fn record_jobs(batch: &mut Batch<'_>, events: &[RoutedEvent]) -> Result<u64, sqlx::Error> {
    let mut new = 0;
    for RoutedEvent { event, jobs } in events {
        let found = batch.fetch(sql!("find_event"), values![*event]).await?;
        let Some(row) = found.first() else { continue };
        let row = Reader::new(row, "events", "seq");
        if row.get::<Cow<'_, str>>("status")? == EventStatus::Quarantined.as_str() {
            // It has no form to work on; it is released, not routed.
            continue;
        }
        let added = add_jobs(batch, *event, &row, jobs, JobClass::Replay).await?;
        new += added;
        if added > 0 {
            batch.fetch(sql!("release_event"), values![*event, EventStatus::Unrouted.as_str()]).await?;
        }
    }
    Ok(new)
}

/// Releases a quarantined event with its form and its jobs.
pub(super) async fn release(
    batch: &mut Batch<'_>,
    event: EventId,
    form: &NewForm,
    jobs: &[NewJob],
) -> Result<bool, sqlx::Error> {
    let released = batch.fetch(sql!("release_event"), values![event, EventStatus::Quarantined.as_str()]).await?;
    let Some(row) = released.first() else { return Ok(false) };
    let row = Reader::new(row, "events", "seq");
    let seq: i64 = row.get("seq")?;
    batch.execute(sql!("insert_form"), values![seq, event, form.schema_version, form.json.as_str()]).await?;
    add_jobs(batch, event, &row, jobs, JobClass::Fresh).await?;
    Ok(true)
}

/// Adds those of `jobs` whose route the event has not run through. `row`: columns of `find_event`.
async fn add_jobs(
    batch: &mut Batch<'_>,
    event: EventId,
    row: &Reader<'_>,
    jobs: &[NewJob],
    class: JobClass,
) -> Result<u64, sqlx::Error> {
    let routes = batch.fetch(sql!("find_job_routes"), values![event]).await?;
    let mut taken = routes
        .iter()
        .map(|row| Reader::new(row, "jobs", "route").get("route"))
        .collect::<Result<HashSet<Cow<'_, str>>, _>>()?;
    let lane = row.lane()?;
    let subject: Option<Cow<'_, str>> = row.opt("subject_id")?;
    let occurred_at = row.time("occurred_at")?;
    let new: Vec<Routed<'_>> = jobs
        .iter()
        .filter(|job| taken.insert(job.route.as_str().into()))
        .map(|job| Routed { job, event, lane: &lane, subject: subject.as_deref(), occurred_at, class })
        .collect();
    insert_jobs(batch, &new).await?;
    Ok(new.len() as u64)
}

/// Cancels a job that is not over.
pub(super) async fn cancel(batch: &mut Batch<'_>, job: JobId) -> Result<bool, sqlx::Error> {
    let found = batch.fetch(sql!("find_job_state"), values![job]).await?;
    let Some(row) = found.first() else { return Ok(false) };
    let row = Reader::new(row, "jobs", "tenant");
    let (lane, state) = (row.lane()?, row.state()?);
    if state.is_final() {
        return Ok(false);
    }
    batch.execute(sql!("cancel_job"), values![job, batch.now]).await?;
    batch.moves.add(&lane, Some(state), Some(JobState::Cancelled));
    Ok(true)
}

/// Writes an audit line.
pub(super) async fn audit(batch: &mut Batch<'_>, entry: &AuditEntry) -> Result<(), sqlx::Error> {
    let AuditEntry { actor, action, tenant, object, reason } = entry;
    let values =
        values![batch.now, actor.as_str(), action.as_str(), tenant.as_deref(), object.as_str(), reason.as_str()];
    batch.execute(sql!("insert_audit"), values).await?;
    Ok(())
}

/// The line of the audit for what a mandate did to `object` of a lane.
pub(super) fn entry(mandate: &Mandate, action: &str, lane: &LaneKey, object: &impl ToString) -> AuditEntry {
    AuditEntry {
        actor: mandate.by.clone(),
        action: action.to_owned(),
        tenant: Some(lane.tenant.to_string()),
        object: object.to_string(),
        reason: mandate.reason.clone(),
    }
}

/// Keeps whether a lane is paused, with the audit of it.
pub(super) async fn keep_pause(
    batch: &mut Batch<'_>,
    lane: &LaneKey,
    paused: bool,
    mandate: &Mandate,
) -> Result<(), sqlx::Error> {
    let values = values![lane.tenant.as_str(), lane.source.as_str(), paused];
    batch.execute(sql!("keep_pause"), values).await?;
    let action = if paused { "lane.pause" } else { "lane.resume" };
    audit(batch, &entry(mandate, action, lane, lane)).await
}

/// Switches a source or a tenant on or off, with its line of the audit.
pub(super) async fn switch(
    batch: &mut Batch<'_>,
    (tenant, source): &Switch,
    on: bool,
    entry: &AuditEntry,
) -> Result<bool, sqlx::Error> {
    let source = source.as_ref().map_or("", SourceName::as_str);
    let changed = if on {
        batch.fetch(sql!("switch_on"), values![tenant.as_str(), source]).await?
    } else {
        batch.fetch(sql!("switch_off"), values![tenant.as_str(), source, batch.now]).await?
    };
    if changed.is_empty() {
        return Ok(false);
    }
    audit(batch, entry).await?;
    Ok(true)
}

/// Keeps the breakers of a lane.
pub(super) async fn keep_breakers(
    batch: &mut Batch<'_>,
    lane: &LaneKey,
    breakers: &[BreakerMemory],
) -> Result<(), sqlx::Error> {
    let values = values![lane.tenant.as_str(), lane.source.as_str(), json(&breakers)?];
    batch.execute(sql!("keep_breakers"), values).await?;
    Ok(())
}

/// Keeps a refused delivery and drops the oldest of its source.
pub(super) async fn keep_refusal(batch: &mut Batch<'_>, row: &RefusalRow) -> Result<(), sqlx::Error> {
    let headers = json(&row.headers)?;
    let length = i64::try_from(row.body_bytes).unwrap_or(i64::MAX);
    batch.bytes += (headers.len() + row.body.len()) as u64;
    batch
        .execute(
            sql!("insert_refusal"),
            values![
                row.tenant.as_str(),
                row.source.as_str(),
                row.at,
                row.reason.as_str(),
                row.peer.as_str(),
                row.request.as_str(),
                headers,
                row.body.as_str(),
                length,
                row.hint.as_str(),
            ],
        )
        .await?;
    batch.execute(sql!("trim_refusals"), values![row.tenant.as_str(), row.source.as_str()]).await?;
    Ok(())
}

/// Keeps a handshake.
pub(super) async fn keep_handshake(batch: &mut Batch<'_>, row: &HandshakeRow) -> Result<(), sqlx::Error> {
    batch
        .execute(
            sql!("insert_handshake"),
            values![row.tenant.as_str(), row.source.as_str(), row.at, row.token.as_deref()],
        )
        .await?;
    Ok(())
}

/// Takes the newest token of a source.
pub(super) async fn take_handshake(
    batch: &mut Batch<'_>,
    tenant: &str,
    source: &str,
) -> Result<Option<HandshakeRow>, sqlx::Error> {
    let taken = batch.fetch(sql!("take_handshake"), values![tenant, source]).await?;
    let Some(row) = taken.first() else { return Ok(None) };
    let row = Reader::new(row, "handshakes", "at");
    Ok(Some(HandshakeRow {
        at: row.time("at")?,
        tenant: row.get("tenant")?,
        source: row.get("source")?,
        token: row.opt("token")?,
    }))
}
