//! What changes, told as it changes: to whom, and for how long.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{App, PATIENCE, World, completed, summarising};

const BRAVO: &str = "[sources.chat]\nvendor = \"generic\"\nsecrets = [\"file:bravo.secret\"]\n\
                     [[sources.chat.routes]]\nname = \"log\"\naction = \"log\"\n";

async fn token(app: &App, name: &str, tenants: Value) -> (String, String) {
    let (_, made) = app.post("/api/v1/tokens", &json!({ "name": name, "role": "viewer", "tenants": tenants })).await;
    (made["secret"].as_str().unwrap().to_owned(), made["token"]["id"].as_str().unwrap().to_owned())
}

async fn listen(app: &App, secret: &str) -> Response {
    let stream = app.anonymous(Method::GET, "/api/v1/live").bearer_auth(secret).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    stream
}

/// Reads on until `word` was told.
async fn until(stream: &mut Response, word: &str) -> String {
    let mut told = String::new();
    let reading = async {
        while !told.contains(word) {
            told += std::str::from_utf8(&stream.chunk().await.unwrap().expect("the stream goes on")).unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect(word);
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_is_told_of_their_own_tenants_and_of_no_other() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.folder.secret("bravo.secret", "another-secret-of-32-bytes-bravo");
    world.folder.tenant("bravo", BRAVO);
    let app = world.start().await;
    let (own, _) = token(&app, "own", json!(["acme"])).await;
    let (all, _) = token(&app, "all", Value::Null).await;
    let (mut own, mut all) = (listen(&app, &own).await, listen(&app, &all).await);
    until(&mut own, "looking").await;
    until(&mut all, "looking").await;
    let bravo = app.sender("bravo", "chat", "generic", "another-secret-of-32-bytes-bravo");
    let foreign = bravo.send("e1", &completed("t", 0)).await.event().to_owned();
    until(&mut all, &foreign).await;
    let event = app.acme("chat", "generic").send("e2", &completed("t", 0)).await.event().to_owned();
    let told = until(&mut own, &event).await;
    assert!(!told.contains("bravo") && !told.contains(&foreign), "{told}");
    assert!(told.contains("\"kind\":\"event\""), "{told}");
    drop((own, all));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let world = World::new("").await;
    let app = world.start().await;
    let (secret, id) = token(&app, "gone", Value::Null).await;
    let mut stream = listen(&app, &secret).await;
    until(&mut stream, "looking").await;
    let revoked = app.request(Method::DELETE, &format!("/api/v1/tokens/{id}")).send().await.unwrap();
    assert_eq!(revoked.status(), 200);
    let ends = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(PATIENCE, ends).await.expect("the stream ends within ten seconds");
    app.finish().await;
}
