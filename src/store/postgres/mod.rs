//! The store on a Postgres server, which several nodes may share.
//!
//! All writes go through group-commit writers ([`crate::ingest::writer`]), two for deliveries and one for
//! all else, each with an [`engine`] that has a connection of its own: a pooled one could come back
//! poisoned by a `BEGIN` that was cancelled. The tree of actors and people read through pools of their
//! own. A commit whose outcome is not known answers
//! [`Unknown`](crate::ingest::writer::WriteError::Unknown).
//!
//! Who is a node, and whose a lane is, is the affair of [`node`]; [`wake`] carries hints between
//! nodes. A transaction that begins or ends jobs holds the row of its node: without the row it
//! changes nothing. What another node could change is held, or a unique index refuses it.

pub(super) mod arguments;
pub(super) mod engine;
mod failure;
pub(super) mod node;
pub(super) mod nul;
pub(super) mod open;
mod wake;
mod warnings;
