//! The WordPress callback against a site that really verifies its token.

use http::{HeaderValue, Method};
use serde_json::{Value, json};
use sluice::{
    http_client::{Answer, Call},
    standins::{Fault, Seen, StandInApi, StandInWordPress},
};
use sluice_actors::{
    domain::{DeadReason, Timestamp},
    ports::Clock,
};

use super::{
    Expect, ILL, NEUTRAL, WELL,
    bench::{Bench, SITE_UUID},
    delivered, ill_for, kind, patience,
};

const ROUTE: &str = "[[sources.payments.routes]]\nname = 'post'\naction = 'wordpress_publish'\n\
    title = 'Paid: {{ subject_id or \"unknown\" }}'\nsummary = '{{ data.amount }} by {{ data.customer.name }}'\n";

#[tokio::test]
async fn each_answer_of_the_site_ends_the_attempt_as_the_contract_says() {
    let bench = Bench::start(ROUTE).await;
    let again = Expect::Retry(None);
    let rejected = Expect::Dead(DeadReason::Rejected);
    let pending = r#"{"ok":true,"outcome":"pending"}"#;
    let table = [
        (Fault::status(400), rejected, NEUTRAL),
        (Fault::page(400), again, ILL),
        (Fault::status(401), Expect::Unauthorized, NEUTRAL),
        (Fault::status(403), Expect::Unauthorized, NEUTRAL),
        (Fault::page(403), Expect::Unauthorized, NEUTRAL),
        (Fault::no_route(), again, ILL),
        (Fault::status(404), rejected, NEUTRAL),
        (Fault::page(404), again, ILL),
        (Fault::status(408), again, ILL),
        (Fault::status(409), again, NEUTRAL),
        (Fault::status(413), rejected, NEUTRAL),
        (Fault::status(422), rejected, NEUTRAL),
        (Fault::status(425), again, ILL),
        (Fault::retry_after(429, "11"), Expect::Retry(Some(11)), ill_for(11)),
        (Fault::retry_after(503, "600"), Expect::Retry(Some(600)), ill_for(600)),
        (Fault::status(500), again, ILL),
        (Fault::page(502), again, ILL),
        (Fault::page(200), again, ILL),
        (Fault::json(200, "{}"), again, ILL),
        (Fault::json(200, r#"{"job_id":"job_0","fence":1,"outcome":"created"}"#), again, ILL),
        (Fault::json(202, pending), again, WELL),
        (Fault::redirect("http://127.0.0.1:9/"), again, ILL),
        (Fault::Break, again, ILL),
        (Fault::Huge, again, ILL),
        (Fault::Hang, again, ILL),
        (Fault::Drip, again, ILL),
    ];
    for (fault, expected, report) in table {
        let mut job = bench.job("post", None);
        job.patience = patience(&fault);
        bench.site.fail_next(fault.clone());
        let outcome = bench.attempt(&mut job).await;
        assert_eq!(kind(&outcome), expected, "{fault:?}: {outcome:?}");
        assert_eq!(job.reports(), [("wordpress".to_owned(), report)], "{fault:?}");
    }
    assert!(bench.site.posts().is_empty());
}

#[tokio::test]
async fn applied_then_silent_is_sent_again_with_the_same_bytes_and_a_fresh_token_and_has_one_effect() {
    let bench = Bench::start(ROUTE).await;
    for fault in [Fault::DoneThenHang, Fault::DoneThenBreak] {
        let mut job = bench.job("post", None);
        job.patience = patience(&fault);
        bench.site.fail_next(fault);
        assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None));
        job.patience = std::time::Duration::from_secs(20);
        let result = delivered(bench.attempt(&mut job).await);
        assert_eq!(result.reply, Some(json!({ "outcome": "duplicate" })));
        let [.., first, second] = &bench.site.requests()[..] else { panic!("two requests") };
        let body = |seen: &Seen| {
            let mut body: Value = serde_json::from_slice(&seen.body).unwrap();
            body["fence"] = Value::Null;
            body
        };
        assert_eq!(body(first), body(second), "only the fence differs");
        assert_ne!(first.header("x-sluice-authorization"), second.header("x-sluice-authorization"));
    }
    assert!(bench.site.effects().values().all(|effects| *effects == 1));
    assert_eq!(bench.site.posts().len(), 2);
}

#[tokio::test]
async fn a_subject_has_one_post_that_newer_events_change_and_older_ones_do_not() {
    let bench = Bench::start(ROUTE).await;
    let mut first = bench.job("post", Some("in_1"));
    assert_eq!(delivered(bench.attempt(&mut first).await).reply, Some(json!({ "outcome": "created" })));
    let mut newer = bench.job("post", Some("in_1"));
    newer.event.occurred_at = Timestamp::parse_rfc3339("2026-11-24T08:00:00Z").unwrap();
    newer.event.data["amount"] = json!(9900);
    assert_eq!(delivered(bench.attempt(&mut newer).await).reply, Some(json!({ "outcome": "applied" })));
    let mut older = bench.job("post", Some("in_1"));
    older.event.occurred_at = Timestamp::parse_rfc3339("2026-11-24T07:00:00Z").unwrap();
    assert_eq!(delivered(bench.attempt(&mut older).await).reply, Some(json!({ "outcome": "stale" })));
    let posts = bench.site.posts();
    assert_eq!(posts.len(), 1);
    assert!(posts[0].summary.contains("9900"));
    bench.site.edit(posts[0].id);
    let mut latest = bench.job("post", Some("in_1"));
    latest.event.occurred_at = Timestamp::parse_rfc3339("2026-11-24T08:00:01Z").unwrap();
    let result = delivered(bench.attempt(&mut latest).await);
    assert_eq!((result.reply, result.post_id), (Some(json!({ "outcome": "proposed" })), Some(1)));
    let mut another = bench.job("post", Some("in_2"));
    delivered(bench.attempt(&mut another).await);
    assert_eq!(bench.site.posts().len(), 2);
}

#[tokio::test]
async fn a_route_in_mode_meta_names_the_post_that_the_result_is_kept_beside() {
    let beside = format!("{ROUTE}mode = 'meta'\ntarget_post_id = '{{{{ data.amount }}}}'\n");
    let summarising = "[[sources.payments.routes]]\nname = 'sum'\naction = 'summarize_and_publish'\nmode = 'meta'\n\
        target_post_id = '{{ data.post }}'\n";
    let bench = Bench::start(&format!("{beside}{summarising}")).await;
    delivered(bench.attempt(&mut bench.job("post", Some("in_1"))).await);
    let mut summary = bench.job("sum", Some("in_2"));
    summary.event.data["post"] = json!("17");
    delivered(bench.attempt(&mut summary).await);
    let told: Vec<Value> = bench
        .site
        .requests()
        .iter()
        .map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap())
        .map(|body| json!([body["mode"], body["target_post_id"]]))
        .collect();
    assert_eq!(told, [json!(["meta", 1200]), json!(["meta", 17])]);
}

#[tokio::test]
async fn an_event_that_names_no_post_ends_its_job_before_anybody_is_called() {
    let route = "[[sources.payments.routes]]\nname = 'sum'\naction = 'summarize_and_publish'\nmode = 'meta'\n\
        target_post_id = '{{ data.post }}'\n";
    let bench = Bench::start(route).await;
    for post in [json!("../1"), json!("17 OR 1=1"), json!(0), json!(-4), json!(1.5), json!(""), json!(null), json!([1])]
    {
        let mut job = bench.job("sum", Some("in_1"));
        job.event.data["post"] = post.clone();
        let outcome = bench.attempt(&mut job).await;
        assert_eq!(kind(&outcome), Expect::Dead(DeadReason::Invalid), "{post}: {outcome:?}");
        assert!(format!("{outcome:?}").contains("target_post_id: "), "{outcome:?}");
    }
    let outcome = bench.attempt(&mut bench.job("sum", Some("in_1"))).await;
    assert_eq!(kind(&outcome), Expect::Dead(DeadReason::Invalid), "no such field: {outcome:?}");
    assert!(bench.llm.requests().is_empty() && bench.site.requests().is_empty());
}

/// Sends a request again, changed.
async fn resend(bench: &Bench, seen: &Seen, change: impl FnOnce(&mut Call)) -> Answer {
    let url = bench.site.site().join(&format!("{}?{}", seen.path, seen.query)).unwrap();
    let mut call = Call::new(Method::POST, url);
    for name in ["content-type", "x-sluice-authorization"] {
        call.headers.insert(name, seen.headers[name].clone());
    }
    call.body = Some(seen.body.clone());
    change(&mut call);
    bench.http.send(call).await.unwrap()
}

#[tokio::test]
async fn a_captured_token_opens_nothing_else() {
    let bench = Bench::start(ROUTE).await;
    delivered(bench.attempt(&mut bench.job("post", Some("in_1"))).await);
    delivered(bench.attempt(&mut bench.job("post", Some("in_2"))).await);
    let seen = bench.site.requests();
    let (first, second) = (&seen[0], &seen[1]);

    let replayed = resend(&bench, first, |_| {}).await;
    assert_eq!(replayed.status, 401, "the same token twice");
    let other_body = resend(&bench, first, |call| call.body = Some(second.body.clone())).await;
    assert_eq!(other_body.status, 401, "another body");
    let none = resend(&bench, first, |call| drop(call.headers.remove("x-sluice-authorization"))).await;
    assert_eq!(none.status, 401, "no token");
    let unsigned = resend(&bench, first, |call| {
        let token = first.header("x-sluice-authorization");
        let unsigned = &token[..token.rfind('.').unwrap()];
        call.headers.insert("x-sluice-authorization", HeaderValue::from_str(&format!("{unsigned}.")).unwrap());
    })
    .await;
    assert_eq!(unsigned.status, 401, "no signature");
    bench.clock.advance(91);
    assert_eq!(resend(&bench, second, |_| {}).await.status, 401, "91 s later, past 60 s and the leeway");
    let refusals = bench.site.refusals();
    let reasons = [
        "sluice_token_replayed",
        "sluice_token_other_body",
        "sluice_token_missing",
        "sluice_token_bad_signature",
        "sluice_token_expired",
    ];
    assert_eq!(refusals, reasons);
    assert_eq!(bench.site.posts().len(), 2);
}

#[tokio::test]
async fn a_token_is_good_for_one_site_and_one_key() {
    let bench = Bench::start(ROUTE).await;
    delivered(bench.attempt(&mut bench.job("post", None)).await);
    let seen = &bench.site.requests()[0];
    let clock = std::sync::Arc::clone(&bench.clock) as std::sync::Arc<dyn Clock>;
    let keys = sluice::actions::jwks(&bench.config.load(), bench.clock.now());
    for (uuid, keys, refused) in [
        ("00000000-0000-4000-8000-000000000000", keys.clone(), "sluice_token_wrong_audience"),
        (SITE_UUID, json!({ "keys": [] }), "sluice_token_unknown_key"),
    ] {
        let other = StandInWordPress::start(uuid, &keys, std::sync::Arc::clone(&clock)).await.unwrap();
        let mut call = Call::new(Method::POST, other.site().join("/?rest_route=/sluice/v1/callbacks").unwrap());
        call.headers.insert("x-sluice-authorization", seen.headers["x-sluice-authorization"].clone());
        call.body = Some(seen.body.clone());
        assert_eq!(bench.http.send(call).await.unwrap().status, 401);
        assert_eq!(other.refusals(), [refused]);
    }
}

#[tokio::test]
async fn the_public_keys_are_served_without_the_private_half() {
    let bench = Bench::start(ROUTE).await;
    let keys = sluice::actions::jwks(&bench.config.load(), bench.clock.now());
    let key = &keys["keys"][0];
    assert_eq!(
        (key["kty"].as_str(), key["crv"].as_str(), key["alg"].as_str()),
        (Some("OKP"), Some("Ed25519"), Some("EdDSA"))
    );
    assert!(key.get("d").is_none());
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_redirecting_site_never_gets_the_token_to_another_host() {
    let bench = Bench::start(ROUTE).await;
    let canary = StandInApi::start().await.unwrap();
    bench.site.fail_next(Fault::redirect(canary.url("/steal").as_str()));
    assert_eq!(kind(&bench.attempt(&mut bench.job("post", None)).await), Expect::Retry(None));
    assert!(canary.requests().is_empty());
}

#[tokio::test]
async fn what_the_event_says_is_text_on_the_site() {
    let bench = Bench::start(ROUTE).await;
    let mut job = bench.job("post", None);
    job.event.data["customer"]["name"] =
        json!("<script>alert(1)</script> [gallery] <!-- wp:html --> https://evil.example/x \u{202e}");
    delivered(bench.attempt(&mut job).await);
    let post = &bench.site.posts()[0];
    for acting in ["<", "[", "evil", "\u{202e}"] {
        assert!(!post.summary.contains(acting), "{}", post.summary);
    }
    assert_eq!(post.title, "Paid: unknown");
}
