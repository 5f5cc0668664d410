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

mod accounts;
mod alerts;
mod artifacts;
mod batch;
mod begun;
mod command;
pub mod copy;
mod counters;
mod data_keys;
mod erase;
mod jobs;
mod judge;
pub mod nodes;
mod open_error;
mod pages;
mod people;
mod postgres;
mod record;
mod records;
mod recovered;
mod reseal;
mod revoked;
mod rows;
mod runs;
mod schema;
mod sealing;
mod session;
mod sql;
mod sqlite;
mod sweep;
#[cfg(test)]
mod tests;
mod traffic;
mod value;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures_util::future::select_all;
use sluice_actors::ports::Clock;
use tokio::sync::oneshot;

pub use data_keys::KeysRefused;
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

use self::{
    begun::Begun,
    command::Command,
    counters::Counters,
    nodes::Nodes,
    postgres::node::{Node, Start},
    session::Readers,
    sqlite::log::Disk,
    sweep::Position,
};
use crate::{
    ingest::{
        EventStore, Heavy, NewEvent, RecordError, Recorded,
        writer::{Writer, WriterLimits},
    },
    seal::{Ring, value_sealed_by},
};

/// Writers of deliveries on Postgres, each with a connection: a server that has a processor to spare
/// takes two batches at once, and acknowledgements do not wait for the begins and ends of jobs (ADR 0007).
const DELIVERY_WRITERS: usize = 2;

/// What opening a store is told.
#[derive(Clone)]
pub struct OpenOptions {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// This life of the process: jobs left `running` by owners that are dead are recovered.
    pub owner: String,
    /// The name of the data folder, if no other process has it: a new life of its process takes the
    /// place of a dead one at once.
    pub folder: Option<String>,
    /// The limits of the writer.
    pub writer: WriterLimits,
}

impl OpenOptions {
    /// With the default limits.
    pub fn new(clock: Arc<dyn Clock>, owner: String) -> Self {
        Self { clock, owner, folder: None, writer: WriterLimits::default() }
    }
}

/// What an engine shares with the store around it: counters, readers, keys.
type Around = (Arc<Counters>, Arc<ArcSwap<Readers>>, Arc<Ring>);

/// The store of one database. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    writer: Writer<Command>,
    /// Further writers, for deliveries alone. None where the engine has but one.
    deliveries: Vec<Writer<Command>>,
    /// Replaced when the database had to be opened again.
    readers: Arc<ArcSwap<Readers>>,
    counters: Arc<Counters>,
    disk: Disk,
    /// The keys by which values are sealed.
    ring: Arc<Ring>,
    /// One data key at a time.
    making_keys: tokio::sync::Mutex<()>,
    /// Seals large bodies.
    heavy: Heavy,
    begun: Begun,
    /// None where nobody shares the store.
    node: Option<Arc<Node>>,
    sweeping: tokio::sync::Mutex<Position>,
    /// Of each writer.
    ended: Mutex<Vec<oneshot::Receiver<()>>>,
}

impl Store {
    /// Opens the SQLite file at `path`, creates it (0600) and its tables where there are none, and
    /// starts the writer.
    pub async fn sqlite(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let opened = sqlite::open::open(path).await?;
        let counters = Arc::new(Counters::default());
        let readers = Arc::new(ArcSwap::from_pointee(sqlite::open::readers(path)));
        let disk = Disk::new();
        let ring = Arc::new(Ring::default());
        let shared = (counters.clone(), readers.clone(), ring.clone());
        let engine = sqlite::engine::Sqlite::start(opened, &options, shared, disk.clone()).await?;
        let writers = vec![Writer::spawn(engine, options.writer)];
        Ok(Self::start(writers, options.clock, (counters, readers, ring), disk, None))
    }

    /// Opens the Postgres database of `url`, creates its tables where there are none, and starts the
    /// writer. From then on this process is one of the nodes that share it.
    pub async fn postgres(url: &str, options: OpenOptions) -> Result<Self, OpenError> {
        let database = Arc::new(postgres::open::Database::of(url)?.of_node(&options.owner));
        let opened = postgres::open::open(&database).await?;
        let counters = Arc::new(Counters::default());
        let readers = Arc::new(ArcSwap::from_pointee(postgres::open::readers(&database)));
        let start = Start { database: database.clone(), id: options.owner, name: options.folder };
        let registered = postgres::node::register(start).await?;
        let node = registered.node.clone();
        let (clock, limits) = (options.clock, options.writer);
        let ring = Arc::new(Ring::default());
        let shared = (counters.clone(), readers.clone(), ring.clone());
        let engine = postgres::engine::Postgres::start(database, opened, clock.clone(), node.clone(), shared).await?;
        let others: Vec<_> = (0..DELIVERY_WRITERS).map(|_| Writer::spawn(engine.beside(), limits)).collect();
        let first = Writer::spawn(engine, limits);
        registered.keep(first.0.clone(), counters.clone());
        let writers = std::iter::once(first).chain(others).collect();
        Ok(Self::start(writers, clock, (counters, readers, ring), Disk::new(), Some(node)))
    }

    fn start(
        writers: Vec<(Writer<Command>, oneshot::Receiver<()>)>,
        clock: Arc<dyn Clock>,
        (counters, readers, ring): Around,
        disk: Disk,
        node: Option<Arc<Node>>,
    ) -> Self {
        let sweeping = tokio::sync::Mutex::default();
        let (mut deliveries, ended): (Vec<_>, Vec<_>) = writers.into_iter().unzip();
        let writer = deliveries.remove(0);
        let ended = Mutex::new(ended);
        let (making_keys, heavy, begun) = Default::default();
        Self {
            shared: Arc::new(Shared {
                clock,
                writer,
                deliveries,
                readers,
                counters,
                disk,
                ring,
                making_keys,
                heavy,
                begun,
                node,
                sweeping,
                ended,
            }),
        }
    }

    /// Carries out what was handed in and gives the database free. Whatever is asked afterwards
    /// finds the store unavailable.
    pub async fn close(&self) {
        for writer in self.writers() {
            writer.close().await;
        }
        let ended = mem::take(&mut *self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner));
        for ended in ended {
            ended.await.ok();
        }
        if let Some(node) = &self.shared.node {
            node.leave().await;
        }
    }

    /// This process as one of the nodes that share the store; `None` where nobody shares it.
    pub fn nodes(&self) -> Option<Nodes> {
        let node = self.shared.node.clone()?;
        let (counters, readers) = (self.shared.counters.clone(), self.shared.readers.clone());
        Some(Nodes { node, counters, readers })
    }

    /// The id of this node, where others share the store.
    fn node_id(&self) -> Option<String> {
        self.shared.node.as_ref().map(|node| node.id().to_string())
    }

    /// Returns when something is not written any more: the store was closed, or a writer panicked.
    pub async fn writer_ended(&self) {
        select_all(self.writers().map(|writer| Box::pin(writer.ended()))).await;
    }

    fn writers(&self) -> impl Iterator<Item = &Writer<Command>> {
        std::iter::once(&self.shared.writer).chain(&self.shared.deliveries)
    }

    /// The writer of a delivery: one and the same for all that a vendor calls by the same id, so that
    /// copies that arrive together meet in one batch or one after the other.
    fn writer_of(&self, delivery: &[NewEvent]) -> &Writer<Command> {
        let (Some(event), count @ 1..) = (delivery.first(), self.shared.deliveries.len()) else {
            return &self.shared.writer;
        };
        let mut hasher = DefaultHasher::new();
        event.external_id.hash(&mut hasher);
        &self.shared.deliveries[(hasher.finish() % count as u64) as usize]
    }

    /// Whether [`Store::disk_failure`] has happened.
    pub fn disk_failed(&self) -> bool {
        self.shared.disk.failed()
    }

    /// Returns when the disk under SQLite failed to take what was written. What it has is unknown then:
    /// nothing is written any more, and the process should end at once, without [`Store::close`], so
    /// that the next one reads the log by its checksums.
    pub async fn disk_failure(&self) {
        self.shared.disk.failure().await;
    }

    /// The connections that read: how many there are, how many of them rest, how many there may be.
    pub fn connections(&self) -> (u32, usize, u32) {
        self.shared.readers.load().connections()
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
        let delivery = self.seal_delivery(delivery).await.map_err(|error| RecordError::Unavailable(error.0))?;
        let sealed_by = delivery.first().and_then(|event| value_sealed_by(&event.raw));
        let recorded = self.writer_of(&delivery).submit(|reply| Command::Record { delivery, reply }).await?;
        recorded.ok_or_else(|| {
            // Its sender comes again, and finds another key.
            self.shared.ring.erase(sealed_by.as_slice());
            RecordError::Unavailable("the key that sealed it was erased meanwhile".into())
        })
    }
}
