//! Which lanes are whose: taken, given back, and what the nodes that have them are told.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
};

use sluice_actors::{
    domain::{Epoch, LaneKey},
    ports::{Acquired, LaneMemory, Owned},
};
use sqlx::{Arguments, postgres::PgArguments};
use tokio::sync::oneshot;

use super::{Request, Task, link::arguments, lock, unavailable};
use crate::store::{postgres::wake, rows::Reader, sql::own};

impl Task {
    /// Takes and gives back lanes: whatever waits, at once. `Some`: the node is to end.
    pub(super) async fn serve(&mut self, first: Request) -> Option<oneshot::Sender<()>> {
        let mut wanted: BTreeMap<LaneKey, Vec<oneshot::Sender<_>>> = BTreeMap::new();
        let mut given = Vec::new();
        let mut end = None;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Acquire(lane, reply) => wanted.entry(lane).or_default().push(reply),
                Request::Release(lane, epoch, reply) => given.push((lane, epoch, reply)),
                Request::Leave(reply) => end = Some(reply),
            }
            next = if end.is_none() { self.requests.try_recv().ok() } else { None };
        }
        if !given.is_empty() {
            let done = self.give(&given).await.map_err(|error| unavailable(&error));
            for (_, _, reply) in given {
                reply.send(done.clone()).ok();
            }
        }
        if !wanted.is_empty() {
            let lanes: Vec<LaneKey> = wanted.keys().cloned().collect();
            let taken = self.take(&lanes).await.map_err(|error| unavailable(&error));
            for (lane, replies) in wanted {
                let answer = taken.as_ref().map_err(Clone::clone);
                let answer = answer.map(|taken| taken.get(&lane).cloned().map_or(Acquired::Elsewhere, Acquired::Mine));
                for reply in replies {
                    reply.send(answer.clone()).ok();
                }
            }
        }
        end
    }

    async fn take(&mut self, lanes: &[LaneKey]) -> Result<HashMap<LaneKey, Owned>, sqlx::Error> {
        let config = lock(&self.node.profile).config.clone();
        let (tenants, sources) = columns(lanes.iter());
        let configs: Vec<Option<String>> = tenants.iter().map(|tenant| config.get(tenant).cloned()).collect();
        let id = self.node.id();
        let arguments = arguments![id.as_str(), tenants, sources, configs];
        let rows = self.link.ask(own!("postgres", "acquire_lanes"), arguments).await?;
        let mut taken = HashMap::with_capacity(rows.len());
        for row in &rows {
            let row = Reader::new(row, "lanes", "source");
            let memory = LaneMemory { paused: row.get("paused")?, breakers: row.json("breaker")? };
            let owned = Owned { epoch: Epoch(row.get("epoch")?), memory, taken_over: row.get("taken_over")? };
            taken.insert(row.lane()?, owned);
        }
        self.node.set_held(|held| {
            for lane in lanes {
                if taken.contains_key(lane) {
                    held.insert(lane.clone())
                } else {
                    held.remove(lane)
                };
            }
        });
        Ok(taken)
    }

    async fn give<T>(&mut self, given: &[(LaneKey, Epoch, T)]) -> Result<(), sqlx::Error> {
        let (tenants, sources) = columns(given.iter().map(|(lane, ..)| lane));
        let epochs: Vec<i64> = given.iter().map(|(_, epoch, _)| epoch.0).collect();
        let id = self.node.id();
        let arguments = arguments![id.as_str(), tenants, sources, epochs];
        for row in &self.link.ask(own!("postgres", "release_lanes"), arguments).await? {
            let lane = Reader::new(row, "lanes", "source").lane()?;
            self.node.set_held(|held| {
                held.remove(&lane);
            });
        }
        Ok(())
    }

    /// Tells the other nodes what was gathered for them.
    pub(super) async fn tell(&mut self) {
        let gathered = mem::take(&mut *lock(&self.node.outgoing));
        if self.node.members.borrow().len() < 2 {
            return;
        }
        for message in wake::told(&self.node.id(), gathered) {
            self.notify(message).await;
        }
    }

    pub(super) async fn notify(&mut self, payload: String) {
        let mut arguments = PgArguments::default();
        if arguments.add(payload).is_ok()
            && let Err(error) = self.link.ask(own!("postgres", "notify"), arguments).await
        {
            // They find it by their poll.
            tracing::debug!(%error, "the other nodes could not be told of work");
        }
    }
}

fn columns<'a>(lanes: impl Iterator<Item = &'a LaneKey>) -> (Vec<String>, Vec<String>) {
    lanes.map(|lane| (lane.tenant.as_str().to_owned(), lane.source.as_str().to_owned())).unzip()
}
