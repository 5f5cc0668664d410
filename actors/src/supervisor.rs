//! The supervisor: wakes lanes that have work, restarts them by policy, puts idle ones to sleep.
//!
//! The store is the truth about who has work: it is asked page by page ([`Msg::Poll`]); hints from
//! ingest only make it faster. A lane that sleeps has no actor, no queue and no limits in memory,
//! at most the moment at which its bucket is full again; what its breakers know is in the store.

mod house;
mod keeper;
mod life;
mod operators;
mod show;
mod wake;

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
    domain::{Epoch, LaneKey, Mandate, Timestamp},
    lane::{self, Board, Surroundings},
    policy::restart::{NodePanics, Panics},
    ports::{Acquired, LaneDue, ObserverEvent, StoreUnavailable},
    snapshot::{Footprint, NodeSnapshot},
};

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
    /// Ask it once more, beside the regular poll.
    PollNow,
    /// What it answered to that.
    PolledNow(Result<Vec<LaneDue>, StoreUnavailable>),
    /// A lane is due that was seen before.
    Due,
    /// Whether the lane is this node's, and what it remembers. The number: of the tenure in which it
    /// was asked.
    Loaded(LaneKey, Box<Acquired>, u64),
    /// The store says that a lane that is awake is no longer this node's.
    Lost(LaneKey, ActorIdOf),
    /// The node was taken for dead: no lane is its own any more.
    LostAll(oneshot::Sender<()>),
    /// Every lane that is awake may have work.
    WakeAll,
    /// A lane has had nothing to do for a while.
    Idle(LaneKey, ActorIdOf, Option<Timestamp>),
    /// The wait of a lane that panicked is over.
    Start(LaneKey),
    /// The wait of the dead-letter actor is over.
    StartDeadLetters,
    /// Forget what is idle.
    Tidy,
    /// An operator pauses (or resumes) a lane.
    Pause(LaneKey, bool, Mandate, oneshot::Sender<Result<(), StoreUnavailable>>),
    /// It is kept in the store.
    Paused(LaneKey, bool),
    /// Another node may have paused or resumed lanes, perhaps this one.
    LookAtPauses(Option<LaneKey>, oneshot::Sender<()>),
    /// These are paused, it said.
    Pauses(HashSet<LaneKey>, Option<LaneKey>),
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
    /// Under which it is this node's, if it is.
    epoch: Option<Epoch>,
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
    /// Raised when the node was taken for dead: what it had before is not its own.
    tenure: u64,
    /// Lanes that another node has: when that was seen.
    elsewhere: HashMap<LaneKey, Instant>,
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
            tokio::spawn(keep(args.around.world.store.clone(), args.admission.clone(), myself.clone(), orders)),
        ];
        let _ = args.hints.supervisor.set(myself.clone());
        for message in [Msg::Hints, Msg::Poll, Msg::Tidy, Msg::StartDeadLetters] {
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
            tenure: 0,
            elsewhere: HashMap::new(),
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
            Msg::PollNow => state.poll_now(),
            Msg::PolledNow(lanes) => state.take_due(lanes.unwrap_or_default()),
            Msg::Due => state.wake_due(),
            Msg::Loaded(lane, acquired, tenure) => state.loaded(lane, *acquired, tenure).await,
            Msg::Lost(lane, actor) => state.lost(&lane, actor),
            Msg::LostAll(reply) => {
                state.lost_all();
                let _ = reply.send(());
            }
            Msg::WakeAll => state.wake_all(),
            Msg::Idle(lane, actor, next) => state.idle(&lane, actor, next),
            Msg::Start(lane) => state.start_again(lane).await,
            Msg::StartDeadLetters => state.start_dead_letters().await,
            Msg::Tidy => state.tidy(),
            Msg::Pause(lane, paused, mandate, reply) => state.keep_pause(lane, paused, mandate, reply),
            Msg::Paused(lane, paused) => state.pause(&lane, paused),
            Msg::LookAtPauses(told, reply) => state.look_at_pauses(told, reply),
            Msg::Pauses(paused, told) => state.pauses(&paused, told),
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

impl State {
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
