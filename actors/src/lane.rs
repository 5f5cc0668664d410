//! The lane actor: one tenant's one source.
//!
//! It reads its due jobs from the store into a bounded queue, asks the desk
//! ([`crate::admission`]) for leave to begin them, and starts each granted one as a task of its
//! own. It never waits for the store, a callee or an attempt: reads and attempts are tasks that
//! send it a message. What it holds in memory may be lost at any time; the store has it all.

mod attempt;
mod board;
mod gate;
mod in_flight;
mod queue;
mod seat;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

pub(crate) use self::{
    attempt::Surroundings,
    board::Board,
    gate::permit,
    in_flight::{InFlight, Phase},
    seat::Awake,
};
use self::{
    attempt::{Ended, Run},
    queue::{Plan, Queue, Unconfigured},
    seat::{LAZY_READ, Seat},
};
use crate::{
    admission::{Admission, Grant, GroupId, Opened, Want},
    contained::{Panicked, caught_now},
    domain::{Epoch, HoldReason, Job, LaneKey, Timestamp},
    ports::{LaneMemory, LanePolicy, ObserverEvent, StoreUnavailable},
};

/// How far two reads of the store lie apart while work is held: what is new for it has to stand behind
/// anyway.
const HELD_READ_GAP: Duration = Duration::from_secs(1);
/// With half of what fits still in memory a read brings mostly what is here.
const RARE_READ: Duration = Duration::from_secs(1);
/// How long a lane waits before it asks a store again that did not answer.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// Moments at which jobs are due again that a lane remembers at most.
const DUES: usize = 256;

/// The lane actor.
pub(crate) struct LaneActor;

/// What it is given.
pub(crate) struct Args {
    pub(crate) key: LaneKey,
    /// Under which it is this node's.
    pub(crate) epoch: Epoch,
    pub(crate) policy: LanePolicy,
    pub(crate) memory: LaneMemory,
    /// When its bucket is full, from before it went to sleep.
    pub(crate) bucket_full_at: Option<Instant>,
    pub(crate) around: Surroundings,
    pub(crate) admission: Admission,
    pub(crate) board: Arc<Board>,
    /// Told when it has nothing to do: when it is due next, if that is known.
    pub(crate) on_idle: Box<dyn Fn(Option<Timestamp>) + Send + Sync>,
    /// Told when the store says that it is no longer this node's.
    pub(crate) on_lost: Box<dyn Fn() + Send + Sync>,
}

/// What it is told.
pub(crate) enum Msg {
    /// There may be due jobs.
    Wake,
    /// What a read of the store brought, and how many it asked for.
    Read(Result<Vec<Job>, StoreUnavailable>, usize),
    /// The desk grants what was asked for.
    Granted(GroupId, Box<Grant>),
    /// An attempt is over.
    Ended(EndedMsg),
    /// The lane's timer.
    Alarm,
    /// The limits or routes changed.
    Reload(Box<LanePolicy>),
    /// A bug of the lane itself.
    #[cfg(any(test, feature = "testing"))]
    Panic,
}

// A mailbox keeps room for 32 messages from the start, whatever comes: their size is what an idle
// lane costs.
const _: () = assert!(size_of::<Msg>() <= 48);

/// An attempt is over.
pub(crate) struct EndedMsg(Ended);

/// What it holds.
pub(crate) struct State {
    key: LaneKey,
    /// Names the lane in what is logged while it acts.
    span: tracing::Span,
    epoch: Epoch,
    policy: LanePolicy,
    around: Surroundings,
    admission: Admission,
    /// By this the desk tells it from an actor of the same lane before or after it.
    opened: Opened,
    board: Arc<Board>,
    on_idle: Box<dyn Fn(Option<Timestamp>) + Send + Sync>,
    on_lost: Box<dyn Fn() + Send + Sync>,
    myself: ActorRef<Msg>,
    queue: Queue,
    unconfigured: Unconfigured,
    /// The store may have due jobs that are not here.
    stale: bool,
    reading: bool,
    last_read: Option<Instant>,
    store_failed: bool,
    running: usize,
    /// Work was dropped from memory because it was held: read again once it moves.
    shed: bool,
    /// A line was so full that the store was not asked for more of it: read again once it has room.
    hidden: bool,
    /// When jobs of this lane are due again, as far as is known; the supervisor's poll sees others.
    due_again: BTreeSet<Timestamp>,
    active_at: Instant,
    alarm: Option<(Instant, JoinHandle<()>)>,
    _seat: Seat,
}

impl Actor for LaneActor {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let deliver = {
            let myself = myself.clone();
            Arc::new(move |group, grant| {
                // A lane that is gone drops the grant, which gives everything back.
                let _ = myself.cast(Msg::Granted(group, Box::new(grant)));
            })
        };
        let policy = args.policy;
        let opened = args.admission.open_lane(&args.key, policy.clone(), &args.memory, args.bucket_full_at, deliver);
        args.board.clear_hint();
        let state = State {
            _seat: args.around.awake.take(),
            queue: Queue::new(policy.queue),
            unconfigured: Unconfigured::default(),
            span: tracing::error_span!(
                "lane", tenant = %args.key.tenant, source = %args.key.source, vendor = %policy.vendor
            ),
            key: args.key,
            epoch: args.epoch,
            policy,
            around: args.around,
            admission: args.admission,
            opened,
            board: args.board,
            on_idle: args.on_idle,
            on_lost: args.on_lost,
            myself: myself.clone(),
            stale: true,
            reading: false,
            last_read: None,
            store_failed: false,
            running: 0,
            shed: false,
            hidden: false,
            due_again: BTreeSet::new(),
            active_at: Instant::now(),
            alarm: None,
        };
        let _ = myself.cast(Msg::Alarm);
        Ok(state)
    }

    async fn handle(&self, _: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        // A panic is logged where it happens: the line tells whose it is.
        let span = state.span.clone();
        let _entered = span.enter();
        match message {
            Msg::Wake => state.wake(),
            Msg::Read(jobs, limit) => state.take_in(jobs, limit),
            Msg::Granted(group, grant) => state.start(group, *grant),
            Msg::Ended(EndedMsg(ended)) => state.ended(&ended),
            Msg::Alarm => state.ring(),
            Msg::Reload(policy) => state.reload(*policy),
            #[cfg(any(test, feature = "testing"))]
            Msg::Panic => panic!("asked for by the test"),
        }
        state.go_on();
        Ok(())
    }
}

impl State {
    fn wake(&mut self) {
        self.board.clear_hint();
        self.stale = true;
        self.active_at = Instant::now();
    }

    fn take_in(&mut self, jobs: Result<Vec<Job>, StoreUnavailable>, limit: usize) {
        self.reading = false;
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(error) => {
                let doing = "reading due jobs";
                self.around.world.observer.observe(&ObserverEvent::StoreUnavailable { doing, error: &error });
                self.stale = true;
                self.store_failed = true;
                return;
            }
        };
        self.store_failed = false;
        self.stale |= jobs.len() >= limit;
        for job in jobs {
            // One that is in flight is on its way back: its attempt will say so.
            if self.queue.contains(job.id) || self.around.in_flight.contains(job.id) {
                continue;
            }
            self.active_at = Instant::now();
            match caught_now(|| self.around.world.action.callees(&job)) {
                Ok(Ok(callees)) => self.queue.push(job, Plan::Calls(callees.into())),
                Ok(Err(_)) => self.unconfigured.add(&job),
                Err(Panicked) => self.queue.push(job, Plan::Broken),
            }
        }
        self.hidden |= self.queue.has_full_line();
        self.board.show_unconfigured(!self.unconfigured.is_empty());
    }

    fn start(&mut self, group: GroupId, mut grant: Grant) {
        let Some((job, plan)) = self.queue.pop(group) else { return };
        if !self.around.in_flight.flows() {
            // Read again once it does.
            self.stale = true;
            return;
        }
        self.stale |= std::mem::take(&mut self.shed);
        if self.hidden && self.queue.runs_low() {
            self.hidden = false;
            self.stale = true;
        }
        if !self.around.in_flight.open(job.id) {
            // An attempt of an actor before this one has it.
            return;
        }
        grant.assign(job.id);
        self.running += 1;
        self.active_at = Instant::now();
        let run = Run {
            around: self.around.clone(),
            lane: self.key.clone(),
            epoch: self.epoch,
            job,
            plan,
            grant,
            timeout: self.policy.attempt_timeout,
        };
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let ended = run.run().await;
            let _ = myself.cast(Msg::Ended(EndedMsg(ended)));
        });
    }

    fn ended(&mut self, ended: &Ended) {
        self.running = self.running.saturating_sub(1);
        self.active_at = Instant::now();
        if let Some(at) = ended.due_again
            && self.due_again.len() < DUES
        {
            self.due_again.insert(at);
        }
        if ended.store_failed {
            self.store_failed = true;
            self.stale = true;
        }
        if ended.not_owner {
            (self.on_lost)();
        }
    }

    fn ring(&mut self) {
        self.alarm = None;
        let later = self.due_again.split_off(&self.now().plus(Duration::from_millis(1)));
        let due = std::mem::replace(&mut self.due_again, later);
        self.stale |= !due.is_empty();
    }

    fn reload(&mut self, policy: LanePolicy) {
        self.queue.set_cap(policy.queue);
        // Which callees a job has may have changed with its route.
        self.admission.withdraw(&self.key);
        self.queue.clear();
        self.unconfigured = Unconfigured::default();
        self.admission.reload_lane(&self.key, policy.clone());
        self.policy = policy;
        self.stale = true;
    }

    /// After every message: ask for what can begin, read what is missing, set the timer.
    fn go_on(&mut self) {
        let held = self.ask();
        self.read_if_due(held);
        self.board.show_queue(self.queue.len(), self.queue.oldest_due());
        self.set_alarm(held);
    }

    /// Asks the desk for each line. True if a line is held by its callee.
    fn ask(&mut self) -> bool {
        if !self.around.in_flight.flows() {
            return false;
        }
        loop {
            let most = self.policy.concurrency.max(1) as usize;
            let Some(group) = self.queue.unasked(most) else { break };
            let id = group.id;
            group.asked = group.len().min(most);
            let want = Want {
                group: id,
                callees: group.plan.callees(),
                class: group.class,
                care: group.care,
                count: group.asked,
            };
            for grant in self.admission.ask(&self.key, self.opened, want) {
                self.start(id, grant);
            }
        }
        let held: Vec<_> =
            self.queue.groups().filter(|group| self.is_held(&group.plan.callees())).map(|group| group.id).collect();
        for id in &held {
            if self.queue.shed(*id) > 0 {
                self.stale = true;
                self.shed = true;
            }
        }
        !held.is_empty()
    }

    fn is_held(&self, callees: &[crate::domain::CalleeId]) -> bool {
        let refusal = self.admission.held(&self.key, callees);
        refusal.is_some_and(|it| !matches!(it.reason, HoldReason::CalleeBusy(_)))
    }

    /// When the store may be read next, if it has to be.
    fn next_read(&self, now: Instant, held: bool) -> Option<Instant> {
        let is_full = self.queue.len() >= self.queue.cap();
        if !self.stale || self.reading || is_full || !self.around.in_flight.flows() {
            return None;
        }
        let Some(last) = self.last_read else { return Some(now) };
        let gap = if self.store_failed {
            STORE_WAIT
        } else if held {
            HELD_READ_GAP
        } else if self.queue.len() > self.queue.cap() / 2 {
            RARE_READ
        } else if self.queue.len() > self.queue.cap() / 4 {
            LAZY_READ
        } else {
            self.around.awake.read_gap()
        };
        Some(last + gap)
    }

    fn read_if_due(&mut self, held: bool) {
        let now = Instant::now();
        if self.next_read(now, held).is_none_or(|at| now < at) {
            return;
        }
        self.stale = false;
        self.reading = true;
        self.last_read = Some(now);
        self.unconfigured.forget_old(now);
        let mut skip = self.queue.held_work(|group| self.is_held(&group.plan.callees()));
        skip.extend(self.unconfigured.work());
        self.hidden |= self.queue.has_full_line();
        let (store, key, limit) = (self.around.world.store.clone(), self.key.clone(), self.queue.cap());
        let (now, myself) = (self.now(), self.myself.clone());
        tokio::spawn(async move {
            let jobs = store.due(&key, now, limit, &skip).await;
            let _ = myself.cast(Msg::Read(jobs, limit));
        });
    }

    /// Sets the one timer to the next thing to do, and says so when there is nothing.
    fn set_alarm(&mut self, held: bool) {
        let now = Instant::now();
        let due = self.due_again.first().map(|at| now + at.since(self.now()));
        let idle = self.idle_at();
        if idle.is_some_and(|at| at <= now) {
            (self.on_idle)(self.due_again.first().copied());
        }
        let idle = idle.map(|at| if at <= now { now + self.patience() } else { at });
        let read = self.next_read(now, held).map(|at| at.max(now));
        let Some(at) = [due, idle, read].into_iter().flatten().min() else { return };
        if self.alarm.as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        if let Some((_, alarm)) = self.alarm.take() {
            alarm.abort();
        }
        let myself = self.myself.clone();
        let alarm = tokio::spawn(async move {
            sleep_until(at).await;
            let _ = myself.cast(Msg::Alarm);
        });
        self.alarm = Some((at, alarm));
    }

    /// When it has been idle long enough, if it is idle.
    fn idle_at(&self) -> Option<Instant> {
        let idle = self.queue.is_empty() && self.running == 0 && !self.reading && !self.stale;
        (idle && self.admission.lane_running(&self.key) == 0).then(|| self.active_at + self.patience())
    }

    fn patience(&self) -> Duration {
        self.around.awake.patience(&self.around.world.limits)
    }

    fn now(&self) -> Timestamp {
        self.around.world.clock.now()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some((_, alarm)) = &self.alarm {
            alarm.abort();
        }
    }
}
