//! What the parts of one delivery cost: verify, strict parse, prepare, and the writer that makes it
//! durable. `cargo bench --bench parts`; the whole is measured over sockets (`docs/performance.md`).

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use sluice::{
    clock::SystemClock,
    config::{Config, Input, Source},
    ingest::{
        EventStore, NewEvent,
        prepare::{Delivery, prepare_all},
    },
    json::parse_strict,
    schema::Drift,
    seal::{Column, DataKey, Place},
    secrets::{Environment, Secret},
    store::{OpenOptions, Store},
    trace::{DeliveryTrace, Untraced},
    vendors::{Outgoing, Reading, Request},
};
use sluice_actors::{
    domain::{LaneKey, Timestamp},
    ports::Clock,
};
use tokio::{runtime::Runtime, task::JoinSet};

const SECRET: &str = "bench-secret-with-32-characters!";

const TENANT: &str = r#"
[sources.app]
vendor = "generic"
secrets = ["env:KEY"]
[[sources.app.routes]]
name = "log"
action = "log"
"#;

fn config() -> Config {
    let input = Input::new("/nowhere").tenant("acme", TENANT).environment(Environment::fixed([("KEY", SECRET)]));
    input.resolve().expect("a valid configuration")
}

fn source(config: &Config) -> Arc<Source> {
    let lane = LaneKey::new("acme".parse().expect("a name"), "app".parse().expect("a name"));
    config.source(&lane).expect("the source").1.clone()
}

/// A body of 1 KiB.
fn body(n: u64) -> Bytes {
    let mut text = format!(
        r#"{{"event_type":"assistant.completed","subject_id":"thread_{n}","occurred_at":"2026-01-01T11:59:00Z","data":{{"thread_id":"thread_{n}","message":""#
    );
    while text.len() < 1021 {
        text.push_str("word ");
    }
    text.truncate(1021);
    text.push_str(r#""}}"#);
    text.into()
}

/// A signed delivery of the body.
fn signed(source: &Source, id: &str, body: &[u8], now: Timestamp) -> HeaderMap {
    let outgoing = Outgoing { url: "http://localhost/", id, event_type: "assistant.completed", now, body };
    source.vendor.sign(&outgoing, &Secret::new(SECRET.into())).expect("signed").into_iter().collect()
}

/// The whole way of a delivery up to the store.
fn prepared(source: &Source, n: u64, drift: &Drift) -> Vec<NewEvent> {
    let now = SystemClock.now();
    let body = body(n);
    let headers = signed(source, &format!("event-{n}"), &body, now);
    let request = Request { method: &Method::POST, url: "http://localhost/", headers: &headers, body: &body, now };
    let key = source.vendor.key(&Secret::new(SECRET.into())).expect("a key");
    let keys = [key];
    let verified = source.vendor.verify(&request, &keys, Duration::from_secs(300)).expect("authentic");
    let Ok(Reading::Events(envelopes)) = source.vendor.read(&request, &verified, &keys) else {
        panic!("the body holds events");
    };
    let delivery = Delivery {
        raw: body.clone(),
        headers: &headers,
        received_at: now,
        signed_at: verified.signed_at,
        secret_version: "bench".into(),
        trace: DeliveryTrace::of(&headers, false, &Untraced),
        drift,
    };
    prepare_all(source, envelopes, &delivery)
}

fn before_the_store(criterion: &mut Criterion) {
    let config = config();
    let source = source(&config);
    let now = SystemClock.now();
    let body = body(1);
    let headers = signed(&source, "event-1", &body, now);
    let request = Request { method: &Method::POST, url: "http://localhost/", headers: &headers, body: &body, now };
    let keys = [source.vendor.key(&Secret::new(SECRET.into())).expect("a key")];
    criterion.bench_function("verify", |bencher| {
        bencher.iter(|| source.vendor.verify(black_box(&request), &keys, Duration::from_secs(300)));
    });
    criterion.bench_function("parse_strict", |bencher| bencher.iter(|| parse_strict(black_box(&body))));
    let drift = Drift::default();
    let mut n = 0;
    criterion.bench_function("sign_verify_prepare", |bencher| {
        bencher.iter(|| {
            n += 1;
            black_box(prepared(&source, n, &drift))
        });
    });
}

/// What sealing adds to a delivery whose event has 1 KiB: its body, headers and form as the store seals them, and
/// what opening the form costs a job.
fn sealing(criterion: &mut Criterion) {
    let config = config();
    let source = source(&config);
    let event = prepared(&source, 1, &Drift::default()).remove(0);
    let form = event.form.expect("a form").json;
    let key = DataKey::new(event.id.as_uuid()).expect("a key");
    let row = event.id.as_uuid();
    let place = |column| Place { tenant: "acme", column, row: row.as_bytes() };
    criterion.bench_function("seal_event_of_1_kib", |bencher| {
        bencher.iter(|| {
            let raw = key.seal(&place(Column::Raw), black_box(&event.raw));
            let headers = key.seal_text(&place(Column::Headers), black_box(&event.headers));
            let form = key.seal_text(&place(Column::Form), black_box(&form));
            black_box((raw, headers, form))
        });
    });
    let sealed = key.seal_text(&place(Column::Form), &form).expect("sealed");
    criterion.bench_function("open_form_of_1_kib", |bencher| {
        bencher.iter(|| key.open_text(&place(Column::Form), black_box(&sealed)));
    });
}

/// Events a second through the writer alone, from tasks that each wait for their commit; on Postgres
/// too where `SLUICE_BENCH_POSTGRES` is the URL of an empty database.
fn writer(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let config = config();
    let source = source(&config);
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a folder");
    let options = || OpenOptions::new(Arc::new(SystemClock), "bench".into());
    let file = folder.path().join("bench.db");
    let mut stores = vec![("store", runtime.block_on(Store::sqlite(&file, options())).expect("the store"))];
    if let Ok(url) = std::env::var("SLUICE_BENCH_POSTGRES") {
        stores.push(("postgres", runtime.block_on(Store::postgres(&url, options())).expect("the store")));
    }
    let drift = Drift::default();
    let mut n = 0;
    for (name, store) in stores {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(10));
        for tasks in [1, 64, 256] {
            group.bench_function(format!("record_from_{tasks}_tasks"), |bencher| {
                bencher.iter_custom(|rounds| {
                    let events: Vec<Vec<NewEvent>> = (n..n + rounds).map(|n| prepared(&source, n, &drift)).collect();
                    n += rounds;
                    runtime.block_on(record(&store, events, tasks))
                });
            });
        }
        group.finish();
        runtime.block_on(store.close());
    }
}

async fn record(store: &Store, mut events: Vec<Vec<NewEvent>>, tasks: usize) -> Duration {
    let share = events.len().div_ceil(tasks).max(1);
    let mut running = JoinSet::new();
    #[expect(clippy::disallowed_methods, reason = "criterion asks for real time")]
    let began = Instant::now();
    while !events.is_empty() {
        let mine = events.split_off(events.len().saturating_sub(share));
        let store = store.clone();
        running.spawn(async move {
            for delivery in mine {
                store.record(delivery).await.expect("recorded");
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("no task panics");
    }
    began.elapsed()
}

criterion_group!(parts, before_the_store, sealing, writer);
criterion_main!(parts);
