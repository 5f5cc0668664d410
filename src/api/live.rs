//! What changes, as it changes: server-sent events for who looks at a page. They are hints to ask
//! again, not the truth, and may be lost; of another node's changes there are none.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde::Serialize;
use sluice_actors::domain::{EventId, JobId, LaneKey};
use tokio::sync::{Semaphore, broadcast, mpsc};
use warp::sse;

use super::{
    Api, ApiError,
    access::{Allowed, See},
    answer::{Answer, live},
    request::Call,
};

/// Changes that wait for somebody slow; of more the oldest are lost.
const BACKLOG: usize = 1024;
/// Pages that are told at once.
const MAX_STREAMS: usize = 64;
/// Changes are collected for so long.
const PACE: Duration = Duration::from_millis(250);
/// Changes that are named in one message; of more it is only said that there are more.
const MAX_NAMED: usize = 100;
/// How often it is asked whether the caller may still look, in paces.
const ASK_AGAIN: u32 = 40;

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// An event was stored.
    Event {
        /// Of which lane.
        lane: LaneKey,
        /// Which.
        id: EventId,
    },
    /// A job began, ended or died.
    Job {
        /// Of which lane.
        lane: LaneKey,
        /// Which.
        id: JobId,
        /// Of which event.
        event: EventId,
    },
    /// A delivery was refused.
    Refusal {
        /// Of which lane.
        lane: LaneKey,
    },
    /// A lane was paused or parked, or one of its breakers moved.
    Lane {
        /// Which.
        lane: LaneKey,
    },
}

impl Change {
    const fn lane(&self) -> &LaneKey {
        match self {
            Self::Event { lane, .. } | Self::Job { lane, .. } | Self::Refusal { lane } | Self::Lane { lane } => lane,
        }
    }
}

/// Where changes are told. Clones share it.
#[derive(Clone)]
pub struct Changes {
    sender: broadcast::Sender<Change>,
    seats: Arc<Semaphore>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), seats: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }
}

impl Changes {
    /// Tells of a change, if anybody listens.
    pub fn tell(&self, change: impl FnOnce() -> Change) {
        if self.sender.receiver_count() > 0 {
            // `Err`: the last one has just gone.
            let _ = self.sender.send(change());
        }
    }
}

/// A message.
#[derive(Debug, Default, Serialize)]
struct Message {
    changes: Vec<Change>,
    /// Whether there were more than are named.
    more: bool,
}

pub(super) async fn stream(api: Arc<Api>, who: Allowed<See>, call: Call<()>) -> Result<Answer, ApiError> {
    let seat = api.changes.seats.clone().try_acquire_owned();
    let seat = seat.map_err(|_| ApiError::Unavailable(format!("{MAX_STREAMS} pages are told already")))?;
    let changes = api.changes.sender.subscribe();
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        tell(&api, who, &call, changes, sender).await;
        drop(seat);
    });
    Ok(live(receiver))
}

/// Tells until the page is gone, the caller may not look any more, or the process drains.
async fn tell(
    api: &Api,
    who: Allowed<See>,
    call: &Call<()>,
    mut changes: broadcast::Receiver<Change>,
    sender: mpsc::Sender<sse::Event>,
) {
    // A browser takes the stream for open once something came.
    if sender.send(sse::Event::default().comment("looking")).await.is_err() {
        return;
    }
    let mut pace = tokio::time::interval(PACE);
    let mut seen = HashSet::new();
    let mut message = Message::default();
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Ok(change) if !who.scope().holds(&change.lane().tenant) || seen.contains(&change) => {}
                Ok(_) if seen.len() >= MAX_NAMED => message.more = true,
                Ok(change) => {
                    seen.insert(change.clone());
                    message.changes.push(change);
                }
                Err(broadcast::error::RecvError::Lagged(_)) => message.more = true,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = pace.tick() => {
                ticks = ticks.wrapping_add(1);
                let event = if !message.changes.is_empty() || message.more {
                    seen.clear();
                    sse::Event::default().event("change").json_data(std::mem::take(&mut message)).ok()
                } else if ticks.is_multiple_of(ASK_AGAIN) {
                    // Also finds out that the page is gone.
                    Some(sse::Event::default().comment("alive"))
                } else {
                    None
                };
                if let Some(event) = event
                    && sender.send(event).await.is_err()
                {
                    return;
                }
                if !api.operations.is_accepting() || sender.is_closed() {
                    return;
                }
                if ticks.is_multiple_of(ASK_AGAIN) && !may_still(api, &who, call).await {
                    return;
                }
            }
        }
    }
}

/// Whether the request would be let in now as it was then.
async fn may_still(api: &Api, who: &Allowed<See>, call: &Call<()>) -> bool {
    let Ok(caller) = api.door.caller(&call.request.headers, None).await else { return false };
    Allowed::<See>::grant(&caller).is_ok_and(|now| now.scope() == who.scope())
}
