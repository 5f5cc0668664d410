//! The life of a lane: loaded, awake, asleep; after a panic started again or parked.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ractor::{Actor, ActorCell};
use tokio::time::{Instant, sleep};

use super::{ActorIdOf, Hint, Lane, Msg, State, Status, keeper::Keep};
use crate::{
    domain::{LaneKey, Timestamp},
    lane::{self, LaneActor, Phase},
    policy::restart::{Decision, PARKED, Panics},
    ports::{Acquired, ObserverEvent, Owned},
};

/// How long a lane waits that could not be taken.
const STORE_WAIT: Duration = Duration::from_secs(1);

impl State {
    pub(super) fn load(&mut self, key: LaneKey) {
        let lane = Lane {
            status: Status::Loading,
            board: Arc::default(),
            since: self.now(),
            polled_at: Instant::now(),
            restarts: 0,
            panics: Panics::default(),
            remembered: false,
            epoch: None,
        };
        self.lanes.insert(key.clone(), lane);
        let (world, myself, tenure) = (self.around.world.clone(), self.myself.clone(), self.tenure);
        tokio::spawn(async move {
            loop {
                match world.store.acquire_lane(&key).await {
                    Ok(acquired) => {
                        let _ = myself.cast(Msg::Loaded(key, Box::new(acquired), tenure));
                        return;
                    }
                    Err(error) => {
                        let doing = "taking a lane";
                        world.observer.observe(&ObserverEvent::StoreUnavailable { doing, error: &error });
                        sleep(STORE_WAIT).await;
                    }
                }
            }
        });
    }

    pub(super) async fn loaded(&mut self, key: LaneKey, acquired: Acquired, tenure: u64) {
        if tenure != self.tenure {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| matches!(lane.status, Status::Loading)) else {
            if let Acquired::Mine(owned) = acquired {
                let _ = self.keeper.send(Keep::Release(key, owned.epoch));
            }
            return;
        };
        match acquired {
            Acquired::Mine(owned) if owned.memory.paused => {
                // Through another node, while this one did not have it.
                let _ = self.keeper.send(Keep::Release(key.clone(), owned.epoch));
                self.enter_pause(&key);
            }
            Acquired::Mine(owned) => {
                lane.epoch = Some(owned.epoch);
                lane.remembered = !owned.memory.breakers.is_empty();
                if owned.taken_over {
                    // What the other node sent meanwhile is not known here.
                    self.asleep.remove(&key);
                    for breaker in owned.memory.breakers.iter().filter(|breaker| breaker.shared) {
                        self.admission.restore_shared_if_unknown(&key, breaker);
                    }
                }
                self.spawn(key, owned).await;
            }
            Acquired::Elsewhere => {
                self.forget(&key);
                self.elsewhere.insert(key, Instant::now());
            }
        }
    }

    /// The store refused what a lane began: another node has it, or this one was taken for dead.
    pub(super) fn lost(&mut self, key: &LaneKey, actor: ActorIdOf) {
        let Some(Lane { status: Status::Awake(lane), epoch, .. }) = self.lanes.get_mut(key) else { return };
        if actor == Some(lane.get_id()) {
            lane.stop(None);
            *epoch = None;
            self.set_status(key, Status::Stopping { wake_again: true });
        }
    }

    /// No lane is this node's any more.
    pub(super) fn lost_all(&mut self) {
        self.tenure += 1;
        self.asleep.clear();
        let lanes: Vec<_> = self.lanes.keys().cloned().collect();
        for key in lanes {
            if let Some(Lane { status: Status::Paused, .. }) = self.lanes.get(&key) {
                continue;
            }
            if let Some(Lane { status: Status::Awake(actor), .. }) = self.lanes.remove(&key) {
                // Not this lane's any more: its end is no panic.
                self.actors.remove(&actor.get_id());
                actor.stop(None);
            }
            self.admission.close_lane(&key);
        }
    }

    pub(super) async fn start_again(&mut self, key: LaneKey) {
        if matches!(self.lanes.get(&key), Some(Lane { status: Status::Restarting | Status::Parked, .. })) {
            // Its limits were never put away: the desk still knows its breakers.
            let epoch = self.lanes.get(&key).and_then(|lane| lane.epoch).unwrap_or_default();
            self.spawn(key, Owned { epoch, ..Owned::default() }).await;
        }
    }

    pub(super) async fn spawn(&mut self, key: LaneKey, owned: Owned) {
        let (Some(policy), Some(lane)) = (self.around.world.policies.lane(&key), self.lanes.get(&key)) else {
            // What the desk knows of one that panicked goes as well.
            self.admission.close_lane(&key);
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
        let on_lost = {
            let (key, myself, id) = (key.clone(), self.myself.clone(), id.clone());
            Box::new(move || {
                let _ = myself.cast(Msg::Lost(key.clone(), id.get().copied()));
            })
        };
        let bucket_full_at =
            if owned.taken_over { Some(Instant::now() + policy.rate.refill()) } else { self.asleep.remove(&key) };
        let args = lane::Args {
            key: key.clone(),
            epoch: owned.epoch,
            policy,
            memory: owned.memory,
            bucket_full_at,
            around: self.around.clone(),
            admission: self.admission.clone(),
            board: lane.board.clone(),
            on_idle,
            on_lost,
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

    pub(super) fn idle(&mut self, key: &LaneKey, actor: ActorIdOf, next: Option<Timestamp>) {
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

    pub(super) fn child_ended(&mut self, who: &ActorCell) {
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
    pub(super) fn asleep(&mut self, key: &LaneKey) {
        let (remembered, epoch) = self.lanes.get(key).map_or((false, None), |lane| (lane.remembered, lane.epoch));
        let idle = self.admission.lane_running(key) == 0;
        self.forget(key);
        let (memory, full_at) = self.admission.close_lane(key);
        if let Some(full_at) = full_at {
            self.asleep.insert(key.clone(), full_at);
        }
        if remembered || !memory.breakers.is_empty() {
            let _ = self.keeper.send(Keep::Breakers(key.clone(), memory.breakers));
        }
        if let Some(epoch) = epoch.filter(|_| idle) {
            let _ = self.keeper.send(Keep::Release(key.clone(), epoch));
        }
        self.around.world.observer.observe(&ObserverEvent::LanePassivated { lane: key });
    }

    pub(super) fn panicked(&mut self, key: LaneKey) {
        let now = Instant::now();
        let active = self.actors.len() + 1;
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let observer = &self.around.world.observer;
        lane.restarts += 1;
        let wait = match lane.panics.record(now) {
            Decision::Restart(after) => {
                lane.status = Status::Restarting;
                let restarts = lane.restarts;
                observer.observe(&ObserverEvent::LaneRestarting { lane: &key, after, restarts });
                after
            }
            Decision::Park => {
                lane.status = Status::Parked;
                lane.since = self.around.world.clock.now();
                let until = lane.since.plus(PARKED);
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

    pub(super) fn forget(&mut self, key: &LaneKey) {
        self.lanes.remove(key);
    }

    pub(super) fn set_status(&mut self, key: &LaneKey, status: Status) {
        let now = self.now();
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.status = status;
            lane.since = now;
        }
    }
}

fn hash_of(key: &LaneKey) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
