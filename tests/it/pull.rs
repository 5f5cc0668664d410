//! A WordPress site that asks by itself: `/site/v1/{tenant}/…` with the tenant's `site_token`.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{App, SECRET, World, completed, eventually, summarising},
    sites::{OTHER_SECRET, audited, dead},
};

const TOKEN: &str = "the-token-of-the-site-of-acme-0123456789";
const OTHER_TOKEN: &str = "the-token-of-the-site-of-other-0123456789";

/// `acme`, whose site may ask and trusts no key of the gateway: what the gateway pushes is refused. And
/// `other`, as it should be.
async fn unreachable() -> (World, App) {
    let world = World::new("").await;
    world.folder.secret("acme.token", TOKEN);
    world.sources(&format!("site_token = \"file:acme.token\"\n{}", summarising("chat", "generic", "")));
    world.folder.secret("other.secret", OTHER_SECRET);
    world.folder.secret("other.token", OTHER_TOKEN);
    world.folder.secret("other-llm.key", "sk-other-llm-key");
    world.folder.signing_key("other-wordpress.pem");
    let other = format!(
        "[llm]\nbase_url = \"{}\"\nmodel = \"test-model\"\napi_key = \"file:other-llm.key\"\n\
         [wordpress]\nsite = \"{}\"\nsite_uuid = \"00000000-0000-4000-8000-000000000000\"\n\
         signing_key = \"file:other-wordpress.pem\"\nsite_token = \"file:other.token\"\n{}",
        world.llm.base_url(),
        world.wordpress.site(),
        summarising("chat", "generic", "").replace("pay.secret", "other.secret"),
    );
    world.folder.tenant("other", &other);
    let app = App::start(&world.folder).await;
    (world, app)
}

async fn ask(app: &App, method: Method, path: &str, token: &str, body: Option<Value>) -> (StatusCode, String) {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let mut request = client.request(method, format!("{}/site/v1/{path}", app.public()));
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn read(app: &App, path: &str) -> Value {
    let (status, body) = ask(app, Method::GET, path, TOKEN, None).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn request(app: &App, requests: Value) -> (StatusCode, Value) {
    let body = json!({ "schema_version": 1, "requests": requests });
    let (status, body) = ask(app, Method::POST, "acme/requests", TOKEN, Some(body)).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_token_hears_the_same_and_ten_of_them_make_an_address_wait() {
    let (_world, app) = unreachable().await;
    let mut heard = BTreeSet::new();
    for (method, path) in [(Method::GET, "acme/keys"), (Method::GET, "acme/jobs"), (Method::POST, "acme/requests")] {
        for token in ["", OTHER_TOKEN, &TOKEN[1..]] {
            heard.insert(ask(&app, method.clone(), path, token, None).await);
        }
    }
    heard.insert(ask(&app, Method::GET, "nobody/jobs", TOKEN, None).await);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard.first().unwrap().0, 401);
    let (status, _) = ask(&app, Method::GET, "acme/keys", TOKEN, None).await;
    assert_eq!(status, 429, "the right token, after ten wrong ones");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_cannot_be_reached_sees_its_jobs_and_no_payload_and_nobody_elses() {
    let (world, app) = unreachable().await;
    let (mine, theirs) = (dead(&world, &app, "acme", SECRET).await, dead(&world, &app, "other", OTHER_SECRET).await);
    assert!(world.wordpress.states().is_empty(), "nothing could be pushed");
    let jobs = read(&app, &format!("acme/jobs?ids={mine},{theirs}")).await;
    let rows = jobs["jobs"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{jobs:#}");
    assert_eq!((&rows[0]["job_id"], &rows[0]["state"]), (&json!(mine), &json!("deadletter")));
    let told: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    let allowed = ["attempts", "job_id", "last_error", "next_run_at", "route", "source", "state", "type", "updated_at"];
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), allowed.into());

    let keys = read(&app, "acme/keys").await;
    let all: Value =
        reqwest::get(format!("{}/.well-known/jwks.json", app.public())).await.unwrap().json().await.unwrap();
    assert_eq!((keys["keys"].as_array().unwrap().len(), all["keys"].as_array().unwrap().len()), (1, 2));

    for path in ["acme/jobs?ids=x", "acme/jobs?since=1", "acme/jobs?ids="] {
        assert_eq!(ask(&app, Method::GET, path, TOKEN, None).await.0, 400, "{path}");
    }
    assert_eq!(ask(&app, Method::POST, "acme/jobs", TOKEN, None).await.0, 405);
    assert_eq!(ask(&app, Method::GET, "acme/requests", TOKEN, None).await.0, 405);
    let many: Vec<Value> = (1..=21).map(|id| json!({ "id": id, "kind": "retry", "job_id": mine })).collect();
    for body in
        [json!({}), json!({ "schema_version": 2, "requests": [] }), json!({ "schema_version": 1, "requests": many })]
    {
        assert_eq!(ask(&app, Method::POST, "acme/requests", TOKEN, Some(body)).await.0, 400);
    }
    let long = json!({ "schema_version": 1, "requests": [], "x": "y".repeat(20_000) });
    assert_eq!(ask(&app, Method::POST, "acme/requests", TOKEN, Some(long)).await.0, 413);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_editors_of_such_a_site_ask_for_is_done_for_their_tenant_alone() {
    let (world, app) = unreachable().await;
    let (mine, theirs) = (dead(&world, &app, "acme", SECRET).await, dead(&world, &app, "other", OTHER_SECRET).await);
    let asked = json!([
        { "id": 1, "kind": "dismiss", "job_id": mine },
        { "id": 2, "kind": "retry", "job_id": theirs },
        { "id": 3, "kind": "retry", "job_id": mine },
        { "id": 4, "kind": "dance" },
    ]);
    let (status, answer) = request(&app, asked).await;
    let outcome = |id: u64, outcome: &str| json!({ "id": id, "outcome": outcome });
    let expected = json!([outcome(1, "done"), outcome(2, "refused"), outcome(3, "done"), outcome(4, "refused")]);
    assert_eq!((status.as_u16(), &answer["answers"]), (200, &expected), "{answer:#}");
    eventually("the job is tried again", || async {
        let job = app.get(&format!("/api/v1/jobs/{mine}")).await;
        (job["job"]["state"] != "deadletter").then_some(())
    })
    .await;
    let line = |action: &str| ("site of acme".to_owned(), action.to_owned());
    assert_eq!(audited(&world.folder, &mine).await, [line("dead.dismiss"), line("dead.replay")]);
    assert_eq!(audited(&world.folder, &theirs).await, []);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_test_that_a_site_asks_for_says_whether_the_gateway_reaches_it() {
    let (world, app) = unreachable().await;
    let asked = json!([{ "id": 7, "kind": "self_test" }]);
    assert_eq!(request(&app, asked.clone()).await.1["answers"], json!([]), "it runs by itself");
    eventually("the failure is told", || async {
        let answers = request(&app, asked.clone()).await.1["answers"].clone();
        (answers == json!([{ "id": 7, "outcome": "refused" }])).then_some(())
    })
    .await;
    world.trust(&app.public()).await;
    let asked = json!([{ "id": 8, "kind": "self_test" }]);
    assert_eq!(request(&app, asked).await.1["answers"], json!([]));
    eventually("the site was called", || async { world.wordpress.answers().get(&8).cloned() }).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_is_among_what_a_site_sees() {
    let (_world, app) = unreachable().await;
    let pause = json!({ "reason": "a test" });
    assert_eq!(app.post("/api/v1/lanes/acme/chat/pause", &pause).await.0, 200);
    app.acme("chat", "generic").send("waits", &completed("thread_1", 0)).await;
    let jobs = read(&app, "acme/jobs").await;
    assert_eq!(jobs["jobs"][0]["state"], "pending", "{jobs:#}");
    app.stop().await;
}
