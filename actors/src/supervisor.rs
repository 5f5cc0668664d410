//! The supervisor: wakes lanes that have work, restarts them by policy, puts idle ones to sleep.
//!
//! The store is the truth about who has work: it is asked page by page ([`Msg::Poll`]); hints from
//! ingest only make it faster. A lane that sleeps has no actor, no queue and no limits in memory,
//! at most the moment at which its bucket is full again; what its breakers know is in the store.

mod keeper;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use self::keeper::{Keep, keep};
use crate::{
    admission::Admission,
    dead_letter::{self, DeadLetterActor, Letters},
    domain::{LaneKey, Timestamp},
    lane::{self, Board, LaneActor, Phase, Surroundings},
    policy::restart::{Decision, NodePanics, PARKED, Panics},
    ports::{LaneDue, LaneMemory, ObserverEvent, StoreUnavailable},
    snapshot::{Footprint, LaneSnapshot, LaneStatus, NodeSnapshot},
};

/// Lanes read by one poll.
const PAGE: usize = 512;
/// Lanes that are due within this time are woken by a timer, later ones by a later poll.
const HORIZON: Duration = Duration::from_mins(1);
/// How often what is idle is forgotten.
const TIDY: Duration = Duration::from_secs(30);
/// How often the poll wakes a lane that has work in memory: what it sees in the store is most likely
/// that, held or waiting for its turn.
const KNOWN_GAP: Duration = Duration::from_secs(15);
/// How long a lane waits that could not read what it remembers.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// How long the actors have to stop.
const STOP_WAIT: ractor::concurrency::Duration = Duration::from_secs(5);

/// Hints that lanes have work. Each lane is in it once, however often it is hinted at.
#[derive(Default)]
pub(crate) struct Hints {
    lanes: Mutex<HashSet<LaneKey>>,
    supervisor: OnceLock<ActorRef<Msg>>,
}

impl Hints {
    /// Adds a hint; the supervisor is told of the first one only.
    pub(crate) fn add(&self, lane: &LaneKey) {
        let was_empty = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            if lanes.contains(lane) {
                return;
            }
            let was_empty = lanes.is_empty();
            lanes.insert(lane.clone());
            was_empty
        };
        if was_empty && let Some(supervisor) = self.supervisor.get() {
            let _ = supervisor.cast(Msg::Hints);
        }
    }

    fn take(&self) -> HashSet<LaneKey> {
        std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The supervisor actor.
pub(crate) struct SupervisorActor;

/// What it is given.
pub(crate) struct Args {
    pub(crate) around: Surroundings,
    pub(crate) admission: Admission,
    pub(crate) hints: Arc<Hints>,
    pub(crate) paused: Vec<LaneKey>,
    /// Set to true when so many lanes panic that the node itself must be broken.
    pub(crate) broken: watch::Sender<bool>,
}

/// What it is told.
pub(crate) enum Msg {
    /// There are hints.
    Hints,
    /// Ask the store for the next page of lanes with work.
    Poll,
    /// What it answered.
    Polled(Result<Vec<LaneDue>, StoreUnavailable>),
    /// A lane is due that was seen before.
    Due,
    /// What a lane remembers was read.
    Loaded(LaneKey, LaneMemory),
    /// A lane has had nothing to do for a while.
    Idle(LaneKey, ActorIdOf, Option<Timestamp>),
    /// The wait of a lane that panicked is over.
    Start(LaneKey),
    /// The wait of the dead-letter actor is over.
    StartDeadLetters,
    /// Forget what is idle.
    Tidy,
    /// An operator pauses (or resumes) a lane.
    Pause(LaneKey, bool, oneshot::Sender<Result<(), StoreUnavailable>>),
    /// It is kept in the store.
    Paused(LaneKey, bool),
    /// An operator wants the probes of a lane now.
    Probe(LaneKey, oneshot::Sender<()>),
    /// The limits or routes changed.
    Reload,
    /// How it all looks.
    Snapshot(oneshot::Sender<NodeSnapshot>),
    /// What is kept in memory.
    Footprint(oneshot::Sender<Footprint>),
    /// Panic in the dead-letter actor's place: it is killed, as a crash would.
    #[cfg(any(test, feature = "testing"))]
    KillDeadLetters,
    /// Panic in a lane's actor.
    #[cfg(any(test, feature = "testing"))]
    PanicLane(LaneKey),
    /// Everything ends.
    Stop(oneshot::Sender<()>),
}

/// How it is known that a lane has work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hint {
    /// Some is new or has become due.
    NewWork,
    /// The store was seen to have some, perhaps what the lane knows already.
    Polled,
}

/// The actor that said so: a message of one that is gone is ignored.
pub(crate) type ActorIdOf = Option<ActorId>;

enum Status {
    /// What it remembers is being read.
    Loading,
    Awake(ActorRef<lane::Msg>),
    /// Asked to stop, because it is idle or paused.
    Stopping {
        wake_again: bool,
    },
    /// Panicked; starts again after a while.
    Restarting,
    /// Panicked too often.
    Parked,
    Paused,
}

struct Lane {
    status: Status,
    board: Arc<Board>,
    since: Timestamp,
    /// When it was last told of work.
    polled_at: Instant,
    restarts: u32,
    panics: Panics,
    /// Whether the store remembers breakers of it.
    remembered: bool,
}

/// What it holds.
pub(crate) struct State {
    myself: ActorRef<Msg>,
    around: Surroundings,
    admission: Admission,
    hints: Arc<Hints>,
    broken: watch::Sender<bool>,
    lanes: HashMap<LaneKey, Lane>,
    actors: HashMap<ActorId, LaneKey>,
    paused: HashSet<LaneKey>,
    /// Lanes that sleep with a bucket that is not full: when it is.
    asleep: HashMap<LaneKey, Instant>,
    unconfigured: HashMap<LaneKey, Timestamp>,
    due: BTreeSet<(Timestamp, LaneKey)>,
    due_timer: Option<(Timestamp, JoinHandle<()>)>,
    cursor: Option<LaneKey>,
    node_panics: NodePanics,
    dead_letters: Option<ActorCell>,
    dead_letter_panics: Panics,
    keeper: mpsc::UnboundedSender<Keep>,
    tasks: Vec<JoinHandle<()>>,
}

impl Actor for SupervisorActor {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let (keeper, orders) = mpsc::unbounded_channel();
        let tasks = vec![
            tokio::spawn(args.admission.clone().keep_time()),
            tokio::spawn(keep(args.around.world.store.clone(), orders)),
        ];
        let _ = args.hints.supervisor.set(myself.clone());
        for message in [Msg::Poll, Msg::Tidy, Msg::StartDeadLetters] {
            let _ = myself.cast(message);
        }
        let mut state = State {
            myself,
            around: args.around,
            admission: args.admission,
            hints: args.hints,
            broken: args.broken,
            lanes: HashMap::new(),
            actors: HashMap::new(),
            paused: HashSet::new(),
            asleep: HashMap::new(),
            unconfigured: HashMap::new(),
            due: BTreeSet::new(),
            due_timer: None,
            cursor: None,
            node_panics: NodePanics::default(),
            dead_letters: None,
            dead_letter_panics: Panics::default(),
            keeper,
            tasks,
        };
        for lane in args.paused {
            state.enter_pause(&lane);
        }
        Ok(state)
    }

    async fn handle(&self, _: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::Hints => state.take_hints(),
            Msg::Poll => state.poll(),
            Msg::Polled(lanes) => state.polled(lanes),
            Msg::Due => state.wake_due(),
            Msg::Loaded(lane, memory) => state.loaded(lane, memory).await,
            Msg::Idle(lane, actor, next) => state.idle(&lane, actor, next),
            Msg::Start(lane) => state.start_again(lane).await,
            Msg::StartDeadLetters => state.start_dead_letters().await,
            Msg::Tidy => state.tidy(),
            Msg::Pause(lane, paused, reply) => state.keep_pause(lane, paused, reply),
            Msg::Paused(lane, paused) => state.pause(&lane, paused),
            Msg::Probe(lane, reply) => {
                state.probe(&lane);
                let _ = reply.send(());
            }
            Msg::Reload => state.reload(),
            Msg::Snapshot(reply) => {
                let _ = reply.send(state.snapshot());
            }
            Msg::Footprint(reply) => {
                let _ = reply.send(state.footprint());
            }
            #[cfg(any(test, feature = "testing"))]
            Msg::KillDeadLetters => {
                if let Some(actor) = &state.dead_letters {
                    actor.kill();
                }
            }
            #[cfg(any(test, feature = "testing"))]
            Msg::PanicLane(key) => {
                if let Some(Lane { status: Status::Awake(lane), .. }) = state.lanes.get(&key) {
                    let _ = lane.cast(lane::Msg::Panic);
                }
            }
            Msg::Stop(reply) => state.stop(reply).await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // The default would stop the supervisor whenever a child ends.
        match event {
            SupervisionEvent::ActorFailed(who, _) | SupervisionEvent::ActorTerminated(who, _, _) => {
                state.child_ended(&who);
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

// === who has work ===

impl State {
    fn take_hints(&mut self) {
        for lane in self.hints.take() {
            self.wake(lane, Hint::NewWork);
        }
    }

    fn poll(&self) {
        let (store, after, myself) = (self.around.world.store.clone(), self.cursor.clone(), self.myself.clone());
        tokio::spawn(async move {
            let lanes = store.lanes_due(after.as_ref(), PAGE).await;
            let _ = myself.cast(Msg::Polled(lanes));
        });
    }

    fn polled(&mut self, lanes: Result<Vec<LaneDue>, StoreUnavailable>) {
        let pause = self.around.world.limits.poll;
        let mut next = pause;
        match lanes {
            Ok(lanes) => {
                // A full page: more follow, and the whole round is to be short.
                self.cursor = (lanes.len() >= PAGE).then(|| lanes.last().map(|due| due.lane.clone())).flatten();
                if self.cursor.is_some() {
                    next = pause / 20;
                }
                let now = self.now();
                for due in lanes {
                    if due.next_run_at <= now {
                        self.wake(due.lane, Hint::Polled);
                    } else if due.next_run_at <= now.plus(HORIZON) {
                        self.due.insert((due.next_run_at, due.lane));
                    }
                }
                self.set_due_timer();
            }
            Err(error) => self.tell_unavailable("asking for lanes with work", &error),
        }
        self.later(next, Msg::Poll);
    }

    fn wake_due(&mut self) {
        self.due_timer = None;
        let now = self.now();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, lane)) = self.due.pop_first() {
                self.wake(lane, Hint::NewWork);
            }
        }
        self.set_due_timer();
    }

    fn set_due_timer(&mut self) {
        let Some((at, _)) = self.due.first() else { return };
        if self.due_timer.as_ref().is_some_and(|(set, _)| set <= at) {
            return;
        }
        if let Some((_, timer)) = self.due_timer.take() {
            timer.abort();
        }
        let at = *at;
        self.due_timer = Some((at, self.later(at.since(self.now()), Msg::Due)));
    }

    /// A lane may have work.
    fn wake(&mut self, key: LaneKey, hint: Hint) {
        if self.paused.contains(&key) || self.around.in_flight.phase() != Phase::Running {
            return;
        }
        match self.lanes.get_mut(&key) {
            Some(Lane { status: Status::Awake(actor), board, polled_at, .. }) => {
                let now = Instant::now();
                let knows = hint == Hint::Polled && board.has_work() && now < *polled_at + KNOWN_GAP;
                if !knows {
                    *polled_at = now;
                    board.hint(actor);
                }
            }
            Some(Lane { status: Status::Stopping { wake_again }, .. }) => *wake_again = true,
            // It reads the store when it starts.
            Some(_) => {}
            None if self.around.world.policies.lane(&key).is_none() => {
                let now = self.now();
                self.unconfigured.entry(key).or_insert(now);
            }
            None => self.load(key),
        }
    }
}

// === the life of a lane ===

impl State {
    fn load(&mut self, key: LaneKey) {
        let lane = Lane {
            status: Status::Loading,
            board: Arc::default(),
            since: self.now(),
            polled_at: Instant::now(),
            restarts: 0,
            panics: Panics::default(),
            remembered: false,
        };
        self.lanes.insert(key.clone(), lane);
        let (world, myself) = (self.around.world.clone(), self.myself.clone());
        tokio::spawn(async move {
            loop {
                match world.store.load_lane(&key).await {
                    Ok(memory) => {
                        let _ = myself.cast(Msg::Loaded(key, memory));
                        return;
                    }
                    Err(error) => {
                        let doing = "reading what a lane remembers";
                        world.observer.observe(&ObserverEvent::StoreUnavailable { doing, error: &error });
                        sleep(STORE_WAIT).await;
                    }
                }
            }
        });
    }

    async fn loaded(&mut self, key: LaneKey, memory: LaneMemory) {
        if !matches!(self.lanes.get(&key), Some(Lane { status: Status::Loading, .. })) {
            return;
        }
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.remembered = !memory.breakers.is_empty();
        }
        self.spawn(key, memory).await;
    }

    async fn start_again(&mut self, key: LaneKey) {
        if matches!(self.lanes.get(&key), Some(Lane { status: Status::Restarting | Status::Parked, .. })) {
            // Its limits were never put away: the desk still knows its breakers.
            self.spawn(key, LaneMemory::default()).await;
        }
    }

    async fn spawn(&mut self, key: LaneKey, memory: LaneMemory) {
        let (Some(policy), Some(lane)) = (self.around.world.policies.lane(&key), self.lanes.get(&key)) else {
            self.forget(&key);
            return;
        };
        let id = Arc::new(OnceLock::new());
        let on_idle = {
            let (key, myself, id) = (key.clone(), self.myself.clone(), id.clone());
            Box::new(move |next| {
                let _ = myself.cast(Msg::Idle(key.clone(), id.get().copied(), next));
            })
        };
        let args = lane::Args {
            key: key.clone(),
            policy,
            memory,
            bucket_full_at: self.asleep.remove(&key),
            around: self.around.clone(),
            admission: self.admission.clone(),
            board: lane.board.clone(),
            on_idle,
        };
        match LaneActor::spawn_linked(None, LaneActor, args, self.myself.get_cell()).await {
            Ok((actor, _)) => {
                let _ = id.set(actor.get_id());
                self.actors.insert(actor.get_id(), key.clone());
                self.set_status(&key, Status::Awake(actor));
                self.around.world.observer.observe(&ObserverEvent::LaneSpawned { lane: &key });
            }
            // A panic while starting is told to the one who starts, not to the supervisor.
            Err(_) => self.panicked(key),
        }
    }

    fn idle(&mut self, key: &LaneKey, actor: ActorIdOf, next: Option<Timestamp>) {
        let Some(Lane { status: Status::Awake(lane), board, .. }) = self.lanes.get(key) else { return };
        if actor != Some(lane.get_id()) || board.is_hinted() {
            return;
        }
        lane.stop(None);
        self.set_status(key, Status::Stopping { wake_again: false });
        if let Some(at) = next {
            self.due.insert((at, key.clone()));
            self.set_due_timer();
        }
    }

    fn child_ended(&mut self, who: &ActorCell) {
        if self.dead_letters.as_ref().is_some_and(|actor| actor.get_id() == who.get_id()) {
            self.dead_letters_ended();
            return;
        }
        let Some(key) = self.actors.remove(&who.get_id()) else { return };
        self.admission.withdraw(&key);
        match self.lanes.get(&key).map(|lane| &lane.status) {
            Some(Status::Stopping { wake_again }) => {
                let wake_again = *wake_again;
                self.asleep(&key);
                if wake_again {
                    self.wake(key, Hint::NewWork);
                }
            }
            Some(Status::Awake(_)) if self.around.in_flight.phase() == Phase::Running => self.panicked(key),
            _ => {}
        }
    }

    /// The lane's actor ended as asked: what it must remember goes to the store, the rest is
    /// forgotten.
    fn asleep(&mut self, key: &LaneKey) {
        let remembered = self.lanes.get(key).is_some_and(|lane| lane.remembered);
        self.forget(key);
        let (memory, full_at) = self.admission.close_lane(key);
        if let Some(full_at) = full_at {
            self.asleep.insert(key.clone(), full_at);
        }
        if remembered || !memory.breakers.is_empty() {
            let _ = self.keeper.send(Keep::Breakers(key.clone(), memory.breakers));
        }
        self.around.world.observer.observe(&ObserverEvent::LanePassivated { lane: key });
    }

    fn panicked(&mut self, key: LaneKey) {
        let now = Instant::now();
        let active = self.actors.len() + 1;
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let observer = &self.around.world.observer;
        lane.restarts += 1;
        let wait = match lane.panics.record(now) {
            Decision::Restart(after) => {
                lane.status = Status::Restarting;
                let restarts = lane.restarts;
                tracing::warn!(lane = %key, restarts, ?after, "lane panicked and is started again");
                observer.observe(&ObserverEvent::LaneRestarting { lane: &key, after, restarts });
                after
            }
            Decision::Park => {
                lane.status = Status::Parked;
                lane.since = self.around.world.clock.now();
                let until = lane.since.plus(PARKED);
                tracing::error!(lane = %key, %until, "lane panicked too often and is parked");
                observer.observe(&ObserverEvent::LaneParked { lane: &key, until });
                PARKED
            }
        };
        if self.node_panics.record(now, hash_of(&key), active) {
            tracing::error!("too many lanes panic: the node is broken");
            self.broken.send_replace(true);
        }
        self.later(wait, Msg::Start(key));
    }

    fn forget(&mut self, key: &LaneKey) {
        self.lanes.remove(key);
    }

    fn set_status(&mut self, key: &LaneKey, status: Status) {
        let now = self.now();
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.status = status;
            lane.since = now;
        }
    }
}

// === the dead-letter actor ===

impl State {
    async fn start_dead_letters(&mut self) {
        if self.dead_letters.is_some() || self.around.in_flight.phase() == Phase::Cut {
            return;
        }
        let args = dead_letter::Args { world: self.around.world.clone(), letters: self.letters().clone() };
        match DeadLetterActor::spawn_linked(None, DeadLetterActor, args, self.myself.get_cell()).await {
            Ok((actor, _)) => self.dead_letters = Some(actor.get_cell()),
            Err(_) => self.dead_letters_ended(),
        }
    }

    fn dead_letters_ended(&mut self) {
        self.dead_letters = None;
        let wait = match self.dead_letter_panics.record(Instant::now()) {
            Decision::Restart(after) => after,
            // Replays and alarms can wait; what they are about is in the store.
            Decision::Park => PARKED,
        };
        tracing::warn!(?wait, "the dead-letter actor ended and is started again");
        self.later(wait, Msg::StartDeadLetters);
    }

    const fn letters(&self) -> &Arc<Letters> {
        &self.around.letters
    }
}

// === operators ===

impl State {
    fn keep_pause(&self, key: LaneKey, paused: bool, reply: oneshot::Sender<Result<(), StoreUnavailable>>) {
        let (kept, keeping) = oneshot::channel();
        let _ = self.keeper.send(Keep::Paused(key.clone(), paused, kept));
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let Ok(answer) = keeping.await else { return };
            if answer.is_ok() {
                let _ = myself.cast(Msg::Paused(key, paused));
            }
            let _ = reply.send(answer);
        });
    }

    fn pause(&mut self, key: &LaneKey, paused: bool) {
        if paused {
            self.enter_pause(key);
        } else {
            self.leave_pause(key);
        }
        self.around.world.observer.observe(&ObserverEvent::LanePaused { lane: key, paused });
    }

    fn enter_pause(&mut self, key: &LaneKey) {
        self.paused.insert(key.clone());
        self.admission.withdraw(key);
        let now = self.now();
        let lane = self.lanes.entry(key.clone()).or_insert_with(|| Lane {
            status: Status::Paused,
            board: Arc::default(),
            since: now,
            polled_at: Instant::now(),
            restarts: 0,
            panics: Panics::default(),
            remembered: true,
        });
        let before = std::mem::replace(&mut lane.status, Status::Paused);
        lane.since = now;
        lane.board = Arc::default();
        if let Status::Awake(actor) = before {
            // Not this lane's any more: its end is no panic.
            self.actors.remove(&actor.get_id());
            actor.stop(None);
        }
    }

    fn leave_pause(&mut self, key: &LaneKey) {
        self.paused.remove(key);
        match self.lanes.get(key).map(|lane| &lane.status) {
            Some(Status::Paused) => {
                self.forget(key);
                self.wake(key.clone(), Hint::NewWork);
            }
            Some(Status::Parked) => {
                if let Some(lane) = self.lanes.get_mut(key) {
                    lane.panics = Panics::default();
                }
                let _ = self.myself.cast(Msg::Start(key.clone()));
            }
            _ => self.wake(key.clone(), Hint::NewWork),
        }
    }

    fn probe(&mut self, key: &LaneKey) {
        self.admission.probe_now(key);
        self.wake(key.clone(), Hint::NewWork);
    }

    fn reload(&mut self) {
        self.unconfigured.clear();
        self.admission.reload_callees();
        for (key, lane) in &self.lanes {
            let Status::Awake(actor) = &lane.status else { continue };
            match self.around.world.policies.lane(key) {
                Some(policy) => {
                    let _ = actor.cast(lane::Msg::Reload(policy));
                }
                // It begins nothing more: its source is gone or switched off.
                None => actor.stop(None),
            }
        }
        let gone: Vec<_> = self
            .lanes
            .iter()
            .filter(|(key, lane)| {
                matches!(lane.status, Status::Awake(_)) && self.around.world.policies.lane(key).is_none()
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.set_status(&key, Status::Stopping { wake_again: true });
        }
        let _ = self.myself.cast(Msg::Hints);
    }

    fn snapshot(&self) -> NodeSnapshot {
        let at = self.now();
        let mut lanes: Vec<LaneSnapshot> = self.lanes.iter().map(|(key, lane)| self.show(key, lane)).collect();
        lanes.extend(self.unconfigured.iter().filter(|(key, _)| !self.lanes.contains_key(key)).map(|(key, since)| {
            LaneSnapshot {
                lane: key.clone(),
                vendor: "".into(),
                status: LaneStatus::Unconfigured,
                reason: Some("its source is not configured or not enabled".into()),
                since: *since,
                bucket_tokens: 0.0,
                queued: 0,
                oldest_due: None,
                in_flight: Vec::new(),
                restarts: 0,
                breakers: Vec::new(),
            }
        }));
        lanes.sort_by_key(|lane| (badness(lane.status), lane.oldest_due.unwrap_or(at), lane.lane.clone()));
        NodeSnapshot {
            at,
            in_flight: self.admission.running(),
            concurrency: self.around.world.limits.concurrency,
            lanes,
            callees: self.admission.callees(),
        }
    }

    fn show(&self, key: &LaneKey, lane: &Lane) -> LaneSnapshot {
        let view = self.admission.view(key);
        let held = view.as_ref().and_then(|view| view.held.clone());
        let (status, reason) = match lane.status {
            Status::Paused => (LaneStatus::Paused, Some("paused by an operator".to_owned())),
            Status::Parked => (LaneStatus::Parked, Some("it panicked too often".to_owned())),
            Status::Restarting => (LaneStatus::Flowing, Some("it panicked and is started again".to_owned())),
            _ if held.is_some() => (LaneStatus::Held, held.map(|reason| reason.to_string())),
            _ if lane.board.is_unconfigured() => {
                (LaneStatus::Unconfigured, Some("a route or credential of its jobs is not configured".to_owned()))
            }
            Status::Loading | Status::Awake(_) | Status::Stopping { .. } => (LaneStatus::Flowing, None),
        };
        let policy = || self.around.world.policies.lane(key).map(|policy| policy.vendor);
        let vendor = view.as_ref().map(|view| view.vendor.clone()).or_else(policy);
        let (bucket_tokens, in_flight, breakers) =
            view.map(|view| (view.bucket_tokens, view.in_flight, view.breakers)).unwrap_or_default();
        LaneSnapshot {
            lane: key.clone(),
            vendor: vendor.unwrap_or_else(|| "".into()),
            status,
            reason,
            since: lane.since,
            bucket_tokens,
            queued: lane.board.queued(),
            oldest_due: lane.board.oldest_due(),
            in_flight,
            restarts: lane.restarts,
            breakers,
        }
    }
}

// === keeping house ===

impl State {
    fn tidy(&mut self) {
        let now = Instant::now();
        self.asleep.retain(|_, full_at| *full_at > now);
        self.asleep.shrink_to_fit();
        self.lanes.shrink_to_fit();
        self.actors.shrink_to_fit();
        self.admission.forget_idle_callees();
        self.later(TIDY, Msg::Tidy);
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            actors: self.actors.len(),
            records: self.lanes.len() + self.asleep.len() + self.unconfigured.len(),
            record_bytes: size_of::<(LaneKey, Instant)>(),
            callees: self.admission.callees().len(),
        }
    }

    async fn stop(&mut self, reply: oneshot::Sender<()>) {
        for lane in self.lanes.values_mut() {
            if let Status::Awake(_) = lane.status {
                lane.status = Status::Stopping { wake_again: false };
            }
        }
        self.dead_letters = None;
        self.myself.get_cell().stop_children_and_wait(None, Some(STOP_WAIT)).await;
        self.myself.stop(None);
        let _ = reply.send(());
    }

    fn later(&self, wait: Duration, message: Msg) -> JoinHandle<()> {
        let myself = self.myself.clone();
        tokio::spawn(async move {
            sleep(wait).await;
            let _ = myself.cast(message);
        })
    }

    fn tell_unavailable(&self, doing: &'static str, error: &StoreUnavailable) {
        self.around.world.observer.observe(&ObserverEvent::StoreUnavailable { doing, error });
    }

    fn now(&self) -> Timestamp {
        self.around.world.clock.now()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Worst first.
const fn badness(status: LaneStatus) -> u8 {
    match status {
        LaneStatus::Parked => 0,
        LaneStatus::Held => 1,
        LaneStatus::Unconfigured => 2,
        LaneStatus::Paused => 3,
        LaneStatus::Flowing => 4,
    }
}

fn hash_of(key: &LaneKey) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
