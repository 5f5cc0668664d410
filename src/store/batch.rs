//! One transaction while it is filled: the commands of a batch as statements, the same for every
//! engine.

use sluice_actors::domain::{JobId, Timestamp};

use super::{
    accounts, alerts, artifacts,
    command::Command,
    counters::Moves,
    data_keys, erase, people, record, reseal, revoked,
    rows::Row,
    runs,
    session::Session,
    sql::{Bulk, Statement, sql},
    sweep, traffic,
    value::{Rows, Values},
};
use crate::seal::Ring;

/// How many numbers of events there are in a block: the step of the sequence on Postgres.
const NUMBERS: i64 = 512;

/// What a small write costs in a log, about.
const SMALL_WRITE: u64 = 1024;

/// One transaction.
pub(super) struct Batch<'a> {
    session: Session<'a>,
    /// The moment of this batch.
    pub(super) now: Timestamp,
    /// This life of the process.
    pub(super) owner: &'a str,
    /// The keys by which values are opened.
    pub(super) ring: &'a Ring,
    /// What it does to the counters.
    pub(super) moves: Moves,
    /// Bytes handed to the engine, about.
    pub(super) bytes: u64,
    /// The number of the next event, where nobody else gives numbers and it is known.
    pub(super) next_number: Option<i64>,
    /// The others took this node for dead: it begins and ends nothing.
    pub(super) is_dead: bool,
}

impl<'a> Batch<'a> {
    /// An empty one. `session`: in a transaction.
    pub(super) fn new(session: Session<'a>, now: Timestamp, owner: &'a str, ring: &'a Ring) -> Self {
        Self { session, now, owner, ring, moves: Moves::default(), bytes: 0, next_number: None, is_dead: false }
    }

    /// Whether others may write between two statements of this batch.
    pub(super) const fn others_write(&self) -> bool {
        match self.session {
            Session::Sqlite(_) => false,
            Session::Postgres(_) => true,
        }
    }

    /// Runs a statement for many rows; returns the rows it returned.
    pub(super) async fn bulk<'v, T>(
        &mut self,
        statement: &Bulk,
        rows: &'v [T],
        bind: impl Fn(&'v T, &mut Values<'v>),
    ) -> Result<Vec<Row>, sqlx::Error> {
        self.together(statement, vec![Rows::of(rows, bind)]).await
    }

    /// Runs several statements, each for its rows, as one request where the engine can; returns the
    /// rows they returned.
    pub(super) async fn together(&mut self, statements: &Bulk, parts: Vec<Rows<'_>>) -> Result<Vec<Row>, sqlx::Error> {
        if parts.iter().all(|part| part.count == 0) {
            return Ok(Vec::new());
        }
        self.session.bulk(statements, parts).await
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        statement: &'static Statement,
        values: Values<'_>,
    ) -> Result<u64, sqlx::Error> {
        self.bytes += SMALL_WRITE;
        self.session.execute(statement, values).await
    }

    /// Runs a statement; returns the rows it returned.
    pub(super) async fn fetch(
        &mut self,
        statement: &'static Statement,
        values: Values<'_>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        self.session.fetch(statement, values).await
    }

    /// Which blocks of numbers to ask the store for, so that each of `count` events has one: by the first
    /// event of each.
    pub(super) fn number_blocks(&self, count: usize) -> Vec<i64> {
        let count = if self.next_number.is_some() { 0 } else { count as i64 };
        (0..count).step_by(NUMBERS as usize).collect()
    }

    /// The numbers of `count` events, rising: from the blocks that begin with `starts`, or counted on.
    pub(super) fn numbers(&mut self, mut starts: Vec<i64>, count: usize) -> Vec<i64> {
        if let Some(next) = self.next_number {
            self.next_number = Some(next + count as i64);
            return (next..next + count as i64).collect();
        }
        starts.sort_unstable();
        let numbers: Vec<i64> = starts.into_iter().flat_map(|start| start..start + NUMBERS).take(count).collect();
        if !self.others_write() {
            self.next_number = numbers.last().map(|last| last + 1);
        }
        numbers
    }
}

/// All commands of a batch, each kind at once where many are likely.
pub(super) async fn carry_out(batch: &mut Batch<'_>, commands: &mut [Command]) -> Result<(), sqlx::Error> {
    let mut records = Vec::new();
    let mut begins = Vec::new();
    let mut checkpoints = Vec::new();
    let mut ends = Vec::new();
    let mut others = Vec::new();
    for command in commands {
        match command {
            Command::Record { delivery, reply } => records.push((delivery.as_slice(), reply)),
            Command::Begin { job, alone, epoch, reply } => begins.push((*job, (*alone, *epoch, reply))),
            Command::Checkpoint { job, fence, stage, state, reply } => {
                checkpoints.push((*job, (*fence, *stage, state.as_str(), reply)));
            }
            Command::End { end, result, reply } => ends.push((end.job, (&**end, result.as_deref(), reply))),
            other => others.push(other),
        }
    }
    record::record(batch, records).await?;
    for round in rounds(checkpoints) {
        runs::checkpoint(batch, round).await?;
    }
    for round in rounds(ends) {
        runs::end(batch, round).await?;
    }
    for round in rounds(begins) {
        runs::begin(batch, round).await?;
    }
    for other in others {
        carry_out_one(batch, other).await?;
    }
    Ok(())
}

async fn carry_out_one(batch: &mut Batch<'_>, command: &mut Command) -> Result<(), sqlx::Error> {
    match command {
        Command::Recover { reply } => reply.set(runs::recover(batch).await?),
        Command::Abandon { job, reply } => reply.set(runs::abandon(batch, *job).await?),
        Command::Replay { job, mandate, run_at, reply } => {
            reply.set(runs::replay(batch, *job, mandate, *run_at).await?);
        }
        Command::KeepPause { lane, paused, mandate, reply } => {
            reply.set(people::keep_pause(batch, lane, *paused, mandate).await?);
        }
        Command::ChangeAccount { change, audit, reply } => reply.set(accounts::change(batch, change, audit).await?),
        Command::Switch { switch, on, audit, reply } => {
            reply.set(people::switch(batch, switch, *on, audit).await?);
        }
        Command::Revoke { revocation, audit, reply } => reply.set(revoked::revoke(batch, revocation, audit).await?),
        Command::Unrevoke { revocations, audit, reply } => {
            reply.set(revoked::unrevoke(batch, revocations, audit).await?);
        }
        Command::KeepBreakers { lane, breakers, reply } => {
            reply.set(people::keep_breakers(batch, lane, breakers).await?);
        }
        Command::RecordJobs { events, audit, reply } => {
            let new = people::record_jobs(batch, events).await?;
            people::audit(batch, audit).await?;
            reply.set(new);
        }
        Command::Release { event, form, jobs, audit, reply } => {
            let released = people::release(batch, *event, form, jobs).await?;
            if released {
                people::audit(batch, audit).await?;
            }
            reply.set(released);
        }
        Command::Cancel { job, audit, reply } => {
            let cancelled = people::cancel(batch, *job).await?;
            if cancelled {
                people::audit(batch, audit).await?;
            }
            reply.set(cancelled);
        }
        Command::Audit { entry, reply } => reply.set(people::audit(batch, entry).await?),
        Command::KeepRefusal { row, reply } => reply.set(people::keep_refusal(batch, row).await?),
        Command::KeepHandshake { row, reply } => reply.set(people::keep_handshake(batch, row).await?),
        Command::TakeHandshake { tenant, source, audit, reply } => {
            let taken = people::take_handshake(batch, tenant, source).await?;
            if taken.is_some() {
                people::audit(batch, audit).await?;
            }
            reply.set(taken);
        }
        Command::KeepTraffic { kept, reply } => reply.set(traffic::keep(batch, kept).await?),
        Command::TokenUsed { digest, reply } => reply.set(accounts::token_used(batch, digest).await?),
        Command::Erase { events, audit, reply } => reply.set(erase::erase(batch, events, audit).await?),
        Command::RaiseAlert { raise, reply } => reply.set(alerts::raise(batch, raise).await?),
        Command::TakeHeldAlert { held, reply } => reply.set(alerts::take_held(batch, held).await?),
        Command::AddArtifact { artifact, leave, reply } => reply.set(artifacts::add(batch, artifact, *leave).await?),
        Command::ArtifactStored { id, reply } => reply.set(artifacts::stored(batch, *id).await?),
        Command::UseUpload { used, reply } => reply.set(artifacts::use_upload(batch, used).await?),
        Command::EndPromises { ids, now, reply } => reply.set(artifacts::end_promises(batch, ids, *now).await?),
        Command::EndErased { now, reply } => reply.set(artifacts::end_erased(batch, *now).await?),
        Command::ForgetArtifacts { ids, now, reply } => reply.set(artifacts::forget(batch, ids, *now).await?),
        Command::EraseArtifacts { tenant, subject, reply } => {
            reply.set(artifacts::erase_subject(batch, tenant, subject).await?);
        }
        Command::ChangeKeys { change, audit, reply } => {
            reply.set(data_keys::change(batch, change, audit.as_ref()).await?);
        }
        Command::SealRows { key, rows, reply } => reply.set(reseal::write(batch, *key, rows).await?),
        Command::Sweep { victims, reply } => reply.set(sweep::remove(batch, victims).await?),
        Command::Ping { reply } => {
            batch.fetch(sql!("can_write"), Values::default()).await?;
            reply.set(());
        }
        Command::Record { .. } | Command::Begin { .. } | Command::Checkpoint { .. } | Command::End { .. } => {}
    }
    Ok(())
}

/// Parts requests so that no job is asked twice in one statement, which could not tell them apart.
fn rounds<T>(requests: Vec<(JobId, T)>) -> Vec<Vec<(JobId, T)>> {
    let mut rounds: Vec<Vec<(JobId, T)>> = Vec::new();
    let mut seen = std::collections::HashMap::new();
    for (job, request) in requests {
        let round: &mut usize = seen.entry(job).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push((job, request));
        *round += 1;
    }
    rounds
}
