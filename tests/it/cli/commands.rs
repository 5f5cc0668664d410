//! Each command's way when all is well, with `--json` as programs read it.

use std::path::Path;

use serde_json::{Value, json};
use sluice::standins::Fault;

use crate::harness::{App, Folder, SECRET, World, completed, eventually, sluice, summarising};

/// A command that succeeds, as JSON.
async fn told(folder: &Path, arguments: &[&str]) -> Value {
    sluice(folder, &[arguments, &["--json"]].concat()).await.json()
}

/// The same command as people read it: it succeeds and says something.
async fn shown(folder: &Path, arguments: &[&str]) -> String {
    let ran = sluice(folder, arguments).await;
    assert_eq!(ran.status, 0, "{arguments:?}: {ran:#?}");
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "no colour off a terminal: {ran:#?}");
    ran.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_jobs_and_lanes_are_listed_and_shown() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let folder = world.folder.path();
    let answer = app.acme("chat", "generic").send("e1", &completed("thread", 0)).await;
    let job = app.settled(answer.event()).await.remove(0);
    let (event, job) = (answer.event(), job["job"]["id"].as_str().unwrap());

    let events = told(folder, &["events", "--tenant", "acme", "--type", "assistant.*", "--since", "1h"]).await;
    assert_eq!((&events["items"][0]["id"], &events["next"]), (&json!(event), &Value::Null));
    assert_eq!(told(folder, &["events", "--tenant", "other"]).await["items"], json!([]));
    assert_eq!(told(folder, &["events", "show", event]).await["jobs"][0]["id"], job);
    let jobs = told(folder, &["jobs", "--state", "succeeded", "--limit", "1"]).await;
    assert_eq!(jobs["items"][0]["id"], job);
    assert_eq!(told(folder, &["jobs", "show", job]).await["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(told(folder, &["lanes"]).await[0]["lane"]["source"], "chat");
    let text = shown(folder, &["events"]).await;
    assert!(text.starts_with("EVENT") && text.contains(event) && text.contains("acme/chat"), "{text}");
    assert!(shown(folder, &["events", "show", event]).await.contains("assistant.completed"));
    assert!(shown(folder, &["jobs"]).await.contains("acme/chat/summary"));
    assert!(shown(folder, &["jobs", "show", job]).await.contains("succeeded"));
    assert!(shown(folder, &["lanes"]).await.contains("acme/chat"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_is_paused_its_job_cancelled_and_the_lane_resumed() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let folder = world.folder.path();
    assert_eq!(told(folder, &["lanes", "pause", "acme/chat", "--reason", "a move"]).await, json!({ "ok": true }));
    assert_eq!(told(folder, &["lanes"]).await[0]["snapshot"]["status"], "paused");
    let answer = app.acme("chat", "generic").send("e1", &completed("thread", 0)).await;
    let job = app.jobs_of(answer.event()).await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(told(folder, &["jobs", "cancel", &job]).await, json!({ "ok": true }));
    assert_eq!(sluice(folder, &["jobs", "cancel", &job]).await.status, 1, "it is over");
    assert_eq!(told(folder, &["lanes", "resume", "acme/chat"]).await, json!({ "ok": true }));
    assert_eq!(told(folder, &["lanes", "probe", "acme/chat"]).await, json!({ "ok": true }));
    let unknown = sluice(folder, &["lanes", "pause", "acme/nothing"]).await;
    assert!(unknown.status == 1 && unknown.stderr.contains("acme/nothing"), "{unknown:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_listed_counted_and_replayed() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.wordpress.fail_next(Fault::status(422));
    let app = world.start().await;
    let folder = world.folder.path();
    let answer = app.acme("chat", "generic").send("e1", &completed("thread", 0)).await;
    let job = app.settled(answer.event()).await.remove(0)["job"]["id"].as_str().unwrap().to_owned();
    let letters = told(folder, &["dead", "list", "--why", "rejected"]).await;
    assert_eq!(letters["items"][0]["job"]["id"], job);
    assert!(shown(folder, &["dead", "list"]).await.contains("rejected"));
    assert_eq!(told(folder, &["dead", "show", &job]).await["dead_letter"]["reason"], "rejected");
    assert_eq!(told(folder, &["dead", "replay", "--all", "--dry-run"]).await["matched"], 1);
    assert_eq!(app.jobs("state=deadletter").await.len(), 1);
    assert_eq!(told(folder, &["dead", "replay", &job, "--reason", "mended"]).await["matched"], 1);
    eventually("the replayed job succeeds", || async { (!app.jobs("state=succeeded").await.is_empty()).then_some(()) })
        .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_events_run_through_a_route_and_a_quarantined_one_is_released() {
    let sources = summarising("chat", "generic", "schemas = [{ types = \"assistant.*\", file = \"strict.json\" }]")
        + "[sources.bare]\nvendor = \"generic\"\nsecrets = [\"file:pay.secret\"]\n";
    let world = World::new(&sources).await;
    world.write("strict.json", r#"{ "required": ["never"] }"#);
    let app = world.start().await;
    let folder = world.folder.path();
    let answer = app.acme("chat", "generic").send("e1", &completed("thread", 0)).await;
    assert_eq!(answer.body["quarantined"], true);
    let listed = told(folder, &["events", "--state", "quarantined"]).await;
    assert_eq!(listed["items"][0]["id"], answer.event());
    assert_eq!(told(folder, &["release", answer.event()]).await["jobs"], 1);
    app.settled(answer.event()).await;

    app.acme("bare", "generic").send("e2", &completed("thread", 0)).await;
    world.sources(&(sources.clone() + "[[sources.bare.routes]]\nname = \"late\"\naction = \"log\"\n"));
    app.post("/api/v1/reload", &json!({})).await;
    let dry = told(folder, &["replay", "acme/bare", "late", "--state", "unrouted", "--dry-run"]).await;
    assert_eq!((&dry["matched"], &dry["new_jobs"]), (&json!(1), &json!(1)));
    assert_eq!(app.jobs("source=bare").await.len(), 0);
    assert_eq!(told(folder, &["replay", "acme/bare", "late"]).await["new_jobs"], 1);
    let dry = told(folder, &["replay", "acme/bare", "late", "--dry-run"]).await;
    assert_eq!((&dry["matched"], &dry["new_jobs"]), (&json!(1), &json!(0)), "the event has its job");
    assert_eq!(told(folder, &["replay", "acme/bare", "late"]).await["new_jobs"], 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_handed_over_is_shown_once() {
    let folder = Folder::new();
    folder.tenant("acme", "[sources.notes]\nvendor = 'notion'\nawait_handshake = true\n");
    let app = App::start(&folder).await;
    let token = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl";
    let notion = app.sender("acme", "notes", "notion", token);
    assert_eq!(notion.send("", &json!({ "verification_token": token })).await.status, 200);
    assert_eq!(told(folder.path(), &["handshake", "show", "acme/notes"]).await["token"], token);
    let again = sluice(folder.path(), &["handshake", "show", "acme/notes"]).await;
    assert!(again.status == 1 && again.stderr.contains("no token was handed over"), "{again:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_are_sent_one_by_one_and_as_a_load() {
    let world = World::new(&summarising("chat", "generic", "").replace("summarize_and_publish", "log")).await;
    let app = world.start().await;
    let folder = world.folder.path();
    let url = format!("{}/webhooks/acme/chat", app.public());
    let send = |more: &'static [&'static str]| {
        let arguments = ["send", "generic", "--url", &url, "--secret", "file:pay.secret"].map(ToOwned::to_owned);
        let arguments: Vec<String> = arguments.into_iter().chain(more.iter().map(|word| (*word).to_owned())).collect();
        async move { sluice(folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let first = send(&["--id", "same", "--json"]).await.json();
    assert_eq!((&first["status"], &first["body"]["duplicate"]), (&json!(200), &json!(false)), "{first:#}");
    let load = send(&["--count", "20", "--connections", "2", "--json"]).await.json();
    assert_eq!((&load["offered"], &load["accepted"]), (&json!(20), &json!(20)), "{load:#}");
    let paced = send(&["--rate", "50", "--seconds", "1", "--json"]).await.json();
    assert_eq!((&paced["offered"], &paced["accepted"]), (&json!(50), &json!(50)), "{paced:#}");
    let stale = send(&["--insecure-time=-10m"]).await;
    assert!(stale.status == 1 && stale.stdout.starts_with("401"), "{stale:?}");
    let nobody = sluice(folder, &["send", "generic", "--url", "http://127.0.0.1:1/", "--secret", SECRET]).await;
    assert!(nobody.status == 1 && nobody.stderr.contains("is the gateway running there?"), "{nobody:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_database_is_made_and_what_would_be_done_is_told_before() {
    let folder = Folder::new();
    let dry = told(folder.path(), &["migrate", "--dry-run"]).await;
    let newest = dry["to"].as_i64().unwrap();
    assert_eq!(dry["missing"].as_array().unwrap().len() as i64, newest, "{dry:#}");
    assert!(!folder.path().join("sluice.db").exists());
    assert_eq!(told(folder.path(), &["migrate"]).await, json!({ "from": 0, "to": newest }));
    assert_eq!(told(folder.path(), &["migrate", "--dry-run"]).await["missing"], json!([]));
    assert!(shown(folder.path(), &["migrate"]).await.contains("already has schema"));
}

#[tokio::test]
async fn check_tells_what_is_odd_and_fails_for_it_only_when_it_is_strict() {
    let folder = Folder::new();
    let odd = told(folder.path(), &["check"]).await;
    assert_eq!(odd["ok"], true);
    assert!(odd["warnings"][0]["cure"].as_str().unwrap().contains("sluice source add"), "{odd:#}");
    assert_eq!(sluice(folder.path(), &["check", "--strict"]).await.status, 1);
    folder.tenant("acme", "[sources.a]\nvendor = 'generic'\n");
    let wrong = sluice(folder.path(), &["check", "--json"]).await;
    let told: Value = serde_json::from_str(&wrong.stdout).unwrap();
    assert_eq!((wrong.status, &told["ok"]), (78, &json!(false)));
    assert_eq!(told["errors"][0]["key"], "sources.a.secrets", "{told:#}");
}
