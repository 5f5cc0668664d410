//! The store on a Postgres server, for one node.
//!
//! All writes go through the group-commit writer ([`crate::ingest::writer`]) to one [`engine`] with a
//! connection of its own: a pooled one could come back poisoned by a `BEGIN` that was cancelled. The
//! tree of actors and people read through pools of their own. A commit whose outcome is not known
//! answers [`Unknown`](crate::ingest::writer::WriteError::Unknown).
//!
//! An advisory lock keeps a second node from serving the same database. The statements do not rely
//! on it: they hold, or insert with a conflict clause, what another node could change.

pub(super) mod arguments;
pub(super) mod engine;
mod failure;
pub(super) mod nul;
pub(super) mod open;
mod warnings;
