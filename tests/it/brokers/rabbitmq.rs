//! `RabbitMQ`.

use lapin::{
    options::{QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use serde_json::json;

use super::{ILL, NEUTRAL, WELL, attempt, consumer, expect, once, route};
use crate::{
    actions::bench::Bench,
    harness::{Broker, within},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_delivered_once_a_queue_has_it_and_tried_again_where_none_takes_it() {
    let broker = Broker::rabbitmq();
    let to = |name: &str, secret: &str, exchange: &str, key: &str| {
        let place = format!("url = 'env:{secret}', exchange = '{exchange}', routing_key = '{key}'");
        route(name, &format!("rabbitmq = {{ {place} }}\nheaders = {{ x-customer = '{{{{ data.customer.name }}}}' }}"))
    };
    let routes = to("good", "Q", "events", "orders.{{ event_type }}")
        + &to("queue", "Q", "", "all")
        + &to("unroutable", "Q", "events", "elsewhere")
        + &to("nowhere", "Q", "not-there", "orders.x")
        + &to("one", "Q", "events", "one")
        + &to("password", "WRONG", "events", "orders.x")
        + &to("vhost", "VHOST", "events", "orders.x")
        + &to("reader", "READER", "events", "orders.x")
        + &to("stranger", "TLS", "events", "orders.x")
        + &route("tls", "rabbitmq = { url = 'env:TLS', ca = 'env:CA', exchange = 'events', routing_key = 'orders.x' }");
    let good = broker.url("amqp", "gw");
    let bench = Bench::with_secrets(
        &routes,
        &[
            ("Q", &good),
            ("WRONG", &good.replacen("gw:", "gw:wrong", 1)),
            ("VHOST", &format!("{good}/not-there")),
            ("READER", &broker.url("amqp", "reader")),
            ("TLS", &Broker::tls_url("amqps", broker.tls_port)),
            ("CA", &broker.authority),
        ],
    )
    .await;

    let mut job = bench.job("good", None);
    assert_eq!(attempt(&bench, &mut job).await, ("delivered".to_owned(), WELL));
    let read = consumer::of_rabbitmq(&broker, "all").await;
    let [message] = &read[..] else { panic!("{read:#?}") };
    for (name, value) in [
        ("event_id", job.event.id.to_string()),
        ("property:message_id", job.event.id.to_string()),
        ("property:content_type", "application/json".into()),
        ("property:delivery_mode", "2".into()),
        ("type", "invoice.paid".into()),
        ("attempt", "1".into()),
        ("x-customer", "Ada Lovelace".into()),
    ] {
        assert_eq!(message.header(name), value, "{name}");
    }
    assert!(message.header("traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_eq!(message.body["data"], job.event.data);

    expect(
        &bench,
        &[
            ("queue", "delivered", WELL),
            ("unroutable", "retry: not routed: no queue takes it", NEUTRAL),
            ("nowhere", "retry: not routed: there is no such exchange", NEUTRAL),
            ("one", "delivered", WELL),
            ("one", "retry: not taken", ILL),
            ("password", "unauthorized", NEUTRAL),
            ("vhost", "held: a way to call queue:", NEUTRAL),
            ("reader", "held: a way to call queue:", NEUTRAL),
            ("tls", "delivered", WELL),
            ("stranger", "retry: TLS failed", ILL),
        ],
    )
    .await;
    let mut large = bench.job("good", None);
    large.event.data["large"] = json!("x".repeat(70_000));
    let (word, report) = attempt(&bench, &mut large).await;
    assert!(word.starts_with("dead, Rejected") && report == NEUTRAL, "{word}");
    // What went wrong in its own channel did not cost others theirs.
    assert_eq!(once(&bench, "good").await.0, "delivered");
    assert_eq!(consumer::of_rabbitmq(&broker, "all").await.len(), 3);

    // A message that no queue took is delivered once one does.
    let mut waiting = bench.job("unroutable", None);
    assert!(attempt(&bench, &mut waiting).await.0.starts_with("retry"));
    let (_connection, channel) = consumer::channel_of(&broker).await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("late".into(), durable, FieldTable::default()).await.unwrap();
    channel
        .queue_bind(
            "late".into(),
            "events".into(),
            "elsewhere".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    assert_eq!(attempt(&bench, &mut waiting).await.0, "delivered");

    // Many at once share the connection, and those that go nowhere do not disturb the others.
    let mut jobs: Vec<_> = (0..60).map(|n| bench.job(["good", "nowhere", "unroutable"][n % 3], None)).collect();
    let words = futures_util::future::join_all(jobs.iter_mut().map(|job| attempt(&bench, job))).await;
    for (n, (word, _)) in words.iter().enumerate() {
        assert!(word.starts_with(["delivered", "retry", "delivered"][n % 3]), "{n}: {word}");
    }
    let got = within(std::time::Duration::from_secs(10), "all are there", || async {
        let got = consumer::of_rabbitmq(&broker, "all").await.len();
        (got > 0).then_some(got)
    })
    .await;
    assert_eq!(got, 20);
}
