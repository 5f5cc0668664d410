//! Redis Streams.

use serde_json::json;

use super::{ILL, NEUTRAL, WELL, attempt, consumer, expect, once, route};
use crate::{actions::bench::Bench, harness::Broker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_in_the_stream_with_its_id_its_headers_and_its_body() {
    let broker = Broker::redis();
    let routes = route(
        "whole",
        "redis = { url = 'env:R', stream = 'orders:{{ event_type }}' }\nheaders = { x-customer = '{{ data.customer.name }}' }",
    ) + &route("data", "redis = { url = 'env:R', stream = 'data', max_len = 1000 }\nbody = 'data'");
    let bench = Bench::with_secrets(&routes, &[("R", &broker.url("redis", "gw"))]).await;
    let mut job = bench.job("whole", Some("in_1"));
    assert_eq!(bench.callees(&job), ["queue"]);
    assert_eq!(attempt(&bench, &mut job).await, ("delivered".to_owned(), WELL));
    assert_eq!(attempt(&bench, &mut job).await, ("delivered".to_owned(), WELL));
    let read = consumer::of_redis(&broker, "orders:invoice.paid").await;
    assert_eq!(read.len(), 2, "who publishes twice is seen twice: {read:#?}");
    for (number, message) in read.iter().enumerate() {
        let trace = message.header("traceparent");
        assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{trace}");
        let expected = [
            ("event_id", job.event.id.to_string()),
            ("job_id", job.job.id.to_string()),
            ("tenant", "acme".into()),
            ("source", "payments".into()),
            ("vendor", "generic".into()),
            ("type", "invoice.paid".into()),
            ("route", "whole".into()),
            ("occurred_at", "2026-11-24T07:59:58.250Z".into()),
            ("attempt", (number + 1).to_string()),
            ("x-customer", "Ada Lovelace".into()),
        ];
        for (name, value) in &expected {
            assert_eq!(message.header(name), value, "{name}");
        }
        assert_eq!(message.headers.len(), expected.len() + 1, "{message:#?}");
        assert_eq!(message.body["event_id"], json!(job.event.id));
        assert_eq!((&message.body["data"], &message.body["subject_id"]), (&job.event.data, &json!("in_1")));
    }
    assert_eq!(once(&bench, "data").await.0, "delivered");
    assert_eq!(consumer::of_redis(&broker, "data").await[0].body, job.event.data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_answers_decides_what_becomes_of_the_job() {
    let mut broker = Broker::redis();
    let to = |name: &str, secret: &str, stream: &str| {
        route(name, &format!("redis = {{ url = 'env:{secret}', stream = '{stream}' }}"))
    };
    let routes = to("good", "R", "s")
        + &to("password", "WRONG", "s")
        + &to("user", "NOBODY", "s")
        + &to("reader", "READER", "s")
        + &to("string", "R", "text")
        + &to("nowhere", "NOWHERE", "s")
        + &route("tls", "redis = { url = 'env:TLS', stream = 's', ca = 'env:CA' }")
        + &to("stranger", "TLS", "s");
    let good = broker.url("redis", "gw");
    let bench = Bench::with_secrets(
        &routes,
        &[
            ("R", &good),
            ("WRONG", &good.replacen("gw:", "gw:wrong", 1)),
            ("NOBODY", &broker.url("redis", "nobody")),
            ("READER", &broker.url("redis", "reader")),
            ("NOWHERE", &good.replace("127.0.0.1", "broker.invalid")),
            ("TLS", &Broker::tls_url("rediss", broker.tls_port)),
            ("CA", &broker.authority),
        ],
    )
    .await;
    let client = redis::Client::open(&*good).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SET").arg("text").arg("x").exec_async(&mut connection).await.unwrap();
    expect(
        &bench,
        &[
            ("good", "delivered", WELL),
            ("password", "unauthorized", NEUTRAL),
            ("user", "unauthorized", NEUTRAL),
            ("reader", "held: a way to call queue:", NEUTRAL),
            ("string", "retry: not routed", NEUTRAL),
            ("nowhere", "retry: no connection", ILL),
            ("tls", "delivered", WELL),
            ("stranger", "retry: ", ILL),
            ("good", "delivered", WELL),
        ],
    )
    .await;
    let (word, _) = once(&bench, "stranger").await;
    assert!(word.contains("TLS failed (the certificate's issuer is not trusted)"), "{word}");
    let mut large = bench.job("good", None);
    large.event.data = json!("x".repeat(1 << 20));
    let (word, report) = attempt(&bench, &mut large).await;
    assert!(word.starts_with("dead, Rejected") && report == NEUTRAL, "{word}");

    broker.kill();
    expect(&bench, &[("good", "retry: ", ILL), ("tls", "retry: ", ILL)]).await;
    broker.again();
    expect(&bench, &[("good", "delivered", WELL), ("tls", "delivered", WELL)]).await;
    assert_eq!(consumer::of_redis(&broker, "s").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_limit_is_not_told_of_is_known_by_the_answer_to_it() {
    // The user may not ask for the limit, as at a managed server.
    let broker = Broker::redis();
    let client = redis::Client::open(broker.url("redis", "gw")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let set = ["SETUSER", "writer", "on", &format!(">{}", crate::harness::PASSWORD), "~*", "+xadd"];
    redis::cmd("ACL").arg(&set[..]).exec_async(&mut connection).await.unwrap();
    let routes = route("good", "redis = { url = 'env:R', stream = 's' }");
    let bench = Bench::with_secrets(&routes, &[("R", &broker.url("redis", "writer"))]).await;
    assert_eq!(once(&bench, "good").await.0, "delivered");
    let mut large = bench.job("good", None);
    large.event.data = json!("x".repeat((1 << 20) + 1));
    let (word, _) = attempt(&bench, &mut large).await;
    // It may hang up before its answer is read; then the next attempt decides.
    assert!(word.starts_with("dead, Rejected") || word.starts_with("retry: "), "{word}");
    // The end of that connection may be seen by the attempt after it only.
    let (mut word, _) = once(&bench, "good").await;
    if word.starts_with("retry: ") {
        word = once(&bench, "good").await.0;
    }
    assert_eq!(word, "delivered");
}
