//! What the console asks for besides lists: traffic, previews of prompts, sources to be, accounts.

use reqwest::Method;
use serde_json::{Value, json};

use super::sessions::{PASSWORD, sign_in};
use crate::harness::{App, Engine, World, completed, eventually, on_both_engines, summarising};

on_both_engines! {
    traffic_is_told_by_tenant_and_outlives_a_restart
    a_preview_asks_the_model_and_keeps_nothing
    a_secret_tells_how_often_it_verified
    who_is_disabled_is_out_until_they_are_enabled
    a_password_is_changed_by_who_knows_the_old_one
    a_token_tells_when_it_was_presented
}

async fn token(app: &App, role: &str, tenants: Value) -> String {
    let ask = json!({ "name": format!("{role}-token"), "role": role, "tenants": tenants });
    let (status, made) = app.post("/api/v1/tokens", &ask).await;
    assert_eq!(status, 200, "{made}");
    made["secret"].as_str().unwrap().to_owned()
}

async fn get_as(app: &App, token: &str, path: &str) -> Value {
    app.anonymous(Method::GET, path).bearer_auth(token).send().await.unwrap().json().await.unwrap()
}

/// Sums of all points.
fn sums(traffic: &Value) -> [u64; 3] {
    let points = traffic["points"].as_array().unwrap();
    ["events", "refused", "succeeded"].map(|name| points.iter().map(|point| point[name].as_u64().unwrap()).sum())
}

async fn traffic_is_told_by_tenant_and_outlives_a_restart(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    world.folder.secret("bravo.secret", "another-test-secret-of-32-bytes-");
    let bravo = "[sources.leads]\nvendor = \"generic\"\nsecrets = [\"file:bravo.secret\"]\n";
    world.folder.tenant("bravo", bravo);
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    for n in 0..3 {
        let answer = sender.send(&format!("e{n}"), &completed(&format!("t{n}"), 0)).await;
        app.settled(answer.event()).await;
    }
    sender.with_secret("a-guessed-secret-of-32-bytes-len").send("e9", &completed("t", 0)).await;
    let other = app.sender("bravo", "leads", "generic", "another-test-secret-of-32-bytes-");
    assert_eq!(other.send("b1", &completed("t", 0)).await.status, 200);
    let (acme, bravo) = (token(&app, "viewer", json!(["acme"])).await, token(&app, "viewer", json!(["bravo"])).await);
    let told = async |app: &App| {
        [
            sums(&app.get("/api/v1/traffic").await),
            sums(&app.get("/api/v1/traffic?tenant=acme&source=chat&minutes=360").await),
            sums(&get_as(app, &acme, "/api/v1/traffic").await),
            sums(&get_as(app, &bravo, "/api/v1/traffic").await),
            sums(&get_as(app, &bravo, "/api/v1/traffic?tenant=acme").await),
        ]
    };
    let expected = [[4, 1, 3], [3, 1, 3], [3, 1, 3], [1, 0, 0], [0, 0, 0]];
    eventually("all is counted", || async { (told(&app).await == expected).then_some(()) }).await;
    let points = app.get("/api/v1/traffic").await;
    let timed = |point: &Value| point["ack_p95_ms"].as_f64().is_some_and(|ms| ms > 0.0);
    assert!(points["points"].as_array().unwrap().iter().any(timed), "{points:#}");
    app.finish().await;
    let app = world.start().await;
    assert_eq!(told(&app).await, expected, "what was counted before the restart is kept");
    let (status, _) = app.post("/api/v1/traffic", &Value::Null).await;
    assert_eq!(status, 405);
    let nameless = app.request(Method::GET, "/api/v1/traffic?source=chat").send().await.unwrap();
    assert_eq!(nameless.status(), 400);
    app.finish().await;
}

async fn a_preview_asks_the_model_and_keeps_nothing(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let event = app.acme("chat", "generic").send("e1", &completed("t1", 0)).await.event().to_owned();
    app.settled(&event).await;
    let before = (world.llm.chats().len(), world.wordpress.requests().len());
    let path = format!("/api/v1/events/{event}/preview");
    let (status, shown) = app.post(&path, &json!({ "route": "summary" })).await;
    assert_eq!((status, &shown["answer"], &shown["problem"]), (200, &Value::Null, &Value::Null), "{shown:#}");
    assert!(shown["user"].as_str().unwrap().contains("assistant.completed"), "{shown:#}");
    assert_eq!(world.llm.chats().len(), before.0, "only the prompt was asked for");
    let answer = json!({ "title": "A <b>title</b>", "summary": "What happened.", "category": "content" });
    world.llm.say_next(&answer.to_string());
    let (status, asked) = app.post(&path, &json!({ "route": "summary", "ask_model": true, "reason": "a look" })).await;
    assert_eq!((status, &asked["answer"]["summary"]), (200, &json!("What happened.")), "{asked:#}");
    world.llm.say_next("no JSON at all");
    let (status, bad) = app.post(&path, &json!({ "route": "summary", "ask_model": true })).await;
    assert_eq!((status, bad["answer"].is_null()), (200, true));
    assert!(bad["problem"].as_str().is_some_and(|problem| problem.contains("the model's answer")), "{bad:#}");
    assert_eq!(world.llm.chats().len(), before.0 + 2);
    assert_eq!(world.wordpress.requests().len(), before.1, "nothing is published");
    assert_eq!(app.jobs_of(&event).await.len(), 1, "there is no job of it");
    let (status, refused) = app.post(&path, &json!({ "route": "nowhere" })).await;
    assert!(status == 409 && refused["message"].as_str().unwrap().contains("no route"), "{refused}");
    let lines = app.get("/api/v1/audit?action=prompt.preview").await;
    assert_eq!(lines["items"].as_array().unwrap().len(), 2, "{lines:#}");
    assert_eq!(lines["items"][1]["reason"], "a look");
    app.finish().await;
}

async fn a_secret_tells_how_often_it_verified(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    for _ in 0..2 {
        // The second one is a duplicate: it verified all the same.
        let answer = sender.send("e1", &completed("t1", 0)).await;
        app.settled(answer.event()).await;
    }
    let secret = app.get("/api/v1/sources/acme/chat").await["secrets"][0].clone();
    assert!(secret["last_used_at"].is_string(), "the newest events tell before it is counted: {secret:#}");
    app.finish().await;
    let app = world.start().await;
    let source = app.get("/api/v1/sources/acme/chat").await;
    let secret = &source["secrets"][0];
    assert_eq!((&secret["uses"], &secret["standing"]), (&json!(2), &json!("newest")), "{source:#}");
    assert!(source["setup"].as_str().is_some_and(|setup| setup.len() > 20));
    assert_eq!(app.request(Method::GET, "/api/v1/sources/acme/none").send().await.unwrap().status(), 404);
    app.finish().await;
}

async fn add(app: &App, name: &str) {
    let ask = json!({ "name": name, "password": PASSWORD, "role": "viewer" });
    assert_eq!(app.post("/api/v1/users", &ask).await.0, 200);
}

async fn signs_in(app: &App, name: &str, password: &str) -> u16 {
    let ask = json!({ "name": name, "password": password });
    app.anonymous(Method::POST, "/api/v1/session").json(&ask).send().await.unwrap().status().as_u16()
}

async fn who_is_disabled_is_out_until_they_are_enabled(engine: Engine) {
    let world = World::on(engine, "").await;
    let app = world.start().await;
    add(&app, "ada").await;
    let session = sign_in(&app, "ada").await;
    let look = async || {
        let request = app.anonymous(Method::GET, "/api/v1/session").header("cookie", &session.cookie);
        request.send().await.unwrap().status().as_u16()
    };
    let user = async || app.get("/api/v1/users").await[0].clone();
    assert!(user().await["used_at"].is_string(), "they signed in");
    assert_eq!(app.post("/api/v1/users/ada/disable", &json!({ "reason": "left" })).await.0, 200);
    assert_eq!(app.post("/api/v1/users/ada/disable", &json!({})).await.0, 404, "they are already");
    assert!(user().await["disabled_at"].is_string());
    assert_eq!((look().await, signs_in(&app, "ada", PASSWORD).await), (401, 401));
    assert_eq!(app.post("/api/v1/users/ada/enable", &json!({})).await.0, 200);
    assert_eq!(look().await, 401, "the session that ended stays over");
    eventually("they may sign in", || async { (signs_in(&app, "ada", PASSWORD).await == 200).then_some(()) }).await;
    assert_eq!(app.post("/api/v1/users/nobody/disable", &json!({})).await.0, 404);
    app.finish().await;
}

async fn a_password_is_changed_by_who_knows_the_old_one(engine: Engine) {
    const NEW: &str = "another horse another battery";
    let world = World::on(engine, "").await;
    let app = world.start().await;
    add(&app, "ada").await;
    let (here, elsewhere) = (sign_in(&app, "ada").await, sign_in(&app, "ada").await);
    let change = async |password: &str, new: &str| {
        let request = app.anonymous(Method::POST, "/api/v1/session/password").header("cookie", &here.cookie);
        let ask = json!({ "password": password, "new_password": new });
        request.header("x-sluice-csrf", &here.csrf).json(&ask).send().await.unwrap().status().as_u16()
    };
    let look = async |cookie: &str| {
        let request = app.anonymous(Method::GET, "/api/v1/session").header("cookie", cookie);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(change(PASSWORD, "short").await, 400);
    assert_eq!(change("not the password", NEW).await, 401);
    eventually("it is changed", || async { (change(PASSWORD, NEW).await == 200).then_some(()) }).await;
    assert_eq!((look(&here.cookie).await, look(&elsewhere.cookie).await), (200, 401), "other sessions end");
    assert_eq!(signs_in(&app, "ada", PASSWORD).await, 401);
    eventually("the new one signs in", || async { (signs_in(&app, "ada", NEW).await == 200).then_some(()) }).await;
    let lines = app.get("/api/v1/audit?action=user.password").await;
    assert_eq!(lines["items"][0]["actor"], "user:ada", "{lines:#}");
    let ask = json!({ "password": PASSWORD, "new_password": NEW });
    assert_eq!(app.post("/api/v1/session/password", &ask).await.0, 409, "a token has no password");
    app.finish().await;
}

async fn a_token_tells_when_it_was_presented(engine: Engine) {
    let world = World::on(engine, "").await;
    let app = world.start().await;
    let secret = token(&app, "viewer", Value::Null).await;
    assert!(app.get("/api/v1/tokens").await[0]["used_at"].is_null());
    get_as(&app, &secret, "/api/v1/lanes").await;
    eventually("its use is kept", || async { app.get("/api/v1/tokens").await[0]["used_at"].is_string().then_some(()) })
        .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_to_be_is_told_as_the_command_writes_it() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let vendors = app.get("/api/v1/vendors").await;
    for vendor in vendors.as_array().unwrap() {
        let name = vendor["name"].as_str().unwrap();
        let draft = app.get(&format!("/api/v1/source-draft?tenant=acme&source=new&vendor={name}")).await;
        let text = draft["text"].as_str().unwrap();
        assert!(text.contains("[sources.new]") && text.parse::<toml::Table>().is_ok(), "{name}: {text}");
        assert_eq!(draft["exists"], false);
        assert!(draft["url"].as_str().unwrap().ends_with("/webhooks/acme/new"));
        assert!(!draft["is_public"].as_bool().unwrap());
    }
    let draft = app.get("/api/v1/source-draft?tenant=acme&source=chat&vendor=stripe").await;
    assert_eq!(draft["exists"], true);
    for wrong in ["tenant=acme&source=new&vendor=nobody", "tenant=acme&source=N&vendor=stripe", "tenant=acme"] {
        let answer = app.request(Method::GET, &format!("/api/v1/source-draft?{wrong}")).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    app.finish().await;
}
