//! The one that writes: batches as transactions, errors as what they mean, checkpoints, reopening.

use std::{fs::File, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sluice_actors::ports::Clock;
use sqlx::{Connection, SqliteConnection};

use super::open::{self, Identity, Opened};
use crate::{
    ingest::writer::{self, WriteError},
    store::{
        OpenError, OpenOptions,
        batch::{Batch, carry_out},
        command::Command,
        counters::{Counters, Moves, count},
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
    connection: Option<SqliteConnection>,
    identity: Identity,
    clock: Arc<dyn Clock>,
    owner: String,
    counters: Arc<Counters>,
    readers: Arc<ArcSwap<Readers>>,
    /// The number of the next event; none until the first batch has asked.
    next_number: Option<i64>,
    unflushed: u64,
}

impl Sqlite {
    /// From the opened file: reads where the numbers and the counters stand.
    pub(in crate::store) async fn start(
        opened: Opened,
        options: &OpenOptions,
        counters: Arc<Counters>,
        readers: Arc<ArcSwap<Readers>>,
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
            next_number: None,
            unflushed: 0,
        };
        engine.take(connection).await.map_err(|source| OpenError::Sqlite { path: engine.path.clone(), source })?;
        Ok(engine)
    }

    /// Takes a connection into service.
    async fn take(&mut self, mut connection: SqliteConnection) -> Result<(), sqlx::Error> {
        let counts = count(&mut Session::Sqlite(&mut connection)).await?;
        self.counters.reset(counts);
        self.next_number = None;
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
    async fn fill(&mut self, commands: &mut [Command]) -> Result<Filled, sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        sqlx::query(own!("sqlite", "begin_transaction")).execute(&mut *connection).await?;
        let mut batch = Batch::new(Session::Sqlite(connection), self.clock.now(), &self.owner);
        batch.next_number = self.next_number;
        carry_out(&mut batch, commands).await?;
        Ok(Filled { moves: batch.moves, bytes: batch.bytes, next_number: batch.next_number })
    }

    /// Undoes an open transaction; a connection that cannot is given up.
    async fn roll_back(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        match sqlx::query(own!("sqlite", "rollback")).execute(connection).await {
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
        let filled = match self.fill(batch).await {
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
        if let Err(error) = sqlx::query(own!("sqlite", "commit")).execute(connection).await {
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
        self.next_number = filled.next_number;
        self.unflushed += filled.bytes;
        self.counters.apply(filled.moves);
        Ok(())
    }

    async fn tend(&mut self, idle: bool) {
        if self.unflushed >= CHECKPOINT_AFTER || (idle && self.unflushed > 0) {
            if idle && self.log_size() > LARGE_LOG {
                self.checkpoint(own!("sqlite", "checkpoint_truncate")).await;
            } else {
                self.checkpoint(own!("sqlite", "checkpoint_passive")).await;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;
    use crate::{
        api::records::AuditEntry,
        clock::SystemClock,
        ingest::writer::{Engine, Writer, WriterLimits},
    };

    /// The engine on a disk that is full while the flag is up: a file that may not grow gets the same
    /// answer from SQLite as one that cannot.
    struct Disk {
        engine: Sqlite,
        full: Arc<AtomicBool>,
    }

    impl Engine for Disk {
        type Command = Command;

        async fn commit(&mut self, batch: &mut [Command]) -> Result<(), WriteError> {
            let pages =
                if self.full.load(Relaxed) { "PRAGMA max_page_count = 1" } else { "PRAGMA max_page_count = 99999" };
            let connection = self.engine.connection.as_mut().expect("a full disk does not cost the connection");
            sqlx::raw_sql(pages).execute(connection).await.expect("a limit");
            self.engine.commit(batch).await
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

    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_then_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sluice.db");
        let options = OpenOptions::new(Arc::new(SystemClock), "test".into());
        let readers = Arc::new(ArcSwap::from_pointee(open::readers(&path)));
        let opened = open::open(&path).await.unwrap();
        let engine = Sqlite::start(opened, &options, Arc::default(), readers).await.unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let (writer, task) = Writer::spawn(Disk { engine, full: full.clone() }, WriterLimits::default());
        let write = async || {
            let reason = "x".repeat(1 << 20);
            let entry = AuditEntry { actor: String::new(), action: String::new(), object: String::new(), reason };
            writer.submit(|reply| Command::Audit { entry, reply }).await
        };
        assert_eq!(write().await, Ok(()));
        full.store(true, Relaxed);
        for _ in 0..2 {
            let refused = write().await;
            assert!(matches!(&refused, Err(WriteError::Unavailable(why)) if why.contains("full")), "{refused:?}");
        }
        full.store(false, Relaxed);
        assert_eq!(write().await, Ok(()));
        writer.close().await;
        task.await.unwrap();
    }
}
