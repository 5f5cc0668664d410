//! The words of the product as types. No async, no I/O.

mod event;
mod ids;
mod job;
mod outcome;
mod time;

pub use event::EventEnvelope;
pub use ids::{CalleeId, Epoch, EventId, Fence, InvalidId, JobId, LaneKey, RouteName, SourceName, TenantName, TraceId};
pub use job::{CheckpointStage, Job, JobClass, JobState};
pub use outcome::{CallResult, DeadReason, HoldReason, JobResult, Outcome};
pub use time::{InvalidTimestamp, Timestamp};
