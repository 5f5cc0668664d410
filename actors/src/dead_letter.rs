//! The dead-letter actor: raises the alarm for each letter and replays letters in the background.
//!
//! It owns no copy of the truth. A job is a dead letter because its row says so, in the same
//! transaction that ended its attempt; killed at any moment, this actor loses nothing: alarms not
//! yet raised and orders not yet done lie in [`Letters`], which outlives it, and which letters an
//! order still means is asked of the store at every step. A replay of a job that is no dead letter
//! any more changes nothing, so a step that is done twice does no harm.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    domain::{DeadReason, Job, LaneKey, Mandate, Timestamp},
    policy::bucket::Bucket,
    ports::{DeadLetterFilter, ObserverEvent, Rate, StoreUnavailable},
    world::World,
};

/// Letters replayed at most in one step, so that an alarm never waits long behind an order.
const STEP: usize = 32;
/// Alarms that wait for the actor at most; of more the oldest are not raised. (The letters are in the
/// store all the same.)
const ALARMS: usize = 10_000;
/// How long an order rests when the store does not answer.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// How often an order that may do several letters at once looks at its bucket.
const PACE: f64 = 20.0;

/// What outlives the actor: alarms to raise and orders to do.
pub(crate) struct Letters {
    inbox: Mutex<Inbox>,
    wake: Box<dyn Fn(&LaneKey) + Send + Sync>,
}

#[derive(Default)]
struct Inbox {
    alarms: VecDeque<(Job, DeadReason)>,
    missed: u64,
    orders: VecDeque<Order>,
    actor: Option<ActorRef<Msg>>,
}

/// An operator's order to replay.
struct Order {
    filter: DeadLetterFilter,
    mandate: Mandate,
    bucket: Bucket,
}

impl Letters {
    /// Nothing to do; `wake` tells a lane that it has work.
    pub(crate) fn new(wake: impl Fn(&LaneKey) + Send + Sync + 'static) -> Self {
        Self { inbox: Mutex::default(), wake: Box::new(wake) }
    }

    /// A job became a dead letter; its row is written.
    pub(crate) fn add(&self, job: Job, reason: DeadReason) {
        let mut inbox = self.lock();
        if inbox.alarms.len() >= ALARMS {
            inbox.alarms.pop_front();
            inbox.missed += 1;
        }
        inbox.alarms.push_back((job, reason));
        inbox.poke(Msg::Alarms);
    }

    /// Orders a replay of what matches and died before `now`.
    pub(crate) fn order(&self, filter: DeadLetterFilter, mandate: Mandate, per_second: f64) {
        let burst = (per_second / PACE).clamp(1.0, STEP as f64) as u32;
        let bucket = Bucket::full(Rate { per_second, burst });
        let mut inbox = self.lock();
        inbox.orders.push_back(Order { filter, mandate, bucket });
        inbox.poke(Msg::Step);
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn poke(&self, message: Msg) {
        // Where the actor is down, the next one begins with looking here.
        if let Some(actor) = &self.actor {
            let _ = actor.cast(message);
        }
    }
}

/// `filter`, but only what died up to now: a letter that dies again is not replayed for ever.
pub(crate) fn as_of(filter: DeadLetterFilter, now: Timestamp) -> DeadLetterFilter {
    let now = now.plus(Duration::from_millis(1));
    DeadLetterFilter { until: Some(filter.until.map_or(now, |until| until.min(now))), ..filter }
}

/// The actor.
pub(crate) struct DeadLetterActor;

/// What it is given.
pub(crate) struct Args {
    pub(crate) world: World,
    pub(crate) letters: Arc<Letters>,
}

/// What it is told.
pub(crate) enum Msg {
    /// There are alarms to raise.
    Alarms,
    /// The first order may have letters to replay.
    Step,
}

/// What it holds: nothing of its own but a timer.
pub(crate) struct State {
    world: World,
    letters: Arc<Letters>,
    timer: Option<JoinHandle<()>>,
}

impl Actor for DeadLetterActor {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        args.letters.lock().actor = Some(myself.clone());
        let _ = myself.cast(Msg::Alarms);
        let _ = myself.cast(Msg::Step);
        Ok(State { world: args.world, letters: args.letters, timer: None })
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::Alarms => state.raise_alarms(),
            Msg::Step => state.step(&myself).await,
        }
        Ok(())
    }
}

impl State {
    fn raise_alarms(&self) {
        let missed = std::mem::take(&mut self.letters.lock().missed);
        if missed > 0 {
            tracing::warn!(missed, "jobs became dead letters while no alarm could be raised");
        }
        loop {
            let Some((job, reason)) = self.letters.lock().alarms.pop_front() else { return };
            self.world.observer.observe(&ObserverEvent::DeadLettered { job: &job, reason });
        }
    }

    async fn step(&mut self, myself: &ActorRef<Msg>) {
        let first = self.letters.lock().orders.front().map(|order| (order.filter.clone(), order.mandate.clone()));
        let Some((filter, mandate)) = first else { return };
        match self.replay_some(&filter, &mandate).await {
            Ok(Step::Done) => {
                self.letters.lock().orders.pop_front();
                let _ = myself.cast(Msg::Step);
            }
            Ok(Step::Next(at)) => self.later(myself, at),
            Err(error) => {
                let doing = "replaying dead letters";
                self.world.observer.observe(&ObserverEvent::StoreUnavailable { doing, error: &error });
                self.later(myself, Instant::now() + STORE_WAIT);
            }
        }
    }

    async fn replay_some(&self, filter: &DeadLetterFilter, mandate: &Mandate) -> Result<Step, StoreUnavailable> {
        let letters = self.world.store.dead_letters(filter, STEP).await?;
        let mut count = 0;
        let mut next = Step::Next(Instant::now());
        if letters.is_empty() {
            next = Step::Done;
        }
        let mut failed = None;
        for (job, lane) in letters {
            if let Err(at) = self.take_token() {
                next = Step::Next(at);
                break;
            }
            match self.world.store.replay(job, mandate, self.world.clock.now()).await {
                Ok(true) => {
                    count += 1;
                    (self.letters.wake)(&lane);
                }
                Ok(false) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if count > 0 {
            self.world.observer.observe(&ObserverEvent::Replayed { count });
        }
        failed.map_or(Ok(next), Err)
    }

    fn take_token(&self) -> Result<(), Instant> {
        match self.letters.lock().orders.front_mut() {
            Some(order) => order.bucket.take(),
            None => Ok(()),
        }
    }

    fn later(&mut self, myself: &ActorRef<Msg>, at: Instant) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        let myself = myself.clone();
        self.timer = Some(tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            let _ = myself.cast(Msg::Step);
        }));
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }
}

enum Step {
    /// The order is done.
    Done,
    /// Go on then.
    Next(Instant),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{CheckpointStage, EventId, Fence, JobClass, JobId, JobState},
        testing::lane_key,
    };

    #[test]
    fn alarms_that_nobody_raises_are_bounded_and_the_newest_are_kept() {
        let letters = Letters::new(|_| {});
        let job = |number: usize| Job {
            id: JobId::from_uuid(uuid::Uuid::from_u128(number as u128)),
            event_id: EventId::from_uuid(uuid::Uuid::nil()),
            lane: lane_key("acme/payments"),
            route: "main".parse().unwrap(),
            kind: "log".into(),
            state: JobState::DeadLetter,
            class: JobClass::Fresh,
            attempts: 8,
            claims: 8,
            deaths: 0,
            suspicion: 0,
            next_run_at: Timestamp::from_secs(0),
            fence: Fence(8),
            stage: CheckpointStage::None,
        };
        for number in 0..ALARMS + 3 {
            letters.add(job(number), DeadReason::Rejected);
        }
        let inbox = letters.lock();
        assert_eq!((inbox.alarms.len(), inbox.missed), (ALARMS, 3));
        assert_eq!(inbox.alarms.front().map(|(job, _)| job.id), Some(job(3).id));
    }
}
