//! The one that writes: batches as transactions, errors as what they mean, checkpoints, reopening.

use std::{fs::File, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sluice_actors::{
    domain::{EventId, Fence, JobId, LaneKey, Timestamp},
    ports::{AttemptEnd, Begin, Clock, Fenced, LaneMemory, Recovered},
};
use sqlx::{Arguments, Connection, SqliteConnection, SqlitePool, sqlite::SqliteArguments, sqlite::SqliteRow};

use super::{
    OpenError,
    counters::{Counters, Moves},
    open::{self, Identity, Opened},
    people, record,
    rows::Reader,
    runs, sweep,
};
use crate::{
    api::records::{AuditEntry, HandshakeRow, RefusalRow, RoutedEvent},
    ingest::{
        NewEvent, NewForm, NewJob, Recorded,
        writer::{self, Reply, WriteError},
    },
    store::sql::{Bulk, sqlite},
};

/// Bytes handed to SQLite since the last checkpoint that make the next one due. The log holds about
/// twice that; the larger it is, the more often a page is written once instead of many times.
const CHECKPOINT_AFTER: u64 = 16 * 1024 * 1024;

/// A log larger than this is cut back when nothing is asked.
const LARGE_LOG: u64 = 64 * 1024 * 1024;

/// What a small write costs in the log, about.
const SMALL_WRITE: u64 = 1024;

/// One request to the writer.
pub(super) enum Command {
    Record { delivery: Vec<NewEvent>, reply: Reply<Vec<Recorded>> },
    Begin { job: JobId, alone: bool, reply: Reply<Begin> },
    Checkpoint { job: JobId, fence: Fence, state: String, reply: Reply<Fenced> },
    End { end: Box<AttemptEnd>, reply: Reply<Fenced> },
    Recover { reply: Reply<Recovered> },
    Replay { job: JobId, by: String, run_at: Timestamp, reply: Reply<bool> },
    SaveLane { lane: LaneKey, memory: LaneMemory, reply: Reply<()> },
    RecordJobs { events: Vec<RoutedEvent>, audit: AuditEntry, reply: Reply<u64> },
    Release { event: EventId, form: NewForm, jobs: Vec<NewJob>, audit: AuditEntry, reply: Reply<bool> },
    Cancel { job: JobId, audit: AuditEntry, reply: Reply<bool> },
    Audit { entry: AuditEntry, reply: Reply<()> },
    KeepRefusal { row: Box<RefusalRow>, reply: Reply<()> },
    KeepHandshake { row: HandshakeRow, reply: Reply<()> },
    TakeHandshake { tenant: String, source: String, reply: Reply<Option<HandshakeRow>> },
    Sweep { victims: sweep::Victims, reply: Reply<u64> },
    Ping { reply: Reply<()> },
}

impl writer::Command for Command {
    fn weight(&self) -> usize {
        match self {
            Self::Record { delivery, .. } => delivery.len(),
            Self::RecordJobs { events, .. } => events.len(),
            Self::Sweep { victims, .. } => victims.len(),
            Self::Begin { .. }
            | Self::Checkpoint { .. }
            | Self::End { .. }
            | Self::Recover { .. }
            | Self::Replay { .. }
            | Self::SaveLane { .. }
            | Self::Release { .. }
            | Self::Cancel { .. }
            | Self::Audit { .. }
            | Self::KeepRefusal { .. }
            | Self::KeepHandshake { .. }
            | Self::TakeHandshake { .. }
            | Self::Ping { .. } => 1,
        }
    }

    fn settle(self, outcome: Result<(), WriteError>) {
        match self {
            Self::Record { reply, .. } => reply.settle(outcome),
            Self::Begin { reply, .. } => reply.settle(outcome),
            Self::Checkpoint { reply, .. } | Self::End { reply, .. } => reply.settle(outcome),
            Self::Recover { reply } => reply.settle(outcome),
            Self::Replay { reply, .. } | Self::Release { reply, .. } | Self::Cancel { reply, .. } => {
                reply.settle(outcome);
            }
            Self::RecordJobs { reply, .. } | Self::Sweep { reply, .. } => reply.settle(outcome),
            Self::TakeHandshake { reply, .. } => reply.settle(outcome),
            Self::SaveLane { reply, .. }
            | Self::Audit { reply, .. }
            | Self::KeepRefusal { reply, .. }
            | Self::KeepHandshake { reply, .. }
            | Self::Ping { reply } => reply.settle(outcome),
        }
    }
}

/// One transaction while it is filled.
pub(super) struct Batch<'a> {
    connection: &'a mut SqliteConnection,
    /// The moment of this batch.
    pub(super) now: Timestamp,
    /// This life of the process.
    pub(super) owner: &'a str,
    /// What it does to the counters.
    pub(super) moves: Moves,
    /// The number of the next event.
    pub(super) next_seq: i64,
    /// Bytes handed to SQLite, about.
    pub(super) bytes: u64,
}

impl Batch<'_> {
    /// Runs a statement for many rows. Returns the rows it returned.
    pub(super) async fn bulk<T>(
        &mut self,
        statement: &Bulk,
        rows: &[T],
        bind: impl Fn(&T, &mut Values) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut returned = Vec::new();
        for (text, chunk) in statement.chunks(rows) {
            let mut values = Values::default();
            for row in chunk {
                bind(row, &mut values)?;
            }
            returned.extend(sqlx::query_with(text, values.0).fetch_all(&mut *self.connection).await?);
        }
        Ok(returned)
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) async fn execute(&mut self, text: &'static str, values: Values) -> Result<u64, sqlx::Error> {
        self.bytes += SMALL_WRITE;
        Ok(sqlx::query_with(text, values.0).execute(&mut *self.connection).await?.rows_affected())
    }

    /// Runs a statement; returns the rows it returned.
    pub(super) async fn fetch(&mut self, text: &'static str, values: Values) -> Result<Vec<SqliteRow>, sqlx::Error> {
        sqlx::query_with(text, values.0).fetch_all(&mut *self.connection).await
    }
}

/// The parameters of a statement, in order.
#[derive(Default)]
pub(super) struct Values(SqliteArguments);

impl Values {
    /// The next parameter.
    pub(super) fn add<'v, T>(&mut self, value: T) -> Result<(), sqlx::Error>
    where
        T: sqlx::Encode<'v, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        self.0.add(value).map_err(sqlx::Error::Encode)
    }

    /// The next parameter: milliseconds since the epoch.
    pub(super) fn time(&mut self, time: Timestamp) -> Result<(), sqlx::Error> {
        self.add(time.as_millis())
    }

    /// The next parameter: the bytes of an id.
    pub(super) fn id(&mut self, id: uuid::Uuid) -> Result<(), sqlx::Error> {
        self.add(id.as_bytes().as_slice())
    }

    /// The next two parameters: tenant and source.
    pub(super) fn lane(&mut self, lane: &LaneKey) -> Result<(), sqlx::Error> {
        self.add(lane.tenant.as_str())?;
        self.add(lane.source.as_str())
    }

    /// The parameters, for a statement that does not go through a batch.
    pub(super) fn into_inner(self) -> SqliteArguments {
        self.0
    }
}

/// Parameters, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => {{
        let mut values = $crate::store::sqlite::engine::Values::default();
        $(values.add($value)?;)*
        values
    }};
}
pub(super) use values;

/// The engine of the writer.
pub(super) struct Sqlite {
    path: PathBuf,
    /// Held until the store is closed, so that no second process serves the file.
    lock: File,
    /// None after a failure that the connection may not have survived: opened again before the next
    /// batch.
    connection: Option<SqliteConnection>,
    identity: Identity,
    clock: Arc<dyn Clock>,
    owner: String,
    counters: Arc<Counters>,
    readers: Arc<ArcSwap<SqlitePool>>,
    next_seq: i64,
    unflushed: u64,
}

impl Sqlite {
    /// From the opened file: reads where the numbers and the counters stand.
    pub(super) async fn start(
        opened: Opened,
        options: &super::OpenOptions,
        counters: Arc<Counters>,
        readers: Arc<ArcSwap<SqlitePool>>,
    ) -> Result<Self, OpenError> {
        let Opened { path, lock, connection, identity } = opened;
        let mut engine = Self {
            path,
            lock,
            connection: None,
            identity,
            clock: options.clock.clone(),
            owner: options.owner.clone(),
            counters,
            readers,
            next_seq: 0,
            unflushed: 0,
        };
        engine.take(connection).await.map_err(|source| OpenError::Sqlite { path: engine.path.clone(), source })?;
        Ok(engine)
    }

    /// Takes a connection into service.
    async fn take(&mut self, mut connection: SqliteConnection) -> Result<(), sqlx::Error> {
        self.next_seq = sqlx::query_scalar(sqlite!("next_event_seq")).fetch_one(&mut connection).await?;
        let mut counts = Vec::new();
        for text in [sqlite!("count_startable"), sqlite!("count_running"), sqlite!("count_dead")] {
            for row in sqlx::query(text).fetch_all(&mut connection).await? {
                let row = Reader::new(&row, "jobs", "jobs");
                counts.push((row.lane()?, row.state()?, row.number("jobs")?));
            }
        }
        self.counters.reset(counts);
        self.connection = Some(connection);
        Ok(())
    }

    /// After a failure: the file again, with new readers, for the old ones may hold another file.
    async fn reopen(&mut self) -> Result<(), WriteError> {
        let unavailable = |error: &dyn std::fmt::Display| WriteError::Unavailable(error.to_string());
        let (connection, identity) = open::reopen(&self.path).await.map_err(|error| unavailable(&error))?;
        self.take(connection).await.map_err(|error| unavailable(&error))?;
        self.identity = identity;
        let old = self.readers.swap(Arc::new(open::readers(&self.path)));
        tokio::spawn(async move { old.close().await });
        tracing::info!(path = %self.path.display(), "store opened again");
        Ok(())
    }

    /// Carries out the batch up to its commit.
    async fn fill(&mut self, commands: &mut [Command]) -> Result<(Moves, i64, u64), sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        sqlx::query(sqlite!("begin_transaction")).execute(&mut *connection).await?;
        let mut batch = Batch {
            connection,
            now: self.clock.now(),
            owner: &self.owner,
            moves: Moves::default(),
            next_seq: self.next_seq,
            bytes: 0,
        };
        carry_out(&mut batch, commands).await?;
        Ok((batch.moves, batch.next_seq, batch.bytes))
    }

    /// Undoes an open transaction; a connection that cannot is given up.
    async fn roll_back(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        match sqlx::query(sqlite!("rollback")).execute(connection).await {
            Ok(_) => {}
            // SQLite has rolled back by itself.
            Err(sqlx::Error::Database(error)) if error.message().contains("no transaction is active") => {}
            Err(_) => self.give_up(),
        }
    }

    /// The connection is not trusted any more.
    fn give_up(&mut self) {
        self.connection = None;
    }

    /// Runs a checkpoint; a failure is only logged, for the log keeps everything.
    async fn checkpoint(&mut self, text: &'static str) {
        let Some(connection) = self.connection.as_mut() else { return };
        self.unflushed = 0;
        if let Err(error) = sqlx::query(text).fetch_all(connection).await {
            tracing::warn!(path = %self.path.display(), %error, "checkpoint failed");
        }
    }

    fn log_size(&self) -> u64 {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-wal");
        std::fs::metadata(PathBuf::from(name)).map_or(0, |found| found.len())
    }
}

impl writer::Engine for Sqlite {
    type Command = Command;

    async fn commit(&mut self, batch: &mut [Command]) -> Result<(), WriteError> {
        if self.connection.is_none() {
            self.reopen().await?;
        }
        let (moves, next_seq, bytes) = match self.fill(batch).await {
            Ok(filled) => filled,
            Err(error) => {
                self.roll_back().await;
                let failure = Failure::of(&error);
                if failure.connection_lost {
                    self.give_up();
                }
                return Err(failure.error);
            }
        };
        let connection =
            self.connection.as_mut().ok_or_else(|| WriteError::Unavailable("the connection is gone".into()))?;
        if let Err(error) = sqlx::query(sqlite!("commit")).execute(connection).await {
            self.roll_back().await;
            let failure = Failure::of(&error);
            if !failure.connection_lost {
                return Err(failure.error);
            }
            // The disk may have it all the same, and a restart may find it.
            self.give_up();
            return Err(WriteError::Unknown(failure.error.to_string()));
        }
        if Identity::of(&self.path).ok() != Some(self.identity) {
            // SQLite writes on into a file that nobody will find.
            self.give_up();
            return Err(WriteError::Unavailable(format!("{} was removed or replaced", self.path.display())));
        }
        self.next_seq = next_seq;
        self.unflushed += bytes;
        self.counters.apply(moves);
        Ok(())
    }

    async fn tend(&mut self, idle: bool) {
        if self.unflushed >= CHECKPOINT_AFTER || (idle && self.unflushed > 0) {
            if idle && self.log_size() > LARGE_LOG {
                self.checkpoint(sqlite!("checkpoint_truncate")).await;
            } else {
                self.checkpoint(sqlite!("checkpoint_passive")).await;
            }
        }
    }

    async fn reset(&mut self) {
        self.give_up();
    }

    async fn close(mut self) {
        // The last connection moves the log into the file.
        let readers = self.readers.load_full();
        if tokio::time::timeout(Duration::from_secs(5), readers.close()).await.is_err() {
            tracing::warn!(path = %self.path.display(), "a reader did not end in time");
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(path = %self.path.display(), %error, "store not closed cleanly");
        }
        drop(self.lock);
    }
}

/// All commands of a batch, each kind at once where many are likely.
async fn carry_out(batch: &mut Batch<'_>, commands: &mut [Command]) -> Result<(), sqlx::Error> {
    let mut records = Vec::new();
    let mut begins = Vec::new();
    let mut checkpoints = Vec::new();
    let mut ends = Vec::new();
    let mut others = Vec::new();
    for command in commands {
        match command {
            Command::Record { delivery, reply } => records.push((delivery.as_slice(), reply)),
            Command::Begin { job, alone, reply } => begins.push((*job, (*alone, reply))),
            Command::Checkpoint { job, fence, state, reply } => {
                checkpoints.push((*job, (*fence, state.as_str(), reply)));
            }
            Command::End { end, reply } => ends.push((end.job, (&**end, reply))),
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
        Command::Replay { job, by, run_at, reply } => reply.set(runs::replay(batch, *job, by, *run_at).await?),
        Command::SaveLane { lane, memory, reply } => reply.set(people::save_lane(batch, lane, memory).await?),
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
        Command::TakeHandshake { tenant, source, reply } => {
            reply.set(people::take_handshake(batch, tenant, source).await?);
        }
        Command::Sweep { victims, reply } => reply.set(sweep::remove(batch, victims).await?),
        Command::Ping { reply } => reply.set(()),
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

/// What an error of SQLite means for those who wait, and for the connection.
struct Failure {
    error: WriteError,
    connection_lost: bool,
}

impl Failure {
    fn of(error: &sqlx::Error) -> Self {
        let unavailable = |connection_lost| Self { error: WriteError::Unavailable(error.to_string()), connection_lost };
        let refused = || Self { error: WriteError::Refused(error.to_string()), connection_lost: false };
        match error {
            // The low byte of an extended code is its class, https://www.sqlite.org/rescode.html
            sqlx::Error::Database(of_sqlite) => {
                let code = of_sqlite.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
                match code & 0xff {
                    // PERM, READONLY, IOERR, CORRUPT, CANTOPEN, NOTADB: the file is not what it was.
                    3 | 8 | 10 | 11 | 14 | 26 => unavailable(true),
                    // BUSY, LOCKED, NOMEM, INTERRUPT, FULL, PROTOCOL, SCHEMA: it may work the next time.
                    5 | 6 | 7 | 9 | 13 | 15 | 17 => unavailable(false),
                    _ => refused(),
                }
            }
            sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::RowNotFound => refused(),
            _ => unavailable(true),
        }
    }
}
