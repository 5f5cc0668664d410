//! Signing in, staying in, going out.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{App, Engine, Folder, World, completed, eventually, on_both_engines, summarising};

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A session.
pub(crate) struct Session {
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

pub(crate) async fn sign_in(app: &App, name: &str) -> Session {
    let ask = json!({ "name": name, "password": PASSWORD });
    let answer = app.anonymous(Method::POST, "/api/v1/session").json(&ask).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.starts_with("__Host-sluice="), "{set}");
    for word in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(set.split("; ").any(|part| part == word), "{set}");
    }
    let who: Value = answer.json().await.unwrap();
    let cookie = set.split(';').next().unwrap().to_owned();
    Session { cookie, csrf: who["csrf"].as_str().unwrap().to_owned() }
}

async fn add(app: &App, name: &str, role: &str, tenants: Value) {
    let ask = json!({ "name": name, "password": PASSWORD, "role": role, "tenants": tenants });
    let (status, answer) = app.post("/api/v1/users", &ask).await;
    assert_eq!(status, 200, "{answer}");
}

on_both_engines! {
    a_user_signs_in_acts_and_signs_out
    who_is_removed_is_out_at_once
    a_token_works_until_it_is_revoked
    a_viewer_sees_no_payload
    what_is_switched_off_stays_off_over_a_restart_and_a_reload
}

async fn a_user_signs_in_acts_and_signs_out(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    add(&app, "ada", "operator", json!(["acme"])).await;
    let session = sign_in(&app, "ada").await;
    let ask = async |method: Method, path: &str, csrf: Option<&str>, site: Option<&str>| {
        let mut request = app.anonymous(method, path).header("cookie", &session.cookie);
        if let Some(csrf) = csrf {
            request = request.header("x-sluice-csrf", csrf);
        }
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let pause = "/api/v1/lanes/acme/chat/pause";
    assert_eq!(ask(Method::GET, "/api/v1/lanes", None, None).await, 200);
    assert_eq!(ask(Method::POST, pause, None, None).await, 403, "no word of the page");
    assert_eq!(ask(Method::POST, pause, Some(&"0".repeat(64)), None).await, 403);
    assert_eq!(ask(Method::POST, pause, Some(&session.csrf), Some("cross-site")).await, 403);
    assert_eq!(ask(Method::POST, pause, Some(&session.csrf), Some("same-origin")).await, 200);
    let lines = app.get("/api/v1/audit?actor=user:ada").await;
    let actions: Vec<&str> = lines["items"].as_array().unwrap().iter().map(|l| l["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["lane.pause", "session.open"], "what was refused is no act");
    assert_eq!(ask(Method::DELETE, "/api/v1/session", Some(&session.csrf), None).await, 200);
    assert_eq!(ask(Method::GET, "/api/v1/lanes", None, None).await, 401);
    app.post("/api/v1/lanes/acme/chat/resume", &json!({})).await;
    app.finish().await;
}

async fn who_is_removed_is_out_at_once(engine: Engine) {
    let world = World::on(engine, "").await;
    let app = world.start().await;
    add(&app, "ada", "viewer", Value::Null).await;
    let session = sign_in(&app, "ada").await;
    let look = async || {
        let request = app.anonymous(Method::GET, "/api/v1/session").header("cookie", &session.cookie);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(look().await, 200);
    let again = json!({ "name": "ada", "password": PASSWORD, "role": "admin" });
    assert_eq!(app.post("/api/v1/users", &again).await.0, 409, "a name is taken once");
    let gone = app.request(Method::DELETE, "/api/v1/users/ada").send().await.unwrap();
    assert_eq!(gone.status(), 200);
    assert_eq!(look().await, 401);
    add(&app, "ada", "viewer", Value::Null).await;
    assert_eq!(look().await, 401, "the new user of the name does not inherit the session");
    app.finish().await;
}

async fn a_token_works_until_it_is_revoked(engine: Engine) {
    let world = World::on(engine, "").await;
    let app = world.start().await;
    let (_, made) = app.post("/api/v1/tokens", &json!({ "name": "ci", "role": "viewer" })).await;
    let secret = made["secret"].as_str().unwrap();
    let look = async |secret: &str| {
        let request = app.anonymous(Method::GET, "/api/v1/lanes").bearer_auth(secret);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((look(secret).await, look(&secret.to_uppercase()).await), (200, 401));
    let listed = app.get("/api/v1/tokens").await;
    assert!(!listed.to_string().contains(secret), "the secret is shown once");
    let path = format!("/api/v1/tokens/{}", made["token"]["id"].as_str().unwrap());
    assert_eq!(app.request(Method::DELETE, &path).send().await.unwrap().status(), 200);
    assert_eq!(look(secret).await, 401);
    app.finish().await;
}

async fn what_is_switched_off_stays_off_over_a_restart_and_a_reload(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    let switch = async |app: &App, path: &str| assert_eq!(app.post(path, &json!({ "reason": "x" })).await.0, 200);
    switch(&app, "/api/v1/sources/acme/chat/disable").await;
    assert_eq!(sender.send("e1", &completed("t", 0)).await.status, 401);
    app.reload().await;
    assert_eq!(sender.send("e1", &completed("t", 0)).await.status, 401);
    assert_eq!(app.get("/api/v1/lanes").await["items"][0]["state"], "unconfigured");
    app.finish().await;
    let app = world.start().await;
    let sender = sender.at(&app.public());
    assert_eq!(sender.send("e1", &completed("t", 0)).await.status, 401);
    switch(&app, "/api/v1/tenants/acme/disable").await;
    switch(&app, "/api/v1/sources/acme/chat/enable").await;
    assert_eq!(sender.send("e1", &completed("t", 0)).await.status, 401, "its tenant is off");
    switch(&app, "/api/v1/tenants/acme/enable").await;
    let answer = sender.send("e1", &completed("t", 0)).await;
    assert_eq!(answer.status, 200);
    app.settled(answer.event()).await;
    let lines = app.get("/api/v1/audit?tenant=acme").await;
    let actions: Vec<&str> = lines["items"].as_array().unwrap().iter().map(|l| l["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["tenant.enable", "source.enable", "tenant.disable", "source.disable"]);
    app.finish().await;
}

async fn a_viewer_sees_no_payload(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let event = app.acme("chat", "generic").send("e1", &completed("t", 0)).await.event().to_owned();
    app.settled(&event).await;
    for (role, sees) in [("viewer", false), ("operator", true)] {
        let (_, made) = app.post("/api/v1/tokens", &json!({ "name": role, "role": role })).await;
        let request = app.anonymous(Method::GET, &format!("/api/v1/events/{event}"));
        let answer = request.bearer_auth(made["secret"].as_str().unwrap()).send().await.unwrap();
        let detail: Value = answer.json().await.unwrap();
        assert_eq!(detail["withheld"], !sees, "{detail:#}");
        assert_eq!((detail["raw"].is_string(), detail["headers"].is_object()), (sees, sees), "{detail:#}");
        assert_eq!(detail["forms"].as_array().unwrap().is_empty(), !sees);
        assert_eq!(detail["jobs"].as_array().unwrap().len(), 1);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_are_told_alike_and_make_the_next_attempt_wait() {
    let folder = Folder::new();
    let app = App::start(&folder).await;
    add(&app, "ada", "viewer", Value::Null).await;
    let attempt = async |name: &str, password: &str| {
        let ask = json!({ "name": name, "password": password });
        let answer = app.anonymous(Method::POST, "/api/v1/session").json(&ask).send().await.unwrap();
        let wait =
            answer.headers().get("retry-after").map_or(0, |value| value.to_str().unwrap().parse::<u64>().unwrap());
        (answer.status().as_u16(), wait, answer.text().await.unwrap())
    };
    let known = attempt("ada", "not the password").await;
    assert_eq!(known, attempt("nobody", "not the password").await, "who exists is not told");
    assert_eq!((known.0, known.1), (401, 0));
    // Hashing takes its time on a busy machine; the wait outgrows it.
    eventually("an attempt has to wait", || async { (attempt("ada", "not the password").await.1 >= 8).then_some(()) })
        .await;
    let (status, waits, _) = attempt("ada", PASSWORD).await;
    assert_eq!((status, waits > 0), (429, true), "even the right one waits");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_makes_an_account_that_may_do_more_than_they_may() {
    let world = World::new("").await;
    let app = world.start().await;
    let ask = json!({ "name": "acme-admin", "role": "admin", "tenants": ["acme"] });
    let (_, made) = app.post("/api/v1/tokens", &ask).await;
    let secret = made["secret"].as_str().unwrap();
    for (body, status) in [
        (json!({ "name": "x", "role": "admin" }), 403),
        (json!({ "name": "x", "role": "viewer", "tenants": ["acme", "bravo"] }), 403),
        (json!({ "name": "x", "role": "viewer", "tenants": [] }), 400),
        (json!({ "name": "-x", "role": "viewer", "tenants": ["acme"] }), 400),
        (json!({ "name": "x", "role": "viewer", "tenants": ["acme"], "days": 0 }), 400),
        (json!({ "name": "x", "role": "admin", "tenants": ["acme"] }), 200),
    ] {
        let request = app.anonymous(Method::POST, "/api/v1/tokens").bearer_auth(secret).json(&body);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{body}");
    }
    for (password, role, status) in [("short", "viewer", 400), (PASSWORD, "site", 400)] {
        let ask = json!({ "name": "x", "password": password, "role": role });
        assert_eq!(app.post("/api/v1/users", &ask).await.0, status, "{password} {role}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_of_another_site_signs_nobody_in() {
    let folder = Folder::new();
    let app = App::start(&folder).await;
    add(&app, "ada", "viewer", Value::Null).await;
    let body = json!({ "name": "ada", "password": PASSWORD }).to_string();
    let send = async |media: &str, site: &str| {
        let request = app.anonymous(Method::POST, "/api/v1/session").header("content-type", media);
        request.header("sec-fetch-site", site).body(body.clone()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("text/plain", "same-origin").await, 403);
    assert_eq!(send("application/json", "cross-site").await, 403);
    assert_eq!(send("application/json", "same-origin").await, 200);
    app.finish().await;
}
