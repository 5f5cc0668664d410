//! A broker that is killed in mid-run loses nothing of ours.

use std::collections::BTreeSet;

use super::consumer;
use crate::harness::{App, Broker, Folder, SECRET, completed, drained, eventually};

/// Events of each source.
const EVENTS: usize = 60;

fn source(name: &str, broker: &str) -> String {
    format!(
        "[sources.{name}]\nvendor = 'generic'\nsecrets = ['file:pay.secret']\n\
         limits = {{ outbound = {{ per_second = 20, burst = 5, concurrency = 4 }}, \
         breaker = {{ failures = 5, window = '60s', cooldown = '1s' }} }}\n\
         [[sources.{name}.routes]]\nname = 'publish'\naction = 'queue_publish'\n{broker}\n"
    )
}

async fn left(app: &App) -> i64 {
    let mut left = 0;
    for state in ["pending", "running", "failed"] {
        left += app.jobs(&format!("state={state}")).await.len() as i64;
    }
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_are_killed_in_mid_run_have_every_event_once_they_are_back() {
    let (mut redis, mut nats, mut rabbitmq) = (Broker::redis(), Broker::nats(false), Broker::rabbitmq());
    consumer::stream(&nats, "orders", &["orders.>"], -1).await;
    let folder = Folder::new();
    folder.secret("pay.secret", SECRET);
    folder.secret("redis.url", &redis.url("redis", "gw"));
    folder.secret("nats.url", &nats.url("nats", "gw"));
    folder.secret("rabbitmq.url", &rabbitmq.url("amqp", "gw"));
    let sources = source("redis", "redis = { url = 'file:redis.url', stream = 'orders' }")
        + &source("nats", "nats = { url = 'file:nats.url', subject = 'orders.{{ event_type }}' }")
        + &source(
            "rabbitmq",
            "rabbitmq = { url = 'file:rabbitmq.url', exchange = 'events', routing_key = 'orders.{{ event_type }}' }",
        );
    folder.tenant("acme", &sources);
    let app = App::start(&folder).await;

    let mut sent: [BTreeSet<String>; 3] = std::array::from_fn(|_| BTreeSet::new());
    let names = ["redis", "nats", "rabbitmq"];
    for n in 0..EVENTS {
        for (name, sent) in names.iter().zip(&mut sent) {
            let answer =
                app.acme(name, "generic").send(&format!("{name}-{n}"), &completed(&format!("{name}-{n}"), 0)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            sent.insert(answer.event().to_owned());
        }
        if n == EVENTS / 3 {
            eventually("some are published", || async {
                let done = app.jobs("state=succeeded").await.len();
                (done > 5).then_some(())
            })
            .await;
            redis.kill();
            nats.kill();
            rabbitmq.kill();
        }
    }
    let failed = eventually("their absence is noticed", || async {
        let failed = app.jobs("state=failed").await.len();
        (failed > 0).then_some(failed)
    })
    .await;
    assert!(failed > 0 && left(&app).await > 0, "they were killed too late to tell anything");
    let all = tokio::task::spawn_blocking(move || {
        redis.again();
        nats.again();
        rabbitmq.again();
        (redis, nats, rabbitmq)
    });
    let (redis, nats, rabbitmq) = all.await.expect("they start again");
    drained("jobs", || left(&app)).await;
    assert_eq!(app.jobs("state=deadletter").await.len(), 0);
    let read = [
        consumer::of_redis(&redis, "orders").await,
        consumer::of_nats(&nats, "orders").await,
        consumer::of_rabbitmq(&rabbitmq, "all").await,
    ];
    for ((name, sent), read) in names.iter().zip(&sent).zip(&read) {
        let seen: BTreeSet<String> = read.iter().map(|message| message.header("event_id").to_owned()).collect();
        assert_eq!(seen, *sent, "{name}: {} messages", read.len());
    }
    app.finish().await;
}
