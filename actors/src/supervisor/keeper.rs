//! Keeps in the store what lanes must remember, one lane after the other, and looks there for pauses
//! that another node kept: what it read before a pause of its own is never told after it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ractor::ActorRef;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::Msg;
use crate::{
    admission::Admission,
    domain::{Epoch, LaneKey, Mandate},
    ports::{BreakerMemory, JobStore, StoreUnavailable, Told},
};

/// How long the keeper waits for a store that did not answer.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// What to keep.
pub(super) enum Keep {
    /// An operator paused or resumed the lane.
    Paused(LaneKey, bool, Mandate, oneshot::Sender<Result<(), StoreUnavailable>>),
    /// Which lanes are paused may have changed, by a word about this lane.
    Look(Option<LaneKey>, oneshot::Sender<()>),
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
                Some(Keep::Paused(lane, paused, mandate, reply)) => {
                    let kept = store.keep_pause(&lane, paused, &mandate).await;
                    if kept.is_ok() {
                        store.tell(&lane, Told::Pause);
                        let _ = supervisor.cast(Msg::Paused(lane, paused));
                    }
                    let _ = reply.send(kept);
                }
                Some(Keep::Look(told, reply)) => {
                    match store.paused_lanes().await {
                        Ok(paused) => {
                            let _ = supervisor.cast(Msg::Pauses(HashSet::from_iter(paused), told));
                        }
                        // The next look is soon.
                        Err(error) => tracing::debug!(%error, "not known which lanes are paused"),
                    }
                    let _ = reply.send(());
                }
                Some(Keep::Breakers(lane, breakers)) => {
                    // Without it the lane learns again, by a few failures, that the callee is down.
                    if let Err(error) = store.keep_breakers(&lane, &breakers).await {
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

/// What the desk knows now; of a lane that sleeps only which shared breakers are still kept with it.
async fn keep_breakers(store: &dyn JobStore, admission: &Admission, lane: &LaneKey) -> Result<(), StoreUnavailable> {
    if let Some(breakers) = admission.breakers_of(lane) {
        return store.keep_breakers(lane, &breakers).await;
    }
    let mut breakers = store.load_lane(lane).await?.breakers;
    breakers.retain(|breaker| !breaker.shared || admission.keeps_shared(lane, &breaker.callee));
    store.keep_breakers(lane, &breakers).await
}
