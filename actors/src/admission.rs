//! The one place that says which attempt may begin.
//!
//! An attempt needs a slot of the node, a token and a place of its lane, breakers of all its
//! callees that let it pass, and leave of its first callee; it gets all of it in one step or
//! nothing. Who must wait is served in fair order ([`crate::policy::fairness`]) the moment what it
//! waits for is there: a [`Grant`] is delivered to its lane. Nothing here waits or does I/O: one
//! lock, held for microseconds.
//!
//! # Suspects
//!
//! A job found running after a death of the process may have caused it; so may its neighbours.
//! A job under a first suspicion runs again beside other work, one such job at a time on the node
//! ([`Care::Quarantine`]). A job under a second or later one runs truly alone ([`Care::Alone`]):
//! nothing new begins, what is in flight ends first, and only a death while it ran alone is held
//! against it; the third makes it a dead letter `poison`. An innocent neighbour is cleared by its
//! next outcome. The node is held no longer than what is in flight may take and one attempt's
//! deadline; after that others run for at least as long before the next suspect may ask again.

mod blocked;
mod calls;
mod grant;
mod lanes;
mod line;
mod room;
mod state;
#[cfg(test)]
mod tests;
mod turn;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use self::state::{Notice, State};
pub(crate) use self::{
    grant::{Grant, Pass},
    lanes::{LaneView, Opened},
    state::{GroupId, Want},
    turn::Care,
};
use crate::{
    callee::Refusal,
    domain::{CalleeId, HoldReason, LaneKey},
    ports::{BreakerMemory, BreakerState, LaneMemory, LanePolicy, ObserverEvent},
    snapshot::CalleeSnapshot,
    world::World,
};

/// Takes a grant for the lane that asked.
pub(crate) type Deliver = Arc<dyn Fn(GroupId, Grant) + Send + Sync>;

/// The desk; clones share it.
#[derive(Clone)]
pub(crate) struct Admission {
    shared: Arc<Shared>,
}

struct Shared {
    world: World,
    state: Mutex<State>,
    /// The moment to look again came nearer.
    sooner: Notify,
    /// Something was given back that a call in flight may wait for.
    released: Notify,
    /// Lanes whose breakers opened or closed since they were kept.
    changed: Mutex<BTreeSet<LaneKey>>,
    /// There are some.
    change: Notify,
}

impl Admission {
    /// A desk with the node's slots, all free.
    pub(crate) fn new(world: World) -> Self {
        let state = State::new(world.limits.concurrency, world.seed, Instant::now());
        let shared = Shared {
            world,
            state: Mutex::new(state),
            sooner: Notify::new(),
            released: Notify::new(),
            changed: Mutex::default(),
            change: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Serves those who wait for a moment to come. Runs until it is dropped.
    pub(crate) async fn keep_time(self) {
        loop {
            let next = self.lock().next_look();
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.with(|_, _| ()),
                () = self.shared.sooner.notified() => {}
            }
        }
    }

    /// An actor of the lane starts. What the node still knows of the lane from before a crash stays,
    /// but for what an actor before this one asked for.
    pub(crate) fn open_lane(
        &self,
        lane: &LaneKey,
        policy: LanePolicy,
        memory: &LaneMemory,
        bucket_full_at: Option<Instant>,
        deliver: Deliver,
    ) -> Opened {
        let wall = self.shared.world.clock.now();
        self.with(|state, now| state.open_lane(lane, policy, memory, bucket_full_at, deliver, wall, now))
    }

    /// A lane goes to sleep: what to remember of it.
    pub(crate) fn close_lane(&self, lane: &LaneKey) -> (LaneMemory, Option<Instant>) {
        let wall = self.shared.world.clock.now();
        self.with(|state, now| state.close_lane(lane, wall, now))
    }

    /// The limits changed; `policy` is the lane's now.
    pub(crate) fn reload_lane(&self, lane: &LaneKey, policy: LanePolicy) {
        self.with(|state, now| state.reload_lane(lane, policy, now));
    }

    /// The limits of callees changed.
    pub(crate) fn reload_callees(&self) {
        let policies = self.shared.world.policies.clone();
        self.with(|state, now| state.reload_callees(&*policies, now));
    }

    /// Asks for attempts. What may begin now is returned; the rest is delivered in its turn.
    pub(crate) fn ask(&self, lane: &LaneKey, opened: Opened, want: Want) -> Vec<Grant> {
        let policies = self.shared.world.policies.clone();
        let granted = self.with(|state, now| {
            state.know(lane, &want.callees, &*policies, now);
            state.ask(lane, opened, want, now)
        });
        granted.into_iter().map(|granted| Grant::new(self.clone(), granted)).collect()
    }

    /// Takes back everything the lane asked for and was not granted.
    pub(crate) fn withdraw(&self, lane: &LaneKey) {
        self.with(|state, now| state.withdraw(lane, now));
    }

    /// Why work that calls these cannot begin for reasons of health, if it cannot.
    pub(crate) fn held(&self, lane: &LaneKey, callees: &[CalleeId]) -> Option<Refusal> {
        self.with(|state, now| state.held(lane, callees, now))
    }

    /// A callee refuses the lane's credentials.
    pub(crate) fn refuse_credentials(&self, lane: &LaneKey, callee: &CalleeId) {
        let policies = self.shared.world.policies.clone();
        self.with(|state, now| {
            state.know(lane, std::slice::from_ref(callee), &*policies, now);
            state.refuse_credentials(lane, callee, now);
        });
    }

    /// Lets the next call to each callee of the lane go as a probe now.
    pub(crate) fn probe_now(&self, lane: &LaneKey) {
        self.with(|state, now| state.probe_now(lane, now));
    }

    /// What an earlier life kept of a breaker that all lanes share.
    pub(crate) fn restore_shared(&self, lane: &LaneKey, memory: &BreakerMemory) {
        let (wall, policies) = (self.shared.world.clock.now(), self.shared.world.policies.clone());
        self.with(|state, now| state.restore_shared(lane, memory, &*policies, wall, now));
    }

    /// The same of a lane that another node had: what this node knows of the callee stays.
    pub(crate) fn restore_shared_if_unknown(&self, lane: &LaneKey, memory: &BreakerMemory) {
        let (wall, policies) = (self.shared.world.clock.now(), self.shared.world.policies.clone());
        self.with(|state, now| {
            if !state.knows(&memory.callee) {
                state.restore_shared(lane, memory, &*policies, wall, now);
            }
        });
    }

    /// Breakers that the lane must remember; none where it is not awake.
    pub(crate) fn breakers_of(&self, lane: &LaneKey) -> Option<Vec<BreakerMemory>> {
        let wall = self.shared.world.clock.now();
        self.lock().breakers_of(lane, wall, Instant::now())
    }

    /// Whether the lane must remember that the callee's shared breaker is not closed.
    pub(crate) fn keeps_shared(&self, lane: &LaneKey, callee: &CalleeId) -> bool {
        self.lock().keeps_shared(lane, callee)
    }

    /// What the lane must remember is to be kept.
    pub(crate) fn breakers_changed(&self, lane: &LaneKey) {
        self.changed().insert(lane.clone());
        self.shared.change.notify_one();
    }

    /// Waits for a lane whose breakers are to be kept.
    pub(crate) async fn changed_breakers(&self) -> LaneKey {
        loop {
            if let Some(lane) = self.changed().pop_first() {
                return lane;
            }
            self.shared.change.notified().await;
        }
    }

    fn changed(&self) -> MutexGuard<'_, BTreeSet<LaneKey>> {
        self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants nothing more.
    pub(crate) fn stop(&self) {
        self.with(|state, _| state.stop());
    }

    /// Calls in flight on the node.
    pub(crate) fn running(&self) -> usize {
        self.lock().running()
    }

    /// Jobs of a lane in flight.
    pub(crate) fn lane_running(&self, lane: &LaneKey) -> usize {
        self.lock().lane_running(lane)
    }

    /// A lane's limits as they are now; none where it is not awake.
    pub(crate) fn view(&self, lane: &LaneKey) -> Option<LaneView> {
        let wall = self.shared.world.clock.now();
        self.lock().view(lane, wall, Instant::now())
    }

    /// The callees that are known, because they were called a short while ago.
    pub(crate) fn callee_ids(&self) -> Vec<CalleeId> {
        self.lock().callee_ids()
    }

    /// The callees as they are now.
    pub(crate) fn callees(&self) -> Vec<CalleeSnapshot> {
        let wall = self.shared.world.clock.now();
        self.lock().callee_snapshots(wall, Instant::now())
    }

    /// Forgets callees that were not called of late.
    pub(crate) fn forget_idle_callees(&self) {
        self.with(state::State::forget_idle_callees);
    }

    /// Enters `callee` for a call of an attempt that runs, waiting until `until` at most.
    pub(crate) async fn enter(&self, lane: &LaneKey, callee: &CalleeId, until: Instant) -> Result<Pass, HoldReason> {
        loop {
            // Listens before it looks, so that nothing given back in between is missed.
            let released = self.shared.released.notified();
            let policies = self.shared.world.policies.clone();
            let refusal = match self.with(|state, now| {
                state.know(lane, std::slice::from_ref(callee), &*policies, now);
                state.enter(lane, callee, now)
            }) {
                Ok(taken) => return Ok(Pass::new(self.clone(), lane.clone(), callee.clone(), taken)),
                Err(refusal) => refusal,
            };
            let held = matches!(refusal.reason, HoldReason::BreakerOpen(_) | HoldReason::Unauthorized(_));
            if held || Instant::now() >= until || refusal.retry_at.is_some_and(|at| at > until) {
                return Err(refusal.reason);
            }
            let look_again = refusal.retry_at.unwrap_or(until).min(until);
            tokio::select! {
                () = released => {}
                () = tokio::time::sleep_until(look_again) => {}
            }
        }
    }

    /// Changes the state, serves whom the change allows, and tells what happened once unlocked.
    fn with<T>(&self, work: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = Instant::now();
        let (answer, outbox, sooner) = {
            let mut state = self.lock();
            let before = state.next_look();
            let answer = work(&mut state, now);
            state.serve(now);
            let next = state.next_look();
            let sooner = next.is_some_and(|next| before.is_none_or(|before| next < before));
            (answer, state.take_outbox(), sooner)
        };
        if sooner {
            self.shared.sooner.notify_one();
        }
        if outbox.released {
            self.shared.released.notify_waiters();
        }
        for notice in &outbox.notices {
            self.tell(notice);
        }
        for (deliver, group, granted) in outbox.grants {
            deliver(group, Grant::new(self.clone(), granted));
        }
        answer
    }

    fn tell(&self, notice: &Notice) {
        let observer = &self.shared.world.observer;
        match notice {
            Notice::Lane { lane, callee, state } => {
                if *state != BreakerState::HalfOpen {
                    self.breakers_changed(lane);
                }
                observer.observe(&ObserverEvent::LaneBreaker { lane, callee, state: *state });
            }
            Notice::Callee { kept_by, callee, state } => {
                if *state != BreakerState::HalfOpen {
                    for lane in kept_by {
                        self.breakers_changed(lane);
                    }
                }
                observer.observe(&ObserverEvent::CalleeBreaker { callee, state: *state });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait that a call of an attempt in flight has for its callee at most.
pub(crate) const ENTER_WAIT: Duration = Duration::from_secs(2);
