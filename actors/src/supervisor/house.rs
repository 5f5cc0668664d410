//! Keeping house: the dead-letter actor, what is idle, the end.

use std::{sync::Arc, time::Duration};

use ractor::Actor;
use tokio::{sync::oneshot, time::Instant};

use super::{Msg, State, Status};
use crate::{
    dead_letter::{self, DeadLetterActor, Letters},
    domain::LaneKey,
    lane::Phase,
    policy::restart::{Decision, PARKED},
    snapshot::Footprint,
};

/// How often what is idle is forgotten.
const TIDY: Duration = Duration::from_secs(30);
/// How long the actors have to stop.
const STOP_WAIT: ractor::concurrency::Duration = Duration::from_secs(5);

impl State {
    pub(super) async fn start_dead_letters(&mut self) {
        if self.dead_letters.is_some() || self.around.in_flight.phase() == Phase::Cut {
            return;
        }
        let args = dead_letter::Args { world: self.around.world.clone(), letters: self.letters().clone() };
        match DeadLetterActor::spawn_linked(None, DeadLetterActor, args, self.myself.get_cell()).await {
            Ok((actor, _)) => self.dead_letters = Some(actor.get_cell()),
            Err(_) => self.dead_letters_ended(),
        }
    }

    pub(super) fn dead_letters_ended(&mut self) {
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

impl State {
    pub(super) fn tidy(&mut self) {
        let now = Instant::now();
        self.asleep.retain(|_, full_at| *full_at > now);
        self.asleep.shrink_to_fit();
        self.elsewhere.retain(|_, seen| seen.elapsed() < TIDY);
        self.lanes.shrink_to_fit();
        self.actors.shrink_to_fit();
        self.admission.forget_idle_callees();
        self.later(TIDY, Msg::Tidy);
    }

    pub(super) fn footprint(&self) -> Footprint {
        Footprint {
            actors: self.actors.len(),
            records: self.lanes.len() + self.asleep.len() + self.unconfigured.len(),
            record_bytes: size_of::<(LaneKey, Instant)>(),
            callees: self.admission.callees().len(),
        }
    }

    pub(super) async fn stop(&mut self, reply: oneshot::Sender<()>) {
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
}
