//! One event for one route: a state machine.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{EventId, Fence, InvalidId, JobId, LaneKey, RouteName, Timestamp};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Never tried; due at `next_run_at`.
    Pending,
    /// An attempt holds it by its fence.
    Running,
    /// Done; its result is stored.
    Succeeded,
    /// Tried without success; waits for its next attempt at `next_run_at`.
    Failed,
    /// Will not be tried again by itself; replayable.
    DeadLetter,
    /// A newer event of the same subject and route was already there.
    Superseded,
    /// A person ended it.
    Cancelled,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::DeadLetter,
        Self::Superseded,
        Self::Cancelled,
    ];

    /// The stored and shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::DeadLetter => "deadletter",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a lane may begin a job in this state once it is due.
    pub const fn is_startable(self) -> bool {
        matches!(self, Self::Pending | Self::Failed)
    }

    /// Whether the job is over (a dead letter is: only a person brings it back).
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Failed)
    }

    /// Whether a job may go from this state to `next`. A dead letter, and only it, comes back
    /// (as `pending`) when it is replayed.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending | Self::Failed => {
                // A dead letter without an attempt: what it needs is gone when it is begun.
                matches!(next, Self::Running | Self::Superseded | Self::Cancelled | Self::DeadLetter)
            }
            Self::Running => matches!(
                next,
                Self::Pending | Self::Failed | Self::Succeeded | Self::DeadLetter | Self::Superseded | Self::Cancelled
            ),
            Self::DeadLetter => matches!(next, Self::Pending | Self::Cancelled),
            Self::Succeeded | Self::Superseded | Self::Cancelled => false,
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            InvalidId::new("job state", "pending, running, succeeded, failed, deadletter, superseded or cancelled")
        })
    }
}

/// Which queue a job stands in: fresh work first, then retries, replays last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobClass {
    /// Never tried.
    Fresh,
    /// Tried before.
    Retry,
    /// Brought back by a person; never ahead of fresh work.
    Replay,
}

/// How far the checkpoint of a job goes: what its later attempts need not do again, and so whom they
/// call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointStage {
    /// There is no checkpoint.
    #[default]
    None,
    /// What the event only names was loaded.
    Fetched,
    /// The answer that is paid for is there: it has only to be delivered.
    Answered,
}

impl CheckpointStage {
    /// All stages, in order.
    pub const ALL: [Self; 3] = [Self::None, Self::Fetched, Self::Answered];

    /// The stored number: the place in [`Self::ALL`].
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The stage of a stored number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| i64::from(stage.number()) == number)
    }
}

/// A job as the store knows it, without its event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The event it works on.
    pub event_id: EventId,
    /// Its lane.
    pub lane: LaneKey,
    /// The route that made it.
    pub route: RouteName,
    /// The action's name (`summarize_and_publish`); column `type`.
    pub kind: Arc<str>,
    /// Where it stands.
    pub state: JobState,
    /// Its queue.
    pub class: JobClass,
    /// Outcomes so far, since its last replay. Capped at 1 + 7 retries.
    pub attempts: u32,
    /// Starts so far, whatever became of them.
    pub claims: u32,
    /// Process deaths while it ran alone.
    pub deaths: u32,
    /// Process deaths in a row that found it running; above zero it is a suspect.
    pub suspicion: u32,
    /// When it is due.
    pub next_run_at: Timestamp,
    /// The token of the attempt that holds it (or last held it).
    pub fence: Fence,
    /// What earlier attempts left, so that paid work is not repeated.
    pub stage: CheckpointStage,
}
