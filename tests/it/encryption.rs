//! Encryption at rest through the whole gateway and its command, on both engines and on two nodes.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sluice::{
    api::records::{Retention, Scope},
    app::Refused,
    artifacts::{ArtifactError, Kind, NewArtifact, ObjectError},
    clock::SystemClock,
    error_code::ErrorCode,
};
use sluice_actors::{domain::LaneKey, ports::Clock as _};

use crate::harness::{App, Engine, Process, World, completed, eventually, on_both_engines, sluice, summarising};

on_both_engines! {
    what_a_vendor_sends_is_sealed_on_its_whole_way_and_erased_with_its_key
    a_rotation_of_the_wrapping_key_leaves_the_old_one_safe_to_remove
    a_gateway_whose_keys_do_not_open_what_is_there_does_not_start
    a_copy_carries_sealed_rows_and_their_keys_as_they_are
    an_archived_payload_stays_sealed_and_ends_with_its_key_as_all_artifacts_do
}

const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TWO: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// A tenant with a route, whose rows are sealed by `key` (TOML); none: they are plain.
fn sources(key: Option<&str>) -> String {
    let encryption = key.map(|key| format!("[encryption]\nkey = {key}\n")).unwrap_or_default();
    encryption + &summarising("chat", "generic", "")
}

async fn world(engine: Engine, key: Option<&str>) -> World {
    let world = World::on(engine, &sources(key)).await;
    world.folder.secret("one.key", ONE);
    world.folder.secret("two.key", TWO);
    world
}

async fn status(world: &World, rows: bool) -> Value {
    let mut arguments = vec!["encryption", "status", "--json"];
    arguments.extend(rows.then_some("--rows"));
    let ran = sluice(world.folder.path(), &arguments).await;
    assert_eq!(ran.status, 0, "{ran:#?}");
    ran.json()
}

fn audited(audit: &Value, action: &str) -> usize {
    audit["items"].as_array().unwrap().iter().filter(|line| line["action"] == action).count()
}

async fn what_a_vendor_sends_is_sealed_on_its_whole_way_and_erased_with_its_key(engine: Engine) {
    let world = world(engine, None).await;
    let app = world.start().await;
    let before = app.acme("chat", "generic").send("before", &completed("before", 0)).await;
    app.settled(before.event()).await;
    app.finish().await;

    world.sources(&sources(Some("'file:one.key'")));
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    let first = sender.send("e1", &completed("s1", 0)).await;
    let jobs = app.settled(first.event()).await;
    assert_eq!(jobs[0]["job"]["state"], "succeeded");
    assert!(jobs[0]["result"]["summary"].is_string(), "{jobs:?}");
    let shown = app.get(&format!("/api/v1/events/{}", first.event())).await;
    assert!(shown["raw"].as_str().unwrap().contains("The order was shipped") && shown["erased"] == false, "{shown}");
    let again = sender.send("e1", &completed("s1", 0)).await;
    assert!(again.is_duplicate(), "{again:?}");

    app.post("/api/v1/lanes/acme/chat/pause", &json!({})).await;
    let waiting = sender.send("e2", &completed("s2", 0)).await;
    assert_eq!(waiting.status, 200);

    let folder = world.folder.path();
    let counted = status(&world, true).await;
    // Payload and form of each of two events, a result; the checkpoint of a job goes with its success.
    assert_eq!(counted[0]["rows"], json!({ "sealed": 5, "plain": 3 }), "{counted}");
    let refused = sluice(folder, &["encryption", "erase", "acme", "--yes"]).await;
    assert!(refused.status == 1 && refused.stderr.contains("3 rows of acme are not sealed"), "{refused:#?}");
    let sealed = sluice(folder, &["encryption", "seal", "acme", "--json", "--reason", "all of it"]).await.json();
    assert_eq!(sealed, json!({ "sealed": 3, "plain": 0 }));
    assert_eq!(status(&world, true).await[0]["rows"], json!({ "sealed": 8, "plain": 0 }));
    // Its steps are one order; one that begins anywhere else is an order as well.
    let orders = async || app.get("/api/v1/audit?action=encryption.seal").await["items"].as_array().unwrap().len();
    let order = async |cursor: Option<&str>| {
        app.post("/api/v1/tenants/acme/encryption/seal", &json!({ "cursor": cursor })).await.1["next"].clone()
    };
    assert_eq!(orders().await, 1);
    let next = order(None).await;
    assert_eq!((next.is_string(), orders().await), (true, 2), "{next}");
    order(next.as_str()).await;
    assert_eq!(orders().await, 2);
    order(next.as_str()).await;
    assert_eq!(orders().await, 3, "not where the one before ended");
    let shown = app.get(&format!("/api/v1/events/{}", before.event())).await;
    assert!(shown["raw"].as_str().unwrap().contains("The order was shipped"), "{shown}");

    let unconfirmed = sluice(folder, &["encryption", "erase", "acme"]).await;
    assert!(unconfirmed.status == 1 && unconfirmed.stderr.contains("--yes"), "{unconfirmed:#?}");
    let erased = sluice(folder, &["encryption", "erase", "acme", "--yes", "--json", "--reason", "it ended"]).await;
    assert_eq!(erased.json(), json!({ "keys": 1 }), "{erased:#?}");
    for event in [before.event(), first.event(), waiting.event()] {
        let shown = app.get(&format!("/api/v1/events/{event}")).await;
        assert!(shown["erased"] == true && shown["raw"].is_null() && shown["forms"] == json!([]), "{shown}");
        let (status, body) = app.post(&format!("/api/v1/events/{event}/preview"), &json!({ "route": "summary" })).await;
        assert!(status == 409 && body["message"].as_str().unwrap().contains("erased"), "{status} {body}");
    }
    let job = jobs[0]["job"]["id"].as_str().unwrap();
    assert_eq!(app.get(&format!("/api/v1/jobs/{job}")).await["erased"], true);
    app.post("/api/v1/lanes/acme/chat/resume", &json!({})).await;
    let dead = app.settled(waiting.event()).await;
    assert_eq!((&dead[0]["job"]["state"], &dead[0]["dead_letter"]["reason"]), (&json!("deadletter"), &json!("gone")));
    let detail = dead[0]["dead_letter"]["detail"].as_str().unwrap();
    assert!(detail.contains("erased"), "{detail}");
    let job = dead[0]["job"]["id"].as_str().unwrap();
    let (status, body) = app.post(&format!("/api/v1/jobs/{job}/retry"), &json!({})).await;
    assert!(status == 409 && body["message"].as_str().unwrap().contains("erased"), "{status} {body}");
    let ask = json!({ "tenant": "acme", "source": "chat", "route": "summary" });
    assert_eq!(app.post("/api/v1/replay", &ask).await, (200, json!({ "matched": 0, "new_jobs": 0 })));

    let next = sender.send("e3", &completed("s3", 0)).await;
    let jobs = app.settled(next.event()).await;
    assert_eq!(jobs[0]["job"]["state"], "succeeded");
    let audit = app.get("/api/v1/audit?limit=500").await;
    assert_eq!((audited(&audit, "encryption.seal"), audited(&audit, "encryption.erase")), (3, 1), "{audit}");
    app.finish().await;
    // What opens it is read again at the next start.
    let app = world.start().await;
    let shown = app.get(&format!("/api/v1/events/{}", next.event())).await;
    assert!(shown["raw"].as_str().unwrap().contains("The order was shipped"), "{shown}");
    app.finish().await;
}

async fn a_rotation_of_the_wrapping_key_leaves_the_old_one_safe_to_remove(engine: Engine) {
    let world = world(engine, Some("'file:one.key'")).await;
    let app = world.start().await;
    let event = app.acme("chat", "generic").send("e1", &completed("s1", 0)).await;
    app.settled(event.event()).await;
    let keys = |view: &Value| {
        let keys = view[0]["keys"]["wrapping_keys"].as_array().unwrap();
        keys.iter()
            .map(|key| (key["reference"].clone(), key["wraps"].clone(), key["safe_to_remove"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&status(&world, false).await), [(json!("file:one.key"), json!(1), json!(false))]);

    // Without the old key nothing that is there would open: the running configuration stays.
    world.sources(&sources(Some("'file:two.key'")));
    let (refused, body) = app.post("/api/v1/reload", &Value::Null).await;
    assert!(refused == 409 && body["message"].as_str().unwrap().contains("SLU16"), "{refused} {body}");
    let event = app.acme("chat", "generic").send("e2", &completed("s2", 0)).await;
    app.settled(event.event()).await;

    world.sources(&sources(Some("['file:two.key', 'file:one.key']")));
    app.reload().await;
    let after = [(json!("file:two.key"), json!(1), json!(false)), (json!("file:one.key"), json!(0), json!(true))];
    assert_eq!(keys(&status(&world, false).await), after);
    let table = sluice(world.folder.path(), &["encryption", "status"]).await;
    assert!(table.stdout.contains("safe to remove") && table.stdout.contains("wraps"), "{table:#?}");
    assert!(!table.stdout.contains(ONE) && !table.stdout.contains(&TWO[..8]));
    let again = sluice(world.folder.path(), &["encryption", "rewrap", "acme", "--json"]).await.json();
    assert_eq!(again, json!({ "keys": 0 }));
    let rotated = sluice(world.folder.path(), &["encryption", "rotate", "acme", "--json"]).await.json();
    assert!(rotated["id"].is_string());
    let third = app.acme("chat", "generic").send("e3", &completed("s3", 0)).await;
    app.settled(third.event()).await;
    world.sources(&sources(Some("'file:two.key'")));
    app.reload().await;
    app.finish().await;

    let app = world.start().await;
    for event in [event.event(), third.event()] {
        let shown = app.get(&format!("/api/v1/events/{event}")).await;
        assert!(shown["raw"].as_str().unwrap().contains("The order was shipped"), "{shown}");
    }
    assert_eq!(status(&world, false).await[0]["keys"]["data_keys"].as_array().unwrap().len(), 2);
    app.finish().await;
}

async fn a_gateway_whose_keys_do_not_open_what_is_there_does_not_start(engine: Engine) {
    let world = world(engine, Some("'file:one.key'")).await;
    let app = world.start().await;
    let event = app.acme("chat", "generic").send("e1", &completed("s1", 0)).await;
    app.settled(event.event()).await;
    app.finish().await;
    for key in [Some("'file:two.key'"), None] {
        world.sources(&sources(key));
        let error = App::try_start(&world.folder).await.err().unwrap();
        let refused = error.downcast_ref::<Refused>().unwrap();
        assert_eq!((refused.code, refused.code.exit_status()), (ErrorCode::Encryption, 78), "{refused}");
        assert!(refused.message.contains("acme"), "{refused}");
    }
    // One that cannot be read at all is named before anything is opened.
    world.sources(&sources(Some("'file:none.key'")));
    let error = App::try_start(&world.folder).await.err().unwrap().to_string();
    assert!(error.contains("encryption.key") && error.contains("file:none.key"), "{error}");
    world.sources(&sources(Some("['file:two.key', 'file:one.key']")));
    world.start().await.finish().await;
}

async fn a_copy_carries_sealed_rows_and_their_keys_as_they_are(engine: Engine) {
    let world = world(engine, Some("'file:one.key'")).await;
    let app = world.start().await;
    let event = app.acme("chat", "generic").send("e1", &completed("s1", 0)).await;
    app.settled(event.event()).await;
    app.finish().await;
    let from = match engine {
        Engine::Sqlite => "sqlite://sluice.db".to_owned(),
        Engine::Postgres => "file:database.url".to_owned(),
    };
    let ran = sluice(world.folder.path(), &["copy", "--from", &from, "--to", "sqlite://moved.db", "--json"]).await;
    assert_eq!(ran.status, 0, "{ran:#?}");
    world.folder.main("[database]\nurl = 'sqlite://moved.db'\n");
    let app = world.start().await;
    let shown = app.get(&format!("/api/v1/events/{}", event.event())).await;
    assert!(shown["raw"].as_str().unwrap().contains("The order was shipped"), "{shown}");
    app.finish().await;
    for entry in std::fs::read_dir(world.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        assert!(!bytes.windows(21).any(|part| part == b"The order was shipped"), "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_at_one_node_is_erased_at_the_other_within_seconds() {
    let world = world(Engine::Postgres, Some("'file:one.key'")).await;
    let folders = [world.folder.twin(), world.folder.twin()];
    let nodes = [Process::start(&folders[0]).await, Process::start(&folders[1]).await];
    world.trust(&nodes[0].runtime.public).await;
    let sender =
        crate::harness::Sender::new(&nodes[0].runtime.public, "acme", "chat", "generic", crate::harness::SECRET);
    let event = sender.send("e1", &completed("s1", 0)).await.event().to_owned();
    let path = format!("/api/v1/events/{event}");
    for node in &nodes {
        assert!(node.get(&path).await["raw"].as_str().unwrap().contains("The order was shipped"));
    }
    let url = format!("{}/api/v1/tenants/acme/encryption/erase", nodes[0].runtime.admin);
    let asked = reqwest::Client::new().post(url).bearer_auth(&nodes[0].runtime.token).json(&json!({}));
    assert_eq!(asked.send().await.unwrap().status().as_u16(), 200);
    assert_eq!(nodes[0].get(&path).await["erased"], true);
    eventually("the other node drops its key", || async {
        (nodes[1].get(&path).await["erased"] == true).then_some(())
    })
    .await;
    for node in nodes {
        node.kill();
    }
}

async fn an_archived_payload_stays_sealed_and_ends_with_its_key_as_all_artifacts_do(engine: Engine) {
    let world = world(engine, Some("'file:one.key'")).await;
    let app = world.start().await;
    let sent = app.acme("chat", "generic").send("e1", &completed("jane", 0)).await;
    app.settled(sent.event()).await;
    let (keep, year) = (Retention { archive: true, ..Retention::default() }, Duration::from_secs(365 * 86_400));
    let past_raw = SystemClock.now().plus(Duration::from_secs(15 * 86_400));
    let swept = app.records().sweep(&keep, past_raw).await.unwrap();
    assert_eq!(app.artifacts().archive(&swept.to_archive, year).await.unwrap(), 1);
    assert_eq!(app.records().sweep(&keep, past_raw).await.unwrap().payloads, 1);

    let mut folder = world.folder.path().join("artifacts/acme/payloads");
    while folder.is_dir() {
        folder = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    }
    let bytes = std::fs::read(&folder).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("The order was shipped"), "the object is sealed");
    let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let open = async || {
        let answer = app.request(Method::GET, &format!("/api/v1/artifacts/{id}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = open().await;
    assert!(status == 200 && text.contains("The order was shipped"), "{status} {text}");
    let transcript = app.artifact("acme", "chat", sent.event()).await;
    let register = app.artifacts().register();
    let archived = register.artifact(&Scope::All, id.parse().unwrap()).await.unwrap().unwrap();
    let erase = ["encryption", "erase", "acme", "--yes", "--reason", "contract ended"];
    let erased = sluice(world.folder.path(), &erase).await;
    assert_eq!(erased.status, 0, "{erased:#?}");
    assert_eq!(register.opened(&archived, bytes.into()).await.unwrap(), None, "a copy of the object says nothing");
    // What no key of ours seals is removed.
    for id in [&id, &transcript] {
        let gone = app.request(Method::GET, &format!("/api/v1/artifacts/{id}")).send().await.unwrap();
        assert_eq!(gone.status(), 404);
    }
    assert!(!folder.exists(), "objects of a tenant go with its keys");
    let late = NewArtifact {
        lane: LaneKey::new("acme".parse().unwrap(), "chat".parse().unwrap()),
        kind: Kind::Transcript,
        event: sent.event().parse().unwrap(),
        job: None,
        subject: None,
        media_type: "text/plain",
        delete_after: None,
    };
    let kept = app.artifacts().keep(late, "of what was erased".into()).await;
    assert!(matches!(kept, Err(ArtifactError::Objects(ObjectError::NotFound))), "{kept:?}");
    app.finish().await;
}
