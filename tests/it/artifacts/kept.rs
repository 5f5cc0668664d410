//! What jobs keep: transcripts, results that no callback can carry, replies that no row can; links that are
//! fresh each time, an object store that is away, retention, archive, erasure.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use sluice::{
    api::records::Retention,
    clock::SystemClock,
    standins::{Fault, StandInApi},
};
use sluice_actors::ports::Clock as _;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

use super::{id_of, location};
use crate::harness::{App, Engine, World, completed, eventually, on_both_engines, sluice, summarising};

on_both_engines! {
    a_transcript_is_kept_linked_and_goes_with_its_event
    a_payload_past_its_time_is_archived_first_and_a_subjects_erasure_takes_it_too
    a_gateway_archives_by_itself_what_is_past_its_time_and_removes_what_ended
}

const PUBLIC: &str = "https://hooks.example.com";

fn main_file(world: &World, more: &str) {
    let main = std::fs::read_to_string(world.folder.config()).unwrap();
    let main = main.replace("[edge]\n", &format!("[edge]\npublic_url = \"{PUBLIC}\"\n"));
    std::fs::write(world.folder.config(), main + more).unwrap();
}

/// All that the site was told of results, oldest first.
fn callbacks(world: &World) -> Vec<Value> {
    let requests = world.wordpress.requests();
    let told = requests.iter().filter(|seen| seen.query.ends_with("callbacks"));
    told.map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect()
}

/// What it was told last.
fn callback(world: &World) -> Value {
    callbacks(world).pop().unwrap()
}

/// The checkpoint of a route's job that failed, as it lies in the database.
async fn checkpoint(world: &World, route: &str) -> Option<String> {
    let path = world.folder.path().join("sluice.db");
    let mut database = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
    let kept = sqlx::query_scalar("SELECT checkpoint FROM jobs WHERE route = ? AND state = 'failed'").bind(route);
    let kept: Option<Option<String>> = kept.fetch_optional(&mut database).await.unwrap();
    kept.flatten()
}

/// A link as this machine can open it.
async fn opened(app: &App, url: &str) -> (u16, String) {
    let answer = reqwest::get(url.replace(PUBLIC, &app.public())).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn objects(world: &World, kind: &str) -> usize {
    let folder = world.folder.path().join("artifacts/acme").join(kind);
    let days = std::fs::read_dir(folder).into_iter().flatten();
    days.map(|day| std::fs::read_dir(day.unwrap().path()).unwrap().count()).sum()
}

async fn a_transcript_is_kept_linked_and_goes_with_its_event(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    main_file(&world, "[artifacts]\ntranscripts = true\n");
    let token = world.folder.secret("site.token", &"t".repeat(40));
    let path = world.folder.path().join("tenants/acme.toml");
    let tenant = std::fs::read_to_string(&path).unwrap();
    let tenant = tenant.replace("[wordpress]\n", &format!("[wordpress]\nsite_token = \"{token}\"\n"));
    std::fs::write(&path, tenant).unwrap();
    let app = world.start().await;
    let sent = app.acme("chat", "generic").send("e1", &completed("s1", 0)).await;
    let job = app.settled(sent.event()).await.remove(0);
    let key = job["result"]["artifacts"][0].as_str().unwrap();
    assert!(key.starts_with("acme/transcripts/"), "{key}");
    let told = callback(&world);
    let link = &told["artifacts"][0];
    assert_eq!((&link["type"], &link["id"]), (&json!("transcript"), &json!(id_of(key))));
    let (status, text) = opened(&app, link["url"].as_str().unwrap()).await;
    let transcript: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &transcript["model"]), (200, &json!("test-model")));
    assert!(transcript["user"].as_str().unwrap().contains("The order was shipped."), "{text}");
    assert!(transcript["answer"].as_str().is_some_and(|said| said.contains("summary")), "{text}");

    // An address that stays, for who is signed in: here, and on the site.
    let fresh = location(&app, id_of(key)).await;
    assert_eq!(opened(&app, &fresh).await, (200, text.clone()));
    let ask = async |tenant: &str, query: &str, token: &str| {
        let url = format!("{}/site/v1/{tenant}/artifacts{query}", app.public());
        let answer = reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let mine = format!("?id={}", id_of(key));
    let (status, answer) = ask("acme", &mine, &"t".repeat(40)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(opened(&app, answer["url"].as_str().unwrap()).await, (200, text));
    assert_eq!(ask("acme", &mine, "guessed").await.0, 401);
    assert_eq!(ask("acme", "?id=art_0193a7d4c1e87cc0a3f0c5d6e7f80912", &"t".repeat(40)).await.0, 404);
    assert_eq!(ask("acme", "?id=../x", &"t".repeat(40)).await.0, 400);
    let audit = app.get("/api/v1/audit?action=artifact.open").await;
    assert_eq!(audit["items"][0]["object"], id_of(key), "{audit}");

    // Retention: the event's time is over, then the object's, then the row's.
    let now = SystemClock.now().plus(Duration::from_secs(31 * 86_400));
    eventually("retention has nothing left", || async {
        let swept = app.records().sweep(&Retention::default(), now).await.unwrap();
        (swept.events + swept.payloads == 0).then_some(())
    })
    .await;
    assert_eq!(objects(&world, "transcripts"), 1, "first the rows say that its time is over");
    assert_eq!(app.artifacts().sweep(SystemClock.now()).await.unwrap().rows, 1);
    assert_eq!((objects(&world, "transcripts"), app.artifacts().sweep(SystemClock.now()).await.unwrap().rows), (0, 0));
    let (status, _) = opened(&app, &fresh).await;
    assert_eq!(status, 404, "a link to what is gone");
    let gone = app.request(reqwest::Method::GET, &format!("/api/v1/artifacts/{}", id_of(key))).send().await.unwrap();
    assert_eq!(gone.status(), 404);
    app.finish().await;
}

async fn a_payload_past_its_time_is_archived_first_and_a_subjects_erasure_takes_it_too(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    main_file(&world, "[artifacts]\ntranscripts = true\narchive = \"365d\"\n");
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    let jane = sender.send("e1", &completed("jane", 0)).await;
    let john = sender.send("e2", &completed("john", 1)).await;
    app.settled(jane.event()).await;
    app.settled(john.event()).await;
    let keep = Retention { archive: true, ..Retention::default() };
    let past_raw = SystemClock.now().plus(Duration::from_secs(15 * 86_400));
    let swept = app.records().sweep(&keep, past_raw).await.unwrap();
    assert_eq!((swept.payloads, swept.to_archive.len()), (0, 2), "what is not archived stays");
    let raw = async |event: &str| app.get(&format!("/api/v1/events/{event}")).await["raw"].clone();
    assert!(raw(jane.event()).await.is_string());
    assert_eq!(app.artifacts().archive(&swept.to_archive, Duration::from_secs(365 * 86_400)).await.unwrap(), 2);
    let swept = app.records().sweep(&keep, past_raw).await.unwrap();
    assert_eq!((swept.payloads, swept.to_archive.len()), (2, 0));
    assert_eq!((raw(jane.event()).await, objects(&world, "payloads")), (Value::Null, 2));

    // The events go; the archive stays, and is still the subject's.
    let past_events = SystemClock.now().plus(Duration::from_secs(31 * 86_400));
    app.records().sweep(&keep, past_events).await.unwrap();
    app.artifacts().sweep(SystemClock.now()).await.unwrap();
    assert_eq!((objects(&world, "payloads"), objects(&world, "transcripts")), (2, 0));
    let exported = sluice(world.folder.path(), &["subject", "export", "acme", "jane"]).await;
    let line: Value = serde_json::from_str(exported.stdout.lines().next().unwrap()).unwrap();
    assert!(line["artifact"]["key"].as_str().unwrap().starts_with("acme/payloads/"), "{exported:?}");
    let id = line["artifact"]["id"].as_str().unwrap().to_owned();
    let text = app.request(Method::GET, &format!("/api/v1/artifacts/{id}")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("\"jane\"") && text.contains("The order was shipped."), "{text}");
    let erase = ["subject", "erase", "acme", "jane", "--yes", "--json", "--reason", "she asked"];
    let done = sluice(world.folder.path(), &erase).await.json();
    assert_eq!((&done["matched"], &done["artifacts"]), (&json!(0), &json!(1)), "{done}");
    assert_eq!(objects(&world, "payloads"), 1, "her object is gone, his is not");
    let exported = sluice(world.folder.path(), &["subject", "export", "acme", "jane"]).await;
    assert_eq!(exported.stdout.lines().count(), 1, "{exported:?}");
    app.finish().await;
}

async fn a_gateway_archives_by_itself_what_is_past_its_time_and_removes_what_ended(engine: Engine) {
    const DAY: Duration = Duration::from_secs(86_400);
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    main_file(&world, "[artifacts]\ntranscripts = true\narchive = \"365d\"\n");
    let app = world.start().await;
    let sent = app.acme("chat", "generic").send("e1", &completed("jane", 0)).await;
    app.settled(sent.event()).await;
    app.finish().await;
    let path = format!("/api/v1/events/{}", sent.event());
    assert_eq!((objects(&world, "payloads"), objects(&world, "transcripts")), (0, 1));

    let app = App::start_later(&world.folder, 15 * DAY).await;
    eventually("the payload is archived", || async { app.get(&path).await["raw"].is_null().then_some(()) }).await;
    assert_eq!((objects(&world, "payloads"), objects(&world, "transcripts")), (1, 1));
    app.finish().await;
    let app = App::start_later(&world.folder, 31 * DAY).await;
    eventually("the event goes with its transcript", || async { (objects(&world, "transcripts") == 0).then_some(()) })
        .await;
    assert_eq!(objects(&world, "payloads"), 1, "the archive stays");
    app.finish().await;
    let app = App::start_later(&world.folder, (15 + 366) * DAY).await;
    eventually("the archive ends", || async { (objects(&world, "payloads") == 0).then_some(()) }).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_that_is_erased_early_takes_its_transcript_along() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    main_file(&world, "[artifacts]\ntranscripts = true\n");
    let app = world.start().await;
    let sent = app.acme("chat", "generic").send("e1", &completed("jane", 0)).await;
    app.settled(sent.event()).await;
    assert_eq!(objects(&world, "transcripts"), 1);
    let erase = ["subject", "erase", "acme", "jane", "--yes", "--json", "--reason", "x"];
    let done = sluice(world.folder.path(), &erase).await.json();
    assert_eq!((&done["erased"], &done["artifacts"]), (&json!(1), &json!(1)), "{done}");
    assert_eq!(objects(&world, "transcripts"), 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_do_not_go_keep_no_others_and_go_once_they_can() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let chat = app.acme("chat", "generic");
    let stuck = chat.send("e1", &completed("stuck", 0)).await;
    let free = chat.send("e2", &completed("free", 1)).await;
    app.settled(stuck.event()).await;
    app.settled(free.event()).await;
    let folder = world.folder.path().join("artifacts");
    let mut blocked = Vec::new();
    for _ in 0..8 {
        let id = app.artifact("acme", "chat", stuck.event()).await;
        let found = app.artifacts().find(&"acme".parse().unwrap(), id.parse().unwrap()).await.unwrap().unwrap();
        // A folder in the place of a file can be removed by nobody who removes files.
        let path = folder.join(found.key().to_string());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        blocked.push(path);
    }
    let id = app.artifact("acme", "chat", free.event()).await;
    let found = app.artifacts().find(&"acme".parse().unwrap(), id.parse().unwrap()).await.unwrap().unwrap();
    let file = folder.join(found.key().to_string());
    for subject in ["stuck", "free"] {
        let erase = ["subject", "erase", "acme", subject, "--yes", "--json", "--reason", "x"];
        let done = sluice(world.folder.path(), &erase).await;
        assert_eq!(done.status, 0, "{done:?}");
    }
    let later = || SystemClock.now().plus(Duration::from_secs(1));
    for _ in 0..3 {
        assert!(app.artifacts().sweep(later()).await.unwrap().failed.is_some());
    }
    assert!(!file.exists(), "it comes after them, and goes");
    for path in blocked {
        std::fs::remove_dir(path).unwrap();
    }
    let mut gone = 0;
    for _ in 0..3 {
        gone += app.artifacts().sweep(later()).await.unwrap().rows;
    }
    assert_eq!(gone, 8);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_that_is_away_loses_no_job_and_pays_no_model_twice() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    main_file(&world, "[artifacts]\ntranscripts = true\nstore = \"blocked/artifacts\"\n");
    world.write("blocked", "a file where a folder should be");
    let app = world.start().await;
    let sent = app.acme("chat", "generic").send("e1", &completed("s1", 0)).await;
    eventually("the job waits for the object store", || async {
        let job = &app.jobs_of(sent.event()).await[0];
        let told = job["last_error"].as_str()?.contains("artifacts:folder: the object store is unavailable");
        (told && job["state"] == "failed").then_some(())
    })
    .await;
    assert_eq!((world.llm.requests().len(), world.wordpress.posts().len()), (1, 0));
    std::fs::remove_file(world.folder.path().join("blocked")).unwrap();
    let job = app.settled(sent.event()).await.remove(0);
    assert_eq!(job["job"]["state"], "succeeded", "{job}");
    assert_eq!((world.llm.requests().len(), world.wordpress.posts().len()), (1, 1), "paid once, posted once");
    assert_eq!(callback(&world)["artifacts"].as_array().unwrap().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_callback_and_no_row_can_carry_is_kept_and_links_are_signed_anew_for_each_attempt() {
    let api = StandInApi::start().await.unwrap();
    let large = json!({ "items": vec!["a large reply, email jane@example.com"; 3000] });
    api.hold("/large", large.clone());
    let world = World::new("").await;
    main_file(&world, "");
    world.sources(&format!(
        r#"
[sources.chat]
vendor = "generic"
secrets = ["file:pay.secret"]
[[sources.chat.routes]]
name = "post"
action = "wordpress_publish"
title = "A title"
summary = "{{% for n in range(300) %}}{{{{ data.answer }}}} {{% endfor %}}"
[[sources.chat.routes]]
name = "call"
action = "http_call"
method = "GET"
url = "{}"
"#,
        api.url("/large")
    ));
    let app = world.start().await;
    world.wordpress.fail_always(Some(Fault::status(503)));
    let sent = app.acme("chat", "generic").send("e1", &completed("s1", 0)).await;
    // An attempt has told its link, and the next one has not begun or fails as well.
    let kept = eventually("an attempt failed", || checkpoint(&world, "post")).await;
    let link = callback(&world)["artifacts"][0]["url"].as_str().unwrap().to_owned();
    assert!(link.contains("&signature="), "{link}");
    world.wordpress.fail_always(None);
    let jobs = app.settled(sent.event()).await;
    let of = |route: &str| jobs.iter().find(|job| job["job"]["route"] == route).unwrap();
    assert!(jobs.iter().all(|job| job["job"]["state"] == "succeeded"), "{jobs:#?}");

    let told = callback(&world);
    assert!(told["summary"].as_str().unwrap().len() < 3000);
    let key = of("post")["result"]["artifacts"][0].as_str().unwrap();
    let (status, whole) = opened(&app, told["artifacts"][0]["url"].as_str().unwrap()).await;
    assert_eq!((status, whole), (200, ["The order was shipped."; 300].join(" ")));
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept, json!({ "artifacts": [key] }), "between two attempts: the key, no signature and no URL");
    let calls: Vec<Value> = callbacks(&world).into_iter().map(|told| told["artifacts"][0].clone()).collect();
    assert!(calls.len() >= 2, "{calls:?}");
    let all = |field: &str| calls.iter().map(|link| link[field].as_str().unwrap()).collect::<BTreeSet<_>>();
    assert_eq!(all("id").len(), 1, "kept once");
    assert_eq!(all("url").len(), calls.len(), "signed for each attempt");
    assert_eq!(objects(&world, "results"), 2, "{key}");

    let reply = &of("call")["result"]["reply"];
    assert_eq!(reply["omitted"], "too large");
    let (_, text) = opened(&app, &location(&app, id_of(reply["artifact"].as_str().unwrap())).await).await;
    let kept: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(kept["items"].as_array().unwrap().len(), 3000);
    assert!(!text.contains("jane@example.com"), "redacted as any reply");
    app.finish().await;
}
