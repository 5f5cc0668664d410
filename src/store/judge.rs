//! Duplicates, replays and revisions (DESIGN §5): what an event turns out to be, from what the store
//! knows under its keys and what is earlier in the same batch.

use std::collections::HashMap;

use sluice_actors::domain::EventId;

use crate::{ingest::NewEvent, vendors::OnConflict};

/// What an event turned out to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Judged {
    /// To be stored.
    New { revises: Option<EventId> },
    /// Stored before.
    Duplicate { first: EventId, conflict: bool },
}

/// What the store knows under the keys of one event.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Same dedupe key: the first event, and whether its payload was the same.
    pub(super) same: Option<(EventId, bool)>,
    /// Same replay key, or a kept key of a swept event.
    pub(super) replayed: Option<EventId>,
    /// Same external id with other content.
    pub(super) revised: Option<EventId>,
}

/// Which events are new. `known`: of each of `events`.
pub(super) fn judge(events: &[&NewEvent], known: &[Known]) -> Vec<Judged> {
    let mut by_dedupe = HashMap::new();
    let mut by_replay = HashMap::new();
    let mut by_external = HashMap::new();
    let mut judged = Vec::with_capacity(events.len());
    for (event, known) in events.iter().zip(known) {
        let same = known.same.or_else(|| {
            by_dedupe
                .get(&(&event.lane, event.dedupe_key))
                .map(|earlier: &&NewEvent| (earlier.id, earlier.payload_hash == event.payload_hash))
        });
        let replayed =
            known.replayed.or_else(|| event.replay_key.and_then(|key| by_replay.get(&(&event.lane, key)).copied()));
        let verdict = match (same, replayed) {
            (Some((first, same_payload)), _) => {
                Judged::Duplicate { first, conflict: event.on_conflict == OnConflict::Ignore && !same_payload }
            }
            (None, Some(first)) => Judged::Duplicate { first, conflict: false },
            (None, None) => {
                let external = (&event.lane, event.external_id.as_str());
                let revises = known.revised.or_else(|| by_external.get(&external).copied());
                by_dedupe.insert((&event.lane, event.dedupe_key), event);
                if let Some(key) = event.replay_key {
                    by_replay.insert((&event.lane, key), event.id);
                }
                by_external.entry(external).or_insert(event.id);
                Judged::New { revises: revises.filter(|_| event.on_conflict == OnConflict::Revision) }
            }
        };
        judged.push(verdict);
    }
    judged
}
