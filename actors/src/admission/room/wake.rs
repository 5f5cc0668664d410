//! What comes free wakes only whom it concerns.

use std::mem;

use tokio::time::Instant;

use super::{Alarm, Mark, Place, Room, Waiting};
use crate::{
    admission::{
        blocked::{By, LineKey},
        line::Users,
    },
    domain::{CalleeId, LaneKey, TenantName},
};

impl Room {
    /// Wakes whose moment has come.
    pub(in crate::admission) fn ring(&mut self, now: Instant, users: &Users<'_>) {
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
    pub(in crate::admission) fn wake_lane(&mut self, lane: &LaneKey, users: &Users<'_>) {
        self.wake_lane_by(lane, |by| *by == By::Lane, users);
    }

    /// The lane's limits changed.
    pub(in crate::admission) fn wake_all_of_lane(&mut self, lane: &LaneKey, users: &Users<'_>) {
        self.wake_lane_by(lane, |_| true, users);
    }

    /// The lane's own knowledge of a callee changed.
    pub(in crate::admission) fn wake_lane_for(&mut self, lane: &LaneKey, callee: &CalleeId, users: &Users<'_>) {
        self.wake_lane_by(lane, |by| matches!(by, By::Own(id) if id == callee), users);
    }

    pub(super) fn wake_lane_by(&mut self, lane: &LaneKey, by: impl Fn(&By) -> bool, users: &Users<'_>) {
        for id in self.of_lane.get(lane).cloned().unwrap_or_default() {
            if matches!(self.waits.get(&id), Some(Waiting { place: Place::Aside(why), .. }) if by(why)) {
                self.become_ready(id, None, users);
            }
        }
    }

    /// What a callee knows of a tenant's credentials may have changed. Rare: looks at all.
    pub(in crate::admission) fn wake_tenant_for(&mut self, tenant: &TenantName, callee: &CalleeId, users: &Users<'_>) {
        self.wake(users, |waiting| {
            waiting.lane.tenant == *tenant && matches!(&waiting.place, Place::Aside(By::Own(id)) if id == callee)
        });
    }

    /// Everything may have changed. Rare: looks at all.
    pub(in crate::admission) fn wake_all(&mut self, users: &Users<'_>) {
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
    pub(in crate::admission) fn wake_suspects(&mut self, users: &Users<'_>) {
        let mut suspects: Vec<_> = mem::take(&mut self.turn).into_iter().collect();
        suspects.sort_unstable();
        for id in suspects {
            self.become_ready(id, None, users);
        }
    }

    /// A slot came free: tenants that may take one again are not passed over.
    pub(in crate::admission) fn pass_over_no_more(&mut self, may: impl Fn(&TenantName) -> bool) {
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
    pub(in crate::admission) fn open_lines(&mut self, callee: &CalleeId) {
        for line in LineKey::all(callee) {
            self.open_if_closed(&line);
        }
    }
}
