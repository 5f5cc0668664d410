//! The admin listener: who may call it, what it tells, what it does.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};
use sluice::standins::Fault;

use crate::harness::{App, Folder, World, completed, eventually, series, summarising};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_asks_for_its_token_where_one_is_configured() {
    let folder = Folder::new();
    folder.secret("scrape.token", "the-token-of-the-scraper");
    let main = std::fs::read_to_string(folder.config()).unwrap();
    std::fs::write(folder.config(), main.replace("[admin]", "[admin]\nscrape_token = \"file:scrape.token\"")).unwrap();
    let app = App::start(&folder).await;
    let ask = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(ask(app.anonymous(Method::GET, "/metrics")).await, 401);
    assert_eq!(ask(app.anonymous(Method::GET, "/metrics").bearer_auth("the-token-of-the-scraper")).await, 200);
    assert_eq!(ask(app.request(Method::GET, "/metrics")).await, 200);
    assert_eq!(ask(app.anonymous(Method::GET, "/api/v1/jobs").bearer_auth("the-token-of-the-scraper")).await, 401);
    assert_eq!(ask(app.anonymous(Method::GET, "/healthz")).await, 200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_has_nothing_to_say_against_a_scrape() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.wordpress.fail_next(Fault::status(422));
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    for n in 0..2 {
        sender.send(&format!("e{n}"), &completed(&format!("t{n}"), n)).await;
    }
    sender.with_secret("a-guessed-secret-of-32-bytes-len").send("e2", &completed("t", 0)).await;
    app.quiet().await;
    let scrape = eventually("both attempts are counted", || async {
        let scrape = app.scrape().await;
        (series(&scrape, "sluice_lane_attempts_total", &["source=\"chat\""]) >= 2).then_some(scrape)
    })
    .await;
    // The first callback was refused for good, the second taken; both asked the model before.
    for (name, labels, count) in [
        ("sluice_outbound_requests_total", &["callee=\"llm:", "outcome=\"success\""][..], 2),
        ("sluice_outbound_requests_total", &["callee=\"wordpress:", "outcome=\"success\""], 1),
        ("sluice_outbound_requests_total", &["callee=\"wordpress:", "outcome=\"http_4xx\""], 1),
        ("sluice_outbound_request_duration_seconds_count", &["callee=\"wordpress:"], 2),
        ("sluice_llm_tokens_total", &["model=\"test-model\"", "direction=\"input\""], 200),
        ("sluice_llm_tokens_total", &["model=\"test-model\"", "direction=\"output\""], 100),
        ("sluice_jobs_enqueued_total", &["type=\"summarize_and_publish\""], 2),
        ("sluice_http_requests_total", &["method=\"POST\"", "code=\"200\"", "route=\"/webhooks/"], 2),
        ("sluice_http_requests_total", &["method=\"POST\"", "code=\"401\"", "route=\"/webhooks/"], 1),
        ("sluice_http_requests_in_flight", &["route=\"/webhooks/"], 0),
        ("sluice_lane_events_total", &["source=\"chat\""], 2),
        ("sluice_lane_refusals_total", &["source=\"chat\""], 1),
        ("sluice_db_query_duration_seconds_count", &["op=\"record\""], 2),
        ("sluice_db_query_duration_seconds_count", &["op=\"end\""], 2),
        ("sluice_db_errors_total", &[], 0),
    ] {
        assert_eq!(series(&scrape, name, labels), count, "{name} {labels:?}\n{scrape}");
    }
    let checked = tokio::task::spawn_blocking(move || promtool(&scrape)).await.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendors_new_and_missing_fields_are_told_with_their_version() {
    let invoices = summarising("pay", "stripe", "").replace("name = ", "event_types = [\"invoice.*\"]\nname = ");
    let world = World::new(&invoices).await;
    let app = world.start().await;
    let object = json!({
        "id": "in_1", "object": "invoice", "status": "paid", "currency": "eur", "amount_due": 1, "amount_paid": 1,
        "amount_remaining": 0, "created": 1_795_507_200, "unheard_of": true,
    });
    let event = json!({
        "id": "evt_1", "object": "event", "api_version": "2031-01-01", "created": 1_795_507_200, "livemode": false,
        "pending_webhooks": 1, "type": "invoice.paid", "data": { "object": object },
    });
    let answer = app.acme("pay", "stripe").send("evt_1", &event).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let drift = app.get("/api/v1/drift").await;
    let told: Vec<_> =
        drift.as_array().unwrap().iter().map(|row| (&row["kind"], &row["path"], &row["count"])).collect();
    let (missing, unknown) = (json!("missing"), json!("unknown"));
    let (customer, new) = (json!("/data/object/customer"), json!("/data/object/unheard_of"));
    assert_eq!(told, [(&missing, &customer, &json!(1)), (&unknown, &new, &json!(1))], "{drift:#}");
    for row in drift.as_array().unwrap() {
        let of = (&row["vendor"], &row["schema"], &row["api_version"]);
        assert_eq!(of, (&json!("stripe"), &json!("invoice"), &json!("2031-01-01")), "{row:#}");
    }
    assert_eq!(series(&app.scrape().await, "sluice_schema_drift_total", &["vendor=\"stripe\""]), 2);
    app.finish().await;
}

/// `promtool check metrics` of a scrape: its form, its names, its units, its help.
fn promtool(scrape: &str) -> std::process::Output {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts: it is in Debian's package `prometheus`, which `scripts/test` installs");
    child.stdin.take().expect("a pipe").write_all(scrape.as_bytes()).expect("promtool reads");
    child.wait_with_output().expect("promtool ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_tells_each_check() {
    let folder = Folder::new();
    let app = App::start(&folder).await;
    let ready = eventually("it is ready", || async {
        let answer = app.request(Method::GET, "/readyz").send().await.unwrap();
        let ready: Value = answer.json().await.unwrap();
        (ready["ready"] == true).then_some(ready)
    })
    .await;
    let names: Vec<&str> = ready["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["accepting", "store", "tree"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_is_told_and_not_done() {
    let folder = Folder::new();
    let app = App::start(&folder).await;
    let long = json!({ "reason": "x".repeat(70_000) });
    let cases = [
        ("POST", "/api/v1/dead-letters/replay", json!({ "per_second": 0 }), 400, "per_second"),
        ("POST", "/api/v1/dead-letters/replay", json!({ "filters": {} }), 400, "filters"),
        ("POST", "/api/v1/replay", json!({ "tenant": "a", "source": "b" }), 400, "route"),
        ("POST", "/api/v1/replay", json!({ "tenant": "a", "source": "b", "route": "c" }), 404, "source"),
        ("POST", "/api/v1/lanes/a/b/pause", json!({}), 404, "a/b"),
        ("POST", "/api/v1/lanes/a/b/pause", json!({ "why": "" }), 400, "why"),
        ("POST", "/api/v1/reload", long, 413, "bytes"),
        ("GET", "/api/v1/events?typ=x", Value::Null, 400, "typ"),
        ("GET", "/api/v1/jobs?limit=many", Value::Null, 400, "query"),
        ("GET", "/api/v1/jobs/job_1", Value::Null, 404, "no such"),
        ("GET", "/api/v1/dead-letters?reason=boredom", Value::Null, 400, "boredom"),
    ];
    for (method, path, body, status, word) in cases {
        let answer = app.request(method.parse().unwrap(), path).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["ok"], false);
        assert!(answer["message"].as_str().unwrap().contains(word), "{method} {path}: {answer}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_listed_and_comes_back_when_it_is_replayed() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.wordpress.fail_next(Fault::status(422));
    let app = world.start().await;
    let answer = app.acme("chat", "generic").send("e1", &completed("t", 0)).await;
    let job = app.settled(answer.event()).await.remove(0);
    assert_eq!((&job["job"]["state"], &job["dead_letter"]["reason"]), (&json!("deadletter"), &json!("rejected")));
    let id = job["job"]["id"].as_str().unwrap();

    let listed = app.get("/api/v1/dead-letters?tenant=acme&reason=rejected&limit=10").await;
    assert_eq!(listed["items"][0]["job"]["id"], id, "{listed:#}");
    assert_eq!(app.get("/api/v1/dead-letters?tenant=other").await["items"], json!([]));
    let ask = |dry_run: bool| json!({ "filter": { "job": id }, "dry_run": dry_run, "per_second": 100 });
    let (status, dry) = app.post("/api/v1/dead-letters/replay", &ask(true)).await;
    assert_eq!((status, dry), (200, json!({ "matched": 1, "replayed_in_background": false })));
    assert_eq!(app.jobs("state=deadletter").await.len(), 1);
    let (status, done) = app.post("/api/v1/dead-letters/replay", &ask(false)).await;
    assert_eq!((status, done), (200, json!({ "matched": 1, "replayed_in_background": true })));
    eventually("the replayed job succeeds", || async {
        let job = app.get(&format!("/api/v1/jobs/{id}")).await;
        (job["job"]["state"] == "succeeded").then_some(())
    })
    .await;
    assert_eq!(world.llm.chats().len(), 1, "what was paid for is not paid again");
    let scrape = app.scrape().await;
    assert_eq!(series(&scrape, "sluice_dead_letters_total", &["reason=\"rejected\""]), 1);
    assert_eq!(series(&scrape, "sluice_dead_letter_replays_total", &[]), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_can_be_cancelled_and_one_that_is_over_cannot() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    app.post("/api/v1/lanes/acme/chat/pause", &json!({ "reason": "a test" })).await;
    let answer = app.acme("chat", "generic").send("e1", &completed("t", 0)).await;
    let id = app.jobs_of(answer.event()).await[0]["id"].as_str().unwrap().to_owned();
    let cancel = format!("/api/v1/jobs/{id}/cancel");
    let (status, _) = app.post(&cancel, &json!({ "reason": "sent by mistake" })).await;
    assert_eq!(status, 200);
    assert_eq!(app.get(&format!("/api/v1/jobs/{id}")).await["job"]["state"], "cancelled");
    let (status, again) = app.post(&cancel, &json!({})).await;
    assert_eq!((status, &again["error"]), (409, &json!("conflict")), "{again}");
    app.post("/api/v1/lanes/acme/chat/resume", &json!({})).await;
    app.quiet().await;
    assert_eq!(world.llm.requests().len(), 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_are_listed_worst_first_also_those_that_are_asleep() {
    let sources = summarising("chat", "generic", "") + &summarising("pay", "generic", "");
    let world = World::new(&sources).await;
    let app = world.start().await;
    app.post("/api/v1/lanes/acme/pay/pause", &json!({})).await;
    let lanes = app.get("/api/v1/lanes").await;
    let names: Vec<&str> =
        lanes["items"].as_array().unwrap().iter().map(|l| l["lane"]["source"].as_str().unwrap()).collect();
    assert_eq!(names, ["pay", "chat"], "{lanes:#}");
    assert_eq!(lanes["items"][0]["snapshot"]["status"], "paused");
    assert_eq!(lanes["items"][1]["vendor"], "generic");
    app.finish().await;
}
