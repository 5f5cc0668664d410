//! Retention (DESIGN §5), a small batch at a time.
//!
//! What may go is chosen through a reader, so that looking does not hold up deliveries; it is
//! removed by the writer, which checks again under its lock. Rows are looked at in the order in
//! which they were stored; where the last call ended is kept, so that what must stay is not looked
//! at again before everything else was.

use std::{collections::HashMap, time::Duration};

use sluice_actors::{
    domain::{EventId, JobId, JobState, LaneKey, Timestamp},
    ports::StoreUnavailable,
};

use super::{
    Store,
    batch::Batch,
    command::Command,
    jobs::ReadFailed,
    rows::{Reader, Row},
    session::Pool,
    sql::{Statement, bulk, sql},
    value::{Values, values},
};
use crate::api::records::{Retention, Swept};

/// Rows that one call looks at for each row it may remove.
const LOOK_AHEAD: usize = 8;

/// What the removal of a row costs in a log, about.
const ROW: u64 = 1024;

/// Handshakes are for the minutes of a set-up.
const HANDSHAKES: Duration = Duration::from_secs(30 * 86_400);

/// Where the last call ended.
#[derive(Debug, Default)]
pub(super) struct Position {
    payloads: i64,
    events: i64,
    watermarks: (String, String, String, String),
    keys: (String, String, Vec<u8>),
}

/// What one command removes.
pub(super) enum Victims {
    Payloads(Vec<i64>),
    /// Number, and whether its keys must outlive it.
    Events(Vec<(i64, bool)>),
    DeadLetters(Vec<JobId>),
    Watermarks {
        keys: Vec<[String; 4]>,
        before: Timestamp,
    },
    Keys(Vec<(String, String, Vec<u8>)>),
    Handshakes {
        before: Timestamp,
        limit: usize,
    },
}

impl Victims {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Payloads(rows) => rows.len(),
            Self::Events(rows) => rows.len(),
            Self::DeadLetters(rows) => rows.len(),
            Self::Watermarks { keys, .. } => keys.len(),
            Self::Keys(rows) => rows.len(),
            Self::Handshakes { .. } => 1,
        }
    }
}

impl Store {
    /// One batch of each kind.
    pub(super) async fn sweep_once(&self, retention: &Retention, now: Timestamp) -> Result<Swept, StoreUnavailable> {
        // One sweep at a time; its position is nobody else's.
        let mut position = self.shared.sweeping.lock().await;
        let readers = self.readers();
        let chosen = Chooser { readers: &readers.people, retention, now };
        let (payloads, to_archive) = chosen.payloads(&mut position).await?;
        let payloads = self.remove(payloads).await?;
        let dead_letters = self.remove(chosen.dead_letters().await?).await?;
        let events = self.remove(chosen.events(&mut position).await?).await?;
        let mut other = self.remove(chosen.watermarks(&mut position).await?).await?;
        other += self.remove(chosen.keys(&mut position).await?).await?;
        let handshakes = Victims::Handshakes { before: now.minus(HANDSHAKES), limit: retention.batch };
        other += self.remove(handshakes).await?;
        Ok(Swept { payloads, events, dead_letters, other, to_archive })
    }

    async fn remove(&self, victims: Victims) -> Result<u64, StoreUnavailable> {
        if victims.len() == 0 {
            return Ok(0);
        }
        Ok(self.shared.writer.submit(|reply| Command::Sweep { victims, reply }).await?)
    }
}

struct Chooser<'a> {
    readers: &'a Pool,
    retention: &'a Retention,
    now: Timestamp,
}

impl Chooser<'_> {
    fn window(&self) -> i64 {
        (self.retention.batch * LOOK_AHEAD) as i64
    }

    async fn rows(&self, statement: &'static Statement, values: Values<'_>) -> Result<Vec<Row>, sqlx::Error> {
        self.readers.rows(statement, values).await
    }

    /// Those that may go, and those that are to be archived first.
    async fn payloads(&self, position: &mut Position) -> Result<(Victims, Vec<EventId>), ReadFailed> {
        let cutoff = self.now.minus(self.retention.raw);
        let rows = self.rows(sql!("sweepable_payloads"), values![position.payloads, self.window()]).await?;
        let (mut chosen, mut to_archive) = (Vec::new(), Vec::new());
        let mut at = 0;
        for row in &rows {
            let row = Reader::new(row, "payloads", "seq");
            if row.time("received_at")? >= cutoff || chosen.len() == self.retention.batch {
                // What follows is younger: begin again at the oldest the next time.
                at = if chosen.len() == self.retention.batch { at } else { 0 };
                break;
            }
            at = row.get("seq")?;
            if row.get("free")? {
                if self.retention.archive && !row.get::<bool>("archived")? {
                    to_archive.push(row.event_id("id")?);
                } else {
                    chosen.push(at);
                }
            }
        }
        position.payloads =
            if (rows.len() as i64) < self.window() && chosen.len() < self.retention.batch { 0 } else { at };
        Ok((Victims::Payloads(chosen), to_archive))
    }

    async fn events(&self, position: &mut Position) -> Result<Victims, ReadFailed> {
        let cutoff = self.now.minus(self.retention.events);
        let live: HashMap<&LaneKey, _> =
            self.retention.live_secrets.iter().map(|(lane, secrets)| (lane, secrets)).collect();
        let rows = self.rows(sql!("sweepable_events"), values![position.events, self.window()]).await?;
        let mut chosen = Vec::new();
        let mut at = 0;
        for row in &rows {
            let row = Reader::new(row, "events", "seq");
            if row.time("received_at")? >= cutoff || chosen.len() == self.retention.batch {
                at = if chosen.len() == self.retention.batch { at } else { 0 };
                break;
            }
            at = row.get("seq")?;
            if row.get("free")? {
                let secret: String = row.get("secret_version")?;
                let secret_lives =
                    live.get(&row.lane()?).is_some_and(|secrets| secrets.iter().any(|live| **live == *secret));
                chosen.push((at, secret_lives && !row.get::<bool>("keys_expire")?));
            }
        }
        position.events =
            if (rows.len() as i64) < self.window() && chosen.len() < self.retention.batch { 0 } else { at };
        Ok(Victims::Events(chosen))
    }

    async fn dead_letters(&self) -> Result<Victims, ReadFailed> {
        let cutoff = self.now.minus(self.retention.dead_letters);
        let rows = self.rows(sql!("sweepable_dead_letters"), values![cutoff, self.retention.batch as i64]).await?;
        let jobs = rows.iter().map(|row| Reader::new(row, "dead_letters", "job_id").job_id("job_id"));
        Ok(Victims::DeadLetters(jobs.collect::<Result<_, _>>()?))
    }

    /// A subject that was silent for as long as events are kept has no older event left to arrive.
    async fn watermarks(&self, position: &mut Position) -> Result<Victims, ReadFailed> {
        let before = self.now.minus(self.retention.events);
        let (tenant, source, route, subject) = position.watermarks.clone();
        let values = values![tenant, source, route, subject, self.window()];
        let rows = self.rows(sql!("sweepable_watermarks"), values).await?;
        let mut keys = Vec::new();
        position.watermarks = Default::default();
        for row in &rows {
            let columns = Reader::new(row, "watermarks", "occurred_at");
            let key: [String; 4] =
                [columns.get("tenant")?, columns.get("source")?, columns.get("route")?, columns.get("subject_id")?];
            if rows.len() as i64 == self.window() {
                let [tenant, source, route, subject] = key.clone();
                position.watermarks = (tenant, source, route, subject);
            }
            if columns.time("occurred_at")? < before && keys.len() < self.retention.batch {
                keys.push(key);
            }
        }
        Ok(Victims::Watermarks { keys, before })
    }

    /// Kept keys whose secret is retired.
    async fn keys(&self, position: &mut Position) -> Result<Victims, ReadFailed> {
        let (tenant, source, key) = position.keys.clone();
        let rows = self.rows(sql!("sweepable_keys"), values![tenant, source, key, self.window()]).await?;
        let mut chosen = Vec::new();
        position.keys = Default::default();
        for row in &rows {
            let columns = Reader::new(row, "keys", "tenant");
            let key: (String, String, Vec<u8>) = (columns.get("tenant")?, columns.get("source")?, columns.get("key")?);
            let secret: String = columns.get("secret_version")?;
            let lives = self.retention.live_secrets.iter().any(|(lane, secrets)| {
                lane.tenant.as_str() == key.0
                    && lane.source.as_str() == key.1
                    && secrets.iter().any(|live| **live == *secret)
            });
            if rows.len() as i64 == self.window() {
                position.keys = key.clone();
            }
            if !lives && chosen.len() < self.retention.batch {
                chosen.push(key);
            }
        }
        Ok(Victims::Keys(chosen))
    }
}

bulk!(DELETE_PAYLOADS, "delete_payloads");
bulk!(HOLD_EVENTS, "hold_events");
bulk!(FREE_EVENTS, "free_events");
bulk!(KEEP_KEYS, "keep_keys");
bulk!(DELETE_ATTEMPTS_OF_EVENTS, "delete_attempts_of_events");
bulk!(DELETE_RESULTS_OF_EVENTS, "delete_results_of_events");
bulk!(DELETE_DEAD_LETTERS_OF_EVENTS, "delete_dead_letters_of_events");
bulk!(DELETE_JOBS_OF_EVENTS, "delete_jobs_of_events");
bulk!(DELETE_FORMS_OF_EVENTS, "delete_forms_of_events");
bulk!(DELETE_PAYLOADS_OF_EVENTS, "delete_payloads_of_events");
bulk!(DELETE_EVENTS, "delete_events");
bulk!(EXPIRE_ARTIFACTS_OF_EVENTS, "expire_artifacts_of_events");
bulk!(EXPIRE_ARTIFACTS_OF_JOBS, "expire_artifacts_of_jobs");
bulk!(DELETE_DEAD_JOBS, "delete_dead_jobs");
bulk!(DELETE_ATTEMPTS_OF_JOBS, "delete_attempts_of_jobs");
bulk!(DELETE_RESULTS_OF_JOBS, "delete_results_of_jobs");
bulk!(DELETE_DEAD_LETTERS_OF_JOBS, "delete_dead_letters_of_jobs");
bulk!(DELETE_WATERMARKS, "delete_watermarks");
bulk!(DELETE_KEYS, "delete_keys");

/// Removes what was chosen, as far as it may still go. Returns how many.
pub(super) async fn remove(batch: &mut Batch<'_>, victims: &Victims) -> Result<u64, sqlx::Error> {
    let removed = match victims {
        Victims::Payloads(rows) => batch.bulk(&DELETE_PAYLOADS, rows, |seq, values| values.add(*seq)).await?.len(),
        Victims::Events(rows) => remove_events(batch, rows).await?,
        Victims::DeadLetters(rows) => remove_dead_letters(batch, rows).await?,
        Victims::Watermarks { keys, before } => {
            let rows = batch.bulk(&DELETE_WATERMARKS, keys, |key, values| {
                for part in key {
                    values.add(part.as_str());
                }
                values.add(*before);
            });
            rows.await?.len()
        }
        Victims::Keys(rows) => {
            let rows = batch.bulk(&DELETE_KEYS, rows, |(tenant, source, key), values| {
                values.add(tenant.as_str());
                values.add(source.as_str());
                values.add(key.as_slice());
            });
            rows.await?.len()
        }
        Victims::Handshakes { before, limit } => {
            return batch.execute(sql!("delete_handshakes"), values![*before, *limit as i64]).await;
        }
    };
    batch.bytes += ROW * removed as u64;
    Ok(removed as u64)
}

async fn remove_events(batch: &mut Batch<'_>, chosen: &[(i64, bool)]) -> Result<usize, sqlx::Error> {
    // First held fast: where others write too, only what is looked at afterwards is still so.
    batch.bulk(&HOLD_EVENTS, chosen, |(seq, _), values| values.add(*seq)).await?;
    let rows = batch.bulk(&FREE_EVENTS, chosen, |(seq, _), values| values.add(*seq)).await?;
    let mut free: HashMap<i64, EventId> = HashMap::with_capacity(rows.len());
    for row in &rows {
        let row = Reader::new(row, "events", "id");
        free.insert(row.get("seq")?, row.event_id("id")?);
    }
    let keeping: Vec<i64> =
        chosen.iter().filter(|(seq, keep)| *keep && free.contains_key(seq)).map(|(seq, _)| *seq).collect();
    batch.bulk(&KEEP_KEYS, &keeping, |seq, values| values.add(*seq)).await?;
    let (seqs, ids): (Vec<i64>, Vec<EventId>) = free.into_iter().unzip();
    let now = batch.now;
    // Their objects go with the next sweep of artifacts.
    batch
        .bulk(&EXPIRE_ARTIFACTS_OF_EVENTS, &ids, |id, values| {
            values.add(*id);
            values.add(now);
        })
        .await?;
    for statement in
        [&DELETE_ATTEMPTS_OF_EVENTS, &DELETE_RESULTS_OF_EVENTS, &DELETE_DEAD_LETTERS_OF_EVENTS, &DELETE_JOBS_OF_EVENTS]
    {
        batch.bulk(statement, &ids, |id, values| values.add(*id)).await?;
    }
    for statement in [&DELETE_FORMS_OF_EVENTS, &DELETE_PAYLOADS_OF_EVENTS, &DELETE_EVENTS] {
        batch.bulk(statement, &seqs, |seq, values| values.add(*seq)).await?;
    }
    Ok(seqs.len())
}

async fn remove_dead_letters(batch: &mut Batch<'_>, jobs: &[JobId]) -> Result<usize, sqlx::Error> {
    let rows = batch.bulk(&DELETE_DEAD_JOBS, jobs, |job, values| values.add(*job)).await?;
    let mut removed = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = Reader::new(row, "jobs", "id");
        removed.push(row.job_id("id")?);
        batch.moves.add(&row.lane()?, Some(JobState::DeadLetter), None);
    }
    let now = batch.now;
    batch
        .bulk(&EXPIRE_ARTIFACTS_OF_JOBS, &removed, |job, values| {
            values.add(*job);
            values.add(now);
        })
        .await?;
    for statement in [&DELETE_ATTEMPTS_OF_JOBS, &DELETE_RESULTS_OF_JOBS, &DELETE_DEAD_LETTERS_OF_JOBS] {
        batch.bulk(statement, &removed, |job, values| values.add(*job)).await?;
    }
    Ok(removed.len())
}
