//! NATS with `JetStream`.

use serde_json::json;

use super::{ILL, NEUTRAL, WELL, attempt, consumer, expect, once, route};
use crate::{actions::bench::Bench, harness::Broker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_delivered_once_a_stream_has_it_and_kept_once_however_often_it_is_tried() {
    let mut broker = Broker::nats(false);
    consumer::stream(&broker, "orders", &["orders.>", "audit.>"], -1).await;
    consumer::stream(&broker, "small", &["small"], 1).await;
    let to = |name: &str, secret: &str, subject: &str| {
        route(name, &format!("nats = {{ url = 'env:{secret}', subject = '{subject}' }}"))
    };
    let routes = to("good", "N", "orders.{{ event_type }}")
        + &to("audit", "N", "audit.all")
        + &to("nowhere", "N", "elsewhere")
        + &to("small", "N", "small")
        + &to("password", "WRONG", "orders.x")
        + &to("reader", "READER", "orders.x");
    let good = broker.url("nats", "gw");
    let bench = Bench::with_secrets(
        &routes,
        &[("N", &good), ("WRONG", &good.replacen("gw:", "gw:wrong", 1)), ("READER", &broker.url("nats", "reader"))],
    )
    .await;

    let mut job = bench.job("good", None);
    for _ in 0..3 {
        assert_eq!(attempt(&bench, &mut job).await, ("delivered".to_owned(), WELL));
    }
    // The same event by another route is another message, though the stream is the same.
    let mut audit = bench.job("audit", None);
    audit.event.id = job.event.id;
    assert_eq!(attempt(&bench, &mut audit).await.0, "delivered");
    let read = consumer::of_nats(&broker, "orders").await;
    assert_eq!(read.len(), 2, "{read:#?}");
    for (name, value) in [
        ("Nats-Msg-Id", format!("{}/good", job.event.id)),
        ("event_id", job.event.id.to_string()),
        ("attempt", "1".into()),
        ("type", "invoice.paid".into()),
    ] {
        assert_eq!(read[0].header(name), value, "{name}");
    }
    assert!(read[0].header("traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_eq!(read[0].body["data"], job.event.data);

    expect(
        &bench,
        &[
            ("nowhere", "retry: not routed: no stream takes that subject", NEUTRAL),
            ("small", "delivered", WELL),
            ("small", "retry: not taken", ILL),
            ("password", "unauthorized", NEUTRAL),
            ("reader", "held: a way to call queue:", NEUTRAL),
        ],
    )
    .await;
    let mut large = bench.job("good", None);
    large.event.data = json!("x".repeat(70_000));
    let (word, report) = attempt(&bench, &mut large).await;
    assert!(word.starts_with("dead, Rejected") && report == NEUTRAL, "{word}");

    broker.kill();
    expect(&bench, &[("good", "retry: ", ILL)]).await;
    broker.again();
    expect(&bench, &[("good", "delivered", WELL)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_certificate_is_held_to_the_name_though_the_address_is_dialled() {
    let broker = Broker::nats(true);
    let routes = route("tls", "nats = { url = 'env:TLS', ca = 'env:CA', subject = 'orders' }")
        + &route("stranger", "nats = { url = 'env:TLS', subject = 'orders' }")
        + &route("address", "nats = { url = 'env:ADDRESS', ca = 'env:CA', subject = 'orders' }");
    let url = Broker::tls_url("tls", broker.port);
    let address = url.replace("localhost", "127.0.0.1");
    let secrets = [("TLS", &*url), ("CA", &*broker.authority), ("ADDRESS", &*address)];
    let bench = Bench::with_secrets(&routes, &secrets).await;
    // No stream is there: that it says so shows that it let us in.
    expect(&bench, &[("tls", "retry: not routed", NEUTRAL)]).await;
    for route in ["stranger", "address"] {
        let (word, report) = once(&bench, route).await;
        assert!(word.starts_with("retry: ") && !word.contains("not routed") && report == ILL, "{route}: {word}");
    }
}
