//! The embedded store: one SQLite file, one writer.
//!
//! All writes go through the group-commit writer ([`crate::ingest::writer`]) to one [`engine`],
//! which owns the only connection that writes and the only one that checkpoints. Reads have a small
//! pool of connections that cannot write. A file lock keeps a second process from serving the same
//! file; other programs may read it.

mod counters;
mod engine;
mod open;
mod people;
mod read_jobs;
mod read_records;
mod record;
mod rows;
mod runs;
mod sweep;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use sluice_actors::ports::Clock;
use sqlx::SqlitePool;
use tokio::task::JoinHandle;

pub use open::{Migrated, OpenError, database_path, migrate};

use self::{counters::Counters, engine::Command, sweep::Position};
use crate::ingest::{
    EventStore, NewEvent, RecordError, Recorded,
    writer::{Writer, WriterLimits},
};

/// What [`SqliteStore::open`] is told.
#[derive(Clone)]
pub struct OpenOptions {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// This life of the process: jobs left `running` by another owner are recovered.
    pub owner: String,
    /// The limits of the writer.
    pub writer: WriterLimits,
}

impl OpenOptions {
    /// With the default limits.
    pub fn new(clock: Arc<dyn Clock>, owner: String) -> Self {
        Self { clock, owner, writer: WriterLimits::default() }
    }
}

/// The store in one SQLite file. Clones share it.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    writer: Writer<Command>,
    /// Replaced when the file had to be opened again.
    readers: Arc<ArcSwap<SqlitePool>>,
    counters: Arc<Counters>,
    sweeping: tokio::sync::Mutex<Position>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the file at `path`, creates it (0600) and its tables where there are none, and starts
    /// the writer.
    pub async fn open(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let opened = open::open(path).await?;
        let counters = Arc::new(Counters::default());
        let readers = Arc::new(ArcSwap::from_pointee(open::readers(path)));
        let engine = engine::Sqlite::start(opened, &options, counters.clone(), readers.clone()).await?;
        let (writer, task) = Writer::spawn(engine, options.writer);
        Ok(Self {
            shared: Arc::new(Shared {
                clock: options.clock,
                writer,
                readers,
                counters,
                sweeping: tokio::sync::Mutex::default(),
                task: Mutex::new(Some(task)),
            }),
        })
    }

    /// Carries out what was handed in, moves the log into the file and gives the file free.
    /// Whatever is asked afterwards finds the store unavailable.
    pub async fn close(&self) {
        self.shared.writer.close().await;
        let task = self.shared.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.await.ok();
        }
    }

    fn readers(&self) -> Arc<SqlitePool> {
        self.shared.readers.load_full()
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn record(&self, delivery: Vec<NewEvent>) -> Result<Vec<Recorded>, RecordError> {
        if delivery.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.shared.writer.submit(|reply| Command::Record { delivery, reply }).await?)
    }
}
