//! Keeps the tree of actors in step with what the other nodes do.
//!
//! The tree may take its lanes for its own while the lease was renewed a short while ago, by the
//! monotonic clock of this machine. That ends long before the others may take this node for dead, so
//! that a node that is cut off from the database stops its calls before another one makes them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use sluice_actors::{
    domain::{CalleeId, LaneKey},
    handle::{Gateway, LaneSnapshot, LaneStatus},
    ports::{CalleePolicy, LanePolicy, Policies, Rate},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    alerts::{Alarm, Notice},
    api::nodes::TOLD_LANES,
    config::{self, Cause},
    store::nodes::{Hint, Lease, Member, Nodes, Profile},
    telemetry::metrics::{Metrics, NONE},
};

/// How long after the last renewal a node trusts its lease, of 10 s.
const TRUST: Duration = Duration::from_secs(6);
/// How often it is read which lanes are paused, and the others are told which do not flow.
const LOOK: Duration = Duration::from_secs(3);
/// How often the others are told whom the lanes of this node call.
const REPORT: Duration = Duration::from_millis(500);
/// How long a node that begins to call somebody leaves the others to make room: a renewal and a bit.
const JOINING: Duration = Duration::from_millis(3500);

/// How many other nodes call whom.
#[derive(Clone, Default)]
pub(super) struct Users(Arc<ArcSwap<HashMap<String, u32>>>);

/// The limits of a configuration; those of callees that other nodes call as well are divided.
pub(super) struct Divided<P> {
    pub(super) whole: P,
    pub(super) users: Users,
}

impl<P: Policies> Policies for Divided<P> {
    fn lane(&self, lane: &LaneKey) -> Option<LanePolicy> {
        self.whole.lane(lane)
    }

    fn callee(&self, callee: &CalleeId) -> CalleePolicy {
        let others = self.users.0.load().get(callee.as_str()).copied().unwrap_or_default();
        divided(self.whole.callee(callee), others)
    }
}

/// This node's part of a limit that `others` nodes share with it. Never less than one call at once:
/// with more nodes than calls the limit is exceeded rather than a node shut out.
fn divided(policy: CalleePolicy, others: u32) -> CalleePolicy {
    if others == 0 {
        return policy;
    }
    let nodes = others + 1;
    let rate = policy
        .rate
        .map(|rate| Rate { per_second: rate.per_second / f64::from(nodes), burst: (rate.burst / nodes).max(1) });
    let concurrency = policy.concurrency.map(|most| (most / nodes).max(1));
    CalleePolicy { rate, concurrency, joining: JOINING, ..policy }
}

/// What the loop needs.
pub(super) struct Around {
    pub(super) nodes: Nodes,
    pub(super) gateway: Gateway,
    pub(super) config: config::Live,
    pub(super) metrics: Metrics,
    pub(super) users: Users,
    pub(super) alarm: Alarm,
}

/// Says what this node is; before that it may take no lane.
pub(super) fn introduce(nodes: &Nodes, config: &config::Live) {
    nodes.describe(Profile { config: config.load().digests(), ..Profile::default() });
}

/// Runs until it is dropped.
pub(super) async fn run(around: Around) {
    tokio::join!(keep_trust(&around), hear(&around), look_at_pauses(&around), report(&around));
}

/// Looks which lanes are paused: what another node told may have been lost.
async fn look_at_pauses(Around { gateway, .. }: &Around) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        gateway.look_at_pauses().await;
    }
}

/// Distrusts a lease that is not renewed, and gives up all lanes when the node was taken for dead.
async fn keep_trust(Around { nodes, gateway, metrics, alarm, .. }: &Around) {
    let mut lease = nodes.lease();
    let mut tenure = lease.borrow().tenure;
    let trusted = metrics.node_trusted.with_label_values(NONE);
    trusted.set(1);
    loop {
        let Lease { renewed, tenure: now } = *lease.borrow_and_update();
        if now != tenure {
            tenure = now;
            metrics.node_taken_for_dead_total.with_label_values(NONE).inc();
            alarm.notice(Notice::of_node(Cause::NodeTakenForDead));
            gateway.distrust();
            gateway.lose_lanes().await;
            trusted.set(0);
        }
        if renewed.elapsed() < TRUST {
            if trusted.get() == 0 {
                trusted.set(1);
                tracing::info!("the lease of this node is renewed, work goes on");
                gateway.trust();
            }
            if !in_time(&mut lease, renewed + TRUST).await {
                continue;
            }
        }
        if trusted.get() == 1 {
            trusted.set(0);
            let since_ms = u64::try_from(renewed.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::error!(since_ms, "lease not renewed: calls are cut off and nothing begins");
            gateway.distrust();
        }
        if lease.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Waits until `at`; false if the lease was renewed before.
async fn in_time(lease: &mut watch::Receiver<Lease>, at: Instant) -> bool {
    tokio::select! {
        changed = lease.changed() => match changed {
            Ok(()) => false,
            // The store was closed: its node is gone.
            Err(_) => { sleep_until(at).await; true }
        },
        () = sleep_until(at) => true,
    }
}

/// Passes on what the others tell.
async fn hear(Around { nodes, gateway, .. }: &Around) {
    let Some(mut hints) = nodes.hints() else { return };
    while let Some(hint) = hints.recv().await {
        match hint {
            Hint::Lanes(what, lanes) => lanes.iter().for_each(|lane| gateway.told(lane, what)),
            Hint::MuchWork => gateway.wake_all(),
            Hint::Left => gateway.poll_now(),
        }
    }
}

/// Tells the others of this node, and this node of the others.
async fn report(Around { nodes, gateway, config, metrics, users, .. }: &Around) {
    let mut members = nodes.members();
    let mut ticks = interval(REPORT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut differing = BTreeSet::new();
    let mut current = config.load_full();
    let mut digests = current.digests();
    let (mut lanes, mut looked) = (Vec::new(), None);
    let mut refused = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = members.changed() => if changed.is_err() { return },
        }
        let callees = gateway.callees().into_iter().map(|callee| callee.as_str().to_owned()).collect();
        if !Arc::ptr_eq(&current, &config.load()) {
            current = config.load_full();
            digests = current.digests();
        }
        let is_alone = members.borrow().len() < 2;
        if !is_alone && looked.is_none_or(|looked: Instant| looked.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            // A tree that ends tells nothing more.
            lanes = gateway.snapshot().await.map(|snapshot| troubled(snapshot.lanes)).unwrap_or_default();
        }
        nodes.describe(Profile { config: digests.clone(), callees, lanes: lanes.clone() });
        let now = members.borrow_and_update().clone();
        metrics.nodes.with_label_values(NONE).set(i64::try_from(now.len()).unwrap_or(i64::MAX));
        let others = others_by_callee(&now);
        if **users.0.load() != others {
            users.0.store(Arc::new(others));
            gateway.reload_callees();
        }
        let fresh = differing_tenants(&now);
        for tenant in fresh.difference(&differing) {
            tracing::error!(tenant, "the nodes are configured differently: lanes of this tenant stay where they are");
        }
        for tenant in differing.difference(&fresh) {
            tracing::info!(tenant, "the nodes are configured alike again");
        }
        metrics.node_config_mismatches.with_label_values(NONE).set(i64::try_from(fresh.len()).unwrap_or(i64::MAX));
        differing = fresh;
        let total = nodes.refused();
        metrics.node_stale_writes_total.with_label_values(NONE).inc_by(total - refused);
        refused = total;
    }
}

/// The worst of the lanes that do not flow, without what changes all the time.
fn troubled(lanes: Vec<LaneSnapshot>) -> Vec<LaneSnapshot> {
    let lanes = lanes.into_iter().filter(|lane| lane.status != LaneStatus::Flowing).take(TOLD_LANES);
    lanes
        .map(|lane| LaneSnapshot { bucket_tokens: 0.0, queued: 0, oldest_due: None, in_flight: Vec::new(), ..lane })
        .collect()
}

fn others_by_callee(members: &[Member]) -> HashMap<String, u32> {
    let mut others = HashMap::new();
    for member in members.iter().filter(|member| !member.is_self) {
        for callee in &member.profile.callees {
            *others.entry(callee.clone()).or_default() += 1;
        }
    }
    others
}

/// Tenants that are not configured alike on all live nodes.
pub(crate) fn differing_tenants(members: &[Member]) -> BTreeSet<String> {
    // One that began just now has not said yet.
    let told: Vec<_> =
        members.iter().map(|member| &member.profile.config).filter(|config| !config.is_empty()).collect();
    let tenants: BTreeSet<&String> = told.iter().flat_map(|config| config.keys()).collect();
    let differs = |tenant: &&String| {
        let mut digests = told.iter().map(|config| config.get(*tenant));
        let first = digests.next();
        digests.any(|digest| Some(digest) != first)
    };
    tenants.into_iter().filter(differs).cloned().collect()
}

#[cfg(test)]
mod tests {
    use sluice_actors::domain::Timestamp;

    use super::*;

    fn member(config: &[(&str, &str)], callees: &[&str]) -> Member {
        let config = config.iter().map(|(tenant, digest)| ((*tenant).to_owned(), (*digest).to_owned())).collect();
        let callees = callees.iter().map(|callee| (*callee).to_owned()).collect();
        let profile = Profile { config, callees, lanes: Vec::new() };
        Member {
            id: String::new(),
            is_self: false,
            version: String::new(),
            started_at: Timestamp::from_millis(0),
            profile,
        }
    }

    #[test]
    fn a_tenant_differs_if_any_node_has_it_otherwise_or_not_at_all() {
        let one = member(&[("acme", "a"), ("bravo", "b"), ("charlie", "c")], &[]);
        let other = member(&[("acme", "a"), ("bravo", "x")], &[]);
        let differing = differing_tenants(&[one.clone(), other]);
        assert_eq!(differing.into_iter().collect::<Vec<_>>(), ["bravo", "charlie"]);
        let silent = member(&[], &[]);
        assert!(differing_tenants(&[one.clone(), silent, one]).is_empty());
    }

    #[test]
    fn limits_are_divided_among_those_who_call() {
        let own = Member { is_self: true, ..member(&[], &["llm:a"]) };
        let others = others_by_callee(&[own, member(&[], &["llm:a", "llm:b"]), member(&[], &["llm:a"])]);
        assert_eq!((others["llm:a"], others["llm:b"]), (2, 1));
        let breaker = sluice_actors::testing::default_callee().breaker;
        let whole = CalleePolicy {
            rate: Some(Rate { per_second: 9.0, burst: 2 }),
            concurrency: Some(7),
            breaker,
            joining: Duration::ZERO,
        };
        let part = divided(whole.clone(), 2);
        assert_eq!(part.rate, Some(Rate { per_second: 3.0, burst: 1 }));
        assert_eq!((part.concurrency, part.joining), (Some(2), JOINING));
        assert_eq!(divided(whole.clone(), 0), whole);
    }
}
