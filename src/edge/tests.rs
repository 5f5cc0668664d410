//! The public listener on real sockets, with a receiver whose world the test owns.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

mod oddities;
mod secured;

use super::*;
use crate::ingest::testing::{World, body};

/// Longer than any deadline under test.
const PATIENCE: Duration = Duration::from_secs(20);

const ANY_PORT: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct Listening {
    world: World,
    server: Server,
}

impl Listening {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut EdgeOptions)) -> Self {
        Self::of(World::new(), change)
    }

    fn of(world: World, change: impl FnOnce(&mut EdgeOptions)) -> Self {
        let jwks = Arc::new(|| Bytes::from_static(br#"{"keys":[]}"#));
        let mut options = EdgeOptions::new(&world.config.load(), jwks).expect("options");
        change(&mut options);
        let listener = accept::bind(ANY_PORT).expect("a free port");
        let server = serve(listener, world.receiver.clone(), options).expect("an address");
        Self { world, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.local_addr()).await.expect("a connection")
    }

    /// Sends bytes and reads until the peer closes.
    async fn exchange(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.write_all(request.as_ref()).await.expect("written");
        read_to_close(&mut client).await
    }

    /// A request with `connection: close`.
    async fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> String {
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        self.exchange(format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{length}{headers}\r\n{body}"
        ))
        .await
    }

    fn signed(&self, source: &str, id: &str, body: &str) -> String {
        lines(&self.world.signed(source, id, body.as_bytes()))
    }

    async fn deliver(&self, source: &str, id: &str, body: &str) -> String {
        self.ask("POST", &format!("/webhooks/acme/{source}"), &self.signed(source, id, body), body).await
    }
}

fn lines(headers: &HeaderMap) -> String {
    let lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().expect("text"))).collect();
    lines.concat()
}

async fn read_to_close(client: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, client.read_to_end(&mut all)).await.expect("closed in time");
    String::from_utf8(all).expect("text")
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn a_signed_delivery_is_stored_and_answered() {
    let edge = Listening::new();
    let answer = edge.deliver("app", "e1", &body(1)).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains(r#"{"ok":true,"duplicate":false,"event_id":"evt_"#), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    assert_eq!(edge.world.store.count(), 1);
    assert_eq!(edge.world.receiver.memory().used(), body(1).len(), "held by the store's copy of the event");
    edge.world.store.events.lock().unwrap().clear();
    assert_eq!(edge.world.receiver.memory().used(), 0);
}

#[tokio::test]
async fn exactly_the_public_routes_exist() {
    let routes = [
        "/webhooks/{tenant}/{source}",
        "/artifacts/{tenant}/{kind}/{date}/{id}",
        "/uploads/{tenant}/{source}",
        "/uploads/{tenant}/{kind}/{date}/{id}",
        "/.well-known/jwks.json",
        "/site/v1/{tenant}/keys",
        "/site/v1/{tenant}/jobs",
        "/site/v1/{tenant}/artifacts",
        "/site/v1/{tenant}/requests",
    ];
    assert_eq!(PUBLIC_ROUTES, routes);
    let edge = Listening::new();
    for (target, exists) in [
        ("/webhooks/acme/app", true),
        ("/webhooks/acme/app?x=1", true),
        ("/webhooks/nobody/nothing", true),
        ("/.well-known/jwks.json", true),
        ("/.well-known/jwks.json?x=1", true),
        ("/site/v1/acme/jobs", true),
        ("/site/v1/nobody/keys", true),
        ("/site/v1/acme/requests", true),
        ("/site/v1/acme/jobs/", false),
        ("/site/v1/acme/jobs/more", false),
        ("/site/v1/acme/other", false),
        ("/site/v1/acme", false),
        ("/site/v2/acme/jobs", false),
        ("/site/v1//jobs", false),
        ("/site/v1/acme/%6aobs", false),
        ("/", false),
        ("", false),
        ("*", false),
        ("/webhooks", false),
        ("/webhooks/", false),
        ("/webhooks/acme", false),
        ("/webhooks/acme/", false),
        ("/webhooks/acme/app/", false),
        ("/webhooks/acme/app/more", false),
        ("/webhooks/acme/app//", false),
        ("/webhooks//app", false),
        ("//webhooks/acme/app", false),
        ("/webhooks/acme//app", false),
        ("/webhooks/acme/./app", false),
        ("/webhooks/../webhooks/acme/app", false),
        ("/webhooks/acme/..", false),
        ("/webhooks/acme/.", false),
        ("/webhooks/acme%2Fapp", false),
        ("/webhooks/acme/app%2Fmore", false),
        ("/webhooks/acme/%61pp", false),
        ("/webhooks/acme/app;x", false),
        ("/webhooks/Acme/app", false),
        ("/webhooks/acme/app\\..", false),
        ("/Webhooks/acme/app", false),
        ("/.well-known/jwks.json/", false),
        ("/.well-known/", false),
        ("/.well-known/other", false),
        ("/healthz", false),
        ("/readyz", false),
        ("/metrics", false),
        ("/api/v1/events", false),
        ("/favicon.ico", false),
    ] {
        let target = if target.is_empty() { "http://x" } else { target };
        for method in ["GET", "POST"] {
            let answer = edge.ask(method, target, JSON, "").await;
            assert_eq!(status(&answer) != 404, exists, "{method} {target}: {answer}");
        }
    }
}

#[tokio::test]
async fn other_methods_are_405_with_what_is_allowed() {
    let edge = Listening::new();
    for (target, method, allowed) in [
        ("/webhooks/acme/app", "GET", "POST"),
        ("/webhooks/acme/nothing", "GET", "POST"),
        ("/webhooks/acme/app", "PUT", "POST"),
        ("/webhooks/acme/app", "DELETE", "POST"),
        ("/webhooks/acme/app", "PATCH", "POST"),
        ("/webhooks/acme/app", "OPTIONS", "POST"),
        ("/webhooks/acme/app", "HEAD", "POST"),
        ("/webhooks/acme/app", "TRACE", "POST"),
        ("/webhooks/acme/app", "BREW", "POST"),
        ("/.well-known/jwks.json", "POST", "GET, HEAD"),
    ] {
        let answer = edge.ask(method, target, JSON, "").await;
        assert_eq!(status(&answer), 405, "{method} {target}");
        assert!(answer.contains(&format!("allow: {allowed}\r\n")), "{answer}");
    }
}

#[tokio::test]
async fn the_key_set_is_served() {
    let answer = Listening::new().ask("GET", "/.well-known/jwks.json", "", "").await;
    assert!(answer.ends_with(r#"{"keys":[]}"#), "{answer}");
    assert!(answer.contains("content-type: application/jwk-set+json\r\n"), "{answer}");
}

/// The status line, all headers but the date, and the body: equal whatever the cause.
#[tokio::test]
async fn every_cause_of_a_401_gives_the_same_bytes() {
    let edge = Listening::new();
    let sent = body(1);
    let signed = edge.signed("app", "e1", &sent);
    let forged = lines(&edge.world.signed_with("app", "forged", "e1", sent.as_bytes()));
    let stale = signed.replace("x-timestamp: 17672", "x-timestamp: 17662");
    let mut answers = Vec::new();
    for (source, headers) in [
        ("acme/app", forged.as_str()),
        ("acme/app", JSON),
        ("acme/app", &stale),
        ("acme/off", &signed),
        ("acme/nothing", &signed),
        ("nobody/app", &signed),
        ("acme/pages", &signed),
        ("acme/pay", &signed),
    ] {
        let answer = edge.ask("POST", &format!("/webhooks/{source}"), headers, &sent).await;
        assert_eq!(status(&answer), 401, "{source}: {answer}");
        let undated: Vec<&str> = answer.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
        answers.push(undated.join("\n"));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

/// What is refused before the signature is refused alike for a path that leads nowhere.
#[tokio::test]
async fn media_types_and_codings_are_refused_alike_for_every_path() {
    let edge = Listening::new();
    let sent = body(1);
    let signed = edge.signed("app", "e1", &sent).replace(JSON, "");
    for (headers, expected) in [
        ("", 415),
        ("content-type: text/plain\r\n", 415),
        ("content-type: application/json; boundary=x\r\n", 415),
        ("content-type: application/json\r\ncontent-encoding: gzip\r\n", 415),
        ("content-type: application/json\r\ncontent-encoding: identity\r\n", 415),
        ("content-type: application/json\r\ncontent-type: application/json\r\n", 415),
        ("content-type: multipart/form-data; boundary=x\r\n", 415),
        ("content-type: APPLICATION/json;charset=UTF-8\r\n", 200),
    ] {
        let headers = format!("{headers}{signed}");
        assert_eq!(status(&edge.ask("POST", "/webhooks/acme/app", &headers, &sent).await), expected, "{headers}");
        let nowhere = status(&edge.ask("POST", "/webhooks/acme/nothing", &headers, &sent).await);
        assert_eq!(nowhere, if expected == 415 { 415 } else { 401 }, "{headers}");
    }
}

#[tokio::test]
async fn a_body_over_the_cap_is_413_and_the_answer_can_be_read() {
    let edge = Listening::new();
    // The largest exceeds all socket buffers: its sender gets to read only if we read on.
    for (size, expected) in [(1024, 401), (1025, 413), (20 << 20, 413)] {
        let body = "x".repeat(size);
        let answer = edge.ask("POST", "/webhooks/acme/small", JSON, &body).await;
        assert_eq!(status(&answer), expected, "{size}");
        let chunked = format!(
            "POST /webhooks/acme/small HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{JSON}transfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"
        );
        assert_eq!(status(&edge.exchange(chunked).await), expected, "{size} chunked");
    }
    // Announced, not sent: answered without waiting for it.
    let announced =
        format!("POST /webhooks/acme/small HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 999999999999\r\n\r\n");
    let answer = edge.exchange(announced).await;
    assert_eq!(status(&answer), 413);
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_refused_body_is_not_asked_for() {
    let edge = Listening::new();
    let request = |length: u32| {
        format!(
            "POST /webhooks/acme/small HTTP/1.1\r\nhost: x\r\n{JSON}expect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    assert!(edge.exchange(request(2000)).await.starts_with("HTTP/1.1 413"));
    let mut client = edge.connect().await;
    client.write_all(request(2).as_bytes()).await.expect("written");
    let mut interim = [0; 25];
    client.read_exact(&mut interim).await.expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[tokio::test]
async fn a_chunked_delivery_is_taken_whatever_its_chunks() {
    let edge = Listening::new();
    let sent = body(1);
    let chunks = sent.chars().map(|c| format!("1\r\n{c}\r\n")).collect::<Vec<_>>().concat();
    let headers = edge.signed("app", "e1", &sent);
    let answer = edge
        .exchange(format!(
            "POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}transfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        ))
        .await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn an_endless_chunked_body_ends_at_the_cap() {
    let edge = Listening::new();
    let (mut read, mut write) = edge.connect().await.into_split();
    let head = format!("POST /webhooks/acme/small HTTP/1.1\r\nhost: x\r\n{JSON}transfer-encoding: chunked\r\n\r\n");
    write.write_all(head.as_bytes()).await.expect("written");
    let endless = tokio::spawn(async move {
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while write.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    let mut answer = String::new();
    let _ = timeout(PATIENCE, read.read_to_string(&mut answer)).await.expect("answered and closed");
    assert_eq!(status(&answer), 413);
    timeout(PATIENCE, endless).await.expect("the sender is cut off").expect("no panic");
}

#[tokio::test]
async fn a_slow_body_is_408_and_closed() {
    let short = |options: &mut EdgeOptions| options.request.grace = Duration::from_millis(50);
    let edge = Listening::with(short);
    for framing in ["content-length: 100", "transfer-encoding: chunked"] {
        let head = format!("POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\n{JSON}{framing}\r\n\r\n");
        assert_eq!(status(&edge.exchange(head).await), 408, "{framing}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_stores_nothing_and_frees_its_memory() {
    let edge = Listening::new();
    let sent = body(1);
    let headers = edge.signed("app", "e1", &sent);
    let mut client = edge.connect().await;
    let half = &sent[..sent.len() / 2];
    let request =
        format!("POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{half}", sent.len());
    client.write_all(request.as_bytes()).await.expect("written");
    drop(client);
    timeout(PATIENCE, async {
        while edge.server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the connection ends");
    assert_eq!((edge.world.store.count(), edge.world.receiver.memory().used()), (0, 0));
}

#[tokio::test]
async fn bodies_without_memory_are_503_at_once() {
    let edge = Listening::new();
    let door = edge.world.receiver.door(&"acme".parse().expect("a name"), &"app".parse().expect("a name"));
    let mut others = door.memory().lease();
    others.grow((64 << 20) / 4 - 10).expect("room");
    let answer = edge.deliver("app", "e1", &body(1)).await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("retry-after: 1\r\n") && answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(status(&edge.deliver("small", "e1", &body(1)).await), 200, "another source has its own share");
    drop(others);
    assert_eq!(status(&edge.deliver("app", "e1", &body(1)).await), 200);
}

#[tokio::test]
async fn deliveries_over_the_nodes_rate_are_429() {
    let edge = Listening::with(|options| options.per_second = 1);
    assert_eq!(status(&edge.deliver("app", "e1", &body(1)).await), 200);
    let answer = edge.deliver("app", "e2", &body(2)).await;
    assert_eq!(status(&answer), 429);
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
}

#[tokio::test]
async fn a_store_that_hangs_is_503_in_time_and_may_still_commit() {
    let edge = Listening::with(|options| options.request.answer = Duration::from_millis(50));
    edge.world.store.hang();
    let answer = edge.deliver("app", "e1", &body(1)).await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
    assert_eq!(edge.world.receiver.memory().used(), body(1).len(), "the waiting body keeps its place");
    edge.world.store.go_on();
    edge.world.store.committed.notified().await;
    assert_eq!(edge.world.store.count(), 1);
    assert!(edge.deliver("app", "e1", &body(1)).await.contains(r#""duplicate":true"#));
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cancel_what_the_store_was_handed() {
    let edge = Listening::new();
    edge.world.store.hang();
    let sent = body(1);
    let headers = edge.signed("app", "e1", &sent);
    let mut client = edge.connect().await;
    let request =
        format!("POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{sent}", sent.len());
    client.write_all(request.as_bytes()).await.expect("written");
    edge.world.store.entered.notified().await;
    drop(client);
    timeout(PATIENCE, async {
        while edge.server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the hang-up is seen");
    edge.world.store.go_on();
    edge.world.store.committed.notified().await;
    assert_eq!(edge.world.store.count(), 1);
}

#[tokio::test]
async fn a_keep_alive_connection_carries_many_deliveries() {
    let edge = Listening::new();
    let mut client = edge.connect().await;
    let mut requests = Vec::new();
    for n in 0..20 {
        let (sent, id) = (body(n), format!("e{n}"));
        let headers = edge.signed("app", &id, &sent);
        let close = if n == 19 { "connection: close\r\n" } else { "" };
        requests.push(format!(
            "POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\n{headers}{close}content-length: {}\r\n\r\n{sent}",
            sent.len()
        ));
    }
    client.write_all(requests.concat().as_bytes()).await.expect("written");
    let answers = read_to_close(&mut client).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 20, "{answers}");
    assert_eq!(edge.world.store.count(), 20);
}

#[tokio::test]
async fn every_request_to_a_webhook_path_is_observed_once() {
    let edge = Listening::new();
    edge.deliver("app", "e1", &body(1)).await;
    edge.ask("PUT", "/webhooks/acme/app", "", "").await;
    edge.ask("POST", "/webhooks/acme/nothing", JSON, "{}").await;
    edge.ask("GET", "/nowhere", "", "").await;
    let seen: Vec<String> = edge.world.seen.take().into_iter().filter(|line| line.starts_with("answered")).collect();
    assert_eq!(
        seen,
        [format!("answered app 200 {}", body(1).len()), "answered app 405 0".into(), "answered - 401 2".into()]
    );
}

/// The resident memory of this process and its peak, in MiB.
fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number");
    kib / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_large_bodies_at_once_stay_within_the_memory() {
    const CLIENTS: usize = 2000;
    // However slow the machine that runs this: no deadline is what is tested here.
    let patient = |options: &mut EdgeOptions| {
        let minutes = Duration::from_mins(5);
        (options.request.body, options.request.grace) = (minutes, minutes);
        options.request.answer = minutes;
        options.listener.limits.linger = minutes;
    };
    let edge = Arc::new(Listening::with(patient));
    let filler = "x".repeat(512 * 1024 - 100);
    let sent = Arc::new(format!(r#"{{"event_type":"assistant.completed","data":{{"x":"{filler}"}}}}"#));
    let head = format!(
        "POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}content-length: {}\r\n\r\n",
        edge.signed("app", "e1", &sent),
        sent.len()
    );
    let before = resident("VmRSS");
    // All hold back their last byte until everyone has sent the rest.
    let together = Arc::new(tokio::sync::Barrier::new(CLIENTS));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        // One after the other: what is measured is not the kernel's backlog.
        let mut client = edge.connect().await;
        let (together, head, sent) = (together.clone(), head.clone(), sent.clone());
        clients.push(tokio::spawn(async move {
            let (most, last) = sent.as_bytes().split_at(sent.len() - 1);
            // A client that was already answered may find its connection closed: that is the point.
            let _ = client.write_all(head.as_bytes()).await;
            let _ = client.write_all(most).await;
            together.wait().await;
            let _ = client.write_all(last).await;
            status(&read_to_close(&mut client).await)
        }));
    }
    let mut answers = std::collections::BTreeMap::new();
    for client in clients {
        *answers.entry(client.await.expect("no panic")).or_insert(0) += 1;
    }
    assert_eq!(answers.keys().copied().collect::<Vec<_>>(), [200, 503], "{answers:?}");
    assert!(answers[&200] >= 32, "a quarter of 64 MiB is full at least once: {answers:?}");
    let grown = resident("VmHWM").saturating_sub(before);
    assert!(grown < 400, "grew by {grown} MiB, and the process has more to carry");
}
