//! Several nodes of the real binary on one database: killed, drained, frozen, cut off, configured
//! differently. Nothing acknowledged is lost, no post appears twice.

mod faults;
mod operators;
mod revoke;
mod rolling;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sluice::standins::Fault;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::Instant;

use crate::{
    chaos::{Ledger, Load, acknowledged, fast},
    harness::{
        Cluster, Folder, PATIENCE, Process, Proxy, SECRET, Sender, Stalls, World, completed, drained, eventually,
        series, within,
    },
};

/// How long another node may take to go on with what a dead one had.
const TAKEOVER: Duration = Duration::from_secs(15);

/// Between two deliveries of a sender, where a lane does nothing for a lease and longer.
const PACE: Duration = Duration::from_millis(40);

/// A database, its tenant, and folders of nodes that share it.
struct Site {
    world: World,
    database: String,
}

impl Site {
    async fn new(sources: &str) -> Self {
        let database = Cluster::shared().database().await;
        let world = World::on_url(&Cluster::shared().url(&database), sources).await;
        Self { world, database }
    }

    /// A folder for one more node.
    fn folder(&self) -> Folder {
        self.world.folder.twin()
    }

    /// A node of its own.
    async fn node(&self, folder: &Folder) -> Process {
        let process = Process::start(folder).await;
        self.world.trust(&process.runtime.public).await;
        process
    }

    async fn connect(&self) -> PgConnection {
        Cluster::shared().connect(&self.database).await
    }

    async fn number(&self, asked: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(asked.to_owned())).fetch_one(&mut self.connect().await).await.unwrap()
    }

    /// The folder's name of the node that has a lane.
    async fn owner_of(&self, source: &str) -> Option<String> {
        let asked =
            "SELECT nodes.name FROM lanes JOIN nodes ON nodes.id = lanes.owner WHERE lanes.held AND source = $1";
        sqlx::query_scalar(asked).bind(source).fetch_optional(&mut self.connect().await).await.unwrap()
    }

    /// Waits until a node has the lane; returns how long that took.
    async fn owned_by(&self, source: &str, folder: &Folder, patience: Duration) -> Duration {
        let began = Instant::now();
        let name = name(folder);
        within(patience, "the node has the lane", || async {
            (self.owner_of(source).await.as_ref() == Some(&name)).then_some(())
        })
        .await;
        began.elapsed()
    }

    /// A node that has the lane `chat`, and another one beside it.
    async fn owner_and_other(&self) -> ((Folder, Process), (Folder, Process)) {
        let (first, second) = (self.folder(), self.folder());
        let owner = self.node(&first).await;
        let answer = sender(&owner).send("first", &completed("first", 0)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.owned_by("chat", &first, PATIENCE).await;
        let other = self.node(&second).await;
        ((first, owner), (second, other))
    }

    /// Waits until each node listens to the others and knows that it is not alone.
    async fn hear_each_other(&self, nodes: &[&Process]) {
        let listening = "SELECT count(*) FROM pg_stat_activity \
                         WHERE datname = current_database() AND query = 'LISTEN \"sluice\"'";
        eventually("they listen", || async { (self.number(listening).await >= nodes.len() as i64).then_some(()) })
            .await;
        for node in nodes {
            let known = async || series(&scrape(node).await, "sluice_nodes", &[]);
            eventually("they know of each other", || async { (known().await == nodes.len() as u64).then_some(()) })
                .await;
        }
    }

    /// Every event of the ledger is stored and its job succeeded; no job took effect twice.
    async fn nothing_lost_and_nothing_doubled(&self, process: &Process, ledger: &Ledger) {
        let open = "SELECT count(*) FROM jobs WHERE state IN ('pending', 'running', 'failed')";
        drained("jobs that could run", || self.number(open)).await;
        let ledger = ledger.lock().unwrap().clone();
        let mut lost = Vec::new();
        for (id, event) in &ledger {
            // A busy machine may keep a read waiting too long, which is no loss.
            let event = eventually("the API answers", || async {
                let answer = process.get(&format!("/api/v1/events/{event}")).await;
                (answer["error"] != "unavailable").then_some(answer)
            })
            .await;
            if event["event"]["external_id"] != id.as_str() || event["jobs"][0]["state"] != "succeeded" {
                lost.push(event);
            }
        }
        assert!(lost.is_empty(), "{} of {} acknowledged: {lost:#?}", lost.len(), ledger.len());
        let effects = self.world.wordpress.effects();
        let doubled: Vec<_> = effects.iter().filter(|(_, count)| **count != 1).collect();
        assert!(doubled.is_empty(), "{doubled:?}");
        assert!(effects.len() >= ledger.len());
    }
}

fn sender(process: &Process) -> Sender {
    Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET)
}

/// The name of a node's folder.
fn name(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path().join("node")).expect("the folder has a name")
}

async fn scrape(process: &Process) -> String {
    reqwest::get(format!("{}/metrics", process.runtime.admin)).await.unwrap().text().await.unwrap()
}

async fn more_acknowledged(ledger: &Ledger, more: usize) {
    let enough = ledger.lock().unwrap().len() + more;
    acknowledged(ledger, enough).await;
}

async fn says(process: &Process, text: &str) -> Instant {
    eventually(text, || async { process.lines().iter().any(|line| line.contains(text)).then_some(()) }).await;
    Instant::now()
}

async fn ends(process: Process) {
    process.terminate();
    let (status, lines) = process.ended().await;
    assert!(status.success(), "{status}: {lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_node_had_goes_on_at_another_within_15_s() {
    let site = Site::new(&fast()).await;
    let ((_, owner), (folder, other)) = site.owner_and_other().await;
    let ledger = Ledger::default();
    let load = Load::begin(&sender(&other), 1, &ledger);
    more_acknowledged(&ledger, 50).await;
    let stalls = Stalls::count();
    owner.kill();
    let took = site.owned_by("chat", &folder, PATIENCE).await;
    assert!(took > Duration::from_secs(1), "not before its lease has run out: {took:?}");
    assert!(took < TAKEOVER + stalls.sum(), "{took:?}");
    more_acknowledged(&ledger, 20).await;
    let others = load.end().await;
    assert!(others.iter().all(|status| *status == 503), "{others:?}");
    site.nothing_lost_and_nothing_doubled(&other, &ledger).await;
    ends(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_draining_node_had_goes_on_at_another_at_once() {
    let site = Site::new(&fast()).await;
    let ((_, owner), (folder, other)) = site.owner_and_other().await;
    let ledger = Ledger::default();
    let [on_owner, on_other] =
        [(&owner, 1), (&other, 2)].map(|(node, round)| Load::paced(&sender(node), round, &ledger, PACE));
    more_acknowledged(&ledger, 50).await;
    let stalls = Stalls::count();
    ends(owner).await;
    let took = site.owned_by("chat", &folder, PATIENCE).await;
    assert!(took < Duration::from_secs(3) + stalls.sum(), "{took:?}");
    assert_eq!(on_owner.end().await, [] as [u16; 0]);
    assert_eq!(on_other.end().await, [] as [u16; 0]);
    site.nothing_lost_and_nothing_doubled(&other, &ledger).await;
    let recovered = other.lines().iter().any(|line| line.contains("jobs of a dead node"));
    assert!(!recovered, "a drain leaves no suspects (taken after {took:?})");
    ends(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_replaced_one_after_the_other_lose_nothing() {
    let site = Site::new(&fast()).await;
    let folders = [site.folder(), site.folder()];
    let ledger = Ledger::default();
    let mut nodes = [Some(site.node(&folders[0]).await), Some(site.node(&folders[1]).await)];
    for round in 0..4 {
        let (leaving, staying) = (round % 2, (round + 1) % 2);
        let stays = nodes[staying].as_ref().expect("it runs");
        let load = Load::begin(&sender(stays), round, &ledger);
        more_acknowledged(&ledger, 20).await;
        ends(nodes[leaving].take().expect("it runs")).await;
        more_acknowledged(&ledger, 20).await;
        nodes[leaving] = Some(site.node(&folders[leaving]).await);
        more_acknowledged(&ledger, 20).await;
        let others = load.end().await;
        assert!(others.iter().all(|status| *status == 503), "{others:?}");
    }
    let [one, other] = nodes.map(|node| node.expect("it runs"));
    site.nothing_lost_and_nothing_doubled(&one, &ledger).await;
    ends(one).await;
    ends(other).await;
}

/// An owner is frozen until another node has its lane, and goes on then.
async fn freeze_and_thaw(site: &Site, owner: &Process, heir: &Folder, ledger: &Ledger) {
    // Calls are under way when it freezes.
    site.world.llm.fail_always(Some(Fault::Late(Duration::from_secs(1))));
    more_acknowledged(ledger, 20).await;
    eventually("the owner calls", || async {
        (site.number("SELECT count(*) FROM jobs WHERE state = 'running'").await > 0).then_some(())
    })
    .await;
    let before = taken_for_dead(owner).await;
    owner.signal("STOP");
    site.owned_by("chat", heir, TAKEOVER + Duration::from_secs(5)).await;
    owner.signal("CONT");
    site.world.llm.fail_always(None);
    eventually("it learns that it was taken for dead", || async {
        (taken_for_dead(owner).await > before).then_some(())
    })
    .await;
}

async fn taken_for_dead(process: &Process) -> u64 {
    series(&scrape(process).await, "sluice_node_taken_for_dead_total", &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_frozen_past_its_lease_writes_nothing_any_more() {
    let site = Site::new(&fast()).await;
    let ((_, owner), (folder, other)) = site.owner_and_other().await;
    let ledger = Ledger::default();
    let load = Load::paced(&sender(&other), 1, &ledger, PACE);
    freeze_and_thaw(&site, &owner, &folder, &ledger).await;
    eventually("its late writes are counted", || async {
        (series(&scrape(&owner).await, "sluice_node_stale_writes_total", &[]) > 0).then_some(())
    })
    .await;
    more_acknowledged(&ledger, 20).await;
    load.end().await;
    site.nothing_lost_and_nothing_doubled(&other, &ledger).await;
    assert_eq!(series(&scrape(&owner).await, "sluice_node_taken_for_dead_total", &[]), 1);
    ends(owner).await;
    ends(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_from_the_database_stops_its_calls_before_another_takes_over() {
    for how in [Proxy::freeze, Proxy::cut] {
        let site = Site::new(&fast()).await;
        let proxy = Proxy::start(Cluster::shared().port()).await;
        let (behind, beside) = (site.folder(), site.folder());
        let through = format!("postgres://postgres@127.0.0.1:{}/{}?sslmode=disable", proxy.port, site.database);
        behind.secret("database.url", &through);
        let owner = site.node(&behind).await;
        site.world.llm.fail_always(Some(Fault::Hang));
        assert_eq!(sender(&owner).send("one", &completed("one", 0)).await.status, 200);
        eventually("the owner calls", || async { (!site.world.llm.requests().is_empty()).then_some(()) }).await;
        let other = site.node(&beside).await;
        site.world.llm.fail_always(None);
        let (cut_off, stalls) = (Instant::now(), Stalls::count());
        how(&proxy);
        let stopped = says(&owner, "calls are cut off and nothing begins").await - cut_off;
        assert!(stopped < Duration::from_millis(7500) + stalls.sum(), "{stopped:?}");
        let taken = site.owned_by("chat", &beside, PATIENCE).await;
        assert!(stopped + taken < TAKEOVER + Duration::from_secs(1) + stalls.sum(), "{:?}", stopped + taken);
        // Who cannot store it does not acknowledge it.
        let refused = sender(&owner).send("two", &completed("two", 0)).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        proxy.flow();
        says(&owner, "the lease of this node is renewed, work goes on").await;
        let ledger = Ledger::default();
        let load = Load::begin(&sender(&owner), 1, &ledger);
        more_acknowledged(&ledger, 20).await;
        load.end().await;
        site.nothing_lost_and_nothing_doubled(&other, &ledger).await;
        ends(owner).await;
        ends(other).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_configured_differently_alarms_and_its_lanes_stay_where_they_are() {
    let site = Site::new(&fast()).await;
    let ((first, owner), (second, other)) = site.owner_and_other().await;
    let tenant = second.path().join("tenants/acme.toml");
    let alike = std::fs::read_to_string(&tenant).unwrap();
    std::fs::write(&tenant, format!("{alike}prompt = \"Say it in one word.\"\n")).unwrap();
    let differing = || async { series(&scrape(&other).await, "sluice_node_config_mismatches", &[]) };
    other.signal("HUP");
    eventually("the mismatch alarms", || async { (differing().await == 1).then_some(()) }).await;
    says(&owner, "the nodes are configured differently").await;
    let ledger = Ledger::default();
    let load = Load::begin(&sender(&other), 1, &ledger);
    more_acknowledged(&ledger, 50).await;
    load.end().await;
    site.nothing_lost_and_nothing_doubled(&other, &ledger).await;
    assert_eq!(site.owner_of("chat").await, Some(name(&first)), "its node runs what the other takes in");
    std::fs::write(&tenant, alike).unwrap();
    other.signal("HUP");
    eventually("it is over", || async { (differing().await == 0).then_some(()) }).await;
    ends(owner).await;
    ends(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_a_callee_is_divided_among_the_nodes_that_call_it() {
    const PER_SECOND: usize = 10;
    let sources = format!("{}{}", fast(), fast().replace("sources.chat", "sources.mail"));
    let site = Site::new(&sources).await;
    let tenant = site.world.folder.path().join("tenants/acme.toml");
    let text = std::fs::read_to_string(&tenant).unwrap();
    let limited = text.replace("model = \"test-model\"", &format!("model = \"test-model\"\nper_second = {PER_SECOND}"));
    assert_ne!(text, limited);
    std::fs::write(&tenant, limited).unwrap();
    let ((first, owner), (second, other)) = site.owner_and_other().await;
    let mail = Sender::new(&other.runtime.public, "acme", "mail", "generic", SECRET);
    let chat = sender(&owner);
    let send = async |n: usize| {
        let (to_chat, to_mail) = (format!("d{n}"), format!("m{n}"));
        assert_eq!(chat.send(&to_chat, &completed(&to_chat, 0)).await.status, 200);
        assert_eq!(mail.send(&to_mail, &completed(&to_mail, 0)).await.status, 200);
    };
    stream::iter((0..200).map(send)).buffer_unordered(8).collect::<()>().await;
    site.owned_by("mail", &second, PATIENCE).await;
    assert_eq!(site.owner_of("chat").await, Some(name(&first)));
    let done = "SELECT count(*) FROM jobs WHERE state = 'succeeded' AND source = 'mail'";
    eventually("the second node calls as well", || async { (site.number(done).await > 5).then_some(()) }).await;
    let (began, calls) = (Instant::now(), site.world.llm.requests().len());
    // More than the bucket holds, so that the rate decides how soon.
    let many = calls + 6 * PER_SECOND;
    eventually("both have called often", || async { (site.world.llm.requests().len() >= many).then_some(()) }).await;
    let (made, seconds) = (site.world.llm.requests().len() - calls, began.elapsed().as_secs_f64());
    // What a bucket holds, and as much that was let through before and is seen only now.
    let most = (seconds * PER_SECOND as f64).ceil() as usize + 2 * PER_SECOND;
    assert!(made <= most, "{made} calls in {seconds} s");
    let both = "SELECT count(DISTINCT source) FROM jobs WHERE state = 'succeeded'";
    assert_eq!(site.number(both).await, 2);
    ends(owner).await;
    ends(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; scripts/test --long runs it"]
#[expect(clippy::print_stdout, reason = "the figures of a long run")]
async fn thirty_kills_of_alternating_nodes_under_load_lose_and_double_nothing() {
    let site = Site::new(&fast()).await;
    let folders = [site.folder(), site.folder()];
    let ledger = Ledger::default();
    let mut chance = StdRng::seed_from_u64(5);
    let mut nodes = [Some(site.node(&folders[0]).await), Some(site.node(&folders[1]).await)];
    for round in 0..30 {
        let (victim, stays) = (round % 2, (round + 1) % 2);
        let senders = [victim, stays].map(|nth| sender(nodes[nth].as_ref().expect("it runs")));
        let loads = [0, 1].map(|nth| Load::paced(&senders[nth], 2 * round + nth, &ledger, PACE));
        more_acknowledged(&ledger, chance.random_range(10..100)).await;
        nodes[victim].take().expect("it runs").kill();
        // Now and then the lease runs out before it is back; otherwise it takes its own place.
        if round % 5 == 0 {
            site.owned_by("chat", &folders[stays], TAKEOVER).await;
        }
        more_acknowledged(&ledger, 10).await;
        for load in loads {
            let others = load.end().await;
            assert!(others.iter().all(|status| *status == 503), "{others:?}");
        }
        nodes[victim] = Some(site.node(&folders[victim]).await);
    }
    let [one, other] = nodes.map(|node| node.expect("it runs"));
    site.nothing_lost_and_nothing_doubled(&one, &ledger).await;
    println!("{} deliveries acknowledged over 30 kills, none lost, none doubled", ledger.lock().unwrap().len());
    ends(one).await;
    ends(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; scripts/test --long runs it"]
#[expect(clippy::print_stdout, reason = "the figures of a long run")]
async fn an_owner_that_is_frozen_twenty_times_writes_nothing_late() {
    let site = Site::new(&fast()).await;
    let folders = [site.folder(), site.folder()];
    let nodes = [site.node(&folders[0]).await, site.node(&folders[1]).await];
    let ledger = Arc::new(Mutex::default());
    let load = Load::begin(&sender(&nodes[0]), 0, &ledger);
    more_acknowledged(&ledger, 5).await;
    load.end().await;
    for round in 1..=20 {
        let owner = site.owner_of("chat").await;
        let frozen = usize::from(owner == Some(name(&folders[1])));
        let heir = 1 - frozen;
        let load = Load::paced(&sender(&nodes[heir]), round, &ledger, PACE);
        freeze_and_thaw(&site, &nodes[frozen], &folders[heir], &ledger).await;
        load.end().await;
    }
    let mut stale = 0;
    for node in &nodes {
        stale += series(&scrape(node).await, "sluice_node_stale_writes_total", &[]);
    }
    assert!(stale > 0);
    site.nothing_lost_and_nothing_doubled(&nodes[0], &ledger).await;
    println!("{stale} late writes refused over 20 freezes, {} acknowledged", ledger.lock().unwrap().len());
    for node in nodes {
        ends(node).await;
    }
}
