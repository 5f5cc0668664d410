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

mod state;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

pub(crate) use self::state::{Care, GroupId, LaneView, Want};
use self::state::{Notice, State};
use crate::{
    callee::Refusal,
    domain::{CallResult, CalleeId, HoldReason, JobId, LaneKey},
    ports::{LaneMemory, LanePolicy, ObserverEvent},
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
}

impl Admission {
    /// A desk with the node's slots, all free.
    pub(crate) fn new(world: World) -> Self {
        let state = State::new(world.limits.concurrency, world.seed, Instant::now());
        let shared = Shared { world, state: Mutex::new(state), sooner: Notify::new(), released: Notify::new() };
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

    /// A lane woke up. What the node still knows of it from before a crash stays.
    pub(crate) fn open_lane(
        &self,
        lane: &LaneKey,
        policy: LanePolicy,
        memory: &LaneMemory,
        bucket_full_at: Option<Instant>,
        deliver: Deliver,
    ) {
        let wall = self.shared.world.clock.now();
        self.with(|state, now| state.open_lane(lane, policy, memory, bucket_full_at, deliver, wall, now));
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
    pub(crate) fn ask(&self, lane: &LaneKey, want: Want) -> Vec<Grant> {
        let policies = self.shared.world.policies.clone();
        let granted = self.with(|state, now| {
            state.know(lane, &want.callees, &*policies, now);
            state.ask(lane, want, now)
        });
        granted.into_iter().map(|granted| Grant::new(self.clone(), granted)).collect()
    }

    /// Takes back everything the lane asked for and was not granted.
    pub(crate) fn withdraw(&self, lane: &LaneKey) {
        self.with(|state, _| state.withdraw(lane));
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
                observer.observe(&ObserverEvent::LaneBreaker { lane, callee, state: *state });
            }
            Notice::Callee { callee, state } => {
                observer.observe(&ObserverEvent::CalleeBreaker { callee, state: *state });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`State`] hands out for one attempt.
pub(crate) struct Granted {
    lane: LaneKey,
    care: Care,
    passes: Vec<(CalleeId, state::Entered)>,
}

/// Leave to begin one attempt. Dropped, it gives back whatever it still holds.
pub(crate) struct Grant {
    admission: Admission,
    lane: LaneKey,
    care: Care,
    job: Option<JobId>,
    passes: Vec<Pass>,
    holds_slot: bool,
    holds_token: bool,
}

impl Grant {
    fn new(admission: Admission, granted: Granted) -> Self {
        let Granted { lane, care, passes } = granted;
        let passes = passes
            .into_iter()
            .map(|(callee, entered)| Pass::new(admission.clone(), lane.clone(), callee, entered))
            .collect();
        Self { admission, lane, care, job: None, passes, holds_slot: true, holds_token: true }
    }

    /// The desk that granted it.
    pub(crate) const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// How careful the attempt must be begun.
    pub(crate) const fn care(&self) -> Care {
        self.care
    }

    /// It is for this job.
    pub(crate) fn assign(&mut self, job: JobId) {
        self.job = Some(job);
        self.admission.with(|state, _| state.assign(&self.lane, job));
    }

    /// The attempt runs: the lane's token is spent.
    pub(crate) fn begun(&mut self) -> Vec<Pass> {
        self.holds_token = false;
        self.take_passes()
    }

    /// The calls that it lets the attempt make.
    pub(crate) fn take_passes(&mut self) -> Vec<Pass> {
        std::mem::take(&mut self.passes)
    }

    /// The calls are over: others may have the slot.
    pub(crate) fn release(&mut self) {
        if std::mem::take(&mut self.holds_slot) {
            let token = std::mem::take(&mut self.holds_token);
            self.admission.with(|state, now| state.release(&self.lane, self.job, self.care, token, now));
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.passes.clear();
        self.release();
    }
}

/// Leave to make one call. Dropped without a result, it says nothing about the callee.
pub(crate) struct Pass {
    admission: Admission,
    lane: LaneKey,
    callee: CalleeId,
    entered: Option<state::Entered>,
    used: bool,
}

impl Pass {
    fn new(admission: Admission, lane: LaneKey, callee: CalleeId, entered: state::Entered) -> Self {
        Self { admission, lane, callee, entered: Some(entered), used: false }
    }

    /// Whom it lets call.
    pub(crate) const fn callee(&self) -> &CalleeId {
        &self.callee
    }

    /// Whether the callee let the call in, or only its breakers' probes are reserved.
    pub(crate) fn is_whole(&self) -> bool {
        self.entered.as_ref().is_some_and(state::Entered::is_whole)
    }

    /// Fills in what a reservation lacks, waiting until `until` at most.
    pub(crate) async fn complete(self, until: Instant) -> Result<Self, HoldReason> {
        let (admission, lane, callee) = (self.admission.clone(), self.lane.clone(), self.callee.clone());
        // The reservation gives its probes back; the one who held them asks first.
        drop(self);
        admission.enter(&lane, &callee, until).await
    }

    /// The call is about to be made.
    pub(crate) fn use_it(mut self) -> Self {
        self.used = true;
        self
    }

    /// What the call said.
    pub(crate) fn report(mut self, result: CallResult) {
        let (lane, callee) = (&self.lane, &self.callee);
        self.admission.shared.world.observer.observe(&ObserverEvent::CallEnded { lane, callee, result });
        self.leave(Some(result));
    }

    fn leave(&mut self, result: Option<CallResult>) {
        if let Some(entered) = self.entered.take() {
            // A call that was begun and never reported may have reached the callee.
            let result = result.or(self.used.then_some(CallResult::Neutral));
            self.admission.with(|state, now| state.leave(&self.lane, &self.callee, entered, result, now));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.leave(None);
    }
}

/// The wait that a call of an attempt in flight has for its callee at most.
pub(crate) const ENTER_WAIT: Duration = Duration::from_secs(2);
