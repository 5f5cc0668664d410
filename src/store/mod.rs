//! The store: events, jobs and all that people read of them.
//!
//! One value implements [`EventStore`](crate::ingest::EventStore),
//! [`JobStore`](sluice_actors::ports::JobStore) and [`Records`](crate::api::records::Records), so
//! that an event and its jobs are one transaction. What each of them promises is written at the
//! trait and held by the contract suites (`sluice_actors::testing::contract`, `tests/it/store.rs`).
//!
//! To add an engine: `store/<engine>/`, the same statement names in `sql/<engine>/`, the same
//! migrations in `migrations/<engine>/`, and one line in each contract suite. A new rule of the
//! store begins as a new case there.

mod sql;
mod sqlite;

pub use sqlite::{Migrated, OpenError, OpenOptions, SqliteStore, database_path, migrate};
