//! The writes of a job's life: begin, checkpoint, end, recover, replay.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use serde_json::Value;
use sluice_actors::{
    domain::{CheckpointStage, DeadReason, Epoch, Fence, HoldReason, JobId, JobState, LaneKey, Mandate, Timestamp},
    policy::retry::suspect_backoff,
    ports::{AttemptEnd, Begin, Begun, Fenced, Recovered, Verdict},
};

use super::{
    batch::Batch,
    data_keys::stored_key,
    people,
    rows::{self, Reader, Row},
    sealing::form_row,
    sql::{bulk, sql},
    value::{Rows, values},
};
use crate::{
    ingest::writer::Reply,
    seal::{Column, Opened, Place, Ring, SealError, text_sealed_by},
};

bulk!(FIND_BEGINS, "find_begins");
bulk!(BEGIN_JOBS, "begin_jobs");
bulk!(CHECKPOINT_JOBS, "checkpoint_jobs");
bulk!(END_JOBS, "end_jobs");
bulk!(INSERT_OUTCOMES, "insert_attempts", "insert_results", "insert_dead_letters");
bulk!(INSERT_DEAD_LETTERS, "insert_dead_letters");

/// Deaths of the process, while a job ran alone, that make it a dead letter.
const POISON_DEATHS: u32 = 3;

/// What a checkpoint or a small row costs in the log beside its content, about.
const ROW: u64 = 512;

/// Why a job that needs it is a dead letter.
const PAST_RETENTION: &str = "its event or its normalised form is past retention";
const ERASED: &str = "its payload was erased with the key of its tenant";

/// What became of a begin before it is written.
enum Found {
    Begun(Box<Begun>),
    Superseded(LaneKey, JobState),
    /// With why.
    Gone(LaneKey, JobState, &'static str),
    NotStartable,
    NotOwner,
}

/// A begin asked for: whether it runs alone, of which epoch of its lane, and who waits.
type Asked<'r> = (bool, Epoch, &'r mut Reply<Begin>);

/// Begins jobs, each of them once.
pub(super) async fn begin(batch: &mut Batch<'_>, asked: Vec<(JobId, Asked<'_>)>) -> Result<(), sqlx::Error> {
    if batch.is_dead {
        for (_, (_, _, reply)) in asked {
            batch.moves.refused += 1;
            reply.set(Begin::NotOwner);
        }
        return Ok(());
    }
    let owner = batch.owner;
    let numbered: Vec<(i64, JobId, Epoch)> =
        (0..).zip(&asked).map(|(number, (job, (_, epoch, _)))| (number, *job, *epoch)).collect();
    let rows = batch
        .bulk(&FIND_BEGINS, &numbered, |(number, job, epoch), values| {
            values.add(*number);
            values.add(*job);
            values.add(owner);
            values.add(epoch.0);
        })
        .await?;
    learn(batch, &rows).await?;
    let mut found: Vec<Found> = asked.iter().map(|_| Found::NotStartable).collect();
    for row in &rows {
        let number: usize = Reader::new(row, "jobs", "id").number("number")?;
        if let Some(slot) = found.get_mut(number) {
            *slot = look(row, batch.ring)?;
        }
    }

    let now = batch.now;
    let begun: Vec<(JobId, bool)> = asked
        .iter()
        .zip(&found)
        .filter(|(_, found)| matches!(found, Found::Begun(_)))
        .map(|((job, (alone, ..)), _)| (*job, *alone))
        .collect();
    batch
        .bulk(&BEGIN_JOBS, &begun, |(job, alone), values| {
            values.add(*job);
            values.add(*alone);
            values.add(owner);
            values.add(now);
        })
        .await?;
    batch.bytes += ROW * asked.len() as u64;

    for ((job, (_, _, reply)), found) in asked.into_iter().zip(found) {
        reply.set(match found {
            Found::Begun(mut begun) => {
                batch.moves.add(&begun.job.lane, Some(begun.job.state), Some(JobState::Running));
                begun.job.state = JobState::Running;
                begun.job.claims += 1;
                begun.job.fence = Fence(begun.job.fence.0 + 1);
                Begin::Begun(begun)
            }
            Found::Superseded(lane, was) => {
                batch.execute(sql!("supersede_job"), values![job, now]).await?;
                batch.moves.add(&lane, Some(was), Some(JobState::Superseded));
                Begin::Superseded
            }
            Found::Gone(lane, was, detail) => {
                batch.execute(sql!("bury_job"), values![job, detail, now]).await?;
                insert_dead_letters(batch, &[(job, DeadReason::Gone, detail)]).await?;
                batch.moves.add(&lane, Some(was), Some(JobState::DeadLetter));
                Begin::Gone
            }
            Found::NotStartable => Begin::NotStartable,
            Found::NotOwner => {
                batch.moves.refused += 1;
                Begin::NotOwner
            }
        });
    }
    Ok(())
}

/// Takes the data keys into use that rows to begin with need and this process does not have.
async fn learn(batch: &mut Batch<'_>, rows: &[Row]) -> Result<(), sqlx::Error> {
    for row in rows {
        for column in ["form", "checkpoint"] {
            let text: Option<Cow<'_, str>> = Reader::new(row, "jobs", "id").opt(column)?;
            let Some(id) = text.and_then(|text| text_sealed_by(&text)) else { continue };
            if batch.ring.held(id).is_some() {
                continue;
            }
            for key in &batch.fetch(sql!("data_key"), values![id]).await? {
                batch.ring.take(&stored_key(key)?)?;
            }
        }
    }
    Ok(())
}

/// JSON of a row, opened; `None`: its key was erased.
fn opened(ring: &Ring, place: &Place<'_>, text: Cow<'_, str>) -> Result<Option<Value>, sqlx::Error> {
    let Opened::Plain(text) = ring.open_text(place, text.into_owned())? else { return Ok(None) };
    let value = serde_json::from_str(&text).map_err(|_| SealError::Damaged { column: place.column })?;
    Ok(Some(value))
}

fn look(row: &Row, ring: &Ring) -> Result<Found, sqlx::Error> {
    let job = rows::job(row)?;
    if !job.state.is_startable() {
        return Ok(Found::NotStartable);
    }
    let columns = Reader::new(row, "jobs", "id");
    if !columns.get::<bool>("owned")? {
        return Ok(Found::NotOwner);
    }
    let Some(form) = columns.opt::<Cow<'_, str>>("form")? else {
        return Ok(Found::Gone(job.lane, job.state, PAST_RETENTION));
    };
    let tenant = job.lane.tenant.as_str();
    let bound = form_row(job.event_id.as_uuid(), columns.number("schema_version")?);
    let Some(data) = opened(ring, &Place { tenant, column: Column::Form, row: &bound }, form)? else {
        return Ok(Found::Gone(job.lane, job.state, ERASED));
    };
    let event = rows::envelope(row, job.lane.clone(), data)?;
    let watermark = columns.time_or_none("watermark")?;
    if watermark.is_some_and(|mark| event.occurred_at < mark) {
        return Ok(Found::Superseded(job.lane, job.state));
    }
    let checkpoint = if job.stage > CheckpointStage::None {
        let bound = job.id.as_uuid();
        let place = Place { tenant, column: Column::Checkpoint, row: bound.as_bytes() };
        let Some(checkpoint) = opened(ring, &place, columns.get("checkpoint")?)? else {
            return Ok(Found::Gone(job.lane, job.state, ERASED));
        };
        Some(checkpoint)
    } else {
        None
    };
    Ok(Found::Begun(Box::new(Begun { job, event, checkpoint })))
}

/// Gives back a job that this life marked running without anyone running it.
pub(super) async fn abandon(batch: &mut Batch<'_>, job: JobId) -> Result<bool, sqlx::Error> {
    if batch.is_dead {
        return Ok(false);
    }
    let back = batch.fetch(sql!("abandon_job"), values![job, batch.owner, batch.now]).await?;
    let Some(row) = back.first() else { return Ok(false) };
    let row = Reader::new(row, "jobs", "tenant");
    batch.moves.add(&row.lane()?, Some(JobState::Running), Some(row.state()?));
    Ok(true)
}

/// A checkpoint asked for: under which fence, how far it goes, what, and who waits.
type Checkpoint<'a, 'r> = (Fence, CheckpointStage, &'a str, &'r mut Reply<Fenced>);

/// Keeps checkpoints, each job's once.
pub(super) async fn checkpoint(
    batch: &mut Batch<'_>,
    asked: Vec<(JobId, Checkpoint<'_, '_>)>,
) -> Result<(), sqlx::Error> {
    if batch.is_dead {
        refuse(batch, asked.into_iter().map(|(_, (.., reply))| reply));
        return Ok(());
    }
    let kept = batch
        .bulk(&CHECKPOINT_JOBS, &asked, |(job, (fence, stage, state, _)), values| {
            values.add(*job);
            values.add(fence.0);
            values.add(i64::from(stage.number()));
            values.add(*state);
        })
        .await?;
    let kept = kept.iter().map(|row| Reader::new(row, "jobs", "id").job_id("id")).collect::<Result<HashSet<_>, _>>()?;
    for (job, (_, _, state, reply)) in asked {
        batch.bytes += ROW + state.len() as u64;
        batch.moves.refused += u64::from(!kept.contains(&job));
        reply.set(if kept.contains(&job) { Fenced::Applied } else { Fenced::Lost });
    }
    Ok(())
}

/// Drops what a node writes that was taken for dead.
fn refuse<'r>(batch: &mut Batch<'_>, replies: impl Iterator<Item = &'r mut Reply<Fenced>>) {
    for reply in replies {
        batch.moves.refused += 1;
        reply.set(Fenced::Lost);
    }
}

/// How a verdict is written.
struct Ending<'a> {
    /// The new state, or `held`.
    word: &'static str,
    next_run_at: Option<Timestamp>,
    error: Option<Cow<'a, str>>,
}

impl<'a> Ending<'a> {
    fn of(verdict: &'a Verdict) -> Self {
        match verdict {
            Verdict::Succeeded(_) => Self { word: JobState::Succeeded.as_str(), next_run_at: None, error: None },
            Verdict::Failed { next_run_at, error } => Self {
                word: JobState::Failed.as_str(),
                next_run_at: Some(*next_run_at),
                error: Some(error.as_str().into()),
            },
            Verdict::Held { next_run_at, reason } => {
                Self { word: "held", next_run_at: Some(*next_run_at), error: Some(held_because(reason).into()) }
            }
            Verdict::Dead { detail, .. } => {
                Self { word: JobState::DeadLetter.as_str(), next_run_at: None, error: Some(detail.as_str().into()) }
            }
        }
    }
}

fn held_because(reason: &HoldReason) -> String {
    reason.to_string()
}

/// An end asked for: what is written, the result of one that succeeded, and who waits.
type End<'a> = (&'a AttemptEnd, Option<&'a str>, &'a mut Reply<Fenced>);

/// Ends attempts, each job's once: the state, the attempt and its result or dead letter.
pub(super) async fn end(batch: &mut Batch<'_>, asked: Vec<(JobId, End<'_>)>) -> Result<(), sqlx::Error> {
    if batch.is_dead {
        refuse(batch, asked.into_iter().map(|(_, (.., reply))| reply));
        return Ok(());
    }
    let now = batch.now;
    let written = batch
        .bulk(&END_JOBS, &asked, |(job, (end, ..)), values| {
            let ending = Ending::of(&end.verdict);
            values.add(*job);
            values.add(end.fence.0);
            values.add(ending.word);
            values.add(ending.next_run_at);
            values.add(ending.error);
            values.add(now);
        })
        .await?;
    let mut applied = HashMap::new();
    for row in &written {
        let row = Reader::new(row, "jobs", "id");
        applied.insert(row.job_id("id")?, (row.lane()?, row.state()?));
    }
    for (lane, state) in applied.values() {
        batch.moves.add(lane, Some(JobState::Running), Some(*state));
    }
    let ends: Vec<(&AttemptEnd, Option<&str>)> = asked
        .iter()
        .filter(|(job, _)| applied.contains_key(job))
        .map(|(_, (end, result, _))| (*end, *result))
        .collect();
    insert_outcomes(batch, &ends).await?;
    batch.bytes += 2 * ROW * asked.len() as u64;
    for (job, (.., reply)) in asked {
        batch.moves.refused += u64::from(!applied.contains_key(&job));
        reply.set(if applied.contains_key(&job) { Fenced::Applied } else { Fenced::Lost });
    }
    Ok(())
}

/// The rows beside the job: attempts, results, dead letters.
async fn insert_outcomes(batch: &mut Batch<'_>, ends: &[(&AttemptEnd, Option<&str>)]) -> Result<(), sqlx::Error> {
    let now = batch.now;
    let counted: Vec<(&AttemptEnd, Option<&str>)> =
        ends.iter().copied().filter(|(end, _)| !matches!(end.verdict, Verdict::Held { .. })).collect();
    let mut results = Vec::new();
    let mut dead = Vec::new();
    for (end, result) in &counted {
        match &end.verdict {
            Verdict::Succeeded(_) => {
                let text = result.unwrap_or("{}");
                batch.bytes += text.len() as u64;
                results.push((end.job, text));
            }
            Verdict::Dead { reason, detail } => dead.push((end.job, *reason, detail.as_str())),
            Verdict::Failed { .. } | Verdict::Held { .. } => {}
        }
    }
    let attempts = Rows::of(&counted, |(end, _), values| {
        let ending = Ending::of(&end.verdict);
        values.add(end.job);
        values.add(end.started_at);
        values.add(i64::try_from(end.duration.as_millis()).unwrap_or(i64::MAX));
        values.add(ending.word);
        values.add(ending.error);
    });
    let results = Rows::of(&results, |(job, text), values| {
        values.add(*job);
        values.add(*text);
        values.add(now);
    });
    batch.together(&INSERT_OUTCOMES, vec![attempts, results, bind_dead_letters(&dead, now)]).await?;
    Ok(())
}

/// A job, why it is dead, and the words for it.
type Dead<'a> = (JobId, DeadReason, &'a str);

async fn insert_dead_letters(batch: &mut Batch<'_>, dead: &[Dead<'_>]) -> Result<(), sqlx::Error> {
    batch.together(&INSERT_DEAD_LETTERS, vec![bind_dead_letters(dead, batch.now)]).await?;
    Ok(())
}

fn bind_dead_letters<'v>(dead: &'v [Dead<'v>], now: Timestamp) -> Rows<'v> {
    Rows::of(dead, |(job, reason, detail), values| {
        values.add(*job);
        values.add(reason.as_str());
        values.add(*detail);
        values.add(now);
    })
}

/// Brings back what dead nodes left running.
pub(super) async fn recover(batch: &mut Batch<'_>) -> Result<Recovered, sqlx::Error> {
    let now = batch.now;
    let mut recovered = Recovered::default();
    let left = batch.fetch(sql!("running_of_others"), values![batch.owner]).await?;
    for row in &left {
        let row = Reader::new(row, "jobs", "id");
        let job = row.job_id("id")?;
        let lane = row.lane()?;
        let suspicion = row.number::<u32>("suspicion")? + 1;
        let deaths = row.number::<u32>("deaths")? + u32::from(row.get::<bool>("alone")?);
        let poison = deaths >= POISON_DEATHS;
        let state = match (poison, row.number::<u32>("attempts")?) {
            (true, _) => JobState::DeadLetter,
            (false, 0) => JobState::Pending,
            (false, _) => JobState::Failed,
        };
        let detail = if poison {
            format!("the process died {POISON_DEATHS} times while this job ran alone")
        } else {
            "the process died while this job ran".to_owned()
        };
        let due = (!poison).then(|| now.plus(suspect_backoff(suspicion)));
        batch
            .execute(sql!("recover_job"), values![job, state.as_str(), deaths, suspicion, due, detail.as_str(), now])
            .await?;
        if poison {
            insert_dead_letters(batch, &[(job, DeadReason::Poison, &detail)]).await?;
            recovered.poisoned += 1;
        } else {
            recovered.suspects += 1;
        }
        batch.moves.add(&lane, Some(JobState::Running), Some(state));
    }
    Ok(recovered)
}

/// Brings a dead letter back, with the audit of it.
pub(super) async fn replay(
    batch: &mut Batch<'_>,
    job: JobId,
    mandate: &Mandate,
    run_at: Timestamp,
) -> Result<bool, sqlx::Error> {
    let now = batch.now;
    let back = batch.fetch(sql!("replay_job"), values![job, run_at, now]).await?;
    let Some(row) = back.first() else { return Ok(false) };
    let lane = Reader::new(row, "jobs", "tenant").lane()?;
    batch.moves.add(&lane, Some(JobState::DeadLetter), Some(JobState::Pending));
    batch.execute(sql!("close_dead_letters"), values![job, now, mandate.by.as_str()]).await?;
    people::audit(batch, &people::entry(mandate, "dead.replay", &lane, &job)).await?;
    Ok(true)
}
