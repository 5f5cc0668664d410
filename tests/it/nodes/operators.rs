//! What an operator does to a lane at one node reaches the node that has the lane.

use std::time::Duration;

use serde_json::{Value, json};
use sluice::standins::Fault;
use tokio::time::Instant;

use super::{Site, ends, sender};
use crate::harness::{PATIENCE, Process, SECRET, Sender, Stalls, completed, eventually, within};

/// Asks the API of a node for a verb of the lane `chat`.
async fn verb(process: &Process, verb: &str) {
    post(process, &format!("/api/v1/lanes/acme/chat/{verb}"), &json!({ "reason": "a test" })).await;
}

async fn post(process: &Process, path: &str, body: &Value) {
    let url = format!("{}{path}", process.runtime.admin);
    let asked = reqwest::Client::new().post(url).bearer_auth(&process.runtime.token).json(body);
    let answer = asked.send().await.expect("the API answers");
    let (status, text) = (answer.status(), answer.text().await);
    assert!(status.is_success(), "{status}: {text:?}");
}

/// The lane `chat` as a node sees it.
async fn seen(process: &Process) -> Value {
    let lanes = process.get("/api/v1/lanes").await;
    let chat = lanes["items"].as_array().and_then(|lanes| lanes.iter().find(|lane| lane["lane"]["source"] == "chat"));
    chat.expect("it is configured")["snapshot"].clone()
}

async fn is_paused(process: &Process, paused: bool) {
    let what = format!("the lane is paused: {paused}");
    eventually(&what, || async { ((seen(process).await["status"] == "paused") == paused).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_told_to_another_node_holds_the_lane_at_its_owner_at_once_and_so_does_a_resume() {
    let sources = format!("{}{}", super::fast(), super::fast().replace("sources.chat", "sources.mail"));
    let site = Site::new(&sources).await;
    let ((_, owner), (_, other)) = site.owner_and_other().await;
    site.hear_each_other(&[&owner, &other]).await;
    let (began, stalls) = (Instant::now(), Stalls::count());
    for _ in 0..10 {
        verb(&other, "pause").await;
        is_paused(&owner, true).await;
        verb(&other, "resume").await;
        is_paused(&owner, false).await;
    }
    // By the looks alone, one every three seconds, they take half a minute.
    assert!(began.elapsed() < Duration::from_secs(20) + stalls.sum(), "{:?}", began.elapsed());

    verb(&other, "pause").await;
    is_paused(&owner, true).await;
    for n in 0..10 {
        let id = format!("held-{n}");
        let to = if n % 2 == 0 { &owner } else { &other };
        assert_eq!(sender(to).send(&id, &completed(&id, 0)).await.status, 200);
    }
    // What another lane of the same nodes did meanwhile, this one could have done.
    let mail = Sender::new(&owner.runtime.public, "acme", "mail", "generic", SECRET);
    assert_eq!(mail.send("mail", &completed("mail", 0)).await.status, 200);
    let done = "SELECT count(*) FROM jobs WHERE state = 'succeeded' AND source = 'mail'";
    eventually("another lane goes on", || async { (site.number(done).await == 1).then_some(()) }).await;
    assert_eq!(site.number("SELECT count(*) FROM jobs WHERE source = 'chat' AND claims > 0").await, 1);

    verb(&other, "resume").await;
    let left = "SELECT count(*) FROM jobs WHERE state <> 'succeeded'";
    eventually("it goes on", || async { (site.number(left).await == 0).then_some(()) }).await;
    ends(owner).await;
    ends(other).await;
}

/// The lane `chat` on the page of lanes of a node, by a filter.
async fn shown(process: &Process, filter: &str) -> Option<Value> {
    let lanes = process.get(&format!("/api/v1/lanes?name=acme/chat{filter}")).await;
    lanes["items"].as_array()?.first().cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_shows_why_a_lane_of_another_does_not_flow_and_when_it_is_probed() {
    let site = Site::new(&super::fast()).await;
    let ((_, owner), (_, other)) = site.owner_and_other().await;
    site.world.llm.fail_always(Some(Fault::status(500)));
    for n in 0..10 {
        let id = format!("ill-{n}");
        assert_eq!(sender(&owner).send(&id, &completed(&id, 0)).await.status, 200);
    }
    let held = eventually("the other one shows that it is held", || shown(&other, "&state=held")).await;
    let at_owner = eventually("so does its own", || shown(&owner, "&state=held")).await;
    for lane in [&held, &at_owner] {
        assert!(lane["snapshot"]["reason"].as_str().is_some_and(|why| why.contains("llm")), "{lane:#}");
        assert!(lane["next_probe"].is_string() && lane["snapshot"]["since"].is_string(), "{lane:#}");
        assert!(lane["owner"].is_string() && lane["owner"] == held["owner"], "{lane:#}");
    }
    assert!(shown(&other, "&state=asleep").await.is_none());

    // What is told anywhere is done where the lane is.
    site.world.llm.fail_always(None);
    eventually("it flows", || async {
        verb(&other, "probe").await;
        shown(&other, "&state=held").await.is_none().then_some(())
    })
    .await;
    let left = "SELECT count(*) FROM jobs WHERE state <> 'succeeded'";
    eventually("it goes on", || async { (site.number(left).await == 0).then_some(()) }).await;
    ends(owner).await;
    ends(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_which_nobody_is_told_is_found_by_every_node() {
    let site = Site::new(&super::fast()).await;
    let ((_, owner), (_, other)) = site.owner_and_other().await;
    for paused in [true, false] {
        let kept = format!("UPDATE lanes SET paused = {paused}");
        sqlx::query(sqlx::AssertSqlSafe(kept)).execute(&mut site.connect().await).await.unwrap();
        is_paused(&owner, paused).await;
        is_paused(&other, paused).await;
    }
    // The one that did not have it takes it when its owner is gone: it does not go on for paused.
    ends(owner).await;
    assert_eq!(sender(&other).send("next", &completed("next", 0)).await.status, 200);
    let left = "SELECT count(*) FROM jobs WHERE state <> 'succeeded'";
    eventually("it goes on", || async { (site.number(left).await == 0).then_some(()) }).await;
    ends(other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_told_to_another_node_goes_at_the_owner_at_once() {
    let site = Site::new(&super::fast()).await;
    let ((_, owner), (_, other)) = site.owner_and_other().await;
    site.hear_each_other(&[&owner, &other]).await;
    site.world.llm.fail_always(Some(Fault::status(503)));
    let is_open = || async {
        let breakers = seen(&owner).await["breakers"].as_array().cloned().unwrap_or_default();
        breakers.iter().any(|breaker| breaker["state"] == "open").then_some(())
    };
    for n in 0..10 {
        let id = format!("fails-{n}");
        assert_eq!(sender(&owner).send(&id, &completed(&id, 0)).await.status, 200);
    }
    eventually("its breaker opens", is_open).await;
    let opened = Instant::now();
    site.world.llm.fail_always(None);
    let before = site.world.llm.requests().len();
    verb(&other, "probe").await;
    eventually("it probes", || async { (site.world.llm.requests().len() > before).then_some(()) }).await;
    // By itself it would after 24 s at the earliest.
    assert!(opened.elapsed() < Duration::from_secs(15), "{:?}", opened.elapsed());
    let left = "SELECT count(*) FROM jobs WHERE state <> 'succeeded'";
    within(2 * PATIENCE, "all succeed", || async { (site.number(left).await == 0).then_some(()) }).await;
    ends(owner).await;
    ends(other).await;
}
