//! The whole sign-in, with the certified provider.

use serde_json::{Value, json};
use url::Url;

use super::{
    browser::{Browser, Page},
    real::{CLIENT_SECRET, RealProvider},
};
use crate::{
    access::sessions::PASSWORD,
    harness::{App, Engine, World, eventually, free_port, on_both_engines},
};

const BEGIN: &str = "/api/v1/session/provider/begin?return_to=/events%3Ftenant%3Dacme";

/// A gateway, its provider, and what both call the gateway.
struct Bench {
    world: World,
    provider: Option<RealProvider>,
    provider_port: u16,
    origin: String,
}

impl Bench {
    async fn start(engine: Engine) -> (Self, App) {
        let (port, provider_port) = (free_port(), free_port());
        let origin = format!("http://127.0.0.1:{port}");
        let world = World::on(engine, "").await;
        let mut bench = Self { world, provider: None, provider_port, origin };
        bench.provider();
        let issuer = bench.provider.as_ref().unwrap().issuer.clone();
        let main = std::fs::read_to_string(bench.world.folder.config()).unwrap();
        let secret = bench.world.folder.secret("oidc.secret", CLIENT_SECRET);
        let admin = format!(
            r#"[admin]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
[admin.oidc]
label = "Example <Login>"
issuer = "{issuer}"
client_id = "sluice"
client_secret = "{secret}"
[[admin.oidc.roles]]
value = "root"
role = "admin"
[[admin.oidc.roles]]
claim = "realm_access.roles"
value = "acme-ops"
role = "operator"
tenants = ["acme"]
[[admin.oidc.roles]]
value = "look"
role = "viewer"
"#
        );
        let main = main.replace("[admin]\nlisten = \"127.0.0.1:0\"\n", &admin);
        std::fs::write(bench.world.folder.config(), main).unwrap();
        let app = bench.world.start().await;
        (bench, app)
    }

    /// Starts the provider (again), with new keys.
    fn provider(&mut self) {
        self.provider = None;
        let callback = format!("{}/api/v1/session/provider/callback", self.origin);
        self.provider = Some(RealProvider::start(self.provider_port, &callback));
    }

    fn accounts(&mut self, accounts: &Value) {
        self.provider.as_mut().unwrap().accounts(accounts);
    }

    /// Signs in as `name`; what is shown in the end.
    async fn sign_in(&self, browser: &mut Browser, name: &str) -> Page {
        let page = browser.open(&format!("{}{BEGIN}", self.origin), None).await;
        browser.authenticate(page, name, None).await
    }

    /// Signs in as `name` up to the way back, which is not taken.
    async fn sign_in_halfway(&self, browser: &mut Browser, name: &str) -> Url {
        let back = format!("{}/api/v1/session/provider/callback", self.origin);
        let page = browser.open(&format!("{}{BEGIN}", self.origin), None).await;
        let page = browser.authenticate(page, name, Some(&back)).await;
        assert!(page.url.as_str().starts_with(&back), "{page:?}");
        page.url
    }
}

async fn acts(app: &App, query: &str) -> Vec<String> {
    let lines = app.get(&format!("/api/v1/audit?{query}")).await;
    lines["items"].as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap().to_owned()).collect()
}

fn refused(page: &Page, status: u16, title: &str) {
    assert_eq!(page.status, status, "{page:?}");
    assert!(page.text.contains(&format!("<h1>{title}</h1>")), "{}", page.text);
    assert!(page.text.contains("Example &lt;Login&gt;"), "{}", page.text);
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
}

const NOT_HERE: &str = "You may not sign in here";

on_both_engines! {
    who_has_a_role_signs_in_and_what_it_is_is_decided_anew_each_time
    who_is_disabled_stays_out_and_a_name_leads_to_no_other_user
}

async fn who_has_a_role_signs_in_and_what_it_is_is_decided_anew_each_time(engine: Engine) {
    let (mut bench, app) = Bench::start(engine).await;
    let origin = bench.origin.clone();
    bench.accounts(&json!({ "u1": { "preferred_username": "ada", "realm_access": { "roles": ["acme-ops"] } } }));
    let mut browser = Browser::new();
    let page = bench.sign_in(&mut browser, "u1").await;
    assert_eq!((page.status, page.url.as_str()), (200, format!("{origin}/#/events?tenant=acme").as_str()), "{page:?}");
    let who = browser.who(&origin).await.unwrap();
    assert_eq!(
        (&who["actor"], &who["role"], &who["tenants"]),
        (&json!("user:oidc:ada"), &json!("operator"), &json!(["acme"]))
    );
    assert_eq!(browser.cookies[&origin["http://".len()..]].len(), 1, "only the session's cookie is left");
    assert_eq!(acts(&app, "actor=user:oidc:ada").await, ["session.open", "user.add"]);

    // Elsewhere, with less to say; the first session loses it too.
    bench.accounts(&json!({ "u1": { "preferred_username": "renamed", "groups": ["look", "other"] } }));
    let mut elsewhere = Browser::new();
    bench.sign_in(&mut elsewhere, "u1").await;
    for browser in [&mut browser, &mut elsewhere] {
        let who = browser.who(&origin).await.unwrap();
        assert_eq!(
            (&who["actor"], &who["role"], &who["tenants"]),
            (&json!("user:oidc:ada"), &json!("viewer"), &Value::Null)
        );
    }
    assert_eq!(app.get("/api/v1/users").await.as_array().unwrap().len(), 1, "the same user");

    // With nothing: refused, and the sessions of before are over.
    bench.accounts(&json!({ "u1": { "preferred_username": "ada", "groups": ["other"] } }));
    refused(&bench.sign_in(&mut Browser::new(), "u1").await, 403, NOT_HERE);
    assert_eq!((browser.who(&origin).await, elsewhere.who(&origin).await), (None, None));
    let actions = ["session.refuse", "session.close", "session.open", "user.change", "session.open", "user.add"];
    assert_eq!(acts(&app, "actor=user:oidc:ada").await, actions);

    // Somebody who never had one is nobody here.
    bench.accounts(&json!({ "u2": { "preferred_username": "eve" } }));
    refused(&bench.sign_in(&mut Browser::new(), "u2").await, 403, NOT_HERE);
    assert_eq!(acts(&app, "actor=anonymous").await, ["session.refuse"]);
    assert_eq!(app.get("/api/v1/users").await.as_array().unwrap().len(), 1);

    // Out by hand.
    bench.accounts(&json!({ "u1": { "groups": ["root"] } }));
    bench.sign_in(&mut browser, "u1").await;
    let who = browser.who(&origin).await.unwrap();
    assert_eq!(who["role"], "admin");
    let cookies = &browser.cookies[&origin["http://".len()..]];
    let cookie = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<String>();
    let request = app.anonymous(reqwest::Method::DELETE, "/api/v1/session").header("cookie", cookie);
    assert_eq!(request.header("x-sluice-csrf", who["csrf"].as_str().unwrap()).send().await.unwrap().status(), 200);
    assert_eq!(browser.who(&origin).await, None);
    app.finish().await;
}

async fn who_is_disabled_stays_out_and_a_name_leads_to_no_other_user(engine: Engine) {
    let (mut bench, app) = Bench::start(engine).await;
    let origin = bench.origin.clone();
    let by_hand = json!({ "name": "ada@example.com", "password": PASSWORD, "role": "admin" });
    assert_eq!(app.post("/api/v1/users", &by_hand).await.0, 200);
    let look = json!({ "preferred_username": "ada@example.com", "email": "ada@example.com", "email_verified": true, "groups": ["look"] });
    bench.accounts(&json!({ "u1": look, "u2": look }));
    let (mut one, mut two) = (Browser::new(), Browser::new());
    bench.sign_in(&mut one, "u1").await;
    bench.sign_in(&mut two, "u2").await;
    let actors = [one.who(&origin).await.unwrap(), two.who(&origin).await.unwrap()].map(|who| {
        assert_eq!(who["role"], "viewer");
        who["actor"].as_str().unwrap().to_owned()
    });
    assert_eq!(actors[0], "user:oidc:ada@example.com");
    assert!(actors[1].starts_with("user:oidc:ada@example.com-"), "{actors:?}");
    // No password is theirs, not even none.
    for password in ["", PASSWORD] {
        let ask = json!({ "name": "oidc:ada@example.com", "password": password });
        let answer = app.anonymous(reqwest::Method::POST, "/api/v1/session").json(&ask).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }

    assert_eq!(app.post("/api/v1/users/oidc:ada@example.com/disable", &json!({ "reason": "left" })).await.0, 200);
    assert_eq!(app.post("/api/v1/users/oidc:ada@example.com/disable", &json!({})).await.0, 404);
    assert_eq!(one.who(&origin).await, None);
    refused(&bench.sign_in(&mut one, "u1").await, 403, NOT_HERE);
    assert!(two.who(&origin).await.is_some());
    assert_eq!(app.post("/api/v1/users/oidc:ada@example.com/enable", &json!({})).await.0, 200);
    assert_eq!(one.who(&origin).await, None, "who comes back signs in anew");
    bench.sign_in(&mut one, "u1").await;
    assert!(one.who(&origin).await.is_some());
    // Removed, they are a new user at their next sign-in.
    let gone = app.request(reqwest::Method::DELETE, "/api/v1/users/oidc:ada@example.com").send().await.unwrap();
    assert_eq!((gone.status().as_u16(), one.who(&origin).await), (200, None));
    bench.sign_in(&mut one, "u1").await;
    assert_eq!(one.who(&origin).await.unwrap()["actor"], "user:oidc:ada@example.com");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_back_works_once_for_who_began_it() {
    const OVER: &str = "This sign-in is over";
    let (mut bench, app) = Bench::start(Engine::Sqlite).await;
    let origin = bench.origin.clone();
    bench.accounts(&json!({ "u1": { "groups": ["look"] } }));
    let mut browser = Browser::new();
    let back = bench.sign_in_halfway(&mut browser, "u1").await;
    let host = origin["http://".len()..].to_owned();
    let cookies = browser.cookies[&host].clone();
    assert!(!cookies.iter().any(|(_, value)| back.as_str().contains(value)), "the cookie shows nothing");

    // In another browser, and with another sign-in's cookie.
    let mut stranger = Browser::new();
    refused(&stranger.step(&back, None).await, 400, OVER);
    stranger.open(&format!("{origin}{BEGIN}"), None).await;
    refused(&stranger.step(&back, None).await, 400, OVER);
    assert_eq!(stranger.who(&origin).await, None);

    // With another state, another issuer, an error instead of a code.
    let change = |name: &str, value: Option<&str>| {
        let mut changed = back.clone();
        let pairs: Vec<(String, String)> = back.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
        changed.query_pairs_mut().clear().extend_pairs(pairs);
        if let Some(value) = value {
            changed.query_pairs_mut().append_pair(name, value);
        }
        changed
    };
    for (changed, status, title) in [
        (change("state", Some("wrong")), 400, OVER),
        (change("state", None), 400, OVER),
        (change("iss", Some("https://other.example")), 403, "The provider's answer cannot be believed"),
        (change("code", None), 403, "The provider did not sign you in"),
        (change("code", Some("wrong")), 403, "The provider did not sign you in"),
    ] {
        // Who gets in between is not held up.
        bench.sign_in(&mut Browser::new(), "u1").await;
        browser.cookies.insert(host.clone(), cookies.clone());
        refused(&browser.step(&changed, None).await, status, title);
        assert_eq!(browser.who(&origin).await, None, "{changed}");
    }

    browser.cookies.insert(host.clone(), cookies.clone());
    assert_eq!(browser.step(&back, None).await.status, 303);
    assert!(browser.who(&origin).await.is_some());
    // The same way once more: without the cookie, and with one that was kept.
    refused(&browser.step(&back, None).await, 400, OVER);
    let mut thief = Browser::new();
    thief.cookies.insert(host, cookies);
    refused(&thief.step(&back, None).await, 403, "The provider did not sign you in");
    assert_eq!(thief.who(&origin).await, None);

    // Who goes on like this waits.
    eventually("an attempt has to wait", || async {
        let page = Browser::new().step(&back, None).await;
        (page.status == 429 && page.headers.contains_key("retry-after")).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_away_keeps_nobody_with_a_password_out() {
    const AWAY: &str = "The sign-in provider cannot be used now";
    let (mut bench, app) = Bench::start(Engine::Sqlite).await;
    let origin = bench.origin.clone();
    bench.accounts(&json!({ "u1": { "groups": ["look"] } }));
    let offered = app.anonymous(reqwest::Method::GET, "/api/v1/session/provider").send().await.unwrap();
    assert_eq!(offered.json::<Value>().await.unwrap(), json!({ "name": "Example <Login>" }));
    app.post("/api/v1/users", &json!({ "name": "bob", "password": PASSWORD, "role": "viewer" })).await;

    // Away at the start: the page says so.
    bench.provider = None;
    refused(&Browser::new().open(&format!("{origin}{BEGIN}"), None).await, 502, AWAY);
    crate::access::sessions::sign_in(&app, "bob").await;
    bench.provider();
    bench.accounts(&json!({ "u1": { "groups": ["look"] } }));
    let mut browser = Browser::new();
    eventually("the provider is asked again", || async {
        (Browser::new().open(&format!("{origin}{BEGIN}"), None).await.status != 502).then_some(())
    })
    .await;

    // Away on the way back.
    let back = bench.sign_in_halfway(&mut browser, "u1").await;
    bench.provider = None;
    refused(&browser.step(&back, None).await, 502, AWAY);
    assert_eq!(browser.who(&origin).await, None);
    crate::access::sessions::sign_in(&app, "bob").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_provider_there_is_no_way_to_one() {
    let world = World::new("").await;
    let app = world.start().await;
    let get = async |path: &str| app.anonymous(reqwest::Method::GET, path).send().await.unwrap();
    assert_eq!(get("/api/v1/session/provider").await.json::<Value>().await.unwrap(), json!({ "name": null }));
    for path in ["begin", "callback?code=x&state=y"] {
        assert_eq!(get(&format!("/api/v1/session/provider/{path}")).await.status(), 404, "{path}");
    }
    app.finish().await;
}
