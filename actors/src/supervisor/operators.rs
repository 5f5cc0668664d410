//! What operators ask for: pauses, probes, new limits.

use std::{collections::HashSet, sync::Arc};

use tokio::{sync::oneshot, time::Instant};

use super::{Hint, Lane, Msg, State, Status, keeper::Keep};
use crate::{
    domain::{LaneKey, Mandate},
    lane,
    policy::restart::Panics,
    ports::{ObserverEvent, StoreUnavailable},
};

impl State {
    pub(super) fn keep_pause(
        &self,
        key: LaneKey,
        paused: bool,
        mandate: Mandate,
        reply: oneshot::Sender<Result<(), StoreUnavailable>>,
    ) {
        let _ = self.keeper.send(Keep::Paused(key, paused, mandate, reply));
    }

    pub(super) fn pause(&mut self, key: &LaneKey, paused: bool) {
        if paused {
            self.enter_pause(key);
        } else {
            self.leave_pause(key);
        }
        self.around.world.observer.observe(&ObserverEvent::LanePaused { lane: key, paused });
    }

    pub(super) fn look_at_pauses(&self, told: Option<LaneKey>, reply: oneshot::Sender<()>) {
        let _ = self.keeper.send(Keep::Look(told, reply));
    }

    /// These lanes are paused, and no other; `told`: another node said that an operator spoke of it.
    pub(super) fn pauses(&mut self, paused: &HashSet<LaneKey>, told: Option<LaneKey>) {
        let changed: Vec<LaneKey> = paused.symmetric_difference(&self.paused).cloned().collect();
        for key in changed {
            self.pause(&key, paused.contains(&key));
        }
        if let Some(key) = told {
            self.unpark(&key);
        }
    }

    pub(super) fn enter_pause(&mut self, key: &LaneKey) {
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
            epoch: None,
        });
        let before = std::mem::replace(&mut lane.status, Status::Paused);
        lane.since = now;
        lane.board = Arc::default();
        if let Status::Awake(actor) = before {
            // It stays this node's: what is in flight ends here.
            // Not this lane's any more: its end is no panic.
            self.actors.remove(&actor.get_id());
            actor.stop(None);
        }
    }

    pub(super) fn leave_pause(&mut self, key: &LaneKey) {
        self.paused.remove(key);
        match self.lanes.get(key).map(|lane| &lane.status) {
            Some(Status::Paused) => {
                self.forget(key);
                self.wake(key.clone(), Hint::NewWork);
            }
            Some(Status::Parked) => self.unpark(key),
            _ => self.wake(key.clone(), Hint::NewWork),
        }
    }

    fn unpark(&mut self, key: &LaneKey) {
        if let Some(lane) = self.lanes.get_mut(key).filter(|lane| matches!(lane.status, Status::Parked)) {
            lane.panics = Panics::default();
            let _ = self.myself.cast(Msg::Start(key.clone()));
        }
    }

    pub(super) fn probe(&mut self, key: &LaneKey) {
        self.admission.probe_now(key);
        self.wake(key.clone(), Hint::NewWork);
    }

    pub(super) fn reload(&mut self) {
        self.unconfigured.clear();
        self.admission.reload_callees();
        for (key, lane) in &self.lanes {
            let Status::Awake(actor) = &lane.status else { continue };
            match self.around.world.policies.lane(key) {
                Some(policy) => {
                    let _ = actor.cast(lane::Msg::Reload(Box::new(policy)));
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
}
