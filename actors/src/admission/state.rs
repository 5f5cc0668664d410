//! What the desk knows, and how it decides. No locks, no awaiting: only state and time.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Deliver, Granted};
use crate::{
    callee::{Callee, LaneCallee, Refusal, Taken, rebuilt, report, untouched_since},
    domain::{CallResult, CalleeId, HoldReason, JobClass, JobId, LaneKey, TenantName, Timestamp},
    policy::{
        breaker::{Opens, Ticket},
        bucket::Bucket,
        fairness::{Shares, Usage, may_take},
    },
    ports::{BreakerMemory, BreakerState, LaneMemory, LanePolicy, Policies},
    snapshot::{BreakerSnapshot, CalleeSnapshot},
};

/// The least time between two jobs that ran alone on the node.
const ALONE_GAP: Duration = Duration::from_secs(1);

/// A lane's own name for jobs that call the same callees.
pub(crate) type GroupId = u64;

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

/// Why a want waits.
#[derive(Debug, Clone)]
pub(crate) struct Blocked {
    by: By,
    retry_at: Option<Instant>,
    /// Where a callee is the reason.
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    /// No slot of the node.
    Slot,
    /// A suspect's turn, or its own has not come.
    Turn,
    /// The lane's own limits.
    Lane,
    /// A callee, by the node's or the lane's knowledge.
    Callee(CalleeId),
}

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

/// A change to be told once the lock is let go.
pub(crate) enum Notice {
    Lane { lane: LaneKey, callee: CalleeId, state: BreakerState },
    Callee { callee: CalleeId, state: BreakerState },
}

/// What is to be done once the lock is let go.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) notices: Vec<Notice>,
    pub(crate) grants: Vec<(Deliver, GroupId, Granted)>,
    pub(crate) released: bool,
}

struct Lane {
    policy: LanePolicy,
    usage: Usage,
    bucket: Bucket,
    callees: Vec<LaneCallee>,
    in_flight: Vec<JobId>,
    deliver: Deliver,
}

struct Tenant {
    usage: Usage,
    /// Its lanes that are awake.
    lanes: usize,
}

struct Waiting {
    lane: LaneKey,
    want: Want,
    blocked: Blocked,
    /// What it waited for may be there: look at it again.
    ready: bool,
    since: u64,
}

/// The turn of suspects that must run alone.
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

/// All that the desk knows.
pub(crate) struct State {
    slots: usize,
    seed: u64,
    born: Instant,
    stopped: bool,
    running: usize,
    tenants: HashMap<TenantName, Tenant>,
    lanes: HashMap<LaneKey, Lane>,
    callees: HashMap<CalleeId, Callee>,
    waiting: Vec<Waiting>,
    shares: Shares,
    quarantined: bool,
    turn: Turn,
    since: u64,
    next_look: Option<Instant>,
    dirty: bool,
    outbox: Outbox,
}

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
            waiting: Vec::new(),
            shares: Shares::default(),
            quarantined: false,
            turn: Turn::Free,
            since: 0,
            next_look: None,
            dirty: false,
            outbox: Outbox::default(),
        }
    }

    // === lanes ===

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
    ) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.deliver = deliver;
            self.reload_lane(key, policy, now);
            return;
        }
        let bucket = bucket_full_at
            .map_or_else(|| untouched_since(policy.rate, self.born), |full_at| Bucket::restored(policy.rate, full_at));
        let callees = memory.breakers.iter().map(|remembered| {
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
        let lane = Lane { policy, usage: Usage::new(now), bucket, callees, in_flight: Vec::new(), deliver };
        self.tenants.entry(key.tenant.clone()).or_insert_with(|| Tenant { usage: Usage::new(now), lanes: 0 }).lanes +=
            1;
        self.lanes.insert(key.clone(), lane);
    }

    pub(crate) fn close_lane(&mut self, key: &LaneKey, wall: Timestamp, now: Instant) -> (LaneMemory, Option<Instant>) {
        self.withdraw(key);
        let Some(lane) = self.lanes.remove(key) else { return (LaneMemory::default(), None) };
        if let Some(tenant) = self.tenants.get_mut(&key.tenant) {
            tenant.lanes -= 1;
            if tenant.lanes == 0 {
                self.tenants.remove(&key.tenant);
            }
        }
        let breakers =
            lane.callees.iter().filter(|callee| callee.breaker.state() != BreakerState::Closed).map(|callee| {
                BreakerMemory {
                    callee: callee.id.clone(),
                    probe_at: wall.plus(callee.breaker.probe_at().map_or(Duration::ZERO, |at| at.duration_since(now))),
                    opens: callee.breaker.in_a_row(),
                }
            });
        let memory = LaneMemory { paused: false, breakers: breakers.collect() };
        let full_at = lane.bucket.full_at();
        (memory, (full_at > now).then_some(full_at))
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
        self.look_again(|waiting| waiting.lane == *key);
    }

    pub(crate) fn reload_callees(&mut self, policies: &dyn Policies, now: Instant) {
        for (id, callee) in &mut self.callees {
            callee.reload(policies.callee(id), seed_of(self.seed, id), now);
        }
        self.look_again(|_| true);
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
                && !lane.callees.iter().any(|callee| callee.id == *id)
            {
                lane.callees.push(LaneCallee::new(id.clone(), lane.policy.breaker, seed, now));
            }
        }
    }

    // === asking and serving ===

    /// Asks for as many attempts as the want counts, in place of what the group asked for before.
    /// Returns what may begin now; the rest waits and is served in its turn.
    pub(crate) fn ask(&mut self, key: &LaneKey, mut want: Want, now: Instant) -> Vec<Granted> {
        // First those who were here before and whose time has come.
        self.serve(now);
        let same = |waiting: &Waiting| waiting.lane == *key && waiting.want.group == want.group;
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| same(waiting)) {
            waiting.want = want;
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
                    self.wait(key, want, blocked);
                    break;
                }
            }
        }
        granted
    }

    fn wait(&mut self, key: &LaneKey, want: Want, blocked: Blocked) {
        self.since += 1;
        self.next_look = [self.next_look, blocked.retry_at].into_iter().flatten().min();
        self.waiting.push(Waiting { lane: key.clone(), want, blocked, ready: false, since: self.since });
    }

    pub(crate) fn withdraw(&mut self, key: &LaneKey) {
        self.waiting.retain(|waiting| waiting.lane != *key);
        if matches!(&self.turn, Turn::Clearing { lane, .. } if lane == key) {
            self.end_turn(Turn::Free);
        }
    }

    /// Serves, in fair order, whoever may have what it waits for.
    pub(crate) fn serve(&mut self, now: Instant) {
        if !self.dirty && self.next_look.is_none_or(|at| now < at) {
            return;
        }
        self.dirty = false;
        if let Turn::Resting { until } = self.turn
            && until <= now
        {
            self.turn = Turn::Free;
        }
        for waiting in &mut self.waiting {
            waiting.ready |= waiting.blocked.retry_at.is_some_and(|at| at <= now);
        }
        while let Some(index) = self.next_in_turn(now) {
            let (lane, want) = (self.waiting[index].lane.clone(), self.waiting[index].want.clone());
            match self.look(&lane, &want, now) {
                Ok(()) => {
                    if want.count > 1 {
                        self.waiting[index].want.count -= 1;
                    } else {
                        self.waiting.swap_remove(index);
                    }
                    let deliver = self.lanes.get(&lane).map(|lane| lane.deliver.clone());
                    let group = want.group;
                    let granted = self.grant(&lane, &want, now);
                    if let Some(deliver) = deliver {
                        self.outbox.grants.push((deliver, group, granted));
                    }
                }
                Err(blocked) => self.settle_blocked(index, &blocked),
            }
        }
        self.next_look = self.waiting.iter().filter_map(|waiting| waiting.blocked.retry_at).min();
        if let Turn::Resting { until } = self.turn {
            self.next_look = Some(self.next_look.map_or(until, |at| at.min(until)));
        }
    }

    pub(crate) const fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    pub(crate) fn take_outbox(&mut self) -> Outbox {
        std::mem::take(&mut self.outbox)
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.waiting.clear();
        self.next_look = None;
    }

    /// The one whose turn it is among those that are ready.
    fn next_in_turn(&self, now: Instant) -> Option<usize> {
        let mut waits = [false; 3];
        let mut ready = 0;
        let mut last = None;
        for (index, waiting) in self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.ready) {
            waits[waiting.want.class as usize] |= !self.yields_to_fresh(waiting);
            ready += 1;
            last = Some(index);
        }
        if ready <= 1 {
            return last;
        }
        let class = self.shares.pick(waits)?;
        let candidates = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, waiting)| waiting.ready && waiting.want.class == class && !self.yields_to_fresh(waiting));
        let scored = candidates.map(|(index, waiting)| {
            let tenant = self.tenants.get(&waiting.lane.tenant).map_or(0.0, |tenant| tenant.usage.score(now));
            let lane = self.lanes.get(&waiting.lane).map_or(0.0, |lane| lane.usage.score(now));
            (index, tenant, lane, waiting.since)
        });
        scored.min_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3))).map(|(index, ..)| index)
    }

    /// A replay never goes ahead of fresh work of its lane.
    fn yields_to_fresh(&self, waiting: &Waiting) -> bool {
        let is_fresh = |other: &Waiting| other.ready && other.want.class == JobClass::Fresh;
        waiting.want.class == JobClass::Replay
            && self.waiting.iter().any(|other| is_fresh(other) && other.lane == waiting.lane)
    }

    /// Notes why it must wait, and spares those the look that would meet the same obstacle.
    fn settle_blocked(&mut self, index: usize, blocked: &Blocked) {
        let lane = self.waiting[index].lane.clone();
        let node_is_full = self.running >= self.slots;
        let callee_is_busy = matches!(&blocked.by, By::Callee(id) if self.callees.get(id).is_some_and(Callee::is_busy));
        self.waiting[index].ready = false;
        self.waiting[index].blocked = blocked.clone();
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.ready) {
            let same = match &blocked.by {
                By::Slot => node_is_full || waiting.lane.tenant == lane.tenant,
                By::Lane => waiting.lane == lane,
                By::Callee(_) => callee_is_busy && waiting.blocked.by == blocked.by,
                By::Turn => false,
            };
            if same {
                waiting.ready = false;
                waiting.blocked = blocked.clone();
            }
        }
    }

    /// Whether the want may be granted now. Changes nothing but whose turn it is to run alone.
    fn look(&mut self, key: &LaneKey, want: &Want, now: Instant) -> Result<(), Blocked> {
        let is_next_alone = matches!(&self.turn, Turn::Clearing { lane, group } if lane == key && *group == want.group);
        let answer = self.look_at_turn(want, is_next_alone).and_then(|()| self.look_at_limits(key, want, now));
        match answer {
            Ok(()) if want.care == Care::Alone && self.running > 0 => {
                self.turn = Turn::Clearing { lane: key.clone(), group: want.group };
                Err(Blocked::by(By::Turn))
            }
            Err(blocked) if is_next_alone && blocked.by != By::Slot => {
                self.end_turn(Turn::Free);
                Err(blocked)
            }
            answer => answer,
        }
    }

    fn look_at_turn(&self, want: &Want, is_next_alone: bool) -> Result<(), Blocked> {
        match self.turn {
            _ if self.stopped => Err(Blocked::by(By::Slot)),
            Turn::Clearing { .. } if !is_next_alone => Err(Blocked::by(By::Turn)),
            Turn::Running { .. } => Err(Blocked::by(By::Turn)),
            Turn::Resting { until } if want.care == Care::Alone => {
                Err(Blocked { retry_at: Some(until), ..Blocked::by(By::Turn) })
            }
            _ if want.care == Care::Quarantine && self.quarantined => Err(Blocked::by(By::Turn)),
            _ => Ok(()),
        }
    }

    fn look_at_limits(&self, key: &LaneKey, want: &Want, now: Instant) -> Result<(), Blocked> {
        let Some(lane) = self.lanes.get(key) else { return Err(Blocked::by(By::Lane)) };
        let tenant = self.tenants.get(&key.tenant).map_or(0, |tenant| tenant.usage.running()) as usize;
        if !may_take(self.slots, self.slots.saturating_sub(self.running), tenant) {
            return Err(Blocked::by(By::Slot));
        }
        if lane.usage.running() >= lane.policy.concurrency.max(1) {
            return Err(Blocked::by(By::Lane));
        }
        if let Some(at) = lane.bucket.next_at() {
            return Err(Blocked { retry_at: Some(at), ..Blocked::by(By::Lane) });
        }
        for (index, id) in want.callees.iter().enumerate() {
            let by_lane = lane.callees.iter().find(|callee| callee.id == *id).map_or(Ok(()), |it| it.check(now));
            let checked = by_lane.and_then(|()| match self.callees.get(id) {
                Some(callee) if index == 0 => callee.check(&key.tenant, now),
                Some(callee) => callee.check_health(&key.tenant, now),
                None => Ok(()),
            });
            checked.map_err(|refusal| Blocked {
                by: By::Callee(id.clone()),
                retry_at: refusal.retry_at,
                refusal: Some(refusal),
            })?;
        }
        Ok(())
    }

    /// Takes everything that [`Self::look`] found to be there.
    fn grant(&mut self, key: &LaneKey, want: &Want, now: Instant) -> Granted {
        self.running += 1;
        self.shares.charge(want.class);
        match want.care {
            Care::None => {}
            Care::Quarantine => self.quarantined = true,
            Care::Alone => self.turn = Turn::Running { since: now },
        }
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
            if entered.lane.is_some() || entered.callee.is_some() {
                passes.push((id.clone(), entered));
            }
        }
        Granted { lane: key.clone(), care: want.care, passes }
    }

    // === calls ===

    pub(crate) fn enter(&mut self, key: &LaneKey, id: &CalleeId, now: Instant) -> Result<Entered, Refusal> {
        if let Some(known) = self.lanes.get(key).and_then(|lane| lane.callees.iter().find(|it| it.id == *id)) {
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
                self.outbox.notices.push(Notice::Callee { callee: id.clone(), state });
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
        self.look_again(|waiting| matches!(&waiting.blocked.by, By::Callee(by) if by == id));
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
        self.look_again(Waiting::refusal_of_callee);
    }

    fn take(&mut self, key: &LaneKey, id: &CalleeId, now: Instant) -> Entered {
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
            self.outbox.notices.push(Notice::Callee { callee: id.clone(), state: BreakerState::HalfOpen });
        }
        if lane.is_some_and(|(_, changed)| changed) {
            let notice = Notice::Lane { lane: key.clone(), callee: id.clone(), state: BreakerState::HalfOpen };
            self.outbox.notices.push(notice);
        }
        Entered { lane: lane.map(|(ticket, _)| ticket), callee: callee.map(|(taken, _)| taken) }
    }

    /// Keeps the probes of a later callee's breakers for an attempt that begins now, so that only
    /// one attempt goes all the way to it.
    fn reserve(&mut self, key: &LaneKey, id: &CalleeId, now: Instant) -> Entered {
        let callee = self.callees.get_mut(id).and_then(|callee| callee.reserve(now));
        let lane = self
            .lane_callee(key, id)
            .filter(|known| known.breaker.state() != BreakerState::Closed)
            .map(|known| known.breaker.take(now));
        if callee.is_some() {
            self.outbox.notices.push(Notice::Callee { callee: id.clone(), state: BreakerState::HalfOpen });
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
        }
        match care {
            Care::None => {}
            Care::Quarantine => self.quarantined = false,
            Care::Alone => {
                let held = if let Turn::Running { since } = self.turn { now - since } else { Duration::ZERO };
                self.end_turn(Turn::Resting { until: now + held.max(ALONE_GAP) });
            }
        }
        self.look_again(|waiting| match waiting.blocked.by {
            By::Slot | By::Turn => true,
            By::Lane => waiting.lane == *key,
            By::Callee(_) => false,
        });
    }

    fn end_turn(&mut self, next: Turn) {
        self.turn = next;
        self.look_again(|waiting| waiting.blocked.by == By::Turn);
    }

    fn look_again(&mut self, whom: impl Fn(&Waiting) -> bool) {
        for waiting in &mut self.waiting {
            waiting.ready |= whom(waiting);
        }
        self.dirty = true;
    }

    // === what others may see ===

    pub(crate) const fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn lane_running(&self, key: &LaneKey) -> usize {
        self.lanes.get(key).map_or(0, |lane| lane.usage.running() as usize)
    }

    pub(crate) fn held(&self, key: &LaneKey, callees: &[CalleeId], now: Instant) -> Option<Refusal> {
        let lane = self.lanes.get(key)?;
        let refusals = callees.iter().filter_map(|id| {
            let by_lane = lane.callees.iter().find(|callee| callee.id == *id).and_then(|it| it.check(now).err());
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
        let held = self.waiting.iter().filter(|waiting| waiting.lane == *key).find_map(|waiting| {
            let reason = waiting.blocked.refusal.as_ref().map(|refusal| &refusal.reason)?;
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

    pub(crate) fn forget_idle_callees(&mut self, now: Instant) {
        let waited_for = |id: &CalleeId| self.waiting.iter().any(|waiting| waiting.want.callees.contains(id));
        let idle: Vec<_> = self
            .callees
            .iter()
            .filter(|(id, callee)| callee.is_idle(now) && !waited_for(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in idle {
            self.callees.remove(&id);
        }
    }
}

impl Waiting {
    const fn refusal_of_callee(&self) -> bool {
        matches!(self.blocked.by, By::Callee(_))
    }
}

impl Blocked {
    const fn by(by: By) -> Self {
        Self { by, retry_at: None, refusal: None }
    }
}

fn wall_of(at: Instant, wall: Timestamp, now: Instant) -> Timestamp {
    wall.plus(at.saturating_duration_since(now)).minus(now.saturating_duration_since(at))
}

fn seed_of(seed: u64, what: &impl Hash) -> u64 {
    // The std hasher with its fixed keys: the same seed gives the same jitter in every run.
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    what.hash(&mut hasher);
    hasher.finish()
}
