//! The embedded store: one SQLite file, one writer.
//!
//! All writes go through the group-commit writer ([`crate::ingest::writer`]) to one [`engine`],
//! which owns the only connection that writes and the only one that checkpoints. Reads have a small
//! pool of connections that cannot write. A file lock keeps a second process from serving the same
//! file; other programs may read it.

pub(super) mod backup;
pub(super) mod connection;
pub(super) mod engine;
pub(super) mod inspect;
pub(super) mod log;
pub(super) mod open;
pub(super) mod restore;
