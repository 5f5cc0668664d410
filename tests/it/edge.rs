//! From a socket to rows in a real file, and back to the answer.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use http::HeaderMap;
use sluice::{
    api::records::{RecordFilter, Records, Scope},
    clock::SystemClock,
    config::Input,
    edge::{self, EdgeOptions, accept},
    ingest::{Informed, IngestEvent, Observer, Receiver, ReceiverParts},
    schema::Drift,
    secrets::{Environment, Secret},
    store::{OpenOptions, Store},
    trace::Untraced,
    vendors::Outgoing,
};
use sluice_actors::{domain::LaneKey, ports::Clock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) mod certificates;

struct Silent;

impl Observer for Silent {
    fn observe(&self, _: &IngestEvent<'_>) {}
}

const TENANT: &str = r#"
[sources.app]
vendor = "generic"
secrets = ["env:KEY"]
[[sources.app.routes]]
name = "log"
action = "log"
"#;

struct Node {
    server: accept::Server,
    store: Store,
    _folder: tempfile::TempDir,
}

impl Node {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(SystemClock);
        let path = folder.path().join("sluice.db");
        let store = Store::sqlite(&path, OpenOptions::new(clock.clone(), "test".into())).await.expect("a store");
        let environment = Environment::fixed([("KEY", "app-secret")]);
        let input = Input::new(folder.path()).tenant("acme", TENANT).environment(environment);
        let config = input.resolve().expect("a valid configuration");
        let options = EdgeOptions::new(&config, Arc::new(|| Bytes::from_static(b"{}"))).expect("options");
        let receiver = Receiver::new(ReceiverParts {
            informed: Informed::always(),
            config: Arc::new(ArcSwap::from_pointee(config)),
            store: Arc::new(store.clone()),
            records: Arc::new(store.clone()),
            clock,
            wake: Arc::new(|_: &LaneKey| {}),
            observer: Arc::new(Silent),
            drift: Arc::new(Drift::default()),
            tracer: Arc::new(Untraced),
        });
        let listener = accept::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let server = edge::serve(listener, Arc::new(receiver), options).expect("an address");
        Self { server, store, _folder: folder }
    }

    /// One signed delivery on a connection of its own; the JSON of its 200.
    async fn deliver(&self, signed: &str) -> serde_json::Value {
        let mut client = TcpStream::connect(self.server.local_addr()).await.expect("a connection");
        client.write_all(signed.as_bytes()).await.expect("written");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    }

    async fn events(&self) -> usize {
        let page = self.store.events(&Scope::All, &RecordFilter::default()).await.expect("a page");
        page.items.len()
    }
}

/// The headers of a delivery that is signed now.
fn signature(secret: &str, id: &str, body: &str) -> HeaderMap {
    let vendor = sluice::vendors::build("generic", &toml::Table::new()).expect("a vendor").expect("no options");
    let outgoing = Outgoing { url: "", id, event_type: "", now: SystemClock.now(), body: body.as_bytes() };
    vendor.sign(&outgoing, &Secret::new(secret.into())).expect("signed").into_iter().collect()
}

fn signed(id: &str, body: &str) -> String {
    let headers: Vec<String> = signature("app-secret", id, body)
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().expect("text")))
        .collect();
    format!(
        "POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n{}content-length: {}\r\n\r\n{body}",
        headers.concat(),
        body.len()
    )
}

const BODY: &str = r#"{"event_type":"assistant.completed","subject_id":"t1","data":{"answer":"yes"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_identical_deliveries_at_once_make_one_event() {
    let node = Node::start().await;
    let request = signed("e1", BODY);
    let answers = join_all((0..100).map(|_| node.deliver(&request))).await;
    let fresh = answers.iter().filter(|answer| answer["duplicate"] == false).count();
    assert_eq!(fresh, 1);
    assert!(answers.iter().all(|answer| answer["event_id"] == answers[0]["event_id"]));
    assert_eq!(node.events().await, 1);
    assert_eq!(node.server.stop(Duration::from_secs(10)).await, 0);
}

/// The id of this scheme is outside the signature: a captured request under a fresh id verifies.
#[tokio::test]
async fn a_captured_request_under_a_fresh_id_is_a_duplicate() {
    let node = Node::start().await;
    let request = signed("e1", BODY);
    let first = node.deliver(&request).await;
    let replayed = node.deliver(&request.replace("x-event-id: e1", "x-event-id: e2")).await;
    assert_eq!((&replayed["duplicate"], &replayed["event_id"]), (&true.into(), &first["event_id"]));
    assert_eq!(node.events().await, 1);
}
