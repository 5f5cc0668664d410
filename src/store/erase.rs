//! What is kept of one subject, removed: as retention removes events, only that their keys stay, so that a vendor's
//! retry does not bring them back.

use sluice_actors::domain::EventId;

use super::{
    batch::Batch,
    people,
    rows::Reader,
    sql::bulk,
    sweep::{
        DELETE_ATTEMPTS_OF_EVENTS, DELETE_DEAD_LETTERS_OF_EVENTS, DELETE_EVENTS, DELETE_FORMS_OF_EVENTS,
        DELETE_PAYLOADS_OF_EVENTS, DELETE_RESULTS_OF_EVENTS, KEEP_KEYS,
    },
};
use crate::api::records::AuditEntry;

bulk!(HOLD_EVENTS_BY_ID, "hold_events_by_id");
bulk!(ERASABLE_EVENTS, "erasable_events");
bulk!(DELETE_WATERMARKS_OF_EVENTS, "delete_watermarks_of_events");
bulk!(ERASE_JOBS_OF_EVENTS, "erase_jobs_of_events");
bulk!(ERASE_ARTIFACTS_OF_EVENTS, "erase_artifacts_of_events");

/// Removes those of the events that no job needs any more, with all that belongs to them. Returns how many.
pub(super) async fn erase(batch: &mut Batch<'_>, events: &[EventId], entry: &AuditEntry) -> Result<u64, sqlx::Error> {
    // First held fast: where others write too, only what is looked at afterwards is still so.
    batch.bulk(&HOLD_EVENTS_BY_ID, events, |id, values| values.add(*id)).await?;
    let rows = batch.bulk(&ERASABLE_EVENTS, events, |id, values| values.add(*id)).await?;
    let mut seqs: Vec<i64> = Vec::with_capacity(rows.len());
    let mut ids: Vec<EventId> = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = Reader::new(row, "events", "id");
        seqs.push(row.get("seq")?);
        ids.push(row.event_id("id")?);
    }
    if ids.is_empty() {
        return Ok(0);
    }
    for statement in [&KEEP_KEYS, &DELETE_WATERMARKS_OF_EVENTS] {
        batch.bulk(statement, &seqs, |seq, values| values.add(*seq)).await?;
    }
    let now = batch.now;
    batch
        .bulk(&ERASE_ARTIFACTS_OF_EVENTS, &ids, |id, values| {
            values.add(*id);
            values.add(now);
        })
        .await?;
    for statement in [&DELETE_ATTEMPTS_OF_EVENTS, &DELETE_RESULTS_OF_EVENTS, &DELETE_DEAD_LETTERS_OF_EVENTS] {
        batch.bulk(statement, &ids, |id, values| values.add(*id)).await?;
    }
    let jobs = batch.bulk(&ERASE_JOBS_OF_EVENTS, &ids, |id, values| values.add(*id)).await?;
    for row in &jobs {
        let row = Reader::new(row, "jobs", "tenant");
        batch.moves.add(&row.lane()?, Some(row.state()?), None);
    }
    for statement in [&DELETE_FORMS_OF_EVENTS, &DELETE_PAYLOADS_OF_EVENTS, &DELETE_EVENTS] {
        batch.bulk(statement, &seqs, |seq, values| values.add(*seq)).await?;
    }
    people::audit(batch, entry).await?;
    Ok(ids.len() as u64)
}
