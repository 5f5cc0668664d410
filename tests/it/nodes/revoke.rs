//! A secret that is revoked at one node verifies at no node after five seconds, under load and while a
//! node is cut off from the database; until then, and of any other secret, nothing is refused.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};

use super::{Site, ends};
use crate::{
    chaos::fast,
    harness::{Cluster, Folder, Process, Proxy, SECRET, Sender, World, completed, eventually},
};

const OLD: &str = "canaryhunter91-old-secret";
/// What is promised.
const IN_FORCE: Duration = Duration::from_secs(5);

/// `acme/chat` with a new and an old secret.
fn sources() -> String {
    fast().replace("[\"file:pay.secret\"]", "[\"file:pay.secret\", \"file:old.secret\"]")
}

async fn ask(process: &Process, verb: &str, version: &str) -> (u16, Value) {
    let url = format!("{}/api/v1/sources/acme/chat/secrets/{verb}", process.runtime.admin);
    let body = json!({ "version": version, "reason": "a test" });
    let asked = reqwest::Client::new().post(url).bearer_auth(&process.runtime.token).json(&body);
    let answer = asked.send().await.expect("the API answers");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// Sends one that was never sent.
async fn fresh(sender: &Sender) -> u16 {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    sender.sample(&format!("fresh-{}", SENT.fetch_add(1, Ordering::Relaxed))).await.status
}

/// Sends with one secret until it is told to stop: when each delivery was sent and what came of it.
struct Sending {
    seen: Arc<Mutex<Vec<(Instant, u16)>>>,
    task: JoinHandle<()>,
}

impl Sending {
    fn begin(process: &Process, secret: &str) -> Self {
        static ROUND: AtomicUsize = AtomicUsize::new(0);
        let round = ROUND.fetch_add(1, Ordering::Relaxed);
        let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", secret);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let known = seen.clone();
        let task = tokio::spawn(async move {
            for n in 0.. {
                let (id, sent) = (format!("n{round}-{n}"), Instant::now());
                let status = sender.send(&id, &completed(&id, 0)).await.status;
                known.lock().unwrap().push((sent, status));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { seen, task }
    }

    /// What came of deliveries that were sent at such times. Who is told to come again (503) is neither taken nor
    /// refused.
    fn of(&self, when: impl Fn(Instant) -> bool) -> Vec<u16> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(at, status)| when(*at) && *status != 503).map(|(_, status)| *status).collect()
    }

    /// Waits until enough were sent at such times to tell.
    async fn enough(&self, when: impl Fn(Instant) -> bool) {
        eventually("enough is sent", || async { (self.of(&when).len() > 20).then_some(()) }).await;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_revoked_at_one_node_ends_at_every_node_within_five_seconds_and_no_other_does() {
    let site = Site::new(&sources()).await;
    site.world.folder.secret("old.secret", OLD);
    let folders = [site.folder(), site.folder()];
    let (one, two) = (site.node(&folders[0]).await, site.node(&folders[1]).await);
    let valid = [Sending::begin(&one, SECRET), Sending::begin(&two, SECRET)];
    let leaked = [Sending::begin(&one, OLD), Sending::begin(&two, OLD)];
    for sending in valid.iter().chain(&leaked) {
        sending.enough(|_| true).await;
    }
    let asked = Instant::now();
    assert_eq!(ask(&one, "revoke", "file:old.secret").await.0, 200);
    let answered = Instant::now();
    for (nth, sending) in leaked.iter().enumerate() {
        // Where it was asked before the answer, elsewhere within what is promised.
        let late = if nth == 0 { answered } else { answered + IN_FORCE };
        sending.enough(|at| at >= late).await;
        let (before, after) = (sending.of(|at| at < asked), sending.of(|at| at >= late));
        assert!(before.iter().all(|status| *status == 200), "node {nth}: {before:?}");
        assert!(after.iter().all(|status| *status == 401), "node {nth}: {after:?}");
    }
    for sending in &valid {
        sending.enough(|at| at >= answered + IN_FORCE).await;
        let seen = sending.of(|_| true);
        assert!(seen.iter().all(|status| *status == 200), "{seen:?}");
    }
    drop((valid, leaked));
    // Another node puts it back.
    assert_eq!(ask(&two, "unrevoke", "file:old.secret").await.0, 200);
    let back = Sender::new(&one.runtime.public, "acme", "chat", "generic", OLD);
    eventually("it verifies again", || async { (fresh(&back).await == 200).then_some(()) }).await;
    // Two who each believe that the other secret is left: one of them is told to look again.
    let (first, second) = tokio::join!(ask(&one, "revoke", "file:old.secret"), ask(&two, "revoke", "file:pay.secret"));
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{first:?} {second:?}");
    ends(one).await;
    ends(two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_from_the_database_takes_nothing_that_was_revoked_meanwhile() {
    let database = Cluster::shared().database().await;
    let world = World::on_url(&Cluster::shared().url(&database), &sources()).await;
    world.folder.secret("old.secret", OLD);
    let folder = world.folder.twin();
    let proxy = Proxy::start(Cluster::shared().port()).await;
    let cut: Folder = world.folder.twin();
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", proxy.port);
    cut.secret("database.url", &url);
    let (one, two) = (Process::start(&folder).await, Process::start(&cut).await);
    let leaked = Sending::begin(&two, OLD);
    let valid = Sender::new(&two.runtime.public, "acme", "chat", "generic", SECRET);
    leaked.enough(|_| true).await;
    proxy.freeze();
    assert_eq!(ask(&one, "revoke", "file:old.secret").await.0, 200);
    let revoked = Instant::now();
    tokio::time::sleep(IN_FORCE + Duration::from_secs(2)).await;
    // It cannot know, and says so to everybody: they come again.
    assert_eq!(fresh(&valid).await, 503);
    proxy.flow();
    eventually("it takes what is good again", || async { (fresh(&valid).await == 200).then_some(()) }).await;
    leaked.enough(|at| at >= revoked + IN_FORCE).await;
    let seen = leaked.seen.lock().unwrap().clone();
    let after: Vec<u16> = seen.iter().filter(|(at, _)| *at >= revoked + IN_FORCE).map(|(_, status)| *status).collect();
    assert!(after.iter().all(|status| [401, 503].contains(status)), "{after:?}");
    assert!(after.contains(&503) && after.contains(&401), "{after:?}");
    drop(leaked);
    ends(one).await;
    ends(two).await;
}
