//! Deliveries into rows: duplicates, revisions, events, jobs, watermarks (DESIGN §5).

use std::{collections::HashMap, time::Duration};

use sluice_actors::domain::{EventId, JobClass, JobState, LaneKey, RouteName, Timestamp};

use super::{
    batch::Batch,
    judge::{Judged, Known, judge},
    rows::{Reader, class_number},
    sql::bulk,
};
use crate::{
    ingest::{NewEvent, NewJob, Recorded, writer::Reply},
    vendors::OnConflict,
};

bulk!(FIND_DUPLICATES, "find_duplicates");
bulk!(INSERT_EVENTS, "insert_events");
bulk!(INSERT_PAYLOADS, "insert_payloads");
bulk!(INSERT_FORMS, "insert_forms");
bulk!(FIND_WATERMARKS, "find_watermarks");
bulk!(ADVANCE_WATERMARKS, "advance_watermarks");
bulk!(INSERT_JOBS, "insert_jobs");

/// An event that claims to be further in the future does not advance a watermark.
const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

/// The deliveries of one batch.
pub(super) type Deliveries<'a> = Vec<(&'a [NewEvent], &'a mut Reply<Vec<Recorded>>)>;

/// Records all deliveries of a batch.
pub(super) async fn record(batch: &mut Batch<'_>, deliveries: Deliveries<'_>) -> Result<(), sqlx::Error> {
    let events: Vec<&NewEvent> = deliveries.iter().flat_map(|(events, _)| *events).collect();
    if events.is_empty() {
        return Ok(());
    }
    let judged = judge(&events, &look_up(batch, &events).await?);
    let mut new: Vec<New<'_>> = events
        .iter()
        .zip(&judged)
        .filter_map(|(event, judged)| match judged {
            Judged::New { revises } => Some(New { seq: 0, event, revises: *revises }),
            Judged::Duplicate { .. } => None,
        })
        .collect();
    let numbers = batch.event_numbers(new.len()).await?;
    new.iter_mut().zip(numbers).for_each(|(new, number)| new.seq = number);
    insert(batch, &new).await?;

    let mut answers = events.iter().zip(&judged).map(|(event, judged)| match judged {
        Judged::New { .. } => Recorded::New(event.id),
        Judged::Duplicate { first, conflict } => Recorded::Duplicate { first: *first, conflict: *conflict },
    });
    for (events, reply) in deliveries {
        reply.set(answers.by_ref().take(events.len()).collect());
    }
    Ok(())
}

/// An event that is to be stored.
struct New<'a> {
    seq: i64,
    event: &'a NewEvent,
    revises: Option<EventId>,
}

async fn look_up(batch: &mut Batch<'_>, events: &[&NewEvent]) -> Result<Vec<Known>, sqlx::Error> {
    let mut known: Vec<Known> = events.iter().map(|_| Known::default()).collect();
    let numbered: Vec<(i64, &NewEvent)> = (0..).zip(events.iter().copied()).collect();
    let found = batch
        .bulk(&FIND_DUPLICATES, &numbered, |(number, event), values| {
            values.add(*number);
            values.lane(&event.lane);
            values.add(event.dedupe_key.as_slice());
            values.add(event.replay_key.as_ref().map(<[u8; 16]>::as_slice));
            values.add((event.on_conflict == OnConflict::Revision).then_some(event.external_id.as_str()));
        })
        .await?;
    for row in &found {
        let row = Reader::new(row, "events", "event_id");
        let number: usize = row.number("number")?;
        let (Some(known), Some(event)) = (known.get_mut(number), events.get(number)) else { continue };
        let id = row.event_id("event_id")?;
        match row.get::<i64>("kind")? {
            0 => known.same = Some((id, row.get::<&[u8]>("payload_hash")? == event.payload_hash)),
            1 | 2 => known.replayed = Some(id),
            _ => known.revised = Some(id),
        }
    }
    Ok(known)
}

async fn insert(batch: &mut Batch<'_>, new: &[New<'_>]) -> Result<(), sqlx::Error> {
    let stored = batch
        .bulk(&INSERT_EVENTS, new, |New { seq, event, revises }, values| {
            values.add(*seq);
            values.add(event.id);
            values.lane(&event.lane);
            values.add(&*event.vendor);
            values.add(event.external_id.as_str());
            values.add(event.payload_hash.as_slice());
            values.add(event.stored_hash.as_slice());
            values.add(event.dedupe_key.as_slice());
            values.add(event.replay_key.as_ref().map(<[u8; 16]>::as_slice));
            values.add(event.event_type.as_str());
            values.add(event.subject_id.as_deref());
            values.add(event.occurred_at);
            values.add(event.received_at);
            values.add(&*event.secret_version);
            values.add(event.api_version.as_deref());
            values.add(*revises);
            values.add(event.status.as_str());
            values.add(event.trace_id.as_bytes().as_slice());
            values.add(event.keys_expire);
        })
        .await?;
    if batch.others_write() && stored.len() < new.len() {
        // Another node was first with one of them: what that means shows when it is looked up anew.
        batch.raced = true;
        return Ok(());
    }
    batch
        .bulk(&INSERT_PAYLOADS, new, |New { seq, event, .. }, values| {
            values.add(*seq);
            values.add(event.id);
            values.add(&event.raw[..]);
            values.add(event.headers.as_str());
            values.add(event.redacted);
            values.add(event.trace_link.as_deref());
            values.add(event.quarantine_reason.as_deref());
        })
        .await?;
    let forms: Vec<_> = new.iter().filter_map(|new| new.event.form.as_ref().map(|form| (new, form))).collect();
    batch
        .bulk(&INSERT_FORMS, &forms, |(New { seq, event, .. }, form), values| {
            values.add(*seq);
            values.add(event.id);
            values.add(form.schema_version);
            values.add(form.json.as_str());
        })
        .await?;
    batch.bytes += new
        .iter()
        .map(|New { event, .. }| {
            let form = event.form.as_ref().map_or(0, |form| form.json.len());
            (event.raw.len() + event.headers.len() + form + 2048) as u64
        })
        .sum::<u64>();
    let jobs: Vec<Routed<'_>> = new
        .iter()
        .flat_map(|New { event, .. }| {
            event.jobs.iter().map(|job| Routed {
                job,
                event: event.id,
                lane: &event.lane,
                subject: event.subject_id.as_deref(),
                occurred_at: event.occurred_at,
                class: JobClass::Fresh,
            })
        })
        .collect();
    insert_jobs(batch, &jobs).await
}

/// A job of an event for a route.
pub(super) struct Routed<'a> {
    pub(super) job: &'a NewJob,
    pub(super) event: EventId,
    pub(super) lane: &'a LaneKey,
    pub(super) subject: Option<&'a str>,
    pub(super) occurred_at: Timestamp,
    pub(super) class: JobClass,
}

/// Inserts jobs that are new, those behind their watermark as `superseded`, and advances the
/// watermarks.
pub(super) async fn insert_jobs(batch: &mut Batch<'_>, jobs: &[Routed<'_>]) -> Result<(), sqlx::Error> {
    let states = pass_watermarks(batch, jobs).await?;
    let now = batch.now;
    let rows: Vec<_> = jobs.iter().zip(states).collect();
    batch
        .bulk(&INSERT_JOBS, &rows, |(routed, state), values| {
            values.add(routed.job.id);
            values.add(routed.event);
            values.lane(routed.lane);
            values.add(routed.job.route.as_str());
            values.add(&*routed.job.kind);
            values.add(state.as_str());
            values.add(class_number(routed.class));
            values.add(now);
            values.add(now);
            values.add(now);
            values.add(state.is_final().then_some(now.as_millis()));
        })
        .await?;
    for (routed, state) in &rows {
        batch.moves.add(routed.lane, None, Some(*state));
    }
    Ok(())
}

/// Compares jobs with the watermarks of their subjects, in order, and advances those. Returns the
/// state in which each job begins its life.
async fn pass_watermarks(batch: &mut Batch<'_>, jobs: &[Routed<'_>]) -> Result<Vec<JobState>, sqlx::Error> {
    type Key<'a> = (&'a LaneKey, &'a RouteName, &'a str);
    let mut asked: Vec<Key<'_>> = jobs
        .iter()
        .filter_map(|routed| routed.subject.map(|subject| (routed.lane, &routed.job.route, subject)))
        .collect();
    asked.sort_unstable();
    asked.dedup();
    let numbered: Vec<(i64, Key<'_>)> = (0..).zip(asked.iter().copied()).collect();
    let found = batch
        .bulk(&FIND_WATERMARKS, &numbered, |(number, (lane, route, subject)), values| {
            values.add(*number);
            values.lane(lane);
            values.add(route.as_str());
            values.add(*subject);
        })
        .await?;
    let mut marks = HashMap::<Key<'_>, Timestamp>::new();
    for row in &found {
        let row = Reader::new(row, "watermarks", "number");
        if let Some(key) = asked.get(row.number::<usize>("number")?) {
            marks.insert(*key, row.time("occurred_at")?);
        }
    }
    let horizon = batch.now.plus(MAX_AHEAD);
    let mut advanced = HashMap::<Key<'_>, Timestamp>::new();
    let mut states = Vec::with_capacity(jobs.len());
    for routed in jobs {
        let Some(subject) = routed.subject else {
            states.push(JobState::Pending);
            continue;
        };
        let key = (routed.lane, &routed.job.route, subject);
        let mark = marks.get(&key).copied();
        // Equal is not older: vendors with whole seconds send several events of one moment.
        if mark.is_some_and(|mark| routed.occurred_at < mark) {
            states.push(JobState::Superseded);
            continue;
        }
        states.push(JobState::Pending);
        if routed.occurred_at <= horizon && mark.is_none_or(|mark| mark < routed.occurred_at) {
            marks.insert(key, routed.occurred_at);
            advanced.insert(key, routed.occurred_at);
        }
    }
    let mut advanced: Vec<(Key<'_>, Timestamp)> = advanced.into_iter().collect();
    advanced.sort_unstable_by_key(|(key, _)| *key);
    batch
        .bulk(&ADVANCE_WATERMARKS, &advanced, |((lane, route, subject), occurred_at), values| {
            values.lane(lane);
            values.add(route.as_str());
            values.add(*subject);
            values.add(*occurred_at);
        })
        .await?;
    Ok(states)
}
