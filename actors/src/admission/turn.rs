//! Suspects: how careful an attempt must be begun, and whose turn it is to run alone.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    blocked::{Blocked, By},
    state::GroupId,
};
use crate::domain::LaneKey;

/// The least time between two jobs that ran alone on the node.
const ALONE_GAP: Duration = Duration::from_secs(1);

/// How careful an attempt must be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Care {
    /// Nothing is held against the job.
    None,
    /// First suspicion: beside other work, one such job at a time.
    Quarantine,
    /// Second suspicion or later: alone on the node.
    Alone,
}

impl Care {
    /// By how many deaths of the process in a row found the job running.
    pub(crate) const fn of(suspicion: u32) -> Self {
        match suspicion {
            0 => Self::None,
            1 => Self::Quarantine,
            _ => Self::Alone,
        }
    }
}

/// The turn of suspects that must run alone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Turn {
    /// None asked.
    Free,
    /// One waits until what is in flight has ended; nothing else begins.
    Clearing { lane: LaneKey, group: GroupId },
    /// One runs.
    Running { since: Instant },
    /// One ran: others first.
    Resting { until: Instant },
}

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    quarantined: bool,
    turn: Turn,
}

impl Default for Turns {
    fn default() -> Self {
        Self { quarantined: false, turn: Turn::Free }
    }
}

impl Turns {
    /// Whether an attempt may begin, as far as suspects are concerned.
    pub(super) fn check(&self, lane: &LaneKey, group: GroupId, care: Care, now: Instant) -> Result<(), Blocked> {
        match &self.turn {
            Turn::Clearing { .. } if !self.is_cleared_for(lane, group) => Err(Blocked::by(By::Turn)),
            Turn::Running { .. } => Err(Blocked::by(By::Turn)),
            Turn::Resting { until } if care == Care::Alone && now < *until => {
                Err(Blocked { retry_at: Some(*until), ..Blocked::by(By::Turn) })
            }
            _ if care == Care::Quarantine && self.quarantined => Err(Blocked::by(By::Turn)),
            _ => Ok(()),
        }
    }

    /// Whether nothing but the suspect whose turn it is may begin.
    pub(super) const fn holds_the_node(&self) -> bool {
        matches!(self.turn, Turn::Clearing { .. } | Turn::Running { .. })
    }

    /// For whom the node is being cleared.
    pub(super) const fn next_alone(&self) -> Option<(&LaneKey, GroupId)> {
        match &self.turn {
            Turn::Clearing { lane, group } => Some((lane, *group)),
            _ => None,
        }
    }

    /// Whether the node is being cleared for this group.
    pub(super) fn is_cleared_for(&self, lane: &LaneKey, group: GroupId) -> bool {
        self.next_alone() == Some((lane, group))
    }

    /// Nothing else begins until this one has.
    pub(super) fn clear_for(&mut self, lane: &LaneKey, group: GroupId) {
        self.turn = Turn::Clearing { lane: lane.clone(), group };
    }

    /// The one for whom the node was being cleared cannot begin.
    pub(super) fn give_up(&mut self) {
        self.turn = Turn::Free;
    }

    /// An attempt begins.
    pub(super) fn begin(&mut self, care: Care, now: Instant) {
        match care {
            Care::None => {}
            Care::Quarantine => self.quarantined = true,
            Care::Alone => self.turn = Turn::Running { since: now },
        }
    }

    /// It ended. Whether another suspect may begin now.
    pub(super) fn end(&mut self, care: Care, now: Instant) -> bool {
        match care {
            Care::None => return false,
            Care::Quarantine => self.quarantined = false,
            Care::Alone => {
                let held = if let Turn::Running { since } = self.turn { now - since } else { Duration::ZERO };
                self.turn = Turn::Resting { until: now + held.max(ALONE_GAP) };
            }
        }
        true
    }
}
