//! The store: events, jobs and all that people read of them.
//!
//! One value implements [`EventStore`],
//! [`JobStore`](sluice_actors::ports::JobStore) and [`Records`](crate::api::records::Records), so
//! that an event and its jobs are one transaction. What each of them promises is written at the
//! trait and held by the contract suites (`sluice_actors::testing::contract`, `tests/it/store.rs`).
//!
//! What the store decides is written once: requests are a `command`, a `batch` turns those of one
//! transaction into statements, `rows` turns rows into values. An engine (`store/<engine>/`) opens
//! connections, begins, commits and says what its errors mean; its SQL is in `sql/<engine>/`, a file
//! for each statement, of equal names on every engine.
//!
//! To add an engine: `store/<engine>/`, the same statement names in `sql/<engine>/`, the same
//! migrations in `migrations/<engine>/`, and one line in each contract suite. A new rule of the
//! store begins as a new case there.

mod batch;
mod command;
pub mod copy;
mod counters;
mod jobs;
mod judge;
mod open_error;
mod people;
mod postgres;
mod record;
mod records;
mod recovered;
mod rows;
mod runs;
mod schema;
mod session;
mod sql;
mod sqlite;
mod sweep;
#[cfg(test)]
mod tests;
mod value;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use sluice_actors::ports::Clock;
use tokio::sync::oneshot;

pub use open_error::OpenError;
pub use postgres::open::{
    inspect as inspect_postgres, is_served as is_served_postgres, migrate as migrate_postgres, name as postgres_name,
    recovered as recovered_postgres,
};
pub use schema::{Inspected, Migrated};
pub use sqlite::{
    backup::{BackupError, Bytes, Contents, backup},
    inspect::{inspect, is_held},
    open::{database_path, migrate},
    restore::{Restored, recovered, restore},
};

use self::{command::Command, counters::Counters, session::Readers, sqlite::log::Disk, sweep::Position};
use crate::ingest::{
    EventStore, NewEvent, RecordError, Recorded,
    writer::{Writer, WriterLimits},
};

/// What opening a store is told.
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

/// The store of one database. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    writer: Writer<Command>,
    /// Replaced when the database had to be opened again.
    readers: Arc<ArcSwap<Readers>>,
    counters: Arc<Counters>,
    disk: Disk,
    sweeping: tokio::sync::Mutex<Position>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Store {
    /// Opens the SQLite file at `path`, creates it (0600) and its tables where there are none, and
    /// starts the writer.
    pub async fn sqlite(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let opened = sqlite::open::open(path).await?;
        let counters = Arc::new(Counters::default());
        let readers = Arc::new(ArcSwap::from_pointee(sqlite::open::readers(path)));
        let disk = Disk::new();
        let engine =
            sqlite::engine::Sqlite::start(opened, &options, counters.clone(), readers.clone(), disk.clone()).await?;
        Ok(Self::start(Writer::spawn(engine, options.writer), options.clock, readers, counters, disk))
    }

    /// Opens the Postgres database of `url`, creates its tables where there are none, and starts the
    /// writer.
    pub async fn postgres(url: &str, options: OpenOptions) -> Result<Self, OpenError> {
        let database = postgres::open::Database::of(url)?;
        let opened = postgres::open::open(&database).await?;
        let counters = Arc::new(Counters::default());
        let readers = Arc::new(ArcSwap::from_pointee(postgres::open::readers(&database)));
        let engine =
            postgres::engine::Postgres::start(database, opened, &options, counters.clone(), readers.clone()).await?;
        Ok(Self::start(Writer::spawn(engine, options.writer), options.clock, readers, counters, Disk::new()))
    }

    fn start(
        (writer, ended): (Writer<Command>, oneshot::Receiver<()>),
        clock: Arc<dyn Clock>,
        readers: Arc<ArcSwap<Readers>>,
        counters: Arc<Counters>,
        disk: Disk,
    ) -> Self {
        let sweeping = tokio::sync::Mutex::default();
        let ended = Mutex::new(Some(ended));
        Self { shared: Arc::new(Shared { clock, writer, readers, counters, disk, sweeping, ended }) }
    }

    /// Carries out what was handed in and gives the database free. Whatever is asked afterwards
    /// finds the store unavailable.
    pub async fn close(&self) {
        self.shared.writer.close().await;
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            ended.await.ok();
        }
    }

    /// Returns when the disk under SQLite failed to take what was written. What it has is unknown then:
    /// nothing is written any more, and the process should end at once, without [`Store::close`], so
    /// that the next one reads the log by its checksums.
    pub async fn disk_failure(&self) {
        self.shared.disk.failure().await;
    }

    fn readers(&self) -> Arc<Readers> {
        self.shared.readers.load_full()
    }
}

#[async_trait]
impl EventStore for Store {
    async fn record(&self, delivery: Vec<NewEvent>) -> Result<Vec<Recorded>, RecordError> {
        if delivery.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.shared.writer.submit(|reply| Command::Record { delivery, reply }).await?)
    }
}
