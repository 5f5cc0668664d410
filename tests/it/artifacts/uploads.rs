//! Uploads into the folder that the gateway serves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use sluice::{
    api::records::Scope,
    app::{self, AppOptions},
    artifacts::{Added, Leave, Quota},
    clock::SystemClock,
    config,
    lifecycle::DrainPlan,
    standins::StandInApi,
};
use sluice_actors::{domain::Timestamp, ports::Clock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Upload, asking, id_of, put};
use crate::harness::{App, Engine, SECRET, Sender, World, eventually, on_both_engines, sluice};

on_both_engines! {
    a_sender_uploads_exactly_what_it_named_and_its_event_refers_to_it
    an_upload_may_be_larger_than_any_delivery
    an_upload_of_another_source_or_tenant_is_no_attachment
    a_tenant_keeps_no_more_uploads_than_it_may
    a_promise_that_is_not_kept_ends_with_its_url_and_bytes_that_nobody_told_of_are_found
    an_erased_upload_is_removed_again_for_as_long_as_its_url_can_bring_it_back
}

const PICTURE: &[u8] = b"\x89PNG not a picture, but its bytes";

fn sources(api: &StandInApi) -> String {
    let source = |name: &str, uploads: &str| {
        format!(
            r#"
[sources.{name}]
vendor = "generic"
secrets = ["file:{name}.secret"]
{uploads}
[[sources.{name}.routes]]
name = "call"
action = "http_call"
url = "{}"
attachments = ["/data/file", "/data/more"]
"#,
            api.url("/sink")
        )
    };
    source("chat", "uploads = true") + &source("other", "uploads = true") + &source("closed", "")
}

/// Of each source a secret of its own.
fn secret(source: &str) -> String {
    format!("{SECRET}-{source}")
}

async fn world(engine: Engine, api: &StandInApi, more: &str) -> World {
    let world = World::on(engine, "").await;
    let main = std::fs::read_to_string(world.folder.config()).unwrap();
    std::fs::write(world.folder.config(), main + more).unwrap();
    for source in ["chat", "other", "closed"] {
        world.folder.secret(&format!("{source}.secret"), &secret(source));
    }
    world.sources(&sources(api));
    world
}

fn event(subject: &str, file: &Value) -> Value {
    json!({
        "event_type": "assistant.completed", "subject_id": subject, "occurred_at": "2026-11-24T07:00:00Z",
        "data": { "file": file },
    })
}

/// The folder's files below a tenant.
fn files(world: &World, tenant: &str) -> Vec<String> {
    fn walk(path: &std::path::Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(path).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, into) } else { into.push(path.to_string_lossy().into_owned()) }
        }
    }
    let mut found = Vec::new();
    walk(&world.folder.path().join("artifacts").join(tenant), &mut found);
    found
}

async fn a_sender_uploads_exactly_what_it_named_and_its_event_refers_to_it(engine: Engine) {
    let api = StandInApi::start().await.unwrap();
    let world = world(engine, &api, "").await;
    let app = world.start().await;
    let sender = app.sender("acme", "chat", "generic", &secret("chat"));
    let upload = Upload::ask(&sender, PICTURE, "image/png").await;
    assert!(upload.key.starts_with("acme/uploads/"), "{}", upload.key);

    // Nothing but these bytes, of this length and type.
    let mut other = PICTURE.to_vec();
    other[0] ^= 1;
    assert_eq!(upload.put(&other).await, 422);
    assert_eq!(upload.put(&PICTURE[1..]).await, 422);
    assert_eq!(upload.put(&[PICTURE, b"x"].concat()).await, 422);
    let mut html = upload.headers.clone();
    html.insert("content-type", "text/html".parse().unwrap());
    assert_eq!(put(&upload.url, html, PICTURE).await, 422);
    for (what, forged) in [
        ("length", upload.url.replace("length=", "length=1")),
        ("type", upload.url.replace("image%2Fpng", "text%2Fhtml")),
        ("expires", upload.url.replace("expires=", "expires=9")),
        ("tenant", upload.url.replace("/acme/", "/bravo/")),
        ("kind", upload.url.replace("/acme/uploads/", "/acme/results/")),
        ("signature", upload.url.replace("signature=", "signature=0")),
    ] {
        assert_ne!(forged, upload.url, "{what}");
        assert_eq!(put(&forged, upload.headers.clone(), PICTURE).await, 403, "{what}");
    }
    let id = upload.key.rsplit('/').next().unwrap();
    for bad in
        ["acme/uploads/2026-11-24/x", "acme/secrets/2026-11-24/ID", "acme/uploads/2026-11-24/ID/x", "acme/uploads//ID"]
    {
        let url = format!("{}/uploads/{}", app.public(), bad.replace("ID", id));
        assert_eq!(put(&url, upload.headers.clone(), PICTURE).await, 404, "{bad}");
    }
    assert_eq!(files(&world, "acme"), [""; 0], "nothing is kept of what is not right");

    // A connection that is cut leaves nothing that is seen.
    let address = app.public().replace("http://", "");
    let mut cut = tokio::net::TcpStream::connect(&address).await.unwrap();
    let path = &upload.url[app.public().len()..];
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: {}\r\n\r\n",
        PICTURE.len()
    );
    cut.write_all(head.as_bytes()).await.unwrap();
    cut.write_all(&PICTURE[..5]).await.unwrap();
    drop(cut);

    // An event that comes first waits for its attachment.
    let sent = sender.send("e1", &event("s1", &json!(upload.key))).await;
    eventually("the job waits", || async {
        let job = &app.jobs_of(sent.event()).await[0];
        job["last_error"].as_str().is_some_and(|told| told.contains("has not arrived")).then_some(())
    })
    .await;
    assert_eq!(api.requests().len(), 0);
    assert_eq!(upload.put(PICTURE).await, 200);
    assert_eq!(upload.put(PICTURE).await, 200, "once more is no harm");
    let again = sender.uploading().send("upload", &asking(PICTURE, "image/png")).await;
    assert_eq!(again.body, json!({ "ok": true, "key": upload.key, "stored": true }));
    app.settled(sent.event()).await;

    let called: Value = serde_json::from_slice(&api.requests()[0].body).unwrap();
    let attachment = &called["attachments"][0];
    assert_eq!((&attachment["key"], &attachment["type"]), (&json!(upload.key), &json!("image/png")));
    assert_eq!(attachment["bytes"], json!(PICTURE.len()));
    reads_as_a_file(attachment["url"].as_str().unwrap()).await;
    let metrics = app.scrape().await;
    for line in [
        "sluice_artifact_uploads_total{backend=\"folder\",outcome=\"stored\"} 2".to_owned(),
        format!("sluice_artifact_bytes_total{{backend=\"folder\"}} {}", 2 * PICTURE.len()),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    let looked = sluice(world.folder.path(), &["doctor", "--json"]).await;
    assert!(looked.stdout.contains("folder takes, gives back and removes a probe"), "{looked:?}");
    app.finish().await;
}

async fn an_upload_may_be_larger_than_any_delivery(engine: Engine) {
    let api = StandInApi::start().await.unwrap();
    let world = world(engine, &api, "").await;
    let app = world.start().await;
    let sender = app.sender("acme", "chat", "generic", &secret("chat"));
    let large: Vec<u8> = (0..3_u32 << 20).map(|n| (n % 251) as u8).collect();
    let body = json!({ "text": "x".repeat(large.len() / 4) });
    assert_eq!(sender.send("e0", &body).await.status, 413, "no delivery is that large");
    let upload = Upload::ask(&sender, &large, "application/pdf").await;
    assert_eq!(upload.put(&large).await, 200);
    let sent = sender.send("e1", &event("s1", &json!(upload.key))).await;
    app.settled(sent.event()).await;
    let called: Value = serde_json::from_slice(&api.requests()[0].body).unwrap();
    let link = called["attachments"][0]["url"].as_str().unwrap();
    assert_eq!(reqwest::get(link).await.unwrap().bytes().await.unwrap(), large);
    app.finish().await;
}

/// An object is a file to save, never a page, and its link opens nothing else.
async fn reads_as_a_file(url: &str) {
    let client = reqwest::Client::new();
    let whole = client.get(url).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    let header = |name: &str| whole.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("content-type"), header("x-content-type-options")), ("image/png".into(), "nosniff".into()));
    assert!(header("content-disposition").starts_with("attachment; filename=\"attachment-art_"));
    assert!(header("content-security-policy").starts_with("sandbox;"));
    assert_eq!(header("cache-control"), "private, no-store");
    assert_eq!(whole.bytes().await.unwrap(), PICTURE);
    let head = client.head(url).send().await.unwrap();
    let length = head.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap();
    assert_eq!((head.status(), length), (StatusCode::OK, PICTURE.len()));
    let part = client.get(url).header("range", "bytes=1-3").send().await.unwrap();
    let told = part.headers()["content-range"].to_str().unwrap().to_owned();
    assert_eq!((part.status().as_u16(), told), (206, format!("bytes 1-3/{}", PICTURE.len())));
    assert_eq!(part.bytes().await.unwrap(), PICTURE[1..4]);
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(client.get(url).header("range", "bytes=9999-")).await, 416);
    assert_eq!(status(client.post(url)).await, 405);
    for forged in [
        url.replace("type=image%2Fpng", "type=text%2Fhtml"),
        url.replace("expires=", "expires=9"),
        url.replace("/uploads/", "/results/"),
        url.split('?').next().unwrap().to_owned(),
    ] {
        assert_ne!(forged, url);
        assert_eq!(status(client.get(&forged)).await, 403, "{forged}");
    }
    let expired = format!("{url}&x=1");
    assert_eq!(status(client.get(&expired)).await, 403, "a parameter more");
}

async fn an_upload_of_another_source_or_tenant_is_no_attachment(engine: Engine) {
    let api = StandInApi::start().await.unwrap();
    let world = world(engine, &api, "").await;
    let app = world.start().await;
    let chat = app.sender("acme", "chat", "generic", &secret("chat"));
    let other = app.sender("acme", "other", "generic", &secret("other"));
    let upload = Upload::ask(&other, PICTURE, "image/png").await;
    assert_eq!(upload.put(PICTURE).await, 200);
    let own = Upload::ask(&chat, PICTURE, "image/png").await;
    assert_eq!(own.put(PICTURE).await, 200);
    assert_ne!(own.key, upload.key);
    let first = chat.send("first", &event("first", &Value::Null)).await;
    app.settled(first.event()).await;
    let kept = app.artifact("acme", "chat", first.event()).await;
    let day = own.key.split('/').nth(2).unwrap();
    let foreign = [
        json!(upload.key),
        json!([own.key, upload.key]),
        json!(own.key.replace("acme", "bravo")),
        json!(format!("acme/results/{day}/{kept}")),
        json!(format!("acme/uploads/{day}/{kept}")),
        json!(own.key.replace(day, "2020-01-01")),
        json!("../../etc/passwd"),
        json!(""),
        json!({ "key": own.key }),
        json!(vec![own.key.clone(); 21]),
    ];
    for (n, file) in foreign.iter().enumerate() {
        let sent = chat.send(&format!("f{n}"), &event(&format!("f{n}"), file)).await;
        let jobs = app.settled(sent.event()).await;
        assert_eq!(jobs[0]["job"]["state"], "deadletter", "{file}");
        assert_eq!(jobs[0]["dead_letter"]["reason"], "invalid", "{file}");
    }
    assert_eq!(api.requests().len(), 1, "nothing foreign is ever used");
    for (id, file) in [("none", Value::Null), ("several", json!([own.key, own.key]))] {
        let sent = chat.send(id, &event(id, &file)).await;
        assert_eq!(app.settled(sent.event()).await[0]["job"]["state"], "succeeded");
    }

    // Who may not upload learns nothing: a wrong secret, a source that takes none, a path that leads nowhere.
    let guessed = chat.with_secret("a-guessed-secret-of-32-bytes-len");
    let closed = app.sender("acme", "closed", "generic", &secret("closed"));
    let nowhere = app.sender("acme", "nowhere", "generic", &secret("chat"));
    let mut answers = Vec::new();
    for sender in [guessed, closed, nowhere] {
        answers.push(sender.uploading().send("u", &asking(PICTURE, "image/png")).await);
    }
    assert_eq!(answers[0].status, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let status = async |body: &Value| chat.uploading().send("u", body).await.status;
    assert_eq!(
        status(&json!({ "upload": { "length": 26 << 20, "type": "a/b", "sha256": "00".repeat(32) } })).await,
        413
    );
    for bad in [json!({}), event("x", &Value::Null), json!({ "upload": { "length": 5 } }), json!([])] {
        assert_eq!(status(&bad).await, 400, "{bad}");
    }
    // What asks for leave is no event of this vendor, and no event asks for leave.
    assert_eq!(chat.send("x", &asking(PICTURE, "image/png")).await.status, 400);
    app.stop().await;
}

async fn a_tenant_keeps_no_more_uploads_than_it_may(engine: Engine) {
    let api = StandInApi::start().await.unwrap();
    let world = world(engine, &api, "[artifacts]\nuploads = 2\nupload_bytes = 40\n").await;
    let app = world.start().await;
    let chat = app.sender("acme", "chat", "generic", &secret("chat"));
    let ask = async |bytes: &[u8]| chat.uploading().send("u", &asking(bytes, "text/plain")).await.status;
    assert_eq!(ask(&[b'a'; 30]).await, 200);
    assert_eq!(ask(&[b'b'; 30]).await, 429, "more bytes than all may have");
    assert_eq!(ask(&[b'c'; 5]).await, 200);
    assert_eq!(ask(&[b'c'; 5]).await, 200, "the same again takes no place");
    assert_eq!(ask(&[b'd'; 1]).await, 429, "more than two");
    app.finish().await;
}

/// The object of a key appears, as in a bucket: the gateway is not told.
fn appears(world: &World, key: &str, bytes: &[u8]) {
    let path = world.folder.path().join("artifacts").join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

async fn a_promise_that_is_not_kept_ends_with_its_url_and_bytes_that_nobody_told_of_are_found(engine: Engine) {
    let api = StandInApi::start().await.unwrap();
    let world = world(engine, &api, "[artifacts]\nuploads = 4\n").await;
    let app = world.start().await;
    let chat = app.sender("acme", "chat", "generic", &secret("chat"));
    let ask = async |bytes: &[u8]| chat.uploading().send("u", &asking(bytes, "text/plain")).await;
    let told = Upload::ask(&chat, b"told", "text/plain").await;
    let untold = Upload::ask(&chat, b"untold", "text/plain").await;
    let late = Upload::ask(&chat, b"late", "text/plain").await;
    Upload::ask(&chat, b"never", "text/plain").await;
    assert_eq!(told.put(b"told").await, 200);
    appears(&world, &untold.key, b"untold");
    assert_eq!(ask(b"fifth").await.status, 429);

    let after = |minutes: u64| SystemClock.now().plus(Duration::from_secs(60 * minutes));
    let sweep = async |minutes: u64| app.artifacts().sweep(after(minutes)).await.unwrap();
    sweep(20).await;
    assert_eq!(ask(b"fifth").await.status, 429, "a request that began in time may still bring them");
    let register = app.artifacts().register();
    let artifact = register.artifact(&Scope::All, id_of(&late.key).parse().unwrap()).await.unwrap().unwrap();
    let leave = Leave { quota: Quota { count: 0, bytes: 0 }, until: after(300) };
    assert!(matches!(register.add(artifact, Some(leave)).await.unwrap(), Added::Known(_)));
    sweep(200).await;
    assert_eq!(ask(b"fifth").await.status, 200, "the place of the one that never came");
    assert_eq!(ask(b"sixth").await.status, 429, "the late one was asked for again");
    for (upload, bytes) in [(&told, &b"told"[..]), (&untold, b"untold")] {
        let again = ask(bytes).await.body;
        assert_eq!(again, json!({ "ok": true, "key": upload.key, "stored": true }));
    }
    assert_eq!(ask(b"late").await.body["stored"], json!(false));
    app.finish().await;
}

async fn an_erased_upload_is_removed_again_for_as_long_as_its_url_can_bring_it_back(engine: Engine) {
    let api = StandInApi::start().await.unwrap();
    let world = world(engine, &api, "").await;
    let app = world.start().await;
    let chat = app.sender("acme", "chat", "generic", &secret("chat"));
    let upload = Upload::ask(&chat, PICTURE, "image/png").await;
    assert_eq!(upload.put(PICTURE).await, 200);
    let sent = chat.send("e1", &event("jane", &json!(upload.key))).await;
    app.settled(sent.event()).await;
    let erase = ["subject", "erase", "acme", "jane", "--yes", "--json", "--reason", "she asked"];
    let done = sluice(world.folder.path(), &erase).await.json();
    assert_eq!((&done["erased"], &done["artifacts"]), (&json!(1), &json!(1)), "{done}");
    assert_eq!(files(&world, "acme"), [""; 0]);

    assert_eq!(upload.put(PICTURE).await, 422, "the folder asks the row");
    assert_eq!(files(&world, "acme"), [""; 0]);
    let again = chat.uploading().send("u", &asking(PICTURE, "image/png")).await;
    assert_eq!((again.status, &again.body["error"]), (503, &json!("upload_ending")), "{again:?}");
    // A bucket asks nobody.
    appears(&world, &upload.key, PICTURE);
    let sent = chat.send("e2", &event("john", &json!(upload.key))).await;
    let dead = app.settled(sent.event()).await.remove(0);
    assert_eq!(dead["job"]["state"], json!("deadletter"), "{dead}");
    let after = |minutes: u64| SystemClock.now().plus(Duration::from_secs(60 * minutes));
    app.artifacts().sweep(after(80)).await.unwrap();
    assert_eq!(files(&world, "acme"), [""; 0]);
    // The same bytes would have the same id today, and who removes the one could meet the other.
    assert_eq!(chat.uploading().send("u", &asking(PICTURE, "image/png")).await.status, 503);
    app.artifacts().sweep(after(26 * 60)).await.unwrap();
    let upload = Upload::ask(&chat, PICTURE, "image/png").await;
    assert_eq!(upload.put(PICTURE).await, 200, "who is no longer erased may come back");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_without_its_length_is_counted_while_it_comes() {
    let api = StandInApi::start().await.unwrap();
    let world = world(Engine::Sqlite, &api, "").await;
    let app: App = world.start().await;
    let sender = app.sender("acme", "chat", "generic", &secret("chat"));
    let upload = Upload::ask(&sender, PICTURE, "image/png").await;
    let path = &upload.url[app.public().len()..];
    let chunked = async |bytes: &[u8]| {
        let mut stream = tokio::net::TcpStream::connect(app.public().replace("http://", "")).await.unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\
             connection: close\r\n\r\n{:x}\r\n",
            bytes.len()
        );
        stream.write_all(&[head.as_bytes(), bytes, b"\r\n0\r\n\r\n"].concat()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer)[9..12].to_owned()
    };
    assert_eq!(chunked(&[PICTURE, b"x"].concat()).await, "422");
    assert_eq!(chunked(&PICTURE[1..]).await, "422");
    assert_eq!(chunked(PICTURE).await, "200");
    app.finish().await;
}

/// The wall's clock, until it is set; from then on it stands.
#[derive(Default)]
struct Standing(AtomicI64);

impl Standing {
    fn set(&self, millis: i64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        match self.0.load(Ordering::SeqCst) {
            0 => SystemClock.now(),
            set => Timestamp::from_millis(set),
        }
    }
}

/// When a signed URL says that it ends.
fn ends(url: &str) -> i64 {
    let said = url.split(['?', '&']).find_map(|part| part.strip_prefix("expires=")).expect("an end");
    said.parse().expect("milliseconds")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_of_the_folder_is_good_up_to_its_end_and_gone_from_then_on() {
    let api = StandInApi::start().await.unwrap();
    // The shortest that may be configured.
    let world = world(Engine::Sqlite, &api, "[artifacts]\nlink_ttl = '60s'\nupload_ttl = '30s'\n").await;
    let clock = Arc::new(Standing::default());
    let drain = DrainPlan { announce: Duration::ZERO, ..DrainPlan::default() };
    let options = AppOptions { clock: clock.clone(), drain, ..AppOptions::default() };
    let running = app::start(config::load(&world.folder.config()).unwrap(), options).await.unwrap();
    let public = format!("http://{}", running.public_addr);
    let sender = Sender::new(&public, "acme", "chat", "generic", &secret("chat"));
    let upload = Upload::ask(&sender, PICTURE, "image/png").await;
    assert_eq!(upload.put(PICTURE).await, 200);
    let late = Upload::ask(&sender, b"late", "text/plain").await;
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let address = format!("http://{}/api/v1/artifacts/{}", running.admin_addr, id_of(&upload.key));
    let led = client.get(address).bearer_auth(&running.token).send().await.unwrap();
    let link = led.headers()["location"].to_str().unwrap().to_owned();
    let now = clock.now().as_millis();
    assert!((now..=now + 30_000).contains(&ends(&late.url)), "{}", late.url);
    assert!((now..=now + 60_000).contains(&ends(&link)), "{link}");

    clock.set(ends(&upload.url) - 1);
    assert_eq!(upload.put(PICTURE).await, 200);
    clock.set(ends(&upload.url));
    assert_eq!(upload.put(PICTURE).await, 410);
    clock.set(ends(&late.url));
    assert_eq!(late.put(b"late").await, 410);
    assert_eq!(files(&world, "acme").len(), 1, "nothing is kept of what came too late");
    // Who writes another end into it has a URL that nobody signed.
    let longer = late.url.replace("expires=", "expires=9");
    assert_eq!(put(&longer, late.headers.clone(), b"late").await, 403);

    clock.set(ends(&link) - 1);
    let whole = client.get(&link).send().await.unwrap();
    assert_eq!((whole.status(), &whole.bytes().await.unwrap()[..]), (StatusCode::OK, PICTURE));
    clock.set(ends(&link));
    let gone = client.get(&link).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::GONE);
    let told: Value = gone.json().await.unwrap();
    assert_eq!(told["error"], "link_expired", "{told}");
    assert_eq!(client.head(&link).send().await.unwrap().status(), StatusCode::GONE);
    let longer = link.replace("expires=", "expires=9");
    assert_eq!(client.get(longer).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    running.shutdown().await;
}
