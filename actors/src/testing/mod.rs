//! Whole trees of actors inside a test, in virtual time (feature `testing`).
//!
//! [`MemoryStore`] is the truth about jobs in memory, with refusals, lost answers and deaths of the
//! process on demand.

mod memory;
mod seed;
mod time;

pub use memory::{MemoryStore, StoreOp, StoredJob};
pub use seed::{NewJob, lane_key};
pub use time::VirtualClock;
