//! The lines of callees, of each of which one at a time is ready, and who is next of all.

use std::mem;

use tokio::time::Instant;

use super::{Alarm, Mark, Place, Room, WaitId};
use crate::{
    admission::{blocked::LineKey, line::Users},
    domain::JobClass,
    policy::fairness::Shares,
};

impl Room {
    pub(super) fn join(&mut self, id: WaitId, key: LineKey, users: &Users<'_>) {
        let Some(waiting) = self.waits.get_mut(&id) else { return };
        let line = self.lines.entry(key.clone()).or_default();
        line.line.insert(id, waiting.want.class, &waiting.lane, users);
        waiting.place = Place::Line(key);
    }

    pub(super) fn close(&mut self, key: &LineKey, until: Option<Instant>) {
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

    pub(super) fn open_if_closed(&mut self, key: &LineKey) {
        if self.lines.get(key).is_some_and(|line| line.mark == Mark::Closed) {
            self.mark_open(key.clone());
        }
    }

    pub(super) fn mark_open(&mut self, key: LineKey) {
        if let Some(line) = self.lines.get_mut(&key) {
            line.mark = Mark::Open;
            self.set_line_alarm(&key, None);
            self.open.push(key);
        }
    }

    pub(super) fn drop_if_empty(&mut self, key: &LineKey) {
        if self.lines.get(key).is_some_and(|line| line.line.is_empty() && line.mark != Mark::Represented) {
            self.set_line_alarm(key, None);
            self.lines.remove(key);
        }
    }

    /// Of each line that is open the next becomes ready; `check` says whether the callee takes one.
    pub(in crate::admission) fn represent(
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
    pub(in crate::admission) fn next(&mut self, shares: &Shares, users: &Users<'_>) -> Option<WaitId> {
        self.ready.next(shares, &self.passed_over, users, &self.waits)
    }
}
