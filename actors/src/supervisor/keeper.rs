//! Keeps in the store what lanes must remember, one lane after the other, so that a pause and the
//! memory of a breaker never overwrite each other.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::{
    domain::LaneKey,
    ports::{BreakerMemory, JobStore, StoreUnavailable},
};

/// What to keep.
pub(super) enum Keep {
    /// An operator paused or resumed the lane.
    Paused(LaneKey, bool, oneshot::Sender<Result<(), StoreUnavailable>>),
    /// The lane goes to sleep with these breakers not closed.
    Breakers(LaneKey, Vec<BreakerMemory>),
}

/// Does what comes, until the supervisor is gone.
pub(super) async fn keep(store: Arc<dyn JobStore>, mut orders: mpsc::UnboundedReceiver<Keep>) {
    while let Some(order) = orders.recv().await {
        match order {
            Keep::Paused(lane, paused, reply) => {
                let _ = reply.send(pause(&*store, &lane, paused).await);
            }
            Keep::Breakers(lane, breakers) => {
                // Without it the lane learns again, by a few failures, that the callee is down.
                if let Err(error) = remember(&*store, &lane, breakers).await {
                    tracing::warn!(%lane, %error, "breakers of a sleeping lane not kept");
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
