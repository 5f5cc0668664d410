//! Calls: entering a callee, leaving it, and what that tells of its health.

use tokio::time::Instant;

use super::state::{Notice, State, seed_of, users};
use crate::{
    callee::{LaneCallee, Refusal, Taken, report},
    domain::{CallResult, CalleeId, LaneKey},
    policy::breaker::Ticket,
    ports::BreakerState,
};

/// What a call took of the lane and of the callee.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entered {
    lane: Option<Ticket>,
    callee: Option<Taken>,
}

impl Entered {
    /// Whether the call may be made.
    pub(crate) fn is_whole(&self) -> bool {
        self.callee.as_ref().is_some_and(Taken::is_whole)
    }

    /// Whether there is anything to give back.
    pub(super) const fn is_any(&self) -> bool {
        self.lane.is_some() || self.callee.is_some()
    }
}

impl State {
    pub(crate) fn enter(&mut self, key: &LaneKey, id: &CalleeId, now: Instant) -> Result<Entered, Refusal> {
        if let Some(known) = self.lanes.get(key).and_then(|lane| lane.callee(id)) {
            known.check(now)?;
        }
        if let Some(callee) = self.callees.get(id) {
            callee.check(&key.tenant, now)?;
        }
        Ok(self.take(key, id, now))
    }

    pub(crate) fn leave(
        &mut self,
        key: &LaneKey,
        id: &CalleeId,
        entered: Entered,
        result: Option<CallResult>,
        now: Instant,
    ) {
        let user = seed_of(0, key);
        if let (Some(taken), Some(callee)) = (entered.callee, self.callees.get_mut(id)) {
            let changed = callee.leave(taken, &key.tenant, user, result, now);
            let quota_is_shared = callee.shares_its_quota();
            if let Some(state) = changed {
                let mut kept_by: Vec<_> = self.kept_by.remove(id).into_iter().collect();
                if state == BreakerState::Open {
                    self.kept_by.insert(id.clone(), key.clone());
                    kept_by.push(key.clone());
                }
                self.outbox.notices.push(Notice::Callee { kept_by, callee: id.clone(), state });
            }
            if let Some(CallResult::Failure { retry_after: Some(wait) }) = result
                && !quota_is_shared
                && let Some(known) = self.lane_callee(key, id)
            {
                known.not_before = Some(now + wait);
            }
        }
        if let (Some(ticket), Some(known)) = (entered.lane, self.lane_callee(key, id))
            && let Some(state) = known.breaker.report(ticket, user, report(result), now)
        {
            self.outbox.notices.push(Notice::Lane { lane: key.clone(), callee: id.clone(), state });
        }
        self.outbox.released = true;
        self.room.open_lines(id);
        self.room.wake_lane_for(key, id, users!(self, now));
        if entered.callee.as_ref().is_some_and(Taken::probes_credentials) {
            self.room.wake_tenant_for(&key.tenant, id, users!(self, now));
        }
        self.dirty = true;
    }

    pub(crate) fn refuse_credentials(&mut self, key: &LaneKey, id: &CalleeId, now: Instant) {
        if let Some(callee) = self.callees.get_mut(id) {
            callee.refuse(&key.tenant, now);
        }
    }

    pub(crate) fn probe_now(&mut self, key: &LaneKey, now: Instant) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        for known in &mut lane.callees {
            known.breaker.probe_now(now);
            known.not_before = None;
            if let Some(callee) = self.callees.get_mut(&known.id) {
                callee.probe_now(&key.tenant, now);
            }
        }
        self.room.wake_all(users!(self, now));
        self.dirty = true;
    }

    pub(super) fn take(&mut self, key: &LaneKey, id: &CalleeId, now: Instant) -> Entered {
        let callee = self.callees.get_mut(id).map(|callee| {
            let before = callee.breaker().state();
            let taken = callee.take(&key.tenant, now);
            (taken, before != callee.breaker().state())
        });
        let lane = self.lane_callee(key, id).map(|known| {
            let before = known.breaker.state();
            let ticket = known.breaker.take(now);
            (ticket, before != known.breaker.state())
        });
        if callee.is_some_and(|(_, changed)| changed) {
            self.outbox.notices.push(Notice::Callee {
                kept_by: Vec::new(),
                callee: id.clone(),
                state: BreakerState::HalfOpen,
            });
        }
        if lane.is_some_and(|(_, changed)| changed) {
            let notice = Notice::Lane { lane: key.clone(), callee: id.clone(), state: BreakerState::HalfOpen };
            self.outbox.notices.push(notice);
        }
        Entered { lane: lane.map(|(ticket, _)| ticket), callee: callee.map(|(taken, _)| taken) }
    }

    /// Keeps the probes of a later callee's breakers for an attempt that begins now, so that only
    /// one attempt goes all the way to it.
    pub(super) fn reserve(&mut self, key: &LaneKey, id: &CalleeId, now: Instant) -> Entered {
        let callee = self.callees.get_mut(id).and_then(|callee| callee.reserve(now));
        let lane = self
            .lane_callee(key, id)
            .filter(|known| known.breaker.state() != BreakerState::Closed)
            .map(|known| known.breaker.take(now));
        if callee.is_some() {
            self.outbox.notices.push(Notice::Callee {
                kept_by: Vec::new(),
                callee: id.clone(),
                state: BreakerState::HalfOpen,
            });
        }
        if lane.is_some() {
            let notice = Notice::Lane { lane: key.clone(), callee: id.clone(), state: BreakerState::HalfOpen };
            self.outbox.notices.push(notice);
        }
        Entered { lane, callee }
    }

    fn lane_callee(&mut self, key: &LaneKey, id: &CalleeId) -> Option<&mut LaneCallee> {
        self.lanes.get_mut(key).and_then(|lane| lane.callees.iter_mut().find(|callee| callee.id == *id))
    }
}
