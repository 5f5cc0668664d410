//! A line of those who wait, in fair order: its next is found without looking at all of them.
//!
//! Users stand by a bound below their rank ([`Usage::least_rank`]) that stays true whatever they
//! begin or end, and is corrected only when they are looked at. Whoever is idle stands by its exact
//! rank, so that a pick looks at the next, and at no more users beside it than have calls in flight.
//!
//! [`Usage::least_rank`]: crate::policy::fairness::Usage::least_rank

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
};

use tokio::time::Instant;

use super::{
    lanes::{Lane, Tenant},
    room::{WaitId, Waiting},
};
use crate::{
    domain::{JobClass, LaneKey, TenantName},
    policy::fairness::{Rank, Shares, Usage},
};

/// What tenants and lanes used, for the order of a line.
pub(super) struct Users<'a> {
    pub(super) tenants: &'a HashMap<TenantName, Tenant>,
    pub(super) lanes: &'a HashMap<LaneKey, Lane>,
    pub(super) now: Instant,
    pub(super) origin: Instant,
}

/// A rank and the bound that it never falls below.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    bound: Rank,
    rank: Rank,
}

impl Users<'_> {
    fn tenant(&self, tenant: &TenantName) -> Ranked {
        self.ranked(self.tenants.get(tenant).map(|tenant| &tenant.usage))
    }

    fn lane(&self, lane: &LaneKey) -> Ranked {
        self.ranked(self.lanes.get(lane).map(|lane| &lane.usage))
    }

    fn ranked(&self, usage: Option<&Usage>) -> Ranked {
        let unused = Ranked { bound: Rank::UNUSED, rank: Rank::UNUSED };
        usage.map_or(unused, |usage| Ranked {
            bound: usage.least_rank(self.now, self.origin),
            rank: usage.rank(self.now, self.origin),
        })
    }
}

/// Keys in the order of least use; among equals the one that came first.
struct LeastUsed<K> {
    order: BTreeSet<(Rank, u64, K)>,
    at: HashMap<K, (Rank, u64)>,
}

impl<K> Default for LeastUsed<K> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), at: HashMap::new() }
    }
}

impl<K: Clone + Ord + Hash> LeastUsed<K> {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn insert(&mut self, key: K, bound: Rank, came: u64) {
        if !self.at.contains_key(&key) {
            self.order.insert((bound, came, key.clone()));
            self.at.insert(key, (bound, came));
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some((bound, came)) = self.at.remove(key) {
            self.order.remove(&(bound, came, key.clone()));
        }
    }

    fn any(&self, may: impl Fn(&K) -> bool) -> bool {
        self.order.iter().any(|(_, _, key)| may(key))
    }

    /// The one that used least among those that may.
    fn least(&mut self, may: impl Fn(&K) -> bool, ranked: impl Fn(&K) -> Ranked) -> Option<K> {
        let mut best: Option<(Rank, u64, K)> = None;
        let mut moved = Vec::new();
        for (bound, came, key) in &self.order {
            if best.as_ref().is_some_and(|(rank, first, _)| (rank, first) <= (bound, came)) {
                break;
            }
            steps::count();
            if !may(key) {
                continue;
            }
            let now = ranked(key);
            if now.bound > *bound {
                moved.push((key.clone(), now.bound, *came));
            }
            if best.as_ref().is_none_or(|(rank, first, _)| (now.rank, *came) < (*rank, *first)) {
                best = Some((now.rank, *came, key.clone()));
            }
        }
        for (key, bound, came) in moved {
            self.remove(&key);
            self.insert(key, bound, came);
        }
        best.map(|(_, _, key)| key)
    }
}

/// Those of one class: first the tenant that used least, then its lane that used least.
#[derive(Default)]
struct Class {
    tenants: LeastUsed<TenantName>,
    waits: HashMap<TenantName, LeastUsed<WaitId>>,
}

/// A line.
#[derive(Default)]
pub(super) struct Line {
    classes: [Class; 3],
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.tenants.is_empty())
    }

    pub(super) fn insert(&mut self, id: WaitId, class: JobClass, lane: &LaneKey, users: &Users<'_>) {
        let class = &mut self.classes[class as usize];
        class.tenants.insert(lane.tenant.clone(), users.tenant(&lane.tenant).bound, id);
        class.waits.entry(lane.tenant.clone()).or_default().insert(id, users.lane(lane).bound, id);
    }

    pub(super) fn remove(&mut self, id: WaitId, class: JobClass, tenant: &TenantName) {
        let class = &mut self.classes[class as usize];
        let Some(waits) = class.waits.get_mut(tenant) else { return };
        waits.remove(&id);
        if waits.is_empty() {
            class.waits.remove(tenant);
            class.tenants.remove(tenant);
        }
    }

    /// The next whose tenant is not `passed_over`.
    pub(super) fn next(
        &mut self,
        shares: &Shares,
        passed_over: &HashSet<TenantName>,
        users: &Users<'_>,
        waits: &HashMap<WaitId, Waiting>,
    ) -> Option<WaitId> {
        let may = |tenant: &TenantName| !passed_over.contains(tenant);
        let class = shares.pick([0, 1, 2].map(|class: usize| self.classes[class].tenants.any(may)))?;
        let class = &mut self.classes[class as usize];
        let tenant = class.tenants.least(may, |tenant| users.tenant(tenant))?;
        let lane = |id: &WaitId| {
            waits
                .get(id)
                .map_or(Ranked { bound: Rank::UNUSED, rank: Rank::UNUSED }, |waiting| users.lane(&waiting.lane))
        };
        class.waits.get_mut(&tenant)?.least(|_| true, lane)
    }
}

/// Counts, in tests, how many of those who wait are looked at.
pub(super) mod steps {
    #[cfg(test)]
    thread_local!(static TAKEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });

    #[cfg(not(test))]
    pub(in crate::admission) const fn count() {}

    #[cfg(test)]
    pub(in crate::admission) fn count() {
        TAKEN.set(TAKEN.get() + 1);
    }

    #[cfg(test)]
    pub(in crate::admission) fn taken() -> u64 {
        TAKEN.get()
    }
}
