//! The only way into the tree of actors.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorRef};
use tokio::{
    sync::{OnceCell, oneshot, watch},
    time::Instant,
};

use crate::{
    admission::{Admission, ENTER_WAIT},
    contained::{ContainedObserver, ContainedStore},
    dead_letter::{Letters, as_of},
    domain::{CalleeId, HoldReason, LaneKey, Mandate},
    drain::drain,
    lane::{Awake, InFlight, Phase, Surroundings, permit},
    ports::{DeadLetterFilter, Permit, Recovered, StoreUnavailable, Told},
    supervisor::{self, Hints, Msg, SupervisorActor},
};
pub use crate::{
    snapshot::{BreakerSnapshot, CalleeSnapshot, DrainReport, Footprint, LaneSnapshot, LaneStatus, NodeSnapshot},
    world::{NodeLimits, World},
};

/// The tree did not answer: it is draining or gone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GatewayError {
    /// The tree is draining or gone.
    #[error("the gateway is draining")]
    Draining,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// A cheap handle on the tree; clones share it.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    supervisor: ActorRef<Msg>,
    hints: Arc<Hints>,
    admission: Admission,
    around: Surroundings,
    broken: watch::Receiver<bool>,
    drained: OnceCell<DrainReport>,
}

impl Gateway {
    /// Recovers what an earlier life left running, then starts the tree.
    pub async fn start(world: World) -> Result<(Self, Recovered), GatewayError> {
        let world = World {
            store: Arc::new(ContainedStore(world.store)),
            observer: Arc::new(ContainedObserver(world.observer)),
            ..world
        };
        let recovered = world.store.recover().await?;
        let remembered = world.store.remembered_lanes().await?;
        let paused = remembered.iter().filter(|(_, memory)| memory.paused).map(|(lane, _)| lane.clone()).collect();
        let hints = Arc::new(Hints::default());
        let letters = {
            let (hints, store) = (hints.clone(), world.store.clone());
            Arc::new(Letters::new(move |lane| {
                hints.add(lane);
                store.tell(lane, Told::Work);
            }))
        };
        let admission = Admission::new(world.clone());
        for (lane, memory) in &remembered {
            for breaker in memory.breakers.iter().filter(|breaker| breaker.shared) {
                admission.restore_shared(lane, breaker);
            }
        }
        let around = Surroundings {
            world: world.clone(),
            in_flight: Arc::new(InFlight::new()),
            letters,
            awake: Awake::default(),
        };
        let (broken_sender, broken) = watch::channel(false);
        let args = supervisor::Args {
            around: around.clone(),
            admission: admission.clone(),
            hints: hints.clone(),
            paused,
            broken: broken_sender,
        };
        let spawned = SupervisorActor::spawn(None, SupervisorActor, args).await;
        let (supervisor, _) = spawned.map_err(|_| GatewayError::Draining)?;
        let inner = Inner { world, supervisor, hints, admission, around, broken, drained: OnceCell::new() };
        Ok((Self { inner: Arc::new(inner) }, recovered))
    }

    /// A hint that the lane has work, for this node and for the one that has the lane. Never blocks,
    /// may be lost.
    pub fn wake(&self, lane: &LaneKey) {
        self.inner.hints.add(lane);
        self.inner.world.store.tell(lane, Told::Work);
    }

    /// What another node tells of a lane that this one has.
    pub fn told(&self, lane: &LaneKey, what: Told) {
        match what {
            Told::Work => self.inner.hints.add(lane),
            Told::Pause => {
                let _ = self.inner.supervisor.cast(Msg::LookAtPauses(Some(lane.clone()), oneshot::channel().0));
            }
            Told::Probe => {
                let _ = self.inner.supervisor.cast(Msg::Probe(lane.clone(), oneshot::channel().0));
            }
        }
    }

    /// Asks the store which lanes are paused: by whatever node, none runs here any more then, and who
    /// was resumed does. Returns when it answered or could not.
    pub async fn look_at_pauses(&self) {
        let (reply, answer) = oneshot::channel();
        if self.tell(Msg::LookAtPauses(None, reply)).is_ok() {
            let _ = answer.await;
        }
    }

    /// The limits or routes changed.
    pub fn reload(&self) {
        let _ = self.inner.supervisor.cast(Msg::Reload);
    }

    /// Another node may take the lanes by now: cuts off what is in flight, and begins nothing until
    /// [`Self::trust`].
    pub fn distrust(&self) {
        self.inner.around.in_flight.distrust();
    }

    /// The lanes are this node's own again.
    pub fn trust(&self) {
        self.inner.around.in_flight.trust();
        let _ = self.inner.supervisor.cast(Msg::WakeAll);
    }

    /// The node was taken for dead: every lane is taken anew before anything of it begins. To be
    /// called between [`Self::distrust`] and [`Self::trust`].
    pub async fn lose_lanes(&self) {
        let (reply, answer) = oneshot::channel();
        if self.tell(Msg::LostAll(reply)).is_ok() {
            let _ = answer.await;
        }
    }

    /// Many lanes may have work.
    pub fn wake_all(&self) {
        let _ = self.inner.supervisor.cast(Msg::WakeAll);
    }

    /// Asks the store now which lanes have work.
    pub fn poll_now(&self) {
        let _ = self.inner.supervisor.cast(Msg::PollNow);
    }

    /// Whom the lanes of this node call, or called a short while ago.
    pub fn callees(&self) -> Vec<CalleeId> {
        self.inner.admission.callee_ids()
    }

    /// The limits of callees changed.
    pub fn reload_callees(&self) {
        self.inner.admission.reload_callees();
    }

    /// The lane begins nothing until it is resumed; survives restarts. What is in flight ends.
    pub async fn pause(&self, lane: &LaneKey, mandate: Mandate) -> Result<(), GatewayError> {
        self.set_paused(lane, true, mandate).await
    }

    /// Undoes a pause or a parking.
    pub async fn resume(&self, lane: &LaneKey, mandate: Mandate) -> Result<(), GatewayError> {
        self.set_paused(lane, false, mandate).await
    }

    /// Lets the next call to every callee of the lane whose breaker is open go as its probe now.
    pub async fn probe(&self, lane: &LaneKey) -> Result<(), GatewayError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Probe(lane.clone(), reply))?;
        self.inner.world.store.tell(lane, Told::Probe);
        answer.await.map_err(|_| GatewayError::Draining)
    }

    /// Leave for one call of a lane outside of any job, by the rules that its attempts are under: the
    /// rate, the concurrency and the breakers of the callee, waiting a little for the former. `Err` says
    /// why it may not be made now.
    pub async fn enter(&self, lane: &LaneKey, callee: &CalleeId) -> Result<Box<dyn Permit>, HoldReason> {
        if self.inner.around.in_flight.phase() != Phase::Running {
            return Err(HoldReason::Draining);
        }
        let pass = self.inner.admission.enter(lane, callee, Instant::now() + ENTER_WAIT).await?;
        Ok(permit(pass))
    }

    /// Brings dead letters back, at most `per_second`, never ahead of fresh work. Returns at once
    /// with how many match; the dead-letter actor replays them in the background. An order that a
    /// drain interrupts is not resumed: the letters it did not reach stay dead letters.
    pub async fn replay(
        &self,
        filter: DeadLetterFilter,
        mandate: Mandate,
        per_second: f64,
    ) -> Result<u64, GatewayError> {
        if self.inner.around.in_flight.phase() != Phase::Running {
            return Err(GatewayError::Draining);
        }
        let filter = as_of(filter, self.inner.world.clock.now());
        let count = self.inner.world.store.count_dead_letters(&filter).await?;
        self.inner.around.letters.order(filter, mandate, per_second);
        Ok(count)
    }

    /// What the tree looks like now: the node, its lanes that are awake (worst first), its callees.
    pub async fn snapshot(&self) -> Result<NodeSnapshot, GatewayError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Snapshot(reply))?;
        answer.await.map_err(|_| GatewayError::Draining)
    }

    /// How much is kept in memory of lanes.
    pub async fn footprint(&self) -> Result<Footprint, GatewayError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Footprint(reply))?;
        answer.await.map_err(|_| GatewayError::Draining)
    }

    /// Begins nothing more, waits up to `deadline` for attempts, releases the rest. Idempotent.
    pub async fn drain(&self, deadline: Duration) -> DrainReport {
        let Inner { around, admission, .. } = &*self.inner;
        let drained = self.inner.drained.get_or_init(|| async {
            let report = drain(&around.in_flight, admission, deadline).await;
            let (reply, stopped) = oneshot::channel();
            if self.tell(Msg::Stop(reply)).is_ok() {
                let _ = stopped.await;
            }
            report
        });
        drained.await.clone()
    }

    /// Returns once the tree itself is broken: so many lanes panic that it is no lane's fault, or
    /// the supervisor is gone without a drain. The process should end and be started again.
    pub async fn broken(&self) {
        let mut broken = self.inner.broken.clone();
        if broken.wait_for(|broken| *broken).await.is_err() && self.inner.around.in_flight.phase() != Phase::Running {
            std::future::pending::<()>().await;
        }
    }

    /// Kills the dead-letter actor, as a crash would.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn kill_dead_letters(&self) {
        let _ = self.inner.supervisor.cast(Msg::KillDeadLetters);
    }

    /// Kills the supervisor, as a bug of its own would.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn kill_supervisor(&self) {
        self.inner.supervisor.kill();
    }

    /// Makes the lane's actor panic, if it is awake.
    #[cfg(any(test, feature = "testing"))]
    pub fn panic_lane(&self, lane: &LaneKey) {
        let _ = self.inner.supervisor.cast(Msg::PanicLane(lane.clone()));
    }

    /// Whether the supervisor and all below it have ended.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_stopped(&self) -> bool {
        self.inner.supervisor.get_status() >= ractor::ActorStatus::Stopping
    }

    async fn set_paused(&self, lane: &LaneKey, paused: bool, mandate: Mandate) -> Result<(), GatewayError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Pause(lane.clone(), paused, mandate, reply))?;
        answer.await.map_err(|_| GatewayError::Draining)??;
        Ok(())
    }

    fn tell(&self, message: Msg) -> Result<(), GatewayError> {
        self.inner.supervisor.cast(message).map_err(|_| GatewayError::Draining)
    }
}
