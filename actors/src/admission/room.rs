//! Where lanes wait, each where what it waits for will find it.
//!
//! A wait is *ready* (it is looked at as soon as there is a slot), in the *line* of a callee whose
//! own limits are the obstacle, or *aside* until an event of its own: a moment, an end of its lane,
//! a suspect's turn. What comes free wakes only whom it concerns; of a callee's line one at a time
//! becomes ready. So the cost of a grant does not grow with how many wait.

mod lines;
mod wake;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
};

use tokio::time::Instant;

use super::{
    blocked::{Blocked, By, LineKey},
    line::{Line, Users, steps},
    state::{GroupId, Want},
    turn::Care,
};
use crate::{
    callee::Refusal,
    domain::{CalleeId, JobClass, LaneKey, TenantName},
};

/// A wait; the later it began the greater.
pub(super) type WaitId = u64;

/// One group of a lane that waits.
pub(super) struct Waiting {
    pub(super) lane: LaneKey,
    pub(super) want: Want,
    /// Why, where a callee is the reason.
    pub(super) refusal: Option<Refusal>,
    place: Place,
    alarm: Option<Instant>,
}

#[derive(Debug)]
enum Place {
    /// Nothing is known to stop it; it stands for the line it came from, if any.
    Ready { from: Option<LineKey> },
    /// In the line of a callee.
    Line(LineKey),
    /// For an event of its own.
    Aside(By),
}

/// The line of a callee.
#[derive(Default)]
struct CalleeLine {
    line: Line,
    mark: Mark,
    alarm: Option<Instant>,
}

#[derive(Default, PartialEq, Eq)]
enum Mark {
    /// The callee takes no more: an event or an alarm opens it.
    #[default]
    Closed,
    /// It may take one more: the next of the line is to become ready.
    Open,
    /// The next is ready.
    Represented,
    /// Only tenants wait that may not take a slot now.
    Stalled,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Wait(WaitId),
    Line(LineKey),
}

/// All that wait.
#[derive(Default)]
pub(super) struct Room {
    waits: HashMap<WaitId, Waiting>,
    of_lane: HashMap<LaneKey, Vec<WaitId>>,
    ready: Line,
    lines: HashMap<LineKey, CalleeLine>,
    open: Vec<LineKey>,
    stalled: Vec<LineKey>,
    /// Tenants that hold so many slots that they may not take one of the last.
    passed_over: HashSet<TenantName>,
    turn: HashSet<WaitId>,
    alarms: BTreeSet<(Instant, Alarm)>,
    last: WaitId,
}

// === who is here ===

impl Room {
    pub(super) fn get(&self, id: WaitId) -> Option<&Waiting> {
        self.waits.get(&id)
    }

    pub(super) fn find(&self, lane: &LaneKey, group: GroupId) -> Option<WaitId> {
        let waits = self.of_lane.get(lane)?;
        waits.iter().copied().find(|id| self.waits.get(id).is_some_and(|waiting| waiting.want.group == group))
    }

    pub(super) fn of_lane(&self, lane: &LaneKey) -> impl Iterator<Item = &Waiting> {
        self.of_lane.get(lane).into_iter().flatten().filter_map(|id| self.waits.get(id))
    }

    /// Where they stand, for a test's words.
    #[cfg(test)]
    pub(super) fn places(&self, lane: &LaneKey) -> Vec<String> {
        self.of_lane(lane).map(|waiting| format!("{:?}: {:?}", waiting.want, waiting.place)).collect()
    }

    /// Callees that someone waits to call.
    pub(super) fn callees(&self) -> HashSet<&CalleeId> {
        self.waits.values().flat_map(|waiting| waiting.want.callees.iter()).collect()
    }

    /// The next moment at which someone is to be looked at.
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }
}

// === coming, going, standing back ===

impl Room {
    /// Changes what a group that waits asks for. False if it does not wait.
    pub(super) fn ask_anew(&mut self, lane: &LaneKey, want: &Want) -> bool {
        let Some(waiting) = self.find(lane, want.group).and_then(|id| self.waits.get_mut(&id)) else { return false };
        waiting.want.count = want.count;
        true
    }

    /// Someone new must wait.
    pub(super) fn add(&mut self, lane: &LaneKey, want: Want, blocked: Blocked, users: &Users<'_>) {
        self.last += 1;
        let id = self.last;
        let place = Place::Aside(By::Slot);
        self.waits.insert(id, Waiting { lane: lane.clone(), want, refusal: None, place, alarm: None });
        self.of_lane.entry(lane.clone()).or_default().push(id);
        self.settle(id, blocked, users);
    }

    /// It was looked at and cannot begin: it waits where the obstacle is.
    pub(super) fn settle(&mut self, id: WaitId, blocked: Blocked, users: &Users<'_>) {
        steps::count();
        let Some(waiting) = self.waits.get(&id) else { return };
        let (care, is_ready) = (waiting.want.care, matches!(waiting.place, Place::Ready { .. }));
        match blocked.by {
            By::Slot => {
                if !is_ready {
                    self.become_ready(id, None, users);
                }
            }
            By::Reserve => {
                self.passed_over.insert(waiting.lane.tenant.clone());
                let from = if let Place::Ready { from } = &waiting.place { from.clone() } else { None };
                if let Some(line) = from {
                    // Another tenant may stand for the line.
                    self.leave(id, users);
                    self.join(id, line.clone(), users);
                } else if !is_ready {
                    self.become_ready(id, None, users);
                }
            }
            By::Turn if care == Care::None => {
                if !is_ready {
                    self.become_ready(id, None, users);
                }
            }
            By::Shared(line) => {
                self.leave(id, users);
                self.join(id, line.clone(), users);
                self.close(&line, blocked.retry_at);
                self.set_refusal(id, blocked.refusal);
            }
            by => {
                self.leave(id, users);
                if by == By::Turn {
                    self.turn.insert(id);
                }
                self.put_aside(id, by);
                self.set_alarm(id, blocked.retry_at);
                self.set_refusal(id, blocked.refusal);
            }
        }
    }

    /// One of what it asked for is granted.
    pub(super) fn granted(&mut self, id: WaitId, users: &Users<'_>) {
        let Some(waiting) = self.waits.get_mut(&id) else { return };
        if waiting.want.count > 1 {
            waiting.want.count -= 1;
        } else {
            self.remove(id, users);
        }
    }

    pub(super) fn withdraw(&mut self, lane: &LaneKey, users: &Users<'_>) {
        for id in self.of_lane.get(lane).cloned().unwrap_or_default() {
            self.remove(id, users);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    fn remove(&mut self, id: WaitId, users: &Users<'_>) {
        self.leave(id, users);
        let Some(waiting) = self.waits.remove(&id) else { return };
        if let Some(of_lane) = self.of_lane.get_mut(&waiting.lane) {
            of_lane.retain(|other| *other != id);
            if of_lane.is_empty() {
                self.of_lane.remove(&waiting.lane);
            }
        }
    }

    fn set_refusal(&mut self, id: WaitId, refusal: Option<Refusal>) {
        if let Some(waiting) = self.waits.get_mut(&id) {
            waiting.refusal = refusal;
        }
    }

    fn set_alarm(&mut self, id: WaitId, at: Option<Instant>) {
        let Some(waiting) = self.waits.get_mut(&id) else { return };
        if let Some(at) = mem::replace(&mut waiting.alarm, at) {
            self.alarms.remove(&(at, Alarm::Wait(id)));
        }
        if let Some(at) = at {
            self.alarms.insert((at, Alarm::Wait(id)));
        }
    }

    /// Takes it out of where it stands; it is aside then, for nothing.
    fn leave(&mut self, id: WaitId, users: &Users<'_>) {
        self.set_alarm(id, None);
        self.turn.remove(&id);
        let Some(waiting) = self.waits.get_mut(&id) else { return };
        waiting.refusal = None;
        let place = mem::replace(&mut waiting.place, Place::Aside(By::Slot));
        let (lane, class) = (waiting.lane.clone(), waiting.want.class);
        match place {
            Place::Aside(_) => {}
            Place::Line(key) => {
                if let Some(line) = self.lines.get_mut(&key) {
                    line.line.remove(id, class, &lane.tenant);
                }
                self.drop_if_empty(&key);
            }
            Place::Ready { from } => {
                self.ready.remove(id, class, &lane.tenant);
                if let Some(line) = from {
                    self.mark_open(line);
                }
                if class == JobClass::Fresh && !self.has_ready(&lane, JobClass::Fresh) {
                    self.wake_lane_by(&lane, |by| *by == By::Fresh, users);
                }
            }
        }
    }

    fn put_aside(&mut self, id: WaitId, by: By) {
        if let Some(waiting) = self.waits.get_mut(&id) {
            waiting.place = Place::Aside(by);
        }
    }

    /// Nothing is known to stop it any more.
    fn become_ready(&mut self, id: WaitId, from: Option<LineKey>, users: &Users<'_>) {
        steps::count();
        self.leave(id, users);
        let Some(waiting) = self.waits.get(&id) else { return };
        let (lane, class) = (waiting.lane.clone(), waiting.want.class);
        match class {
            // A replay never goes ahead of fresh work of its lane.
            JobClass::Replay if self.has_ready(&lane, JobClass::Fresh) => {
                self.put_aside(id, By::Fresh);
                if let Some(line) = from {
                    self.mark_open(line);
                }
                return;
            }
            JobClass::Fresh => {
                for replay in self.ready_of(&lane, JobClass::Replay) {
                    self.leave(replay, users);
                    self.put_aside(replay, By::Fresh);
                }
            }
            JobClass::Replay | JobClass::Retry => {}
        }
        self.ready.insert(id, class, &lane, users);
        if let Some(waiting) = self.waits.get_mut(&id) {
            waiting.place = Place::Ready { from };
        }
    }

    fn ready_of(&self, lane: &LaneKey, class: JobClass) -> Vec<WaitId> {
        let is_ready = |id: &WaitId| {
            let waiting = self.waits.get(id);
            waiting.is_some_and(|it| it.want.class == class && matches!(it.place, Place::Ready { .. }))
        };
        self.of_lane.get(lane).into_iter().flatten().copied().filter(is_ready).collect()
    }

    fn has_ready(&self, lane: &LaneKey, class: JobClass) -> bool {
        !self.ready_of(lane, class).is_empty()
    }
}
