//! The whole way: a signed delivery on a real socket, a real file, stand-ins for who is called.

use std::time::Duration;

use serde_json::{Value, json};
use sluice::{clock::SystemClock, standins::Fault};
use sluice_actors::ports::Clock;

use crate::harness::{
    Answer, App, Engine, LLM_KEY, Process, SECRET, Sender, World, completed, eventually, on_both_engines, series,
    sluice as run_sluice, summarising,
};

on_both_engines! {
    a_generic_event_becomes_a_summary_and_a_post
    a_stripe_event_becomes_a_summary_and_a_post
    a_delivery_sent_again_is_answered_as_the_first_and_has_no_second_effect
    an_update_that_comes_late_does_not_undo_a_newer_one
    what_does_not_verify_is_refused_alike_and_stores_no_event
    what_does_not_fit_its_schema_is_kept_and_runs_once_a_person_releases_it
    an_event_without_a_route_waits_for_one
    what_was_acknowledged_runs_in_the_next_life
}

async fn a_generic_event_becomes_a_summary_and_a_post(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let answer = app.acme("chat", "generic").send("e1", &completed("thread_1", 0)).await;
    assert_eq!((answer.status, answer.is_duplicate()), (200, false), "{answer:?}");
    one_post(&world, &app, &answer, "assistant.completed").await;
    app.finish().await;
}

async fn a_stripe_event_becomes_a_summary_and_a_post(engine: Engine) {
    let source = summarising("pay", "stripe", "").replace("name = ", "event_types = [\"invoice.*\"]\nname = ");
    let world = World::on(engine, &source).await;
    let app = world.start().await;
    let answer = app.acme("pay", "stripe").sample("1NG8Du2eZvKYlo2C").await;
    assert_eq!((answer.status, answer.is_duplicate()), (200, false), "{answer:?}");
    one_post(&world, &app, &answer, "invoice.paid").await;
    app.finish().await;
}

/// The event's one job succeeded, asked the model once and made the one post.
async fn one_post(world: &World, app: &App, answer: &Answer, event_type: &str) {
    let jobs = app.settled(answer.event()).await;
    let [job] = jobs.as_slice() else { panic!("one route, one job: {jobs:#?}") };
    assert_eq!(job["job"]["state"], "succeeded", "{job:#}");
    let posts = world.wordpress.posts();
    let [post] = posts.as_slice() else { panic!("one post: {posts:#?}") };
    assert_eq!(job["result"]["post_id"], post.id);
    assert_eq!(job["job"]["id"], Value::from(post.job_id.as_str()));
    assert!(post.title.contains(event_type), "{post:?}");
    assert_eq!(world.llm.chats().len(), 1);
    // One trace from the delivery to the callback.
    let event = app.get(&format!("/api/v1/events/{}", answer.event())).await;
    let callback: Value = serde_json::from_slice(&world.wordpress.requests()[0].body).unwrap();
    assert_eq!(callback["trace_id"], event["event"]["trace_id"]);
    assert_eq!(job["job"]["trace_id"], event["event"]["trace_id"]);
}

async fn a_delivery_sent_again_is_answered_as_the_first_and_has_no_second_effect(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    let body = completed("thread_1", 0);
    let copies: Vec<_> = (0..20)
        .map(|_| {
            let (sender, body) = (sender.clone(), body.clone());
            tokio::spawn(async move { sender.send("e1", &body).await })
        })
        .collect();
    let mut answers = Vec::new();
    for copy in copies {
        answers.push(copy.await.unwrap());
    }
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| !answer.is_duplicate()).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.event() == answers[0].event()), "{answers:?}");

    app.settled(answers[0].event()).await;
    let late = sender.send("e1", &body).await;
    assert!(late.is_duplicate() && late.event() == answers[0].event(), "{late:?}");
    app.quiet().await;
    assert_eq!(world.llm.chats().len(), 1);
    assert_eq!(world.wordpress.effects().into_values().collect::<Vec<_>>(), [1]);
    assert_eq!(series(&app.scrape().await, "sluice_webhook_events_total", &["outcome=\"duplicate\""]), 20);
    app.finish().await;
}

async fn an_update_that_comes_late_does_not_undo_a_newer_one(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    let newer = sender.send("e2", &completed("thread_1", 60)).await;
    let newer_jobs = app.settled(newer.event()).await;
    let older = sender.send("e1", &completed("thread_1", 0)).await;
    let other = sender.send("e3", &completed("thread_2", 0)).await;
    assert_eq!((older.status, older.is_duplicate()), (200, false));
    assert_eq!(app.settled(older.event()).await[0]["job"]["state"], "superseded");
    assert_eq!(app.settled(other.event()).await[0]["job"]["state"], "succeeded");
    let posts = world.wordpress.posts();
    assert_eq!(posts.len(), 2, "one for each subject: {posts:#?}");
    assert!(posts.iter().any(|post| newer_jobs[0]["job"]["id"] == post.job_id.as_str()), "{posts:#?}");
    app.finish().await;
}

async fn what_does_not_verify_is_refused_alike_and_stores_no_event(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    let body = completed("thread_1", 0);
    let forged = sender.with_secret("a-guessed-secret-of-32-bytes-len").send("e1", &body).await;
    let ten_minutes_ago = SystemClock.now().minus(Duration::from_mins(10));
    let stale = sender.send_at(ten_minutes_ago, "e1", &body).await.unwrap();
    let nowhere = app.sender("acme", "nowhere", "generic", SECRET).send("e1", &body).await;
    let nobody = app.sender("nobody", "chat", "generic", SECRET).send("e1", &body).await;
    for answer in [&forged, &stale, &nowhere, &nobody] {
        assert_eq!((answer.status, &answer.body), (401, &forged.body), "{answer:?}");
    }
    assert_eq!(app.get("/api/v1/events").await["items"], json!([]));
    // They are written after their answers, in whatever order.
    let mut reasons: Vec<String> = eventually("both refusals are kept", || async {
        let kept = app.get("/api/v1/refusals?tenant=acme&source=chat").await;
        let reasons: Vec<_> = kept.as_array()?.iter().map(|row| row["reason"].as_str().unwrap().to_owned()).collect();
        (reasons.len() == 2).then_some(reasons)
    })
    .await;
    reasons.sort();
    assert_eq!(reasons, ["bad_signature", "stale_timestamp"]);
    let scrape = app.scrape().await;
    let refused = |vendor: &str, reason: &str| {
        series(&scrape, "sluice_webhook_rejections_total", &[&format!("{{reason=\"{reason}\",vendor=\"{vendor}\"}}")])
    };
    assert_eq!(refused("generic", "bad_signature"), 1);
    assert_eq!(refused("generic", "stale_timestamp"), 1);
    assert_eq!(refused("unknown", "unknown_endpoint"), 2);
    app.finish().await;
}

async fn what_does_not_fit_its_schema_is_kept_and_runs_once_a_person_releases_it(engine: Engine) {
    let source = summarising("chat", "generic", "schemas = [{ types = \"assistant.*\", file = \"schema.json\" }]");
    let world = World::on(engine, "").await;
    world.write("schema.json", r#"{ "required": ["answer"], "properties": { "answer": { "type": "string" } } }"#);
    world.sources(&source);
    let app = world.start().await;
    let mut body = completed("thread_1", 0);
    body["data"]["answer"] = json!(42);
    let answer = app.acme("chat", "generic").send("e1", &body).await;
    assert_eq!((answer.status, &answer.body["quarantined"]), (200, &json!(true)), "{answer:?}");
    let path = format!("/api/v1/events/{}", answer.event());
    let event = app.get(&path).await;
    assert_eq!((&event["event"]["status"], &event["jobs"]), (&json!("quarantined"), &json!([])), "{event:#}");
    assert!(event["quarantine_reason"].as_str().unwrap().starts_with("/answer"), "{event:#}");

    let (status, released) = app.post(&format!("{path}/release"), &json!({ "reason": "looks fine" })).await;
    assert_eq!((status, &released["jobs"]), (200, &json!(1)), "{released}");
    assert_eq!(app.settled(answer.event()).await[0]["job"]["state"], "succeeded");
    assert_eq!(app.get(&path).await["event"]["status"], "released");
    let (status, again) = app.post(&format!("{path}/release"), &json!({})).await;
    assert_eq!((status, &again["error"]), (409, &json!("conflict")), "{again}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_takes_both_secrets_until_the_old_one_is_gone() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.folder.secret("new.secret", "the-new-secret-of-32-bytes-lengt");
    let app = world.start().await;
    let old = app.acme("chat", "generic");
    let new = old.with_secret("the-new-secret-of-32-bytes-lengt");
    assert_eq!(new.send("e0", &completed("t", 0)).await.status, 401);

    let secrets = |list: &str| summarising("chat", "generic", "").replace("[\"file:pay.secret\"]", list);
    world.sources(&secrets(r#"["file:new.secret", { ref = "file:pay.secret", not_after = "2100-01-01T00:00:00Z" }]"#));
    app.reload().await;
    assert_eq!(old.send("e1", &completed("t1", 0)).await.status, 200);
    assert_eq!(new.send("e2", &completed("t2", 0)).await.status, 200);
    let scrape = app.scrape().await;
    for generation in ["current", "previous"] {
        let label = format!("secret=\"{generation}\"");
        assert_eq!(series(&scrape, "sluice_webhook_signatures_total", &[&label]), 1, "{generation}");
    }

    world.sources(&secrets(r#"["file:new.secret", { ref = "file:pay.secret", not_after = "2026-01-01T00:00:00Z" }]"#));
    app.reload().await;
    assert_eq!(old.send("e3", &completed("t3", 0)).await.status, 401, "past its end");
    assert_eq!(new.send("e4", &completed("t4", 0)).await.status, 200);
    app.finish().await;
}

async fn an_event_without_a_route_waits_for_one(engine: Engine) {
    let source = summarising("chat", "generic", "");
    let world =
        World::on(engine, &source.replace("name = \"summary\"", "name = \"summary\"\nevent_types = [\"run.*\"]")).await;
    let app = world.start().await;
    let answer = app.acme("chat", "generic").send("e1", &completed("thread_1", 0)).await;
    assert_eq!(answer.status, 200);
    let path = format!("/api/v1/events/{}", answer.event());
    assert_eq!(app.get(&path).await["event"]["status"], "unrouted");

    world.sources(&source);
    app.reload().await;
    let ask = |dry_run: bool| json!({ "tenant": "acme", "source": "chat", "route": "summary", "dry_run": dry_run });
    assert_eq!(app.post("/api/v1/replay", &ask(true)).await, (200, json!({ "matched": 1, "new_jobs": 1 })));
    assert_eq!(app.post("/api/v1/replay", &ask(false)).await, (200, json!({ "matched": 1, "new_jobs": 1 })));
    assert_eq!(app.settled(answer.event()).await[0]["job"]["state"], "succeeded");
    assert_eq!(app.post("/api/v1/replay", &ask(false)).await, (200, json!({ "matched": 1, "new_jobs": 0 })));
    // In steps, from where the one before says.
    for n in 2..=5 {
        app.settled(app.acme("chat", "generic").send(&format!("e{n}"), &completed("more", n)).await.event()).await;
    }
    let (mut matched, mut steps, mut ask) = (0, 0, ask(true));
    ask["step"] = json!(2);
    loop {
        let (status, step) = app.post("/api/v1/replay", &ask).await;
        assert_eq!(status, 200, "{step}");
        (matched, steps) = (matched + step["matched"].as_u64().unwrap(), steps + 1);
        let Some(next) = step["next"].as_str() else { break };
        ask["filter"] = json!({ "cursor": next });
        assert!(steps < 10, "{step}");
    }
    assert_eq!((matched, steps), (5, 3));
    let told = run_sluice(world.folder.path(), &["replay", "acme/chat", "summary", "--dry-run", "--json"]).await.json();
    assert_eq!(told, json!({ "matched": 5, "new_jobs": 0 }));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_of_one_tenant_never_leave_for_the_job_of_another() {
    let acme = World::new(&summarising("chat", "generic", "")).await;
    let other = World::new("").await;
    // The second tenant lives in the first one's folder, with a model, a key and a site of its own.
    acme.folder.secret("other-llm.key", "sk-the-key-of-other");
    acme.folder.secret("other.secret", "the-secret-of-other-32-bytes-len");
    acme.folder.signing_key("other-wordpress.pem");
    let other_llm = sluice::standins::StandInLlm::start("sk-the-key-of-other").await.unwrap();
    let source = summarising("chat", "generic", "").replace("pay.secret", "other.secret");
    acme.folder.tenant(
        "other",
        &format!(
            "[llm]\nbase_url = \"{}\"\nmodel = \"m\"\napi_key = \"file:other-llm.key\"\n[wordpress]\nsite = \"{}\"\n\
             site_uuid = \"8f14e45f-ceea-467f-a3c0-5a0d9f0c2b11\"\nsigning_key = \"file:other-wordpress.pem\"\n{source}",
            other_llm.base_url(),
            other.wordpress.site(),
        ),
    );
    let app = acme.start().await;
    other.trust(&app.public()).await;
    let theirs = app.sender("other", "chat", "generic", "the-secret-of-other-32-bytes-len");
    let ours = app.acme("chat", "generic");
    assert_eq!(ours.with_secret("the-secret-of-other-32-bytes-len").send("x", &completed("t", 0)).await.status, 401);
    for n in 0..10 {
        assert_eq!(ours.send(&format!("a{n}"), &completed(&format!("ours-{n}"), n)).await.status, 200);
        assert_eq!(theirs.send(&format!("b{n}"), &completed(&format!("theirs-{n}"), n)).await.status, 200);
    }
    app.quiet().await;
    assert_eq!((acme.llm.chats().len(), other_llm.chats().len()), (10, 10));
    assert!(acme.llm.requests().iter().all(|seen| seen.header("authorization") == "Bearer sk-test-llm-key"));
    assert!(other_llm.requests().iter().all(|seen| seen.header("authorization") == "Bearer sk-the-key-of-other"));
    for (world, tenant) in [(&acme, "acme"), (&other, "other")] {
        assert_eq!(world.wordpress.posts().len(), 10);
        for seen in world.wordpress.requests() {
            let callback: Value = serde_json::from_slice(&seen.body).unwrap();
            assert_eq!(callback["tenant"], tenant);
        }
    }
    app.finish().await;
}

/// A source whose breaker opens after two failures.
const QUICK_BREAKER: &str =
    "[sources.chat.limits]\nbreaker = { failures = 2, min_calls = 2, window = \"60s\", cooldown = \"1s\" }\n";

fn quick_breaker() -> String {
    summarising("chat", "generic", "").replace("[[sources", &format!("{QUICK_BREAKER}[[sources"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_shows_a_lanes_breaker_open_half_open_and_closed_again() {
    let world = World::new(&quick_breaker()).await;
    world.llm.fail_always(Some(Fault::status(503)));
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    for n in 0..4 {
        assert_eq!(sender.send(&format!("e{n}"), &completed(&format!("t{n}"), n)).await.status, 200);
    }
    let shown = async |state: &str| {
        let label = format!("state=\"{state}\"");
        eventually(&format!("the breaker is {state}"), || async {
            let scrape = app.scrape().await;
            let of_lane = ["tenant=\"acme\"", "source=\"chat\"", "vendor=\"generic\"", "callee=\"llm:", &label];
            (series(&scrape, "sluice_lane_breaker_state", &of_lane) == 1).then_some(scrape)
        })
        .await
    };
    let scrape = shown("open").await;
    assert!(series(&scrape, "sluice_lane_breaker_opens_total", &["source=\"chat\""]) >= 1);

    // The next probe gets no answer, so the breaker stays half open for as long as it is under way.
    world.llm.fail_always(Some(Fault::Hang));
    let scrape = shown("half_open").await;
    assert_eq!(series(&scrape, "sluice_lane_in_flight", &["source=\"chat\""]), 1, "one probe");
    world.llm.fail_always(None);
    shown("closed").await;
    app.quiet().await;
    assert_eq!(world.wordpress.posts().len(), 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_acknowledged_while_all_callees_hang() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.llm.fail_always(Some(Fault::Hang));
    world.wordpress.fail_always(Some(Fault::Hang));
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    for n in 0..50 {
        let sent = sender.send(&format!("e{n}"), &completed(&format!("t{n}"), n)).await;
        assert_eq!(sent.status, 200, "{sent:?}");
    }
    let scrape = app.scrape().await;
    assert_eq!(series(&scrape, "sluice_webhook_events_total", &["outcome=\"accepted\""]), 50);
    let in_flight = series(&scrape, "sluice_lane_in_flight", &["source=\"chat\""]);
    assert!((1..=4).contains(&in_flight), "the lane's own cap: {in_flight}");
    let slow = series(&scrape, "sluice_webhook_ack_duration_seconds_count", &[])
        - series(&scrape, "sluice_webhook_ack_duration_seconds_bucket", &["le=\"2.5\""]);
    assert_eq!(slow, 0, "answers that took longer than 2.5 s");
    world.llm.fail_always(None);
    world.wordpress.fail_always(None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_leaves_the_running_configuration_in_force_and_says_so() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    world.sources("[sources.chat]\nvendor = \"strype\"\n");
    let (status, refused) = app.post("/api/v1/reload", &json!({})).await;
    assert_eq!(status, 409);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("acme.toml") && message.contains("sources.chat.vendor"), "{message}");
    assert_eq!(series(&app.scrape().await, "sluice_config_last_reload_successful", &[]), 0);
    let answer = sender.send("e1", &completed("t", 0)).await;
    assert_eq!(app.settled(answer.event()).await[0]["job"]["state"], "succeeded");

    world.sources(&summarising("chat", "generic", "enabled = false"));
    app.reload().await;
    assert_eq!(series(&app.scrape().await, "sluice_config_last_reload_successful", &[]), 1);
    assert_eq!(sender.send("e2", &completed("t", 1)).await.status, 401, "switched off");
    app.finish().await;
}

async fn what_was_acknowledged_runs_in_the_next_life(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let sender: Sender = app.acme("chat", "generic");
    let (status, _) = app.post("/api/v1/lanes/acme/chat/pause", &json!({ "reason": "test" })).await;
    assert_eq!(status, 200);
    let answer = sender.send("e1", &completed("t", 0)).await;
    let report = app.stop().await;
    assert_eq!(report.jobs.released, []);

    let app = world.start().await;
    let lanes = app.get("/api/v1/lanes").await;
    assert_eq!(lanes["items"][0]["snapshot"]["status"], "paused", "a pause survives: {lanes:#}");
    assert!(sender.at(&app.public()).send("e1", &completed("t", 0)).await.is_duplicate());
    let (status, _) = app.post("/api/v1/lanes/acme/chat/resume", &json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(app.settled(answer.event()).await[0]["job"]["state"], "succeeded");
    app.finish().await;
}

/// Personal data and secrets that no table, log line or prompt may show.
const PLANTED: [&str; 8] = [
    "jane.roe@private.example",
    "4111 1111 1111 1111",
    "DE89370400440532013000",
    "+49 170 1234567",
    "sk-proj-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a",
    "AKIAIOSFODNN7EXAMPLE",
    "hunter2-the-password",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_run_logs_json_lines_with_the_named_fields_and_shows_no_planted_data() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.wordpress.fail_next(Fault::status(503));
    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    let mut body = completed("thread_1", 0);
    body["data"] = json!({
        "answer": format!("Write to {} or call {}; pay by {} or {}.", PLANTED[0], PLANTED[3], PLANTED[1], PLANTED[2]),
        "notes": [format!("the key is {}", PLANTED[4]), format!("and {}", PLANTED[5]), PLANTED[7]],
        "password": PLANTED[6],
    });
    let answer = sender.send("e1", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let forged = sender.with_secret("a-guessed-secret-of-32-bytes-len").send("e2", &body).await;
    assert_eq!(forged.status, 401);
    let event = answer.event().to_owned();
    eventually("the job succeeds at its second attempt", || async {
        let event = process.get(&format!("/api/v1/events/{event}")).await;
        (event["jobs"][0]["state"] == "succeeded").then_some(())
    })
    .await;
    eventually("the refusal is kept", || async {
        let kept = process.get("/api/v1/refusals").await;
        (kept.as_array().is_some_and(|rows| rows.len() == 1)).then_some(())
    })
    .await;
    let token = process.runtime.token.clone();
    process.terminate();
    let (status, lines) = process.ended().await;
    assert!(status.success(), "{status}");

    let parsed: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    for line in &parsed {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "no {field} in {line}");
        }
        assert!(line.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array()), "{line}");
    }
    let of_job: Vec<&Value> =
        parsed.iter().filter(|line| line["duration_ms"].is_u64() && line["job_id"].is_string()).collect();
    let ways: Vec<&str> = of_job.iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(ways, ["failed", "succeeded"], "{of_job:#?}");
    let recorded = parsed.iter().find(|line| line["message"] == "event recorded").expect("a line for the delivery");
    for line in of_job.iter().copied().chain([recorded]) {
        for field in ["event_id", "tenant", "vendor", "state", "trace_id"] {
            assert!(line[field].is_string(), "no {field} in {line}");
        }
        assert_eq!((&line["event_id"], &line["trace_id"]), (&json!(event), &recorded["trace_id"]), "{line}");
    }

    let prompts: String =
        world.llm.requests().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    let callbacks: String =
        world.wordpress.requests().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    let mut places =
        vec![("log".to_owned(), lines.join("\n")), ("prompt".to_owned(), prompts), ("callback".to_owned(), callbacks)];
    for (path, bytes) in world.folder.stored_bytes() {
        places.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    assert!(places.len() > 3, "the database is among them");
    for (place, text) in &places {
        for planted in PLANTED.into_iter().chain([SECRET, LLM_KEY, token.as_str()]) {
            assert!(!text.contains(planted), "`{planted}` is in the {place}");
        }
    }
    // The test can fail: what is not planted is there.
    assert!(places.iter().filter(|(_, text)| text.contains("thread_1")).count() >= 3);
}
