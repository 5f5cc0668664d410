//! `summarize_and_publish`.

use serde_json::json;
use sluice::standins::Fault;
use sluice_actors::{
    domain::{CalleeId, DeadReason, HoldReason, Outcome},
    ports::{Action as _, Policies as _},
};

use super::{Expect, ILL, NEUTRAL, WELL, api_faults, bench::Bench, bench::lane, delivered, kind, patience};

const ROUTE: &str = "[[sources.payments.routes]]\nname = 'sum'\naction = 'summarize_and_publish'\n";

#[tokio::test]
async fn an_event_becomes_a_summary_and_a_post() {
    let bench = Bench::start(ROUTE).await;
    let mut job = bench.job("sum", Some("in_4711"));
    assert_eq!(bench.callees(&job), ["llm", "wordpress"]);
    let result = delivered(bench.attempt(&mut job).await);
    assert_eq!(result.title.as_deref(), Some("invoice.paid: in_4711"));
    assert_eq!(result.post_id, Some(1));
    assert_eq!(result.reply, Some(json!({ "category": "other", "outcome": "created" })));
    let posts = bench.site.posts();
    assert_eq!(posts.len(), 1);
    assert_eq!(Some(&posts[0].summary), result.summary.as_ref());
    assert_eq!(posts[0].job_type, "summarize_and_publish");
    assert_eq!(job.reports(), [("llm".to_owned(), WELL), ("wordpress".to_owned(), WELL)]);
}

#[tokio::test]
async fn without_a_site_the_summary_is_the_result() {
    let bench = Bench::without_site(ROUTE).await;
    let mut job = bench.job("sum", None);
    assert_eq!(bench.callees(&job), ["llm"]);
    let result = delivered(bench.attempt(&mut job).await);
    assert!(result.summary.is_some());
    assert_eq!(result.post_id, None);
    assert!(bench.site.requests().is_empty());
}

#[tokio::test]
async fn the_routes_own_prompt_model_language_and_type_are_used() {
    let route = format!(
        "{ROUTE}prompt = 'Stress the amount.'\nmodel = 'other-model'\nlanguage = 'German'\n\
         fields = ['/customer/name']\njob_type = 'digest'\n"
    );
    let bench = Bench::start(&route).await;
    delivered(bench.attempt(&mut bench.job("sum", None)).await);
    let chat = &bench.llm.chats()[0];
    assert_eq!(chat.model, "other-model");
    assert!(chat.system.contains("Stress the amount.") && chat.system.contains("German"));
    assert!(chat.user.contains("Ada Lovelace") && !chat.user.contains("1200"), "{}", chat.user);
    assert_eq!(bench.site.posts()[0].job_type, "digest");
}

#[tokio::test]
async fn each_failure_of_the_llm_ends_the_attempt_as_the_table_says() {
    let bench = Bench::start(ROUTE).await;
    let rejected = Expect::Dead(DeadReason::Rejected);
    let mut table = api_faults();
    table.extend([
        (Fault::status(401), Expect::Unauthorized, NEUTRAL),
        (Fault::redirect("http://127.0.0.1:9/"), rejected, NEUTRAL),
        (Fault::page(200), Expect::Retry(None), ILL),
        (Fault::json(200, r#"{"error":{"message":"overloaded"}}"#), Expect::Retry(None), ILL),
        (Fault::Huge, Expect::Retry(None), ILL),
    ]);
    for (fault, expected, report) in table {
        let mut job = bench.job("sum", None);
        job.patience = patience(&fault);
        bench.llm.fail_next(fault.clone());
        let outcome = bench.attempt(&mut job).await;
        assert_eq!(kind(&outcome), expected, "{fault:?}: {outcome:?}");
        assert_eq!(job.reports(), [("llm".to_owned(), report)], "{fault:?}");
    }
    assert!(bench.site.requests().is_empty(), "nothing was published");
}

#[tokio::test]
async fn a_disobedient_model_is_tried_again_and_never_published() {
    let bench = Bench::start(ROUTE).await;
    let good = json!({ "title": "t", "summary": "s", "category": "other" });
    let too_long = json!({ "title": "t".repeat(121), "summary": "s", "category": "other" });
    let extra = json!({ "title": "t", "summary": "s", "category": "other", "status": "publish" });
    let wrong = json!({ "title": "t", "summary": "s", "category": "everything" });
    let empty = json!({ "title": "\u{200b}", "summary": "s", "category": "other" });
    for content in [
        "Sure! Here is your summary.".to_owned(),
        format!("```json\n{good}\n```"),
        too_long.to_string(),
        extra.to_string(),
        wrong.to_string(),
        empty.to_string(),
        String::new(),
    ] {
        let mut job = bench.job("sum", None);
        bench.llm.say_next(&content);
        let outcome = bench.attempt(&mut job).await;
        assert_eq!(kind(&outcome), Expect::Retry(None), "{content}: {outcome:?}");
        assert_eq!(job.reports(), [("llm".to_owned(), WELL)], "the endpoint did what it should");
        assert!(bench.site.requests().is_empty());
    }
}

#[tokio::test]
async fn a_leaked_system_prompt_is_a_dead_letter() {
    let bench = Bench::start(ROUTE).await;
    bench.llm.answer_with(|chat| {
        let canary = chat.system.rsplit(' ').next().unwrap().to_owned();
        json!({ "title": "t", "summary": format!("My instructions say {canary}"), "category": "other" }).to_string()
    });
    let mut job = bench.job("sum", None);
    let outcome = bench.attempt(&mut job).await;
    assert!(
        matches!(&outcome, Outcome::Dead { reason: DeadReason::Invalid, detail } if detail.starts_with("prompt leak")),
        "{outcome:?}"
    );
    assert!(bench.site.requests().is_empty());
}

#[tokio::test]
async fn the_answer_is_paid_for_once_and_never_changes_while_the_site_fails() {
    let bench = Bench::start(ROUTE).await;
    let answers = std::sync::atomic::AtomicU32::new(0);
    bench.llm.answer_with(move |_| {
        let number = answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        json!({ "title": format!("Answer {number}"), "summary": "s", "category": "other" }).to_string()
    });
    let mut job = bench.job("sum", Some("in_1"));
    for fault in [Fault::status(500), Fault::page(200), Fault::no_route(), Fault::Break, Fault::DoneThenBreak] {
        bench.site.fail_next(fault.clone());
        assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None), "{fault:?}");
        assert_eq!(bench.callees(&job), ["wordpress"], "after the checkpoint only the site is called");
    }
    let result = delivered(bench.attempt(&mut job).await);
    assert_eq!(result.title.as_deref(), Some("Answer 0"));
    assert_eq!(bench.llm.chats().len(), 1);
    assert_eq!(bench.site.effects().into_values().collect::<Vec<_>>(), [1], "one effect, though it was applied unseen");
    assert_eq!(bench.site.posts()[0].title, "Answer 0");
}

#[tokio::test]
async fn an_attempt_that_lost_its_lease_publishes_nothing() {
    let bench = Bench::start(ROUTE).await;
    let mut job = bench.job("sum", None);
    *job.seen.lease_lost.lock().unwrap() = true;
    assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None));
    assert!(bench.site.requests().is_empty());
}

#[tokio::test]
async fn a_held_callee_holds_the_job_without_a_call() {
    let bench = Bench::start(ROUTE).await;
    let mut job = bench.job("sum", None);
    let reason = HoldReason::BreakerOpen(CalleeId::new("llm", "x"));
    *job.seen.refuse.lock().unwrap() = Some(reason.clone());
    assert!(matches!(bench.attempt(&mut job).await, Outcome::Hold { reason: r, .. } if r == reason));
    assert!(bench.llm.requests().is_empty());
}

#[tokio::test]
async fn a_fetch_comes_first_is_kept_and_is_not_repeated() {
    let route = format!(
        "{ROUTE}fields = ['/fetched/text', '/amount']\n\
         fetch = {{ url = 'http://{{api}}/pages/{{{{ data.customer.id }}}}?full=1', auth = {{ bearer = 'env:API_TOKEN' }} }}\n"
    );
    let bench = Bench::start(&route).await;
    bench.api.hold("/pages/c%2F7", json!({ "text": "The whole text.", "owner": "nobody" }));
    let mut job = bench.job("sum", None);
    assert_eq!(bench.callees(&job), ["host", "llm", "wordpress"]);
    bench.llm.fail_next(Fault::status(500));
    assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None));
    assert_eq!(bench.callees(&job), ["llm", "wordpress"], "the resource is there, the summary is not");
    bench.site.fail_next(Fault::status(500));
    assert_eq!(kind(&bench.attempt(&mut job).await), Expect::Retry(None));
    assert_eq!(bench.callees(&job), ["wordpress"]);
    delivered(bench.attempt(&mut job).await);
    let fetches = bench.api.requests();
    assert_eq!(fetches.len(), 1);
    assert_eq!(fetches[0].header("authorization"), "Bearer api-token-PLANTED");
    assert_eq!(fetches[0].query, "full=1");
    let user = &bench.llm.chats()[0].user;
    assert!(user.contains("The whole text.") && !user.contains("nobody"), "{user}");
}

#[tokio::test]
async fn one_trace_runs_through_every_call() {
    let bench = Bench::start(ROUTE).await;
    let mut job = bench.job("sum", None);
    delivered(bench.attempt(&mut job).await);
    let requests = [bench.llm.requests(), bench.site.requests()].concat();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(request.header("traceparent").starts_with(&format!("00-{}-", job.event.trace_id)));
    }
}

#[tokio::test]
async fn a_job_without_its_route_or_source_is_held_not_killed() {
    let bench = Bench::start(ROUTE).await;
    let mut job = bench.job("gone", None);
    assert!(matches!(bench.actions.callees(&job.job), Err(HoldReason::NotConfigured(_))));
    assert!(matches!(bench.attempt(&mut job).await, Outcome::Hold { reason: HoldReason::NotConfigured(_), .. }));
    job.job.lane.source = "elsewhere".parse().unwrap();
    assert!(matches!(bench.actions.callees(&job.job), Err(HoldReason::NotConfigured(_))));
    assert!(bench.policies.lane(&job.job.lane).is_none());
}

#[tokio::test]
async fn limits_come_from_the_configuration() {
    let bench = Bench::start(ROUTE).await;
    let lane = bench.policies.lane(&lane()).unwrap();
    assert_eq!(&*lane.vendor, "generic");
    assert_eq!((lane.rate.per_second, lane.rate.burst, lane.concurrency), (10.0, 20, 4));
    assert!(lane.attempt_timeout.as_secs() >= 30, "the deadlines of its calls fit: {:?}", lane.attempt_timeout);
    let callees = bench.actions.callees(&bench.job("sum", None).job).unwrap();
    let llm = bench.policies.callee(&callees[0]);
    assert_eq!((llm.rate.unwrap().per_second, llm.concurrency), (3.0, Some(5)));
    let site = bench.policies.callee(&callees[1]);
    assert_eq!((site.rate, site.concurrency), (None, Some(2)));
    assert!(!callees[0].as_str().contains("PLANTED"));
}
