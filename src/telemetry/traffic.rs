//! What came and what became of it in the minute that runs, lane by lane, and how often each secret
//! verified a delivery. Drained once a minute into the store, which all nodes share.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sluice_actors::{
    domain::{LaneKey, Timestamp},
    ports::{Fenced, ObserverEvent, Verdict},
};

use crate::ingest::{IngestEvent, Recorded};

/// Acknowledgements are counted by these times from the last byte to the answer, in ms.
pub const ACK_BOUNDS: [u64; 9] = [2, 5, 10, 25, 50, 100, 250, 1000, 2000];

/// What was counted of a lane, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// New events.
    pub events: u64,
    /// Deliveries that were not taken, for whatever reason.
    pub refused: u64,
    /// Attempts that delivered.
    pub succeeded: u64,
    /// Attempts that will be made again.
    pub failed: u64,
    /// Jobs that became dead letters.
    pub dead: u64,
    /// Deliveries that were acknowledged.
    pub acks: u64,
    /// Of these, those within each of [`ACK_BOUNDS`].
    pub within: [u64; ACK_BOUNDS.len()],
}

impl Counts {
    fn acknowledged(&mut self, took: Duration) {
        self.acks += 1;
        for (within, bound) in self.within.iter_mut().zip(ACK_BOUNDS) {
            *within += u64::from(took <= Duration::from_millis(bound));
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        for (to, of) in [
            (&mut self.events, other.events),
            (&mut self.refused, other.refused),
            (&mut self.succeeded, other.succeeded),
            (&mut self.failed, other.failed),
            (&mut self.dead, other.dead),
            (&mut self.acks, other.acks),
        ] {
            *to += of;
        }
        for (to, of) in self.within.iter_mut().zip(other.within) {
            *to += of;
        }
    }

    /// The time within which this share of the acknowledgements went out, in ms; none without any.
    /// Between two bounds it is read off a straight line; past the last it is the last.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.acks == 0 {
            return None;
        }
        let wanted = share * self.acks as f64;
        let (mut below, mut from) = (0.0, 0.0);
        for (count, bound) in self.within.iter().zip(ACK_BOUNDS) {
            let (count, bound) = (*count as f64, bound as f64);
            if count >= wanted && count > below {
                return Some(from + (bound - from) * (wanted - below) / (count - below));
            }
            (below, from) = (count, bound);
        }
        Some(from)
    }
}

/// How often a secret verified a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
}

#[derive(Debug, Default)]
struct OfLane {
    counts: Counts,
    secrets: Vec<(Box<str>, Uses)>,
}

/// What one minute brought.
#[derive(Debug, Default)]
pub struct Drained {
    /// Lane by lane; only those with anything.
    pub lanes: Vec<(LaneKey, Counts)>,
    /// The secrets that verified, by lane and version.
    pub secrets: Vec<(LaneKey, Box<str>, Uses)>,
}

/// Counts. Lanes that are not configured are never told, so that it does not grow by what strangers ask.
#[derive(Debug, Default)]
pub struct Traffic {
    lanes: Mutex<HashMap<LaneKey, OfLane>>,
}

impl Traffic {
    fn lock(&self) -> MutexGuard<'_, HashMap<LaneKey, OfLane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, lane: &LaneKey, count: impl FnOnce(&mut OfLane)) {
        let mut lanes = self.lock();
        match lanes.get_mut(lane) {
            Some(of) => count(of),
            None => count(lanes.entry(lane.clone()).or_default()),
        }
    }

    /// Counts what ingest tells at `now`.
    pub fn ingested(&self, event: &IngestEvent<'_>, now: Timestamp) {
        match event {
            IngestEvent::Answered { place: Some(place), status, took, .. } => self.of(place.lane, |of| {
                if status.is_success() { of.counts.acknowledged(*took) } else { of.counts.refused += 1 }
            }),
            IngestEvent::Recorded { place, recorded: Recorded::New(_), .. } => {
                self.of(place.lane, |of| of.counts.events += 1);
            }
            IngestEvent::Verified { place, counted_as, .. } => {
                let once = Uses { count: 1, first: now, last: now };
                self.of(place.lane, |of| of.used(counted_as, once));
            }
            _ => {}
        }
    }

    /// Counts what the tree tells.
    pub fn worked(&self, event: &ObserverEvent<'_>) {
        match event {
            ObserverEvent::AttemptEnded { job, verdict, fenced: Fenced::Applied, .. } => {
                self.of(&job.lane, |of| match verdict {
                    Verdict::Succeeded(_) => of.counts.succeeded += 1,
                    Verdict::Failed { .. } => of.counts.failed += 1,
                    _ => {}
                });
            }
            ObserverEvent::DeadLettered { job, .. } => self.of(&job.lane, |of| of.counts.dead += 1),
            _ => {}
        }
    }

    /// What was counted since it was drained last, and begins anew.
    pub fn drain(&self) -> Drained {
        let lanes = std::mem::take(&mut *self.lock());
        let mut drained = Drained::default();
        for (lane, of) in lanes {
            drained.secrets.extend(of.secrets.into_iter().map(|(version, uses)| (lane.clone(), version, uses)));
            drained.lanes.push((lane, of.counts));
        }
        drained
    }

    /// The uses of secrets that could not be kept are counted on.
    pub fn put_back(&self, secrets: Vec<(LaneKey, Box<str>, Uses)>) {
        for (lane, version, uses) in secrets {
            self.of(&lane, |of| of.used(&version, uses));
        }
    }

    /// What was counted since it was drained last, of the lanes that fit.
    pub fn so_far(&self, fits: impl Fn(&LaneKey) -> bool) -> Counts {
        let mut sum = Counts::default();
        self.lock().iter().filter(|(lane, _)| fits(lane)).for_each(|(_, of)| sum.add(&of.counts));
        sum
    }
}

impl OfLane {
    fn used(&mut self, version: &str, uses: Uses) {
        match self.secrets.iter_mut().find(|(known, _)| **known == *version) {
            Some((_, known)) => {
                known.count += uses.count;
                known.first = known.first.min(uses.first);
                known.last = known.last.max(uses.last);
            }
            None => self.secrets.push((version.into(), uses)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::ingest::Place;

    fn lane(source: &str) -> LaneKey {
        LaneKey::new("acme".parse().unwrap(), source.parse().unwrap())
    }

    #[test]
    fn a_minute_is_counted_lane_by_lane_and_begins_anew_once_drained() {
        let traffic = Traffic::default();
        let (pay, chat) = (lane("pay"), lane("chat"));
        let answered = |lane, status, took| IngestEvent::Answered {
            method: &Method::POST,
            https: false,
            trace: None,
            whole: Duration::from_millis(took),
            place: Some(Place { lane, vendor: "generic" }),
            status,
            took: Duration::from_millis(took),
            bytes: 1,
        };
        let now = Timestamp::from_secs(7);
        for took in [1, 4, 30] {
            traffic.ingested(&answered(&pay, StatusCode::OK, took), now);
        }
        traffic.ingested(&answered(&chat, StatusCode::UNAUTHORIZED, 1), now);
        assert_eq!(traffic.so_far(|lane| lane.source.as_str() == "pay").within, [1, 2, 2, 2, 3, 3, 3, 3, 3]);
        let mut lanes = traffic.drain().lanes;
        lanes.sort_by(|a, b| b.0.cmp(&a.0));
        assert_eq!((lanes[0].1.acks, lanes[0].1.refused, lanes[1].1.refused), (3, 0, 1));
        assert!(traffic.drain().lanes.is_empty());
    }

    #[test]
    fn uses_of_a_secret_that_could_not_be_kept_are_counted_on() {
        let traffic = Traffic::default();
        let lane = lane("pay");
        for (version, at) in [("env:NEW", 5), ("env:OLD", 6), ("env:NEW", 9)] {
            let place = Place { lane: &lane, vendor: "generic" };
            let event = IngestEvent::Verified { place, secret_version: "env:KEY", counted_as: version, skew_ms: None };
            traffic.ingested(&event, Timestamp::from_secs(at));
            let drained = traffic.drain();
            traffic.put_back(drained.secrets);
        }
        let secrets = traffic.drain().secrets;
        let uses = Uses { count: 2, first: Timestamp::from_secs(5), last: Timestamp::from_secs(9) };
        assert_eq!(secrets[0], (lane, "env:NEW".into(), uses));
    }

    #[test]
    fn a_quantile_lies_within_its_bounds() {
        let mut counts = Counts::default();
        assert_eq!(counts.quantile(0.95), None);
        for took in [1, 1, 1, 1, 1, 1, 1, 1, 1, 40] {
            counts.acknowledged(Duration::from_millis(took));
        }
        assert!(counts.quantile(0.5).is_some_and(|ms| ms > 0.0 && ms <= 2.0));
        assert!(counts.quantile(0.95).is_some_and(|ms| ms > 25.0 && ms <= 50.0));
        counts.acknowledged(Duration::from_secs(60));
        assert_eq!(counts.quantile(1.0), Some(2000.0), "past the last bound nothing more is known");
    }
}
