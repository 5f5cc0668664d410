//! Whole trees of actors inside a test, in virtual time (feature `testing`).
//!
//! Begin with [`TestTree`]: it starts the real supervisor, lanes and dead-letter actor on a
//! [`MemoryStore`], runs a [`ScriptedAction`] and remembers in a [`Recorder`] what was observed.
//! Everything in it follows tokio's paused clock.
//!
//! To test an action or a store of your own in a tree, build a [`World`](crate::handle::World)
//! from these parts and yours and hand it to [`Gateway::start`](crate::handle::Gateway::start).

mod action;
pub mod contract;
mod memory;
mod policies;
mod recorder;
mod seed;
mod time;
mod tree;

pub use action::{Act, Answer, Call, ScriptedAction};
pub use memory::{MemoryStore, StoreOp, StoredJob};
pub use policies::{BREAKER, TestPolicies, default_callee, default_lane};
pub use recorder::{Heard, Recorder};
pub use seed::{NewJob, lane_key};
pub use time::VirtualClock;
pub use tree::{Setup, TestTree};
