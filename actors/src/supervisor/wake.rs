//! Who has work: hints, polls of the store, and what is known to be due later.

use std::time::Duration;

use tokio::time::Instant;

use super::{Hint, Lane, Msg, State, Status};
use crate::{
    domain::LaneKey,
    ports::{LaneDue, StoreUnavailable},
};

/// Lanes read by one poll.
const PAGE: usize = 512;
/// Lanes that are due within this time are woken by a timer, later ones by a later poll.
const HORIZON: Duration = Duration::from_mins(1);
/// How often the poll wakes a lane that has work in memory: what it sees in the store is most likely
/// that, held or waiting for its turn.
const KNOWN_GAP: Duration = Duration::from_secs(15);

/// How long hints about a lane are passed over that another node was seen to have.
const ELSEWHERE: Duration = Duration::from_secs(1);

impl State {
    /// All lanes may have work: none was begun for a while.
    pub(super) fn wake_all(&mut self) {
        let awake: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| matches!(lane.status, Status::Awake(_)))
            .map(|(key, _)| key.clone())
            .collect();
        for key in awake {
            self.wake(key, Hint::NewWork);
        }
    }

    pub(super) fn take_hints(&mut self) {
        for lane in self.hints.take() {
            self.wake(lane, Hint::NewWork);
        }
    }

    pub(super) fn poll(&self) {
        let (store, after, myself) = (self.around.world.store.clone(), self.cursor.clone(), self.myself.clone());
        tokio::spawn(async move {
            let lanes = store.lanes_due(after.as_ref(), PAGE).await;
            let _ = myself.cast(Msg::Polled(lanes));
        });
    }

    pub(super) fn polled(&mut self, lanes: Result<Vec<LaneDue>, StoreUnavailable>) {
        let pause = self.around.world.limits.poll;
        let mut next = pause;
        match lanes {
            Ok(lanes) => {
                // A full page: more follow, and the whole round is to be short.
                self.cursor = (lanes.len() >= PAGE).then(|| lanes.last().map(|due| due.lane.clone())).flatten();
                if self.cursor.is_some() {
                    next = pause / 20;
                }
                self.take_due(lanes);
            }
            Err(error) => self.tell_unavailable("asking for lanes with work", &error),
        }
        self.later(next, Msg::Poll);
    }

    /// Beside the regular poll: another node left, and its lanes are anyone's.
    pub(super) fn poll_now(&mut self) {
        self.elsewhere.clear();
        let (store, myself) = (self.around.world.store.clone(), self.myself.clone());
        tokio::spawn(async move {
            let lanes = store.lanes_due(None, PAGE).await;
            let _ = myself.cast(Msg::PolledNow(lanes));
        });
    }

    pub(super) fn take_due(&mut self, lanes: Vec<LaneDue>) {
        let now = self.now();
        for due in lanes.into_iter().filter(|due| !due.elsewhere) {
            if due.next_run_at <= now {
                self.wake(due.lane, Hint::Polled);
            } else if due.next_run_at <= now.plus(HORIZON) {
                self.due.insert((due.next_run_at, due.lane));
            }
        }
        self.set_due_timer();
    }

    pub(super) fn wake_due(&mut self) {
        self.due_timer = None;
        let now = self.now();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, lane)) = self.due.pop_first() {
                self.wake(lane, Hint::NewWork);
            }
        }
        self.set_due_timer();
    }

    pub(super) fn set_due_timer(&mut self) {
        let Some((at, _)) = self.due.first() else { return };
        if self.due_timer.as_ref().is_some_and(|(set, _)| set <= at) {
            return;
        }
        if let Some((_, timer)) = self.due_timer.take() {
            timer.abort();
        }
        let at = *at;
        self.due_timer = Some((at, self.later(at.since(self.now()), Msg::Due)));
    }

    /// A lane may have work.
    pub(super) fn wake(&mut self, key: LaneKey, hint: Hint) {
        if self.paused.contains(&key) || !self.around.in_flight.flows() {
            return;
        }
        if self.elsewhere.get(&key).is_some_and(|seen| seen.elapsed() < ELSEWHERE) {
            // Its node hears of it by itself; should that one die, the poll tells.
            return;
        }
        match self.lanes.get_mut(&key) {
            Some(Lane { status: Status::Awake(actor), board, polled_at, .. }) => {
                let now = Instant::now();
                let knows = hint == Hint::Polled && board.has_work() && now < *polled_at + KNOWN_GAP;
                if !knows {
                    *polled_at = now;
                    board.hint(actor);
                }
            }
            Some(Lane { status: Status::Stopping { wake_again }, .. }) => *wake_again = true,
            // It reads the store when it starts.
            Some(_) => {}
            None if self.around.world.policies.lane(&key).is_none() => {
                let now = self.now();
                self.unconfigured.entry(key).or_insert(now);
            }
            None => self.load(key),
        }
    }
}
