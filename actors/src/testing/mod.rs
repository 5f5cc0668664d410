//! Whole trees of actors inside a test, in virtual time (feature `testing`).
//!
//! Begin with [`TestTree`]: it starts the real supervisor, lanes and dead-letter actor on a
//! [`MemoryStore`], runs a [`ScriptedAction`] and remembers in a [`Recorder`] what was observed.
//! Everything in it follows tokio's paused clock.
//!
//! # An action or a store of your own in a tree
//!
//! Add `sluice-actors = { …, features = ["testing"] }` to your dev-dependencies, build a
//! [`World`](crate::handle::World) from these parts and yours, and hand it to
//! [`Gateway::start`](crate::handle::Gateway::start). A store of your own is also held to its
//! contract by [`job_store_contract!`](crate::job_store_contract).
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use async_trait::async_trait;
//! use sluice_actors::{
//!     domain::{CallResult, CalleeId, HoldReason, Job, JobResult, JobState, Outcome},
//!     handle::{Gateway, NodeLimits, World},
//!     ports::{Action, Attempt},
//!     testing::{MemoryStore, NewJob, Recorder, TestPolicies, VirtualClock, default_callee, default_lane},
//! };
//!
//! /// The action under test: it calls a CRM.
//! struct CallCrm;
//!
//! #[async_trait]
//! impl Action for CallCrm {
//!     fn callees(&self, _: &Job) -> Result<Vec<CalleeId>, HoldReason> {
//!         Ok(vec![CalleeId::new("host", "crm.example")])
//!     }
//!
//!     async fn run(&self, attempt: Attempt) -> Outcome {
//!         // No call without leave: limits and breakers are asked here.
//!         let permit = match attempt.gate.enter(&CalleeId::new("host", "crm.example")).await {
//!             Ok(permit) => permit,
//!             Err(reason) => return Outcome::Hold { reason, after: None },
//!         };
//!         permit.report(CallResult::Success);
//!         Outcome::Delivered(JobResult::default())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! // In a test: #[tokio::test(start_paused = true)]
//! let clock = Arc::new(VirtualClock::default());
//! let store = MemoryStore::new(clock.clone());
//! let world = World {
//!     store: Arc::new(store.clone()),
//!     action: Arc::new(CallCrm),
//!     policies: Arc::new(TestPolicies::new(default_lane(), default_callee())),
//!     observer: Arc::new(Recorder::default()),
//!     clock,
//!     seed: 7,
//!     limits: NodeLimits::default(),
//! };
//! let (gateway, _) = Gateway::start(world).await.unwrap();
//!
//! let job = store.insert(NewJob::on("acme/payments"));
//! tokio::time::sleep(Duration::from_secs(5)).await;
//! assert_eq!(store.job(job).job.state, JobState::Succeeded);
//!
//! let left = gateway.drain(Duration::from_secs(25)).await;
//! assert!(left.released.is_empty());
//! # }
//! ```

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
