//! A broker that is killed in mid-run loses nothing of ours.

use std::collections::BTreeSet;

use super::consumer;
use crate::harness::{App, Broker, Folder, PATIENCE, SECRET, completed, drained, eventually, series, within};

/// Events of each source.
const EVENTS: usize = 60;
/// What each may publish: so many a second, so many at once after a rest, so many beside each other.
const PER_SECOND: u64 = 20;
const BURST: u64 = 5;
const CONCURRENCY: u64 = 4;

fn source(name: &str, broker: &str) -> String {
    format!(
        "[sources.{name}]\nvendor = 'generic'\nsecrets = ['file:pay.secret']\n\
         limits = {{ outbound = {{ per_second = {PER_SECOND}, burst = {BURST}, concurrency = {CONCURRENCY} }}, \
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
    // The breaker that the source configures, as for any action. The one that all lanes share needs two of them.
    for name in names {
        let of = format!("source=\"{name}\"");
        within(PATIENCE * 2, &format!("the breaker of {name} opens"), || async {
            let scrape = app.scrape().await;
            let beside = series(&scrape, "sluice_lane_in_flight", &[&of]);
            assert!(beside <= CONCURRENCY, "{name}: {beside} at once");
            (series(&scrape, "sluice_lane_breaker_opens_total", &[&of]) > 0).then_some(())
        })
        .await;
    }
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
    no_faster_than_it_may(&consumer::times_of_redis(&redis, "orders").await);
    app.finish().await;
}

/// In no time came more than the rate allows, and what was under way when that time began.
fn no_faster_than_it_may(times: &[u64]) {
    for (first, from) in times.iter().enumerate() {
        for (last, until) in times.iter().enumerate().skip(first) {
            let came = (last - first + 1) as u64;
            let most = BURST + CONCURRENCY + ((until - from + 1) * PER_SECOND).div_ceil(1000);
            assert!(came <= most, "{came} messages in {} ms, {most} at most", until - from);
        }
    }
}
