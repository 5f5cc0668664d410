//! Lanes and callees as the desk knows them: they come, change their limits, go.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Deliver,
    state::{Notice, State, seed_of, users},
};
use crate::{
    callee::Refusal,
    callee::{Callee, LaneCallee, rebuilt, untouched_since},
    domain::{CalleeId, HoldReason, JobId, LaneKey, Timestamp},
    policy::{
        breaker::{Breaker, Opens},
        bucket::Bucket,
        fairness::Usage,
    },
    ports::{BreakerMemory, BreakerState, LaneMemory, LanePolicy, Policies},
    snapshot::{BreakerSnapshot, CalleeSnapshot},
};

/// A lane that is awake.
pub(super) struct Lane {
    pub(super) policy: LanePolicy,
    pub(super) usage: Usage,
    pub(super) bucket: Bucket,
    pub(super) callees: Vec<LaneCallee>,
    pub(super) in_flight: Vec<JobId>,
    pub(super) deliver: Deliver,
    pub(super) opened: Opened,
    /// It went to sleep while calls of it were in flight: forgotten when they have ended, so that they
    /// count if it wakes before.
    pub(super) closed: bool,
}

/// Tells the actors of a lane apart, which follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened(u64);

impl Lane {
    pub(super) fn callee(&self, id: &CalleeId) -> Option<&LaneCallee> {
        self.callees.iter().find(|callee| callee.id == *id)
    }
}

/// A tenant with lanes that are awake.
pub(super) struct Tenant {
    pub(super) usage: Usage,
    /// How many.
    lanes: usize,
}

/// A lane's limits as they are now.
#[derive(Debug, Clone)]
pub(crate) struct LaneView {
    pub(crate) vendor: Arc<str>,
    pub(crate) bucket_tokens: f64,
    pub(crate) in_flight: Vec<JobId>,
    pub(crate) breakers: Vec<BreakerSnapshot>,
    /// Why what it asked for cannot begin, if a callee is the reason.
    pub(crate) held: Option<HoldReason>,
}

// === coming and going ===

impl State {
    #[expect(clippy::too_many_arguments, reason = "each is a different thing to know, used once")]
    pub(crate) fn open_lane(
        &mut self,
        key: &LaneKey,
        policy: LanePolicy,
        memory: &LaneMemory,
        bucket_full_at: Option<Instant>,
        deliver: Deliver,
        wall: Timestamp,
        now: Instant,
    ) -> Opened {
        self.opened += 1;
        let opened = Opened(self.opened);
        self.withdraw(key, now);
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.deliver = deliver;
            lane.opened = opened;
            lane.closed = false;
            self.reload_lane(key, policy, now);
            return opened;
        }
        let bucket = bucket_full_at
            .map_or_else(|| untouched_since(policy.rate, self.born), |full_at| Bucket::restored(policy.rate, full_at));
        let callees = memory.breakers.iter().filter(|remembered| !remembered.shared).map(|remembered| {
            let seed = seed_of(self.seed, &(key, &remembered.callee));
            let mut callee = LaneCallee::new(remembered.callee.clone(), policy.breaker, seed, now);
            callee.breaker.reopen(remembered.probe_at.since(wall), remembered.opens, now);
            callee
        });
        let callees: Vec<_> = callees.collect();
        for callee in &callees {
            let notice = Notice::Lane { lane: key.clone(), callee: callee.id.clone(), state: BreakerState::Open };
            self.outbox.notices.push(notice);
        }
        let lane = Lane {
            policy,
            usage: Usage::new(now),
            bucket,
            callees,
            in_flight: Vec::new(),
            deliver,
            opened,
            closed: false,
        };
        self.tenants.entry(key.tenant.clone()).or_insert_with(|| Tenant { usage: Usage::new(now), lanes: 0 }).lanes +=
            1;
        self.lanes.insert(key.clone(), lane);
        opened
    }

    pub(crate) fn close_lane(&mut self, key: &LaneKey, wall: Timestamp, now: Instant) -> (LaneMemory, Option<Instant>) {
        self.withdraw(key, now);
        let Some(lane) = self.lanes.get(key) else { return (LaneMemory::default(), None) };
        let breakers = self.memory_of(key, lane, wall, now);
        let memory = LaneMemory { paused: false, breakers };
        let full_at = lane.bucket.full_at();
        if lane.usage.running() > 0 {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.closed = true;
            }
        } else {
            self.forget_lane(key);
        }
        (memory, (full_at > now).then_some(full_at))
    }

    pub(super) fn forget_lane(&mut self, key: &LaneKey) {
        if self.lanes.remove(key).is_none() {
            return;
        }
        if let Some(tenant) = self.tenants.get_mut(&key.tenant) {
            tenant.lanes -= 1;
            if tenant.lanes == 0 {
                self.tenants.remove(&key.tenant);
            }
        }
    }

    /// Breakers of the lane that are not closed, and those that all lanes share and it keeps.
    fn memory_of(&self, key: &LaneKey, lane: &Lane, wall: Timestamp, now: Instant) -> Vec<BreakerMemory> {
        let remember = |callee: &CalleeId, breaker: &Breaker, shared| BreakerMemory {
            callee: callee.clone(),
            probe_at: wall.plus(breaker.probe_at().map_or(Duration::ZERO, |at| at.saturating_duration_since(now))),
            opens: breaker.in_a_row(),
            shared,
        };
        let own = lane.callees.iter().filter(|callee| callee.breaker.state() != BreakerState::Closed);
        let own = own.map(|callee| remember(&callee.id, &callee.breaker, false));
        let shared = self.kept_by.iter().filter(|(_, lane)| *lane == key);
        let shared = shared.filter_map(|(id, _)| Some(remember(id, self.callees.get(id)?.breaker(), true)));
        let mut memory: Vec<_> = own.chain(shared).collect();
        memory.sort_by(|a, b| (a.shared, &a.callee).cmp(&(b.shared, &b.callee)));
        memory
    }

    pub(crate) fn breakers_of(&self, key: &LaneKey, wall: Timestamp, now: Instant) -> Option<Vec<BreakerMemory>> {
        Some(self.memory_of(key, self.lanes.get(key)?, wall, now))
    }

    pub(crate) fn keeps_shared(&self, key: &LaneKey, callee: &CalleeId) -> bool {
        self.kept_by.get(callee) == Some(key)
    }

    /// What an earlier life kept of the breaker that all lanes share.
    pub(crate) fn restore_shared(
        &mut self,
        key: &LaneKey,
        memory: &BreakerMemory,
        policies: &dyn Policies,
        wall: Timestamp,
        now: Instant,
    ) {
        let id = &memory.callee;
        let mut callee = Callee::new(id.clone(), policies.callee(id), seed_of(self.seed, id), self.born, now);
        callee.reopen(memory.probe_at.since(wall), memory.opens, now);
        self.callees.insert(id.clone(), callee);
        self.kept_by.insert(id.clone(), key.clone());
        let notice = Notice::Callee { kept_by: Vec::new(), callee: id.clone(), state: BreakerState::Open };
        self.outbox.notices.push(notice);
    }

    pub(crate) fn reload_lane(&mut self, key: &LaneKey, policy: LanePolicy, now: Instant) {
        let seed = self.seed;
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if policy.rate != lane.policy.rate {
            lane.bucket = Bucket::restored(policy.rate, lane.bucket.full_at());
        }
        if policy.breaker != lane.policy.breaker {
            for callee in &mut lane.callees {
                let seed = seed_of(seed, &(key, &callee.id));
                callee.breaker = rebuilt(&callee.breaker, policy.breaker, Opens::ByAnyone, seed, now);
            }
        }
        lane.policy = policy;
        self.room.wake_all_of_lane(key, users!(self, now));
        self.dirty = true;
    }

    pub(crate) fn reload_callees(&mut self, policies: &dyn Policies, now: Instant) {
        for (id, callee) in &mut self.callees {
            callee.reload(policies.callee(id), seed_of(self.seed, id), now);
        }
        self.room.wake_all(users!(self, now));
        self.dirty = true;
    }

    /// The callees that are known to the node, in order.
    pub(crate) fn callee_ids(&self) -> Vec<CalleeId> {
        let mut ids: Vec<CalleeId> = self.callees.keys().cloned().collect();
        ids.sort();
        ids
    }

    /// Whether the callee is known to the node.
    pub(crate) fn knows(&self, callee: &CalleeId) -> bool {
        self.callees.contains_key(callee)
    }

    /// Makes sure that the callees are known to the node and to the lane.
    pub(crate) fn know(&mut self, key: &LaneKey, callees: &[CalleeId], policies: &dyn Policies, now: Instant) {
        for id in callees {
            if !self.callees.contains_key(id) {
                let callee = Callee::new(id.clone(), policies.callee(id), seed_of(self.seed, id), self.born, now);
                self.callees.insert(id.clone(), callee);
            }
            let seed = seed_of(self.seed, &(key, id));
            if let Some(lane) = self.lanes.get_mut(key)
                && lane.callee(id).is_none()
            {
                lane.callees.push(LaneCallee::new(id.clone(), lane.policy.breaker, seed, now));
            }
        }
    }

    pub(crate) fn forget_idle_callees(&mut self, now: Instant) {
        let waited_for = self.room.callees();
        self.callees.retain(|id, callee| waited_for.contains(id) || !callee.is_idle(now));
    }
}

// === what others may see ===

impl State {
    pub(crate) fn lane_running(&self, key: &LaneKey) -> usize {
        self.lanes.get(key).map_or(0, |lane| lane.usage.running() as usize)
    }

    pub(crate) fn held(&self, key: &LaneKey, callees: &[CalleeId], now: Instant) -> Option<Refusal> {
        let lane = self.lanes.get(key)?;
        let refusals = callees.iter().filter_map(|id| {
            let by_lane = lane.callee(id).and_then(|it| it.check(now).err());
            by_lane.or_else(|| self.callees.get(id).and_then(|callee| callee.check_health(&key.tenant, now).err()))
        });
        refusals.into_iter().find(|refusal| !matches!(refusal.reason, HoldReason::CalleeBusy(_)))
    }

    pub(crate) fn view(&self, key: &LaneKey, wall: Timestamp, now: Instant) -> Option<LaneView> {
        let lane = self.lanes.get(key)?;
        let breakers = lane.callees.iter().map(|callee| BreakerSnapshot {
            callee: callee.id.clone(),
            state: callee.breaker.state(),
            probe_at: callee.breaker.probe_at().map(|at| wall_of(at, wall, now)),
            opens: callee.breaker.opened(),
        });
        let held = self.room.of_lane(key).find_map(|waiting| {
            let reason = waiting.refusal.as_ref().map(|refusal| &refusal.reason)?;
            (!matches!(reason, HoldReason::CalleeBusy(_))).then(|| reason.clone())
        });
        Some(LaneView {
            vendor: lane.policy.vendor.clone(),
            bucket_tokens: lane.bucket.tokens(),
            in_flight: lane.in_flight.clone(),
            breakers: breakers.collect(),
            held,
        })
    }

    pub(crate) fn callee_snapshots(&self, wall: Timestamp, now: Instant) -> Vec<CalleeSnapshot> {
        let mut callees: Vec<_> = self
            .callees
            .iter()
            .map(|(id, callee)| CalleeSnapshot {
                callee: id.clone(),
                state: callee.breaker().state(),
                probe_at: callee.breaker().probe_at().map(|at| wall_of(at, wall, now)),
                in_flight: callee.in_flight() as usize,
                bucket_tokens: callee.tokens(),
                unauthorized_until: callee.unauthorized_until().filter(|at| *at > now).map(|at| wall_of(at, wall, now)),
            })
            .collect();
        callees.sort_by(|a, b| a.callee.cmp(&b.callee));
        callees
    }
}

fn wall_of(at: Instant, wall: Timestamp, now: Instant) -> Timestamp {
    wall.plus(at.saturating_duration_since(now)).minus(now.saturating_duration_since(at))
}
