//! Every route × every caller × own and foreign tenant × method. What is expected is written down
//! here, not read from the code: a route that is not in the table fails.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sluice::{
    api::{self, records::HandshakeRow},
    clock::SystemClock,
    standins::{Fault, StandInApi},
};
use sluice_actors::ports::Clock;

use super::sessions;
use crate::harness::{App, Folder, completed, eventually};

const SECRETS: [&str; 2] = ["a-test-secret-of-32-bytes-acme-x", "a-test-secret-of-32-bytes-bravo-"];
const TENANTS: [&str; 2] = ["acme", "bravo"];

/// What a route is about.
#[derive(Clone, Copy, PartialEq)]
enum About {
    /// Nothing of a tenant.
    Nothing,
    /// All that the caller sees: nothing foreign shows.
    List,
    /// One object, or an order about one tenant: a foreign one does not exist.
    Object,
    /// An account for a tenant: not for a foreign one.
    Account,
}
use About::{Account, List, Nothing, Object};

const ANYONE: &[&str] = &["stranger"];
const SCRAPER: &[&str] = ANYONE;
const ALL: &[&str] = &["site", "viewer", "operator", "admin"];
const LOOK: &[&str] = &["viewer", "operator", "admin"];
const ACT: &[&str] = &["operator", "admin"];
const RETRY: &[&str] = &["site", "operator", "admin"];
const ADMIN: &[&str] = &["admin"];

/// Method, path, roles, whether they must see all tenants, what it is about, statuses where allowed.
type Line = (&'static str, &'static str, &'static [&'static str], bool, About, &'static [u16]);

const TABLE: &[Line] = &[
    ("GET", "/healthz", ANYONE, false, Nothing, &[200]),
    // Whoever asks; whether a busy store answers in time is another matter.
    ("GET", "/readyz", ANYONE, false, Nothing, &[200, 503]),
    ("GET", "/metrics", SCRAPER, false, Nothing, &[200]),
    ("GET", "/api/v1/openapi.json", ANYONE, false, Nothing, &[200]),
    ("POST", "/api/v1/session", ANYONE, false, Nothing, &[401, 429]),
    ("GET", "/api/v1/session", ALL, false, Nothing, &[200]),
    ("DELETE", "/api/v1/session", ALL, false, Nothing, &[200]),
    ("GET", "/api/v1/session/provider", ANYONE, false, Nothing, &[200]),
    // None is configured; `oidc` has tests of its own.
    ("GET", "/api/v1/session/provider/begin", ANYONE, false, Nothing, &[404]),
    ("GET", "/api/v1/session/provider/callback", ANYONE, false, Nothing, &[404]),
    ("POST", "/api/v1/session/password", ALL, false, Nothing, &[200, 409]),
    ("GET", "/api/v1/events", LOOK, false, List, &[200]),
    ("GET", "/api/v1/events/{id}", LOOK, false, Object, &[200]),
    ("POST", "/api/v1/events/{id}/release", ACT, false, Object, &[200, 409]),
    ("POST", "/api/v1/events/{id}/preview", ACT, false, Object, &[200]),
    ("POST", "/api/v1/replay", ACT, false, Object, &[200]),
    ("GET", "/api/v1/jobs", ALL, false, List, &[200]),
    ("GET", "/api/v1/jobs/{id}", ALL, false, Object, &[200]),
    ("GET", "/api/v1/jobs/{id}/attempts", ALL, false, Object, &[200]),
    ("GET", "/api/v1/jobs/{id}/result", ALL, false, Object, &[200]),
    ("POST", "/api/v1/jobs/{id}/retry", RETRY, false, Object, &[200, 409]),
    ("POST", "/api/v1/jobs/{id}/cancel", ACT, false, Object, &[200, 409]),
    // It leads to the object, and whoever follows is shown it.
    ("GET", "/api/v1/artifacts/{id}", ACT, false, Object, &[200]),
    ("GET", "/api/v1/dead-letters", LOOK, false, List, &[200]),
    ("POST", "/api/v1/dead-letters/replay", ACT, false, List, &[200]),
    ("GET", "/api/v1/lanes", LOOK, false, List, &[200]),
    ("POST", "/api/v1/lanes/{tenant}/{source}/pause", ACT, false, Object, &[200]),
    ("POST", "/api/v1/lanes/{tenant}/{source}/resume", ACT, false, Object, &[200]),
    ("POST", "/api/v1/lanes/{tenant}/{source}/probe", ACT, false, Object, &[200]),
    ("GET", "/api/v1/sources", LOOK, false, List, &[200]),
    ("GET", "/api/v1/sources/{tenant}/{source}", LOOK, false, Object, &[200]),
    ("POST", "/api/v1/sources/{tenant}/{source}/disable", ACT, false, Object, &[200, 409]),
    ("POST", "/api/v1/sources/{tenant}/{source}/enable", ACT, false, Object, &[200, 409]),
    ("POST", "/api/v1/tenants/{tenant}/disable", ACT, false, Object, &[200, 409]),
    ("POST", "/api/v1/tenants/{tenant}/enable", ACT, false, Object, &[200, 409]),
    ("POST", "/api/v1/sources/{tenant}/{source}/secrets/revoke", ADMIN, false, Object, &[200, 409]),
    ("POST", "/api/v1/sources/{tenant}/{source}/secrets/unrevoke", ADMIN, false, Object, &[200, 409]),
    ("GET", "/api/v1/signing-keys", LOOK, false, List, &[200]),
    ("GET", "/api/v1/vendors", LOOK, false, Nothing, &[200]),
    ("GET", "/api/v1/source-draft", ACT, false, Object, &[200]),
    ("GET", "/api/v1/traffic", LOOK, false, List, &[200]),
    ("GET", "/api/v1/live", LOOK, false, Nothing, &[200]),
    ("GET", "/api/v1/refusals", LOOK, false, List, &[200]),
    ("GET", "/api/v1/refusals/{id}", LOOK, false, Object, &[200]),
    ("POST", "/api/v1/handshakes/take", ADMIN, false, Object, &[200, 404]),
    ("GET", "/api/v1/audit", ACT, false, List, &[200]),
    ("GET", "/api/v1/users", ADMIN, false, List, &[200]),
    ("POST", "/api/v1/users", ADMIN, false, Account, &[200]),
    ("POST", "/api/v1/users/{name}/disable", ADMIN, false, Object, &[200, 404]),
    ("POST", "/api/v1/users/{name}/enable", ADMIN, false, Object, &[200, 404]),
    ("DELETE", "/api/v1/users/{name}", ADMIN, false, Object, &[200, 404]),
    ("GET", "/api/v1/tokens", ADMIN, false, List, &[200]),
    ("POST", "/api/v1/tokens", ADMIN, false, Account, &[200]),
    ("DELETE", "/api/v1/tokens/{id}", ADMIN, false, Object, &[200, 404]),
    ("GET", "/api/v1/nodes", LOOK, true, Nothing, &[200]),
    ("GET", "/api/v1/callees", LOOK, true, Nothing, &[200]),
    ("GET", "/api/v1/snapshot", LOOK, true, Nothing, &[200]),
    ("GET", "/api/v1/drift", LOOK, true, Nothing, &[200]),
    ("POST", "/api/v1/tenants/{tenant}/subjects/export", ADMIN, false, Object, &[200]),
    ("POST", "/api/v1/tenants/{tenant}/subjects/erase", ADMIN, false, Object, &[200]),
    ("GET", "/api/v1/encryption", LOOK, false, List, &[200]),
    ("POST", "/api/v1/tenants/{tenant}/encryption/seal", ADMIN, false, Object, &[200]),
    ("POST", "/api/v1/tenants/{tenant}/encryption/rewrap", ADMIN, false, Object, &[200]),
    ("POST", "/api/v1/tenants/{tenant}/encryption/rotate", ADMIN, false, Object, &[200]),
    ("POST", "/api/v1/tenants/{tenant}/encryption/erase", ADMIN, false, Object, &[200, 409]),
    ("POST", "/api/v1/alerts/test", ADMIN, true, Nothing, &[200]),
    ("POST", "/api/v1/reload", ADMIN, true, Nothing, &[200]),
];

/// Changes that are no change to what is stored.
const NOT_AUDITED: [&str; 2] = ["POST /api/v1/session", "DELETE /api/v1/session"];

/// Somebody who calls.
struct Caller {
    name: String,
    /// None for a stranger.
    role: Option<&'static str>,
    /// Whether they see `acme` alone.
    scoped: bool,
    actor: String,
    headers: Vec<(&'static str, String)>,
}

/// Objects of a tenant.
struct Objects {
    tenant: &'static str,
    /// Has a dead job and one that succeeded.
    event: String,
    quarantined: String,
    dead: String,
    done: String,
    waiting: String,
    refusal: i64,
    user: String,
    token: String,
    artifact: String,
}

fn tenant_file(api: &StandInApi, secret: &str) -> String {
    format!(
        r#"
[encryption]
key = "{secret}-3"
[llm]
base_url = "{}"
model = "none"
[sources.chat]
vendor = "generic"
secrets = ["{secret}"]
schemas = [{{ types = "assistant.*", file = "../schema.json" }}]
[[sources.chat.routes]]
name = "call"
action = "http_call"
url = "{}"
[[sources.chat.routes]]
name = "noted"
action = "log"
[[sources.chat.routes]]
name = "summed"
event_types = ["never.*"]
action = "summarize_and_publish"
[sources.pages]
vendor = "generic"
secrets = ["{secret}-2"]
"#,
        api.url("/v1"),
        api.url("/sink")
    )
}

async fn gateway(folder: &Folder, api: &StandInApi) -> App {
    std::fs::write(folder.path().join("schema.json"), r#"{ "properties": { "answer": { "type": "string" } } }"#)
        .unwrap();
    std::fs::write(folder.path().join("tenants/schema.json"), "").ok();
    for (tenant, secret) in TENANTS.iter().zip(SECRETS) {
        let reference = folder.secret(&format!("{tenant}.secret"), secret);
        folder.secret(&format!("{tenant}.secret-2"), &format!("{secret}-the-other"));
        folder.secret(&format!("{tenant}.secret-3"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        folder.tenant(tenant, &tenant_file(api, &reference).replace("../schema.json", "schema.json"));
    }
    std::fs::remove_file(folder.path().join("tenants/schema.json")).ok();
    App::start(folder).await
}

async fn objects(app: &App, api: &StandInApi, at: usize) -> Objects {
    let (tenant, sender) = (TENANTS[at], app.sender(TENANTS[at], "chat", "generic", SECRETS[at]));
    api.fail_always(Some(Fault::status(422)));
    let event = sender.send("e1", &completed("t1", 0)).await.event().to_owned();
    let jobs = app.settled(&event).await;
    let job = |route: &str| {
        let found = jobs.iter().find(|job| job["job"]["route"] == route).unwrap();
        found["job"]["id"].as_str().unwrap().to_owned()
    };
    app.post(&format!("/api/v1/lanes/{tenant}/chat/pause"), &json!({ "reason": "the matrix" })).await;
    let later = sender.send("e2", &completed("t2", 0)).await;
    let waiting = app.jobs_of(later.event()).await[0]["id"].as_str().unwrap().to_owned();
    let mut misfit = completed("t3", 0);
    misfit["data"]["answer"] = json!(42);
    let quarantined = sender.send("e3", &misfit).await.event().to_owned();
    sender.with_secret("a-guessed-secret-of-32-bytes-len").send("e4", &completed("t4", 0)).await;
    let refusal = eventually("the refusal is kept", || async {
        app.get(&format!("/api/v1/refusals?tenant={tenant}")).await[0]["id"].as_i64()
    })
    .await;
    let user = format!("{tenant}-user");
    let ask = json!({ "name": user, "password": "correct horse battery", "role": "viewer", "tenants": [tenant] });
    assert_eq!(app.post("/api/v1/users", &ask).await.0, 200);
    let ask = json!({ "name": format!("{tenant}-token"), "role": "viewer", "tenants": [tenant] });
    let token = app.post("/api/v1/tokens", &ask).await.1["token"]["id"].as_str().unwrap().to_owned();
    let handed = HandshakeRow {
        at: SystemClock.now(),
        tenant: tenant.to_owned(),
        source: "pages".to_owned(),
        token: Some("handed-over".to_owned()),
    };
    app.records().keep_handshake(handed).await.unwrap();
    let (dead, done) = (job("call"), job("noted"));
    let artifact = app.artifact(tenant, "chat", &event).await;
    Objects { tenant, event, quarantined, dead, done, waiting, refusal, user, token, artifact }
}

async fn callers(app: &App) -> Vec<Caller> {
    let stranger = |name: &str, headers| Caller {
        name: name.to_owned(),
        role: None,
        scoped: false,
        actor: String::new(),
        headers,
    };
    let mut callers = vec![
        stranger("stranger", Vec::new()),
        stranger("wrong token", vec![("authorization", format!("Bearer slu_{}", "0".repeat(64)))]),
        stranger("wrong cookie", vec![("cookie", format!("__Host-sluice={}", "0".repeat(64)))]),
    ];
    for (scoped, tenants) in [(true, json!(["acme"])), (false, Value::Null)] {
        for role in ["site", "viewer", "operator", "admin"] {
            let name = format!("{role}-{}", if scoped { "acme" } else { "all" });
            let ask = json!({ "name": name, "role": role, "tenants": tenants });
            let (status, made) = app.post("/api/v1/tokens", &ask).await;
            assert_eq!(status, 200, "{made}");
            let headers = vec![("authorization", format!("Bearer {}", made["secret"].as_str().unwrap()))];
            callers.push(Caller { actor: format!("token:{name}"), name, role: Some(role), scoped, headers });
        }
    }
    let ask = json!({ "name": "root", "password": sessions::PASSWORD, "role": "admin" });
    assert_eq!(app.post("/api/v1/users", &ask).await.0, 200);
    let session = sessions::sign_in(app, "root").await;
    let headers = vec![("cookie", session.cookie), ("x-sluice-csrf", session.csrf)];
    let (name, actor) = ("session".to_owned(), "user:root".to_owned());
    callers.push(Caller { name, role: Some("admin"), scoped: false, actor, headers });
    callers
}

/// A path of the template and a body, about this tenant's objects.
fn filled(line: &Line, of: &Objects, nth: usize) -> (String, Value) {
    let (method, path, ..) = *line;
    let id = match path {
        "/api/v1/events/{id}" | "/api/v1/events/{id}/preview" => of.event.clone(),
        "/api/v1/events/{id}/release" => of.quarantined.clone(),
        "/api/v1/jobs/{id}/result" => of.done.clone(),
        "/api/v1/jobs/{id}/cancel" => of.waiting.clone(),
        "/api/v1/refusals/{id}" => of.refusal.to_string(),
        "/api/v1/tokens/{id}" => of.token.clone(),
        "/api/v1/artifacts/{id}" => of.artifact.clone(),
        _ => of.dead.clone(),
    };
    let filled = path.replace("{id}", &id).replace("{name}", &of.user).replace("{tenant}", of.tenant);
    let body = match (method, path) {
        ("POST", "/api/v1/session") => json!({ "name": "nobody", "password": "a wrong password" }),
        ("POST", "/api/v1/session/password") => {
            json!({ "password": sessions::PASSWORD, "new_password": sessions::PASSWORD })
        }
        ("POST", "/api/v1/events/{id}/preview") => json!({ "route": "summed", "reason": "the matrix" }),
        ("POST", "/api/v1/replay") => json!({ "tenant": of.tenant, "source": "chat", "route": "noted", "reason": "x" }),
        ("POST", "/api/v1/dead-letters/replay") => json!({ "filter": { "source": "nowhere" }, "reason": "x" }),
        ("POST", path) if path.contains("/subjects/") => json!({ "subject": "somebody", "reason": "x" }),
        ("POST", "/api/v1/handshakes/take") => json!({ "tenant": of.tenant, "source": "pages" }),
        ("POST", "/api/v1/users") => json!({
            "name": format!("made-{nth}"), "password": "correct horse battery", "role": "viewer", "tenants": [of.tenant],
        }),
        ("POST", "/api/v1/tokens") => {
            json!({ "name": format!("made-{nth}"), "role": "viewer", "tenants": [of.tenant] })
        }
        ("POST", path) if path.ends_with("/secrets/revoke") => {
            json!({ "version": format!("file:{}.secret", of.tenant), "reason": "the matrix", "force": true })
        }
        ("POST", path) if path.ends_with("/secrets/unrevoke") => {
            json!({ "version": format!("file:{}.secret", of.tenant), "reason": "the matrix" })
        }
        ("POST" | "DELETE", _) => json!({ "reason": "the matrix" }),
        _ => Value::Null,
    };
    let query = match path {
        "/api/v1/source-draft" => format!("?tenant={}&source=new&vendor=stripe", of.tenant),
        _ => String::new(),
    };
    (filled.replace("{source}", "chat") + &query, body)
}

fn request(app: &App, caller: &Caller, method: &str, path: &str, body: &Value) -> RequestBuilder {
    let mut request = app.anonymous(method.parse().unwrap(), path);
    for (name, value) in &caller.headers {
        request = request.header(*name, value);
    }
    if body.is_null() { request } else { request.json(body) }
}

async fn audited(app: &App, actor: &str) -> usize {
    app.get(&format!("/api/v1/audit?limit=500&actor={actor}")).await["items"].as_array().unwrap().len()
}

/// What a caller must be answered; the statuses where several are right.
fn expected(line: &Line, caller: &Caller, foreign: bool) -> Vec<u16> {
    let (_, _, roles, whole, about, ok) = *line;
    if roles == ANYONE {
        return ok.to_vec();
    }
    let Some(role) = caller.role else { return vec![401] };
    if !roles.contains(&role) || (whole && caller.scoped) {
        return vec![403];
    }
    match (foreign && caller.scoped, about) {
        (true, Object) => vec![404],
        (true, Account) => vec![403],
        _ => ok.to_vec(),
    }
}

#[test]
fn every_route_is_in_the_matrix() {
    let routes: Vec<String> = api::routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    let table: Vec<String> = TABLE.iter().map(|(method, path, ..)| format!("{method} {path}")).collect();
    assert_eq!(routes, table);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_answers_every_caller_as_declared_and_every_change_is_audited() {
    let (folder, stand_in) = (Folder::new(), StandInApi::start().await.unwrap());
    let app = gateway(&folder, &stand_in).await;
    let callers = callers(&app).await;
    let own = objects(&app, &stand_in, 0).await;
    let foreign = objects(&app, &stand_in, 1).await;
    let mut wrong = Vec::new();
    let mut nth = 0;
    for line in TABLE {
        let (method, template, ..) = *line;
        let named = format!("{method} {template}");
        let mut done = 0;
        for caller in &callers {
            for (is_foreign, of) in [(false, &own), (true, &foreign)] {
                if named == "DELETE /api/v1/session" && caller.name == "session" {
                    continue; // It would end the caller; `sessions` has a test of its own.
                }
                nth += 1;
                let (path, body) = filled(line, of, nth);
                let before = if method == "GET" { 0 } else { audited(&app, &caller.actor).await };
                let answer = request(&app, caller, method, &path, &body).send().await.unwrap();
                let status = answer.status().as_u16();
                let what = format!("{named} by {} about {}", caller.name, of.tenant);
                let wanted = expected(line, caller, is_foreign);
                // What streams has no end to wait for.
                let text = if template.ends_with("/live") { String::new() } else { answer.text().await.unwrap() };
                if !wanted.contains(&status) {
                    wrong.push(format!("{what}: {status}, not {wanted:?}: {text}"));
                }
                let shows_foreign =
                    text.contains("bravo") && !path.contains("bravo") && !body.to_string().contains("bravo");
                if caller.scoped && shows_foreign && template != "/metrics" {
                    wrong.push(format!("{what}: shows what is foreign: {text}"));
                }
                if status == 200 && method != "GET" && !NOT_AUDITED.contains(&&*named) {
                    done += 1;
                    eventually(&format!("{what} is audited"), || async {
                        (audited(&app, &caller.actor).await > before).then_some(())
                    })
                    .await;
                }
            }
        }
        if method != "GET" && !NOT_AUDITED.contains(&&*named) && done == 0 {
            wrong.push(format!("{named} was never done"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_methods_and_paths_are_refused_and_strangers_do_not_learn_which_there_are() {
    let folder = Folder::new();
    let app = App::start(&folder).await;
    let status = async |request: RequestBuilder| request.send().await.unwrap().status().as_u16();
    for path in TABLE.iter().map(|line| line.1) {
        let has = |method: &str| TABLE.iter().any(|line| line.0 == method && line.1 == path);
        let open = TABLE.iter().any(|line| line.1 == path && line.2 == ANYONE);
        for method in ["PUT", "PATCH", "DELETE", "POST", "GET"].into_iter().filter(|method| !has(method)) {
            let of = |request: RequestBuilder| status(request);
            let method: Method = method.parse().unwrap();
            assert_eq!(of(app.request(method.clone(), path)).await, 405, "{method} {path}");
            let stranger = of(app.anonymous(method.clone(), path)).await;
            assert_eq!(stranger, if open { 405 } else { 401 }, "{method} {path}");
        }
    }
    for path in ["/api/v1/secrets", "/api/v1/events/", "/runtime.json", "/api/v1/../v1/events", "//api/v1/events"] {
        assert_eq!(status(app.anonymous(Method::GET, path)).await, 401, "{path}");
        assert_eq!(status(app.anonymous(Method::GET, path).bearer_auth("")).await, 401, "{path}");
    }
    assert_eq!(status(app.request(Method::GET, "/runtime.json")).await, 404);
    app.finish().await;
}
