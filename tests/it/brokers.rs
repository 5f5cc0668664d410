//! `queue_publish` against real brokers.

mod consumer;
mod killed;
mod nats;
mod rabbitmq;
mod redis;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use sluice::trace::{Called, Tracer};
use sluice_actors::domain::{CallResult, HoldReason, Outcome, TraceId};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::{
    actions::bench::{Bench, TestJob},
    harness::{Broker, Folder, SECRET, sluice},
};

const WELL: CallResult = CallResult::Success;
const NEUTRAL: CallResult = CallResult::Neutral;
const ILL: CallResult = CallResult::Failure { retry_after: None };

/// A route that publishes, with these lines of its own.
fn route(name: &str, lines: &str) -> String {
    format!("[[sources.payments.routes]]\nname = '{name}'\naction = 'queue_publish'\n{lines}\n")
}

/// What an attempt came to, in a word, and what was reported of the broker.
async fn attempt(bench: &Bench, job: &mut TestJob) -> (String, CallResult) {
    let outcome = bench.attempt(job).await;
    let word = match outcome {
        Outcome::Delivered(_) => "delivered".to_owned(),
        Outcome::Retry { error, .. } => format!("retry: {}", without_callee(&error)),
        Outcome::Hold { reason: HoldReason::Unauthorized(_), .. } => "unauthorized".to_owned(),
        Outcome::Hold { reason, .. } => format!("held: {reason}"),
        Outcome::Dead { reason, detail } => format!("dead, {reason:?}: {}", without_callee(&detail)),
    };
    let (callee, report) = job.reports().last().cloned().expect("a report");
    assert_eq!(callee, "queue");
    (word, report)
}

/// As [`attempt`], of a new job of a route.
async fn once(bench: &Bench, route: &str) -> (String, CallResult) {
    attempt(bench, &mut bench.job(route, None)).await
}

fn without_callee(text: &str) -> &str {
    text.split_once(": ").map_or(text, |(_, rest)| rest)
}

/// Begins what an attempt says that no connection answered.
const LATE: &str = "retry: no connection (no answer";

/// Demands what the next attempts of new jobs come to, route by route.
async fn expect(bench: &Bench, table: &[(&str, &str, CallResult)]) {
    for (route, begin, report) in table {
        let (mut word, mut reported) = once(bench, route).await;
        // A busy broker may be late for the first connection.
        for _ in 0..5 {
            if begin.starts_with(LATE) || !word.starts_with(LATE) {
                break;
            }
            (word, reported) = once(bench, route).await;
        }
        assert!(word.starts_with(begin), "{route}: {word}, expected {begin}");
        assert_eq!(reported, *report, "{route}: {word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_accepts_and_says_nothing_is_given_up_and_hung_up_on() {
    let mut ports = Vec::new();
    let mut hung_up = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        ports.push(listener.local_addr().expect("its address").port());
        hung_up.push(tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            // What it says is read; the end of it is that nobody holds the connection any more.
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said).await;
        }));
    }
    let routes = route("redis", &format!("redis = {{ url = 'redis://127.0.0.1:{}', stream = 's' }}", ports[0]))
        + &route("rabbitmq", &format!("rabbitmq = {{ url = 'amqp://127.0.0.1:{}', exchange = 'e' }}", ports[1]))
        + &route("nats", &format!("nats = {{ url = 'nats://127.0.0.1:{}', subject = 's' }}", ports[2]));
    let bench = Bench::start(&routes).await;
    let names = ["redis", "rabbitmq", "nats"];
    let attempts = futures_util::future::join_all(names.map(|name| once(&bench, name))).await;
    for (name, (word, report)) in names.iter().zip(attempts) {
        assert!(word.starts_with("retry: no connection (no answer to the connection attempt)"), "{name}: {word}");
        assert_eq!(report, ILL, "{name}");
    }
    for (name, hung_up) in names.iter().zip(hung_up) {
        tokio::time::timeout(Duration::from_secs(10), hung_up)
            .await
            .unwrap_or_else(|_| panic!("{name} is still held"))
            .unwrap();
    }
}

/// Keeps what it is told of calls, in words.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Tracer for Told {
    fn samples(&self, _trace: TraceId, _parent: Option<bool>) -> bool {
        true
    }

    fn called(&self, call: &Called<'_>) {
        self.0.lock().unwrap().push(format!("{:?} {:?}", call.request, call.answer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_tells_of_the_destination_as_it_is_configured_and_of_how_it_ended() {
    let told = Arc::new(Told::default());
    let lines = "redis = { url = 'redis://127.0.0.1:9', stream = 'orders:{{ data.customer.name }}' }";
    let bench = Bench::traced(&route("r", lines), told.clone()).await;
    assert!(once(&bench, "r").await.0.starts_with("retry: no connection (connection refused)"));
    let told = told.0.lock().unwrap().clone();
    let expected = "Publish { system: \"redis\", host: \"127.0.0.1\", port: 9, \
                    destination: \"orders:{{ data.customer.name }}\" } Err(\"connect_error\")";
    assert_eq!(told, [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_signs_in_and_looks_whether_what_is_published_to_is_there() {
    let broker = Broker::redis();
    let folder = Folder::new();
    folder.secret("pay.secret", SECRET);
    folder.secret("redis.url", &broker.url("redis", "gw"));
    folder.secret("wrong.url", &broker.url("redis", "nobody"));
    let client = ::redis::Client::open(broker.url("redis", "gw")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    ::redis::cmd("SET").arg("text").arg("x").exec_async(&mut connection).await.unwrap();
    let routes = |all: &[(&str, &str)]| {
        let routes = all.iter().enumerate().map(|(n, (url, stream))| {
            format!(
                "[[sources.payments.routes]]\nname = 'r{n}'\naction = 'queue_publish'\n\
                 redis = {{ url = 'file:{url}', stream = '{stream}' }}\n"
            )
        });
        let source = "[sources.payments]\nvendor = 'generic'\nsecrets = ['file:pay.secret']\n".to_owned();
        folder.tenant("acme", &(source + &routes.collect::<String>()));
    };
    let look = async || {
        let ran = sluice(folder.path(), &["doctor", "--json"]).await;
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert!(!ran.stdout.contains("PLANTED"), "{ran:?}");
        let checks = report["checks"].as_array().unwrap().iter().filter(|found| found["check"] == "brokers");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        checks.map(|found| (text(&found["status"]), text(&found["detail"]))).collect::<Vec<_>>()
    };
    routes(&[("redis.url", "orders"), ("redis.url", "{{ event_type }}")]);
    let found = look().await;
    assert!(found.len() == 2 && found.iter().all(|(status, _)| status == "ok"), "{found:?}");
    assert!(found.iter().any(|(_, detail)| detail.ends_with("the first event will make the stream")), "{found:?}");
    routes(&[("redis.url", "text"), ("wrong.url", "orders")]);
    let found = look().await;
    assert!(found.len() == 2 && found.iter().all(|(status, _)| status == "bad"), "{found:?}");
    for word in ["is not a stream", "it refuses our credentials"] {
        assert!(found.iter().any(|(_, detail)| detail.contains(word)), "{word}: {found:?}");
    }
}
