//! Where lanes wait, each where what it waits for will find it.
//!
//! A wait is *ready* (it is looked at as soon as there is a slot), in the *line* of a callee whose
//! own limits are the obstacle, or *aside* until an event of its own: a moment, an end of its lane,
//! a suspect's turn. What comes free wakes only whom it concerns; of a callee's line one at a time
//! becomes ready. So the cost of a grant does not grow with how many wait.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
};

use tokio::time::Instant;

use super::{
    line::{Line, Users, steps},
    state::{Blocked, By, GroupId, LineKey, Want},
    turn::Care,
};
use crate::{
    callee::Refusal,
    domain::{CalleeId, JobClass, LaneKey, TenantName},
    policy::fairness::Shares,
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

// === what comes free ===

impl Room {
    /// Wakes whose moment has come.
    pub(super) fn ring(&mut self, now: Instant, users: &Users<'_>) {
        while self.alarms.first().is_some_and(|(at, _)| *at <= now) {
            match self.alarms.pop_first() {
                Some((_, Alarm::Wait(id))) => {
                    if let Some(waiting) = self.waits.get_mut(&id) {
                        waiting.alarm = None;
                    }
                    self.become_ready(id, None, users);
                }
                Some((_, Alarm::Line(key))) => {
                    if let Some(line) = self.lines.get_mut(&key) {
                        line.alarm = None;
                    }
                    self.open_if_closed(&key);
                }
                None => {}
            }
        }
    }

    /// Something of the lane itself came free: its own limits.
    pub(super) fn wake_lane(&mut self, lane: &LaneKey, users: &Users<'_>) {
        self.wake_lane_by(lane, |by| *by == By::Lane, users);
    }

    /// The lane's limits changed.
    pub(super) fn wake_all_of_lane(&mut self, lane: &LaneKey, users: &Users<'_>) {
        self.wake_lane_by(lane, |_| true, users);
    }

    /// The lane's own knowledge of a callee changed.
    pub(super) fn wake_lane_for(&mut self, lane: &LaneKey, callee: &CalleeId, users: &Users<'_>) {
        self.wake_lane_by(lane, |by| matches!(by, By::Own(id) if id == callee), users);
    }

    fn wake_lane_by(&mut self, lane: &LaneKey, by: impl Fn(&By) -> bool, users: &Users<'_>) {
        for id in self.of_lane.get(lane).cloned().unwrap_or_default() {
            if matches!(self.waits.get(&id), Some(Waiting { place: Place::Aside(why), .. }) if by(why)) {
                self.become_ready(id, None, users);
            }
        }
    }

    /// What a callee knows of a tenant's credentials may have changed. Rare: looks at all.
    pub(super) fn wake_tenant_for(&mut self, tenant: &TenantName, callee: &CalleeId, users: &Users<'_>) {
        self.wake(users, |waiting| {
            waiting.lane.tenant == *tenant && matches!(&waiting.place, Place::Aside(By::Own(id)) if id == callee)
        });
    }

    /// Everything may have changed. Rare: looks at all.
    pub(super) fn wake_all(&mut self, users: &Users<'_>) {
        self.wake(users, |waiting| !matches!(waiting.place, Place::Ready { .. }));
    }

    fn wake(&mut self, users: &Users<'_>, whom: impl Fn(&Waiting) -> bool) {
        let mut woken: Vec<_> = self.waits.iter().filter(|(_, it)| whom(it)).map(|(id, _)| *id).collect();
        woken.sort_unstable();
        for id in woken {
            self.become_ready(id, None, users);
        }
    }

    /// Another suspect may have its turn.
    pub(super) fn wake_suspects(&mut self, users: &Users<'_>) {
        let mut suspects: Vec<_> = mem::take(&mut self.turn).into_iter().collect();
        suspects.sort_unstable();
        for id in suspects {
            self.become_ready(id, None, users);
        }
    }

    /// A slot came free: tenants that may take one again are not passed over.
    pub(super) fn pass_over_no_more(&mut self, may: impl Fn(&TenantName) -> bool) {
        let before = self.passed_over.len();
        self.passed_over.retain(|tenant| !may(tenant));
        if self.passed_over.len() < before {
            for key in mem::take(&mut self.stalled) {
                if self.lines.get(&key).is_some_and(|line| line.mark == Mark::Stalled) {
                    self.mark_open(key);
                }
            }
        }
    }

    /// The callee may take another call.
    pub(super) fn open_lines(&mut self, callee: &CalleeId) {
        for line in LineKey::all(callee) {
            self.open_if_closed(&line);
        }
    }
}

// === lines of callees, and who is next ===

impl Room {
    fn join(&mut self, id: WaitId, key: LineKey, users: &Users<'_>) {
        let Some(waiting) = self.waits.get_mut(&id) else { return };
        let line = self.lines.entry(key.clone()).or_default();
        line.line.insert(id, waiting.want.class, &waiting.lane, users);
        waiting.place = Place::Line(key);
    }

    fn close(&mut self, key: &LineKey, until: Option<Instant>) {
        let Some(line) = self.lines.get_mut(key) else { return };
        line.mark = Mark::Closed;
        self.set_line_alarm(key, until);
    }

    fn set_line_alarm(&mut self, key: &LineKey, at: Option<Instant>) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if let Some(at) = mem::replace(&mut line.alarm, at) {
            self.alarms.remove(&(at, Alarm::Line(key.clone())));
        }
        if let Some(at) = at {
            self.alarms.insert((at, Alarm::Line(key.clone())));
        }
    }

    fn open_if_closed(&mut self, key: &LineKey) {
        if self.lines.get(key).is_some_and(|line| line.mark == Mark::Closed) {
            self.mark_open(key.clone());
        }
    }

    fn mark_open(&mut self, key: LineKey) {
        if let Some(line) = self.lines.get_mut(&key) {
            line.mark = Mark::Open;
            self.set_line_alarm(&key, None);
            self.open.push(key);
        }
    }

    fn drop_if_empty(&mut self, key: &LineKey) {
        if self.lines.get(key).is_some_and(|line| line.line.is_empty() && line.mark != Mark::Represented) {
            self.set_line_alarm(key, None);
            self.lines.remove(key);
        }
    }

    /// Of each line that is open the next becomes ready; `check` says whether the callee takes one.
    pub(super) fn represent(
        &mut self,
        check: impl Fn(&LineKey) -> Result<(), Option<Instant>>,
        shares: &Shares,
        users: &Users<'_>,
    ) {
        while let Some(key) = self.open.pop() {
            self.drop_if_empty(&key);
            let Some(line) = self.lines.get_mut(&key).filter(|line| line.mark == Mark::Open) else { continue };
            if let Err(until) = check(&key) {
                self.close(&key, until);
                continue;
            }
            let Some(id) = line.line.next(shares, &self.passed_over, users, &self.waits) else {
                line.mark = Mark::Stalled;
                self.stalled.push(key);
                continue;
            };
            let id = self.fresh_first(id, &key);
            self.leave(id, users);
            // It may have been the last one.
            self.lines.entry(key.clone()).or_default().mark = Mark::Represented;
            self.become_ready(id, Some(key), users);
        }
    }

    /// In place of a replay, fresh work of its lane in the same line.
    fn fresh_first(&self, id: WaitId, key: &LineKey) -> WaitId {
        let Some(waiting) = self.waits.get(&id).filter(|it| it.want.class == JobClass::Replay) else { return id };
        let fresh = |id: &WaitId| {
            let it = self.waits.get(id);
            it.is_some_and(|it| {
                it.want.class == JobClass::Fresh && matches!(&it.place, Place::Line(line) if line == key)
            })
        };
        self.of_lane.get(&waiting.lane).into_iter().flatten().copied().find(fresh).unwrap_or(id)
    }

    /// The one whose turn it is among those that are ready.
    pub(super) fn next(&mut self, shares: &Shares, users: &Users<'_>) -> Option<WaitId> {
        self.ready.next(shares, &self.passed_over, users, &self.waits)
    }
}
