//! Deliveries into rows: duplicates, revisions, events, jobs, watermarks (DESIGN §5).

use std::{collections::HashMap, time::Duration};

use sluice_actors::domain::{EventId, JobClass, JobState, LaneKey, RouteName, Timestamp};
use uuid::Uuid;

use super::{
    batch::Batch,
    judge::{Judged, Known, judge},
    rows::{Reader, class_number},
    sql::bulk,
    value::{Rows, Values},
};
use crate::{
    ingest::{NewEvent, NewJob, Recorded, writer::Reply},
    seal::value_sealed_by,
    vendors::OnConflict,
};

bulk!(LOOK_UP, "find_duplicates", "find_watermarks", "event_numbers", "find_erased_keys");
bulk!(STORE, "insert_events", "insert_payloads", "insert_forms", "insert_jobs", "advance_watermarks");
bulk!(LOOK_UP_WATERMARKS, "find_watermarks");
bulk!(STORE_JOBS, "insert_jobs", "advance_watermarks");

/// What `kind` is in the rows of `find_watermarks`.
const WATERMARK: i64 = 4;
/// What `kind` is in the rows of `event_numbers`.
const NUMBER: i64 = 5;
/// What `kind` is in the rows of `find_erased_keys`.
const ERASED: i64 = 6;

/// An event that claims to be further in the future does not advance a watermark.
const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

/// The deliveries of one batch.
pub(super) type Deliveries<'a> = Vec<(&'a [NewEvent], &'a mut Reply<Option<Vec<Recorded>>>)>;

/// Records all deliveries of a batch: one request that looks everything up, one that stores
/// everything. The second is the only one that writes, so that it may be a transaction by itself.
pub(super) async fn record(batch: &mut Batch<'_>, deliveries: Deliveries<'_>) -> Result<(), sqlx::Error> {
    let events: Vec<&NewEvent> = deliveries.iter().flat_map(|(events, _)| *events).collect();
    if events.is_empty() {
        return Ok(());
    }
    let numbered: Vec<(i64, &NewEvent)> = (0..).zip(events.iter().copied()).collect();
    let jobs: Vec<Routed<'_>> = events.iter().flat_map(|event| routed(event)).collect();
    let mut watermarks = Watermarks::asked_by(&jobs);
    let blocks = batch.number_blocks(events.len());
    let sealed = numbered.iter().filter_map(|(number, event)| Some((*number, value_sealed_by(&event.raw)?)));
    let sealed: Vec<(i64, Uuid)> = sealed.collect();
    let asked = vec![
        Rows::of(&numbered, bind_duplicate),
        Rows::of(&watermarks.asked, bind_asked),
        Rows::of(&blocks, |first, values| values.add(*first)),
        Rows::of(&sealed, |(number, key), values| {
            values.add(*number);
            values.add(*key);
        }),
    ];
    let found = batch.together(&LOOK_UP, asked).await?;
    let mut erased = Vec::new();
    let mut starts = Vec::new();
    let mut known: Vec<Known> = events.iter().map(|_| Known::default()).collect();
    for row in &found {
        let row = Reader::new(row, "events", "event_id");
        let number: usize = row.number("number")?;
        let kind = row.get::<i64>("kind")?;
        match kind {
            WATERMARK => {
                watermarks.found(number, row.time("value")?);
                continue;
            }
            NUMBER => {
                starts.push(row.get("value")?);
                continue;
            }
            ERASED => {
                erased.push(number);
                continue;
            }
            _ => {}
        }
        let (Some(known), Some(event)) = (known.get_mut(number), events.get(number)) else { continue };
        let id = row.event_id("event_id")?;
        match kind {
            0 => known.same = Some((id, row.get::<&[u8]>("payload_hash")? == event.payload_hash)),
            1 | 2 => known.replayed = Some(id),
            _ => known.revised = Some(id),
        }
    }
    if !erased.is_empty() {
        return Box::pin(record(batch, without(deliveries, &erased))).await;
    }
    let judged = judge(&events, &known);
    let mut new: Vec<New<'_>> = events
        .iter()
        .zip(&judged)
        .filter_map(|(event, judged)| match judged {
            Judged::New { revises } => Some(New { seq: 0, event, revises: *revises }),
            Judged::Duplicate { .. } => None,
        })
        .collect();
    let numbers = batch.numbers(starts, new.len());
    new.iter_mut().zip(numbers).for_each(|(new, number)| new.seq = number);
    store(batch, &new, watermarks).await?;

    let mut answers = events.iter().zip(&judged).map(|(event, judged)| match judged {
        Judged::New { .. } => Recorded::New(event.id),
        Judged::Duplicate { first, conflict } => Recorded::Duplicate { first: *first, conflict: *conflict },
    });
    for (events, reply) in deliveries {
        reply.set(Some(answers.by_ref().take(events.len()).collect()));
    }
    Ok(())
}

/// Refuses the deliveries that have one of these events: the key that sealed it is erased, and nobody could read what
/// would be acknowledged. Returns the others.
fn without<'a>(deliveries: Deliveries<'a>, erased: &[usize]) -> Deliveries<'a> {
    let mut before = 0;
    let mut left = Vec::with_capacity(deliveries.len());
    for (events, reply) in deliveries {
        let numbers = before..before + events.len();
        before = numbers.end;
        if erased.iter().any(|number| numbers.contains(number)) {
            reply.set(None);
        } else {
            left.push((events, reply));
        }
    }
    left
}

fn bind_duplicate<'v>((number, event): &'v (i64, &'v NewEvent), values: &mut Values<'v>) {
    values.add(*number);
    values.lane(&event.lane);
    values.add(event.dedupe_key.as_slice());
    values.add(event.replay_key.as_ref().map(<[u8; 16]>::as_slice));
    values.add((event.on_conflict == OnConflict::Revision).then_some(event.external_id.as_str()));
}

/// An event that is to be stored.
struct New<'a> {
    seq: i64,
    event: &'a NewEvent,
    revises: Option<EventId>,
}

async fn store(batch: &mut Batch<'_>, new: &[New<'_>], mut watermarks: Watermarks<'_>) -> Result<(), sqlx::Error> {
    let forms: Vec<_> = new.iter().filter_map(|new| new.event.form.as_ref().map(|form| (new, form))).collect();
    let jobs: Vec<Routed<'_>> = new.iter().flat_map(|new| routed(new.event)).collect();
    let jobs = watermarks.pass(&jobs, batch.now);
    let advanced = watermarks.advanced();
    let now = batch.now;
    let events = Rows::of(new, |New { seq, event, revises }, values| {
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
        values.add(event.sampled);
    });
    let payloads = Rows::of(new, |New { seq, event, .. }, values| {
        values.add(*seq);
        values.add(event.id);
        values.add(&event.raw[..]);
        values.add(event.headers.as_str());
        values.add(event.redacted);
        values.add(event.trace_link.as_deref());
        values.add(event.quarantine_reason.as_deref());
    });
    let forms = Rows::of(&forms, |(New { seq, event, .. }, form), values| {
        values.add(*seq);
        values.add(event.id);
        values.add(form.schema_version);
        values.add(form.json.as_str());
    });
    let parts = vec![events, payloads, forms, bind_jobs(&jobs, now), Rows::of(&advanced, bind_advanced)];
    batch.together(&STORE, parts).await?;
    batch.bytes += new
        .iter()
        .map(|New { event, .. }| {
            let form = event.form.as_ref().map_or(0, |form| form.json.len());
            (event.raw.len() + event.headers.len() + form + 2048) as u64
        })
        .sum::<u64>();
    count(batch, &jobs);
    Ok(())
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

/// The jobs of an event that is new.
fn routed(event: &NewEvent) -> impl Iterator<Item = Routed<'_>> {
    event.jobs.iter().map(|job| Routed {
        job,
        event: event.id,
        lane: &event.lane,
        subject: event.subject_id.as_deref(),
        occurred_at: event.occurred_at,
        class: JobClass::Fresh,
    })
}

/// Inserts jobs that are new, those behind their watermark as `superseded`, and advances the
/// watermarks.
pub(super) async fn insert_jobs(batch: &mut Batch<'_>, jobs: &[Routed<'_>]) -> Result<(), sqlx::Error> {
    let mut watermarks = Watermarks::asked_by(jobs);
    let found = batch.together(&LOOK_UP_WATERMARKS, vec![Rows::of(&watermarks.asked, bind_asked)]).await?;
    for row in &found {
        let row = Reader::new(row, "watermarks", "number");
        watermarks.found(row.number("number")?, row.time("value")?);
    }
    let jobs = watermarks.pass(jobs, batch.now);
    let advanced = watermarks.advanced();
    let parts = vec![bind_jobs(&jobs, batch.now), Rows::of(&advanced, bind_advanced)];
    batch.together(&STORE_JOBS, parts).await?;
    count(batch, &jobs);
    Ok(())
}

fn bind_jobs<'v>(jobs: &'v [(&'v Routed<'v>, JobState)], now: Timestamp) -> Rows<'v> {
    Rows::of(jobs, |(routed, state), values| {
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
}

fn count(batch: &mut Batch<'_>, jobs: &[(&Routed<'_>, JobState)]) {
    for (routed, state) in jobs {
        batch.moves.add(routed.lane, None, Some(*state));
    }
}

/// The subject of a route.
type Subject<'a> = (&'a LaneKey, &'a RouteName, &'a str);

/// The watermarks of the subjects of some jobs.
struct Watermarks<'a> {
    /// Whose are looked up, with the numbers by which the store answers.
    asked: Vec<(i64, Subject<'a>)>,
    /// Where they stand.
    marks: HashMap<Subject<'a>, Timestamp>,
    /// Where they are to stand.
    advanced: HashMap<Subject<'a>, Timestamp>,
}

impl<'a> Watermarks<'a> {
    fn asked_by(jobs: &[Routed<'a>]) -> Self {
        let mut asked: Vec<Subject<'a>> = jobs
            .iter()
            .filter_map(|routed| routed.subject.map(|subject| (routed.lane, &routed.job.route, subject)))
            .collect();
        asked.sort_unstable();
        asked.dedup();
        Self { asked: (0..).zip(asked).collect(), marks: HashMap::new(), advanced: HashMap::new() }
    }

    /// The store's answer for what was asked under this number.
    fn found(&mut self, number: usize, mark: Timestamp) {
        if let Some((_, subject)) = self.asked.get(number) {
            self.marks.insert(*subject, mark);
        }
    }

    /// Compares jobs with the marks, in order, and advances those. Each job with the state in which
    /// it begins its life.
    fn pass<'j>(&mut self, jobs: &'j [Routed<'a>], now: Timestamp) -> Vec<(&'j Routed<'a>, JobState)> {
        let horizon = now.plus(MAX_AHEAD);
        let mut passed = Vec::with_capacity(jobs.len());
        for routed in jobs {
            let Some(subject) = routed.subject else {
                passed.push((routed, JobState::Pending));
                continue;
            };
            let key = (routed.lane, &routed.job.route, subject);
            let mark = self.marks.get(&key).copied();
            // Equal is not older: vendors with whole seconds send several events of one moment.
            if mark.is_some_and(|mark| routed.occurred_at < mark) {
                passed.push((routed, JobState::Superseded));
                continue;
            }
            passed.push((routed, JobState::Pending));
            if routed.occurred_at <= horizon && mark.is_none_or(|mark| mark < routed.occurred_at) {
                self.marks.insert(key, routed.occurred_at);
                self.advanced.insert(key, routed.occurred_at);
            }
        }
        passed
    }

    /// The marks that moved, sorted.
    fn advanced(self) -> Vec<(Subject<'a>, Timestamp)> {
        let mut advanced: Vec<_> = self.advanced.into_iter().collect();
        advanced.sort_unstable_by_key(|(subject, _)| *subject);
        advanced
    }
}

fn bind_asked<'v>((number, (lane, route, subject)): &'v (i64, Subject<'v>), values: &mut Values<'v>) {
    values.add(*number);
    values.lane(lane);
    values.add(route.as_str());
    values.add(*subject);
}

fn bind_advanced<'v>(((lane, route, subject), occurred_at): &'v (Subject<'v>, Timestamp), values: &mut Values<'v>) {
    values.lane(lane);
    values.add(route.as_str());
    values.add(*subject);
    values.add(*occurred_at);
}
