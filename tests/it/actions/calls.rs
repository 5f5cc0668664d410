//! `http_call`, `http_forward`, `fetch` and `log`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use sluice::standins::Fault;
use sluice_actors::domain::{CheckpointStage, DeadReason, HoldReason, JobResult, Outcome};

use super::{Expect, ILL, NEUTRAL, WELL, api_faults, bench::Bench, delivered, kind, patience};

const CALL: &str = "[[sources.payments.routes]]\nname = 'crm'\naction = 'http_call'\nmethod = 'PUT'\n\
    url = 'http://{api}/contacts/{{ data.customer.id }}?source={{ source }}'\n\
    headers = { x-event = '{{ event_type }}' }\n\
    body = '{\"name\": {{ data.customer.name }}, \"cents\": {{ data.amount }}}'\n\
    auth = { bearer = 'env:API_TOKEN' }\n";
const FORWARD: &str = "[[sources.payments.routes]]\nname = 'forward'\naction = 'http_forward'\n\
    url = 'http://{api}/hook'\nsecret = 'env:FORWARD'\n";
const FETCH: &str = "[[sources.payments.routes]]\nname = 'fetch'\naction = 'http_call'\n\
    url = 'http://{api}/sink'\nfetch = { url = 'http://{api}/thing' }\n";
const OAUTH: &str = "[[sources.payments.routes]]\nname = 'oauth'\naction = 'http_call'\nurl = 'http://{api}/x'\n\
    auth = { oauth2 = { token_url = 'http://{api}/oauth/token', client_id = 'stand-in-client', \
    client_secret = 'env:CLIENT_SECRET' } }\n";

#[tokio::test]
async fn a_call_is_made_of_the_event_and_its_reply_is_the_result() {
    let bench = Bench::start(CALL).await;
    let mut job = bench.job("crm", None);
    assert_eq!(bench.callees(&job), ["host"]);
    let result = delivered(bench.attempt(&mut job).await);
    assert_eq!(
        result.reply.unwrap(),
        json!({
            "method": "PUT",
            "path": "/contacts/c%2F7",
            "query": "source=payments",
            "body": { "name": "Ada Lovelace", "cents": 1200 },
        })
    );
    let seen = &bench.api.requests()[0];
    assert_eq!(seen.header("authorization"), "Bearer api-token-PLANTED");
    assert_eq!(seen.header("x-event"), "invoice.paid");
    assert_eq!(seen.header("idempotency-key"), job.job.id.to_string());
    assert_eq!(seen.header("content-type"), "application/json");
}

#[tokio::test]
async fn each_failure_of_an_api_ends_the_attempt_as_the_table_says() {
    let bench = Bench::start(&format!("{CALL}{FORWARD}{FETCH}")).await;
    for route in ["crm", "forward", "fetch"] {
        let mut table = api_faults();
        table.push((Fault::status(401), Expect::Dead(DeadReason::Rejected), NEUTRAL));
        table.push((Fault::redirect("http://127.0.0.1:9/"), Expect::Dead(DeadReason::Rejected), NEUTRAL));
        for (fault, expected, report) in table {
            let mut job = bench.job(route, None);
            job.patience = patience(&fault);
            bench.api.fail_next(fault.clone());
            let outcome = bench.attempt(&mut job).await;
            assert_eq!(kind(&outcome), expected, "{route} {fault:?}: {outcome:?}");
            assert_eq!(job.reports(), [("host".to_owned(), report)], "{route} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_reply_that_never_ends_is_cut_and_a_success_stays_one() {
    let bench = Bench::start(CALL).await;
    bench.api.fail_next(Fault::Huge);
    let result = delivered(bench.attempt(&mut bench.job("crm", None)).await);
    assert_eq!(result.reply.unwrap()["omitted"], "too large");
}

#[tokio::test]
async fn a_resource_that_never_ends_is_no_resource() {
    let bench = Bench::start(FETCH).await;
    bench.api.fail_next(Fault::Huge);
    let mut job = bench.job("fetch", None);
    assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None));
    assert_eq!(job.reports(), [("host".to_owned(), ILL)]);
    assert_eq!(job.job.stage, CheckpointStage::None);
}

#[tokio::test]
async fn what_was_fetched_stands_beside_the_data_and_is_kept() {
    let bench = Bench::start(FETCH).await;
    bench.api.hold("/thing", json!({ "status": "open" }));
    let mut job = bench.job("fetch", None);
    assert_eq!(bench.callees(&job), ["host", "host"]);
    bench.api.fail_next(Fault::status(500));
    assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None));
    assert_eq!(job.job.stage, CheckpointStage::None);
    let result = delivered(bench.attempt(&mut job).await);
    assert_eq!(bench.callees(&job), ["host"]);
    assert_eq!(result.reply.unwrap()["body"]["fetched"], json!({ "status": "open" }));
    delivered(bench.attempt(&mut job).await);
    let fetches = bench.api.requests().iter().filter(|seen| seen.path == "/thing").count();
    assert_eq!(fetches, 2, "the failed one and the one that was kept");
}

#[tokio::test]
async fn a_value_that_a_template_needs_and_the_event_lacks_is_a_dead_letter() {
    let bench = Bench::start(CALL).await;
    let mut job = bench.job("crm", None);
    job.event.data = json!({ "amount": 1, "customer": { "name": "Ada" } });
    let outcome = bench.attempt(&mut job).await;
    assert!(
        matches!(&outcome, Outcome::Dead { reason: DeadReason::Invalid, detail } if detail.starts_with("url:")),
        "{outcome:?}"
    );
    assert!(bench.api.requests().is_empty());
}

#[tokio::test]
async fn secrets_and_personal_data_in_a_reply_are_not_kept() {
    let bench = Bench::start(CALL).await;
    let reply = r#"{"email":"ada@lovelace.example","note":"card 4242 4242 4242 4242","status":"ok"}"#;
    bench.api.fail_next(Fault::json(200, reply));
    let result = delivered(bench.attempt(&mut bench.job("crm", None)).await);
    let kept = result.reply.unwrap().to_string();
    assert!(kept.contains("ok") && !kept.contains("ada@") && !kept.contains("4242 4242"), "{kept}");
}

#[tokio::test]
async fn one_oauth2_token_serves_many_jobs_and_a_revoked_one_is_replaced() {
    let bench = Bench::start(OAUTH).await;
    bench.api.guard();
    let mut jobs: Vec<_> = (0..8).map(|_| bench.job("oauth", None)).collect();
    let outcomes = futures_util::future::join_all(jobs.iter_mut().map(|job| bench.attempt(job))).await;
    assert!(outcomes.iter().all(|outcome| kind(outcome) == Expect::Delivered), "{outcomes:?}");
    assert_eq!(bench.api.tokens_issued(), 1, "one asked, the others waited for it");
    bench.api.revoke();
    let mut job = bench.job("oauth", None);
    assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None));
    delivered(bench.attempt(&mut job).await);
    assert_eq!(bench.api.tokens_issued(), 2);
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_the_client_holds_the_job() {
    let bench = Bench::start(OAUTH).await;
    bench.api.fail_next(Fault::status(401));
    let mut job = bench.job("oauth", None);
    assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Unauthorized);
    bench.api.fail_next(Fault::page(200));
    assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None));
    assert_eq!(job.reports(), [("host".to_owned(), NEUTRAL), ("host".to_owned(), ILL)]);
}

#[tokio::test]
async fn a_forwarded_event_is_signed_with_one_id_and_a_fresh_time_over_all_attempts() {
    let bench = Bench::start(FORWARD).await;
    let mut job = bench.job("forward", Some("in_1"));
    bench.api.fail_next(Fault::status(503));
    assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None));
    bench.clock.advance(30);
    delivered(bench.attempt(&mut job).await);
    let seen = bench.api.requests();
    for request in &seen {
        assert_eq!(request.header("webhook-id"), job.job.id.to_string());
        let mut mac = Hmac::<Sha256>::new_from_slice(b"PLANTED").unwrap();
        mac.update(format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp")).as_bytes());
        mac.update(&request.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(request.header("webhook-signature"), expected);
    }
    assert_ne!(seen[0].header("webhook-timestamp"), seen[1].header("webhook-timestamp"));
    let body: Value = serde_json::from_slice(&seen[1].body).unwrap();
    assert_eq!((body["type"].as_str(), body["subject_id"].as_str()), (Some("invoice.paid"), Some("in_1")));
    assert_eq!(body["data"]["amount"], 1200);
}

#[tokio::test]
async fn a_private_address_that_is_not_allowed_holds_the_job_and_names_the_cure() {
    let bench = Bench::start(CALL).await;
    bench.http.set_allow_private(Vec::new());
    let outcome = bench.attempt(&mut bench.job("crm", None)).await;
    assert!(
        matches!(&outcome, Outcome::Hold { reason: HoldReason::NotConfigured(what), .. } if what.contains("not public")),
        "{outcome:?}"
    );
    assert!(bench.api.requests().is_empty());
}

#[tokio::test]
async fn log_calls_nobody() {
    let bench = Bench::start("[[sources.payments.routes]]\nname = 'log'\naction = 'log'\n").await;
    let mut job = bench.job("log", None);
    assert!(bench.callees(&job).is_empty());
    assert_eq!(delivered(bench.attempt(&mut job).await), JobResult::default());
    assert!(job.reports().is_empty());
}

#[tokio::test]
async fn every_report_of_a_good_call_is_good() {
    let bench = Bench::start(CALL).await;
    let mut job = bench.job("crm", None);
    delivered(bench.attempt(&mut job).await);
    assert_eq!(job.reports(), [("host".to_owned(), WELL)]);
}
