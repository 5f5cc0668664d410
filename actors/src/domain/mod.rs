//! The words of the product as types. No async, no I/O.

mod event;
mod ids;
mod job;
mod mandate;
mod outcome;
mod time;

pub use event::{EventEnvelope, type_fits};
pub use ids::{
    ArtifactId, CalleeId, Epoch, EventId, Fence, InvalidId, JobId, LaneKey, RouteName, SourceName, TenantName, TokenId,
    TraceId,
};
pub use job::{CheckpointStage, Job, JobClass, JobState};
pub use mandate::Mandate;
pub use outcome::{CallResult, DeadReason, HoldReason, JobResult, Outcome};
pub use time::{InvalidTimestamp, Timestamp};
