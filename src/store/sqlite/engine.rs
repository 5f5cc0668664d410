//! The one that writes: batches as transactions, errors as what they mean, checkpoints, reopening.

use std::{fs::File, mem, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sluice_actors::ports::Clock;

use super::{
    connection::Connection,
    log::{Disk, Log},
    open::{self, Identity, Opened},
};
use crate::{
    ingest::writer::{self, Flush, WriteError},
    seal::Ring,
    store::{
        Around, OpenError, OpenOptions,
        batch::{Batch, carry_out},
        command::Command,
        counters::{Counters, Moves, count_at_start, count_from_now_on},
        session::{Readers, Session},
        sql::own,
    },
};

/// Bytes handed to SQLite since the last checkpoint that make the next one due. The log holds about
/// twice that; the larger it is, the more often a page is written once instead of many times.
const CHECKPOINT_AFTER: u64 = 16 * 1024 * 1024;

/// A log larger than this is cut back when nothing is asked.
const LARGE_LOG: u64 = 64 * 1024 * 1024;

/// The engine of the writer.
pub(in crate::store) struct Sqlite {
    path: PathBuf,
    /// Held until the store is closed, so that no second process serves the file.
    lock: File,
    /// None after a failure that the connection may not have survived: opened again before the next
    /// batch.
    connection: Option<Connection>,
    log: Log,
    disk: Disk,
    identity: Identity,
    clock: Arc<dyn Clock>,
    owner: String,
    counters: Arc<Counters>,
    readers: Arc<ArcSwap<Readers>>,
    ring: Arc<Ring>,
    /// The number of the next event; none until the first batch has asked.
    next_number: Option<i64>,
    /// Whether what a statement takes away is overwritten.
    overwrites: bool,
    /// Bytes handed to SQLite since then.
    since_checkpoint: u64,
}

impl Sqlite {
    /// From the opened file: reads where the numbers and the counters stand.
    pub(in crate::store) async fn start(
        opened: Opened,
        options: &OpenOptions,
        (counters, readers, ring): Around,
        disk: Disk,
    ) -> Result<Self, OpenError> {
        let Opened { path, lock, connection, identity } = opened;
        let log = Log::open(&path, disk.clone()).map_err(|source| OpenError::File { path: path.clone(), source })?;
        let mut engine = Self {
            path,
            lock,
            connection: None,
            log,
            disk,
            identity,
            clock: options.clock.clone(),
            owner: options.owner.clone(),
            counters,
            readers,
            ring,
            next_number: None,
            overwrites: false,
            since_checkpoint: 0,
        };
        engine.take(connection);
        let snapshot = open::snapshot(&engine.readers.load()).await;
        let snapshot = snapshot.map_err(|source| OpenError::Sqlite { path: engine.path.clone(), source })?;
        count_at_start(&engine.counters, snapshot).await;
        Ok(engine)
    }

    /// Takes a connection into service.
    fn take(&mut self, connection: Connection) {
        self.next_number = None;
        self.connection = Some(connection);
    }

    /// After a failure: the file again, with new readers, for the old ones may hold another file.
    async fn reopen(&mut self) -> Result<(), WriteError> {
        let unavailable = |error: &dyn std::fmt::Display| WriteError::Unavailable(error.to_string());
        // What was committed before is not flushed by the next log, if it is another file.
        self.log.flush()()?;
        let (connection, identity) = open::reopen(&self.path).await.map_err(|error| unavailable(&error))?;
        let log = Log::open(&self.path, self.disk.clone()).map_err(|error| unavailable(&error))?;
        let readers = open::readers(&self.path);
        let snapshot = open::snapshot(&readers).await.map_err(|error| unavailable(&error))?;
        count_from_now_on(&self.counters, snapshot);
        self.take(connection);
        self.log = log;
        self.identity = identity;
        let old = self.readers.swap(Arc::new(readers));
        tokio::spawn(async move { old.close().await });
        tracing::info!(path = %self.path.display(), "store opened again");
        Ok(())
    }

    /// Carries out the batch up to its commit.
    async fn fill(&mut self, commands: &mut [Command]) -> Result<Filled, sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        if commands.iter().any(Command::is_to_leave_no_trace) {
            connection.run(own!("sqlite", "overwrite"))?;
            self.overwrites = true;
        } else if mem::take(&mut self.overwrites) {
            connection.run(own!("sqlite", "overwrite_no_more"))?;
        }
        connection.run(own!("sqlite", "begin_transaction"))?;
        let mut batch = Batch::new(Session::Sqlite(connection), self.clock.now(), &self.owner, &self.ring);
        batch.next_number = self.next_number;
        carry_out(&mut batch, commands).await?;
        Ok(Filled { moves: batch.moves, bytes: batch.bytes, next_number: batch.next_number })
    }

    /// Undoes an open transaction; a connection that cannot is given up.
    fn roll_back(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        match connection.run(own!("sqlite", "rollback")) {
            Ok(()) => {}
            // SQLite has rolled back by itself.
            Err(sqlx::Error::Database(error)) if error.message().contains("no transaction is active") => {}
            Err(_) => self.give_up(),
        }
    }

    /// The connection is not trusted any more.
    fn give_up(&mut self) {
        self.connection = None;
    }

    /// Runs a checkpoint. One that cannot be made now leaves everything in the log.
    fn checkpoint(&mut self, text: &'static str) {
        let Some(connection) = self.connection.as_mut() else { return };
        self.since_checkpoint = 0;
        let Err(error) = connection.run(text) else { return };
        tracing::warn!(path = %self.path.display(), %error, "checkpoint failed");
        if code(&error).is_some_and(|code| code & 0xff == IOERR) {
            // Part of what it moved may be missing, and the next one would not move it again.
            self.disk.fail();
        } else if connection.be_patient().is_err() {
            self.give_up();
        }
    }
}

impl writer::Engine for Sqlite {
    type Command = Command;

    async fn commit(&mut self, batch: &mut [Command]) -> Result<(), WriteError> {
        if self.disk.failed() {
            return Err(WriteError::Unavailable("the disk did not take an earlier batch".into()));
        }
        if self.connection.is_none() {
            self.reopen().await?;
        }
        let filled = match self.fill(batch).await {
            Ok(filled) => filled,
            Err(error) => {
                self.roll_back();
                let failure = Failure::of(&error);
                if failure.connection_lost {
                    self.give_up();
                }
                return Err(failure.error);
            }
        };
        let connection =
            self.connection.as_mut().ok_or_else(|| WriteError::Unavailable("the connection is gone".into()))?;
        if let Err(error) = connection.run(own!("sqlite", "commit")) {
            self.roll_back();
            let failure = Failure::of(&error);
            if !failure.connection_lost {
                return Err(failure.error);
            }
            if matches!(code(&error), Some(IOERR_FSYNC | IOERR_DIR_FSYNC)) {
                self.disk.fail();
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
        self.next_number = filled.next_number;
        self.since_checkpoint += filled.bytes;
        self.counters.apply(filled.moves);
        Ok(())
    }

    fn flush(&mut self) -> Option<Flush> {
        Some(self.log.flush())
    }

    async fn tend(&mut self, idle: bool) {
        if self.disk.failed() {
            return;
        }
        if self.since_checkpoint >= CHECKPOINT_AFTER || (idle && self.since_checkpoint > 0) {
            if idle && self.log.size() > LARGE_LOG {
                self.checkpoint(own!("sqlite", "checkpoint_truncate"));
            } else {
                self.checkpoint(own!("sqlite", "checkpoint_passive"));
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
        // Closed in order, it would copy a log out of which something may be missing.
        let in_order = self.connection.take().filter(|_| !self.disk.failed());
        if let Some(connection) = in_order
            && let Err(error) = connection.close()
        {
            tracing::warn!(path = %self.path.display(), %error, "store not closed cleanly");
        }
        drop(self.lock);
    }
}

/// What a batch did, to be taken over once it is committed.
struct Filled {
    moves: Moves,
    bytes: u64,
    next_number: Option<i64>,
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
            sqlx::Error::Database(_) => {
                match code(error).unwrap_or_default() & 0xff {
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

// https://www.sqlite.org/rescode.html
const IOERR: i32 = 10;
const IOERR_FSYNC: i32 = 1034;
const IOERR_DIR_FSYNC: i32 = 1290;

/// The extended code of SQLite.
fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
    };

    use super::*;
    use crate::{
        api::records::AuditEntry,
        clock::SystemClock,
        ingest::writer::{Engine, Writer, WriterLimits},
    };

    /// The engine on a disk that is full while the flag is up: a file that may not grow gets the same
    /// answer from SQLite as one that cannot.
    struct Volume {
        engine: Sqlite,
        full: Arc<AtomicBool>,
    }

    impl Engine for Volume {
        type Command = Command;

        async fn commit(&mut self, batch: &mut [Command]) -> Result<(), WriteError> {
            let pages =
                if self.full.load(Relaxed) { "PRAGMA max_page_count = 1" } else { "PRAGMA max_page_count = 99999" };
            let connection = self.engine.connection.as_mut().expect("a full disk does not cost the connection");
            connection.run(pages).expect("a limit");
            self.engine.commit(batch).await
        }

        fn flush(&mut self) -> Option<Flush> {
            self.engine.flush()
        }

        async fn tend(&mut self, idle: bool) {
            self.engine.tend(idle).await;
        }

        async fn reset(&mut self) {
            self.engine.reset().await;
        }

        async fn close(self) {
            self.engine.close().await;
        }
    }

    async fn engine(folder: &Path) -> Sqlite {
        let path = folder.join("sluice.db");
        let options = OpenOptions::new(Arc::new(SystemClock), "test".into());
        let readers = Arc::new(ArcSwap::from_pointee(open::readers(&path)));
        let opened = open::open(&path).await.unwrap();
        Sqlite::start(opened, &options, (Arc::default(), readers, Arc::default()), Disk::new()).await.unwrap()
    }

    async fn write(writer: &Writer<Command>) -> Result<(), WriteError> {
        let reason = "x".repeat(1 << 20);
        let entry =
            AuditEntry { actor: String::new(), action: String::new(), tenant: None, object: String::new(), reason };
        writer.submit(|reply| Command::Audit { entry, reply }).await
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_then_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let volume = Volume { engine: engine(folder.path()).await, full: full.clone() };
        let (writer, ended) = Writer::spawn(volume, WriterLimits::default());
        assert_eq!(write(&writer).await, Ok(()));
        full.store(true, Relaxed);
        for _ in 0..2 {
            let refused = write(&writer).await;
            assert!(matches!(&refused, Err(WriteError::Unavailable(why)) if why.contains("full")), "{refused:?}");
        }
        full.store(false, Relaxed);
        assert_eq!(write(&writer).await, Ok(()));
        writer.close().await;
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn after_a_failed_sync_nothing_is_acknowledged_and_the_log_is_left_for_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = engine(folder.path()).await;
        engine.log.fail_syncs();
        let disk = engine.disk.clone();
        let (writer, ended) = Writer::spawn(engine, WriterLimits::default());
        assert!(
            matches!(write(&writer).await, Err(WriteError::Unknown(_))),
            "it was committed, but is it on the disk?"
        );
        disk.failure().await;
        assert!(matches!(write(&writer).await, Err(WriteError::Unavailable(_))));
        let log = folder.path().join("sluice.db-wal");
        let before = log.metadata().unwrap().len();
        writer.close().await;
        ended.await.unwrap();
        assert!(before > 1 << 20 && log.metadata().unwrap().len() == before, "no checkpoint copies out of it");
    }
}
