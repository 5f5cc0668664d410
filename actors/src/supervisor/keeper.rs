//! Keeps in the store what lanes must remember, one lane after the other, so that a pause and the
//! memory of a breaker never overwrite each other.

use std::{sync::Arc, time::Duration};

use ractor::ActorRef;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::Msg;
use crate::{
    admission::Admission,
    domain::{Epoch, LaneKey},
    ports::{BreakerMemory, JobStore, StoreUnavailable},
};

/// How long the keeper waits for a store that did not answer.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// What to keep.
pub(super) enum Keep {
    /// An operator paused or resumed the lane.
    Paused(LaneKey, bool, oneshot::Sender<Result<(), StoreUnavailable>>),
    /// The lane went to sleep with these breakers not closed.
    Breakers(LaneKey, Vec<BreakerMemory>),
    /// The lane sleeps, and any node may have it.
    Release(LaneKey, Epoch),
}

/// Does what comes, and keeps breakers whenever they change, until the supervisor is gone.
pub(super) async fn keep(
    store: Arc<dyn JobStore>,
    admission: Admission,
    supervisor: ActorRef<Msg>,
    mut orders: mpsc::UnboundedReceiver<Keep>,
) {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Keep::Paused(lane, paused, reply)) => {
                    let kept = pause(&*store, &lane, paused).await;
                    if kept.is_ok() {
                        let _ = supervisor.cast(Msg::Paused(lane, paused));
                    }
                    let _ = reply.send(kept);
                }
                Some(Keep::Breakers(lane, breakers)) => {
                    // Without it the lane learns again, by a few failures, that the callee is down.
                    if let Err(error) = remember(&*store, &lane, breakers).await {
                        tracing::warn!(%lane, %error, "breakers of a sleeping lane not kept");
                    }
                }
                Some(Keep::Release(lane, epoch)) => {
                    // It stays this node's then, which runs it when it has work.
                    if let Err(error) = store.release_lane(&lane, epoch).await {
                        tracing::warn!(%lane, %error, "a sleeping lane not given back");
                    }
                }
                None => return,
            },
            lane = admission.changed_breakers() => {
                if let Err(error) = keep_breakers(&*store, &admission, &lane).await {
                    tracing::warn!(%lane, %error, "breakers of a lane not kept, trying again");
                    admission.breakers_changed(&lane);
                    sleep(STORE_WAIT).await;
                }
            }
        }
    }
}

async fn pause(store: &dyn JobStore, lane: &LaneKey, paused: bool) -> Result<(), StoreUnavailable> {
    let mut memory = store.load_lane(lane).await?;
    memory.paused = paused;
    store.save_lane(lane, &memory).await
}

async fn remember(store: &dyn JobStore, lane: &LaneKey, breakers: Vec<BreakerMemory>) -> Result<(), StoreUnavailable> {
    let mut memory = store.load_lane(lane).await?;
    memory.breakers = breakers;
    store.save_lane(lane, &memory).await
}

/// What the desk knows now; of a lane that sleeps only which shared breakers are still kept with it.
async fn keep_breakers(store: &dyn JobStore, admission: &Admission, lane: &LaneKey) -> Result<(), StoreUnavailable> {
    let mut memory = store.load_lane(lane).await?;
    match admission.breakers_of(lane) {
        Some(breakers) => memory.breakers = breakers,
        None => memory.breakers.retain(|breaker| !breaker.shared || admission.keeps_shared(lane, &breaker.callee)),
    }
    store.save_lane(lane, &memory).await
}
