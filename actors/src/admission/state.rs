//! What the desk knows, and how it decides. No locks, no awaiting: only state and time.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    Deliver,
    blocked::{Blocked, By, LineKey, SharedLimit},
    grant::Granted,
    lanes::{Lane, Opened, Tenant},
    room::{Room, WaitId},
    turn::{Care, Turns},
};
use crate::{
    callee::Callee,
    domain::{CalleeId, JobClass, JobId, LaneKey, TenantName},
    policy::fairness::{Shares, may_take},
    ports::BreakerState,
};

/// A lane's own name for jobs that call the same callees.
pub(crate) type GroupId = u64;

/// What a lane asks for: leave to begin one attempt of a group.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) group: GroupId,
    pub(crate) callees: Arc<[CalleeId]>,
    pub(crate) class: JobClass,
    pub(crate) care: Care,
    /// How many of the group it could begin at once, had it the leave.
    pub(crate) count: usize,
}

/// A change to be told once the lock is let go.
pub(crate) enum Notice {
    Lane {
        lane: LaneKey,
        callee: CalleeId,
        state: BreakerState,
    },
    /// Of the breaker that all lanes share, and the lanes that keep, or kept, its memory.
    Callee {
        kept_by: Vec<LaneKey>,
        callee: CalleeId,
        state: BreakerState,
    },
}

/// What is to be done once the lock is let go.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) notices: Vec<Notice>,
    pub(crate) grants: Vec<(Deliver, GroupId, Granted)>,
    pub(crate) released: bool,
}

/// All that the desk knows.
pub(crate) struct State {
    pub(super) slots: usize,
    pub(super) seed: u64,
    pub(super) born: Instant,
    stopped: bool,
    running: usize,
    pub(super) tenants: HashMap<TenantName, Tenant>,
    pub(super) lanes: HashMap<LaneKey, Lane>,
    pub(super) callees: HashMap<CalleeId, Callee>,
    /// With which lane's memory the shared breaker of a callee is kept while it is not closed.
    pub(super) kept_by: HashMap<CalleeId, LaneKey>,
    pub(super) room: Room,
    /// How often an actor of a lane started.
    pub(super) opened: u64,
    shares: Shares,
    turns: Turns,
    pub(super) dirty: bool,
    pub(super) outbox: Outbox,
}

/// What tenants and lanes used, beside a part of the state that is changed meanwhile.
macro_rules! users {
    ($state:expr, $now:expr) => {
        &$crate::admission::line::Users {
            tenants: &$state.tenants,
            lanes: &$state.lanes,
            now: $now,
            origin: $state.born,
        }
    };
}
pub(super) use users;

impl State {
    pub(crate) fn new(slots: usize, seed: u64, now: Instant) -> Self {
        Self {
            slots: slots.max(1),
            seed,
            born: now,
            stopped: false,
            running: 0,
            tenants: HashMap::new(),
            lanes: HashMap::new(),
            callees: HashMap::new(),
            kept_by: HashMap::new(),
            room: Room::default(),
            opened: 0,
            shares: Shares::default(),
            turns: Turns::default(),
            dirty: false,
            outbox: Outbox::default(),
        }
    }

    // === asking and serving ===

    /// Asks for as many attempts as the want counts, in place of what the group asked for before.
    /// Returns what may begin now; the rest waits and is served in its turn.
    pub(crate) fn ask(&mut self, key: &LaneKey, opened: Opened, mut want: Want, now: Instant) -> Vec<Granted> {
        if self.lanes.get(key).is_none_or(|lane| lane.opened != opened) {
            // An actor that was stopped, in its last breath.
            return Vec::new();
        }
        // First those who were here before and whose time has come.
        self.serve(now);
        if self.room.ask_anew(key, &want) {
            return Vec::new();
        }
        let mut granted = Vec::new();
        while want.count > 0 {
            match self.look(key, &want, now) {
                Ok(()) => {
                    granted.push(self.grant(key, &want, now));
                    want.count -= 1;
                }
                Err(blocked) => {
                    self.room.add(key, want, blocked, users!(self, now));
                    break;
                }
            }
        }
        granted
    }

    pub(crate) fn withdraw(&mut self, key: &LaneKey, now: Instant) {
        self.room.withdraw(key, users!(self, now));
        if self.turns.next_alone().is_some_and(|(lane, _)| lane == key) {
            self.give_up_turn(now);
        }
        // It may have stood for the line of a callee.
        self.dirty = true;
    }

    /// Serves, in fair order, whoever may have what it waits for.
    pub(crate) fn serve(&mut self, now: Instant) {
        if self.stopped || (!self.dirty && self.room.next_alarm().is_none_or(|at| now < at)) {
            return;
        }
        self.dirty = false;
        self.room.ring(now, users!(self, now));
        self.serve_next_alone(now);
        while !self.turns.holds_the_node() && self.running < self.slots {
            let callees = &self.callees;
            let check = |line: &LineKey| check_line(callees, line, now);
            self.room.represent(check, &self.shares, users!(self, now));
            let Some(id) = self.room.next(&self.shares, users!(self, now)) else { return };
            self.serve_one(id, now);
        }
    }

    /// Looks at the suspect for whom the node is being cleared.
    fn serve_next_alone(&mut self, now: Instant) {
        let Some((lane, group)) = self.turns.next_alone() else { return };
        match self.room.find(lane, group) {
            Some(id) => self.serve_one(id, now),
            None => self.give_up_turn(now),
        }
    }

    fn serve_one(&mut self, id: WaitId, now: Instant) {
        let Some(waiting) = self.room.get(id) else { return };
        let (lane, want) = (waiting.lane.clone(), waiting.want.clone());
        match self.look(&lane, &want, now) {
            Ok(()) => {
                self.room.granted(id, users!(self, now));
                let granted = self.grant(&lane, &want, now);
                if let Some(deliver) = self.lanes.get(&lane).map(|lane| lane.deliver.clone()) {
                    self.outbox.grants.push((deliver, want.group, granted));
                }
            }
            Err(blocked) => self.room.settle(id, blocked, users!(self, now)),
        }
    }

    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.room.next_alarm()
    }

    pub(crate) fn take_outbox(&mut self) -> Outbox {
        std::mem::take(&mut self.outbox)
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.room.clear();
    }

    /// Whether the want may be granted now. Changes nothing but whose turn it is to run alone.
    fn look(&mut self, key: &LaneKey, want: &Want, now: Instant) -> Result<(), Blocked> {
        if self.stopped {
            return Err(Blocked::by(By::Slot));
        }
        self.turns.check(key, want.group, want.care, now)?;
        let is_next_alone = self.turns.is_cleared_for(key, want.group);
        match self.look_at_limits(key, want, now) {
            Ok(()) if want.care == Care::Alone && self.running > 0 => {
                self.turns.clear_for(key, want.group);
                Err(Blocked::by(By::Turn))
            }
            Err(blocked) if is_next_alone => match blocked.by {
                // What is in flight holds them, and ends.
                By::Slot | By::Reserve => Err(Blocked::by(By::Turn)),
                _ => {
                    self.give_up_turn(now);
                    Err(blocked)
                }
            },
            answer => answer,
        }
    }

    fn look_at_limits(&self, key: &LaneKey, want: &Want, now: Instant) -> Result<(), Blocked> {
        let Some(lane) = self.lanes.get(key) else { return Err(Blocked::by(By::Lane)) };
        if self.running >= self.slots {
            return Err(Blocked::by(By::Slot));
        }
        if !self.may_take(&key.tenant) {
            return Err(Blocked::by(By::Reserve));
        }
        if lane.usage.running() >= lane.policy.concurrency.max(1) {
            return Err(Blocked::by(By::Lane));
        }
        if let Some(at) = lane.bucket.next_at() {
            return Err(Blocked { retry_at: Some(at), ..Blocked::by(By::Lane) });
        }
        for (index, id) in want.callees.iter().enumerate() {
            let own = |refusal| Blocked::refused(By::Own(id.clone()), refusal);
            let shared =
                |limit| move |refusal| Blocked::refused(By::Shared(LineKey { callee: id.clone(), limit }), refusal);
            lane.callee(id).map_or(Ok(()), |known| known.check(now)).map_err(own)?;
            let Some(callee) = self.callees.get(id) else { continue };
            callee.check_credentials(&key.tenant, now).map_err(own)?;
            callee.check_breaker(now).map_err(shared(SharedLimit::Breaker))?;
            if index == 0 {
                callee.check_room().map_err(shared(SharedLimit::Room))?;
            }
        }
        Ok(())
    }

    fn may_take(&self, tenant: &TenantName) -> bool {
        let running = self.tenants.get(tenant).map_or(0, |tenant| tenant.usage.running()) as usize;
        may_take(self.slots, self.slots.saturating_sub(self.running), running)
    }

    /// Takes everything that [`Self::look`] found to be there.
    fn grant(&mut self, key: &LaneKey, want: &Want, now: Instant) -> Granted {
        self.running += 1;
        self.shares.charge(want.class);
        self.turns.begin(want.care, now);
        if let Some(tenant) = self.tenants.get_mut(&key.tenant) {
            tenant.usage.begin(now);
        }
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.usage.begin(now);
            // `look` saw the token.
            let _ = lane.bucket.take();
        }
        let mut passes = Vec::with_capacity(want.callees.len());
        for (index, id) in want.callees.iter().enumerate() {
            let entered = if index == 0 { self.take(key, id, now) } else { self.reserve(key, id, now) };
            if entered.is_any() {
                passes.push((id.clone(), entered));
            }
        }
        Granted { lane: key.clone(), care: want.care, passes }
    }

    // === what is given back ===

    pub(crate) fn assign(&mut self, key: &LaneKey, job: JobId) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.in_flight.push(job);
        }
    }

    pub(crate) fn release(&mut self, key: &LaneKey, job: Option<JobId>, care: Care, token: bool, now: Instant) {
        self.running = self.running.saturating_sub(1);
        if let Some(tenant) = self.tenants.get_mut(&key.tenant) {
            tenant.usage.finish(now);
        }
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.usage.finish(now);
            lane.in_flight.retain(|running| Some(*running) != job);
            if token {
                lane.bucket.give_back();
            }
            if lane.closed && lane.usage.running() == 0 {
                self.forget_lane(key);
            }
        }
        let free = self.slots.saturating_sub(self.running);
        let (slots, tenants) = (self.slots, &self.tenants);
        self.room.pass_over_no_more(|tenant| {
            let running = tenants.get(tenant).map_or(0, |tenant| tenant.usage.running()) as usize;
            may_take(slots, free, running)
        });
        self.room.wake_lane(key, users!(self, now));
        if self.turns.end(care, now) {
            self.room.wake_suspects(users!(self, now));
        }
        self.dirty = true;
    }

    fn give_up_turn(&mut self, now: Instant) {
        self.turns.give_up();
        self.room.wake_suspects(users!(self, now));
        self.dirty = true;
    }

    pub(crate) const fn running(&self) -> usize {
        self.running
    }
}

/// Whether a callee takes one more of those who wait in a line of it.
fn check_line(callees: &HashMap<CalleeId, Callee>, line: &LineKey, now: Instant) -> Result<(), Option<Instant>> {
    let Some(callee) = callees.get(&line.callee) else { return Ok(()) };
    let checked = match line.limit {
        SharedLimit::Breaker => callee.check_breaker(now),
        SharedLimit::Room => callee.check_room(),
    };
    checked.map_err(|refusal| refusal.retry_at)
}

pub(super) fn seed_of(seed: u64, what: &impl Hash) -> u64 {
    // The std hasher with its fixed keys: the same seed gives the same jitter in every run.
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    what.hash(&mut hasher);
    hasher.finish()
}
