//! What a WordPress site hears of its jobs, and what becomes of what its editors ask for.

use sluice::standins::Fault;
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use crate::harness::{App, Folder, World, completed, eventually, summarising};

/// What the audit says of an object: who did what.
pub(crate) async fn audited(folder: &Folder, object: &str) -> Vec<(String, String)> {
    let path = folder.path().join("sluice.db");
    let mut database = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
    let rows = sqlx::query_as("SELECT actor, action FROM audit WHERE object = ? ORDER BY seq").bind(object);
    rows.fetch_all(&mut database).await.unwrap()
}

pub(crate) const OTHER_SECRET: &str = "another-secret-of-32-bytes-lengt";

/// Sends an event whose job becomes a dead letter, for the model refuses it; returns the job's id.
pub(crate) async fn dead(world: &World, app: &App, tenant: &str, secret: &str) -> String {
    world.llm.fail_next(Fault::status(400));
    let sender = app.sender(tenant, "chat", "generic", secret);
    let answer = sender.send(&format!("dead-{tenant}"), &completed("thread_1", 0)).await;
    let jobs = app.settled(answer.event()).await;
    assert_eq!(jobs[0]["job"]["state"], "deadletter", "{jobs:#?}");
    jobs[0]["job"]["id"].as_str().unwrap().to_owned()
}

async fn is_told(world: &World, job: &str, state: &str) {
    let what = format!("the site hears that {job} is {state}");
    eventually(&what, || async { (world.wordpress.states().get(job)? == state).then_some(()) }).await;
}

async fn answered(world: &World, request: u64) -> String {
    eventually("the request is answered", || async { world.wordpress.answers().get(&request).cloned() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_hears_of_a_dead_letter_and_an_editor_can_have_it_tried_again() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let job = dead(&world, &app, "acme", crate::harness::SECRET).await;
    is_told(&world, &job, "deadletter").await;

    let retry = world.wordpress.ask("retry", &job);
    assert_eq!(answered(&world, retry).await, "done");
    is_told(&world, &job, "succeeded").await;
    assert_eq!(world.wordpress.posts().len(), 1);
    let line = |actor: &str, action: &str| (actor.to_owned(), action.to_owned());
    assert_eq!(audited(&world.folder, &job).await, [line("site of acme", "dead.replay")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_shown_while_it_waits_for_its_first_attempt() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let pause = serde_json::json!({ "reason": "a test" });
    assert_eq!(app.post("/api/v1/lanes/acme/chat/pause", &pause).await.0, 200);
    let answer = app.acme("chat", "generic").send("waits", &completed("thread_1", 0)).await;
    let job = app.jobs_of(answer.event()).await[0]["id"].as_str().unwrap().to_owned();
    is_told(&world, &job, "pending").await;
    assert_eq!(app.post("/api/v1/lanes/acme/chat/resume", &pause).await.0, 200);
    is_told(&world, &job, "succeeded").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_tells_what_happened_before() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.wordpress.trust(&serde_json::json!({ "keys": [] }));
    let app = App::start(&world.folder).await;
    let job = dead(&world, &app, "acme", crate::harness::SECRET).await;
    assert!(world.wordpress.states().is_empty(), "the site trusts no key yet");
    app.stop().await;

    let app = world.start().await;
    is_told(&world, &job, "deadletter").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dismissing_ends_what_waits_and_is_noted_for_what_is_dead() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let dead = dead(&world, &app, "acme", crate::harness::SECRET).await;
    assert_eq!(answered(&world, world.wordpress.ask("dismiss", &dead)).await, "done");
    let line = |action: &str| ("site of acme".to_owned(), action.to_owned());
    assert_eq!(audited(&world.folder, &dead).await, [line("dead.dismiss")]);
    let job = app.get(&format!("/api/v1/jobs/{dead}")).await;
    assert_eq!(job["job"]["state"], "deadletter", "it stays for those who run the gateway");

    world.llm.fail_always(Some(Fault::retry_after(429, "600")));
    let answer = app.acme("chat", "generic").send("waits", &completed("thread_2", 0)).await;
    let waiting = eventually("the job waits for its next try", || async {
        let job = app.jobs_of(answer.event()).await.pop()?;
        (job["state"] == "failed").then(|| job["id"].as_str().unwrap().to_owned())
    })
    .await;
    is_told(&world, &waiting, "failed").await;
    assert_eq!(answered(&world, world.wordpress.ask("dismiss", &waiting)).await, "done");
    is_told(&world, &waiting, "cancelled").await;
    assert_eq!(audited(&world.folder, &waiting).await, [line("job.cancel")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_can_ask_for_nothing_of_another_tenant_and_hears_nothing_of_it() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.folder.secret("other.secret", OTHER_SECRET);
    world.folder.secret("other-llm.key", "sk-other-llm-key");
    let other = format!(
        "[llm]\nbase_url = \"{}\"\nmodel = \"test-model\"\napi_key = \"file:other-llm.key\"\n{}",
        world.llm.base_url(),
        summarising("chat", "generic", "").replace("pay.secret", "other.secret"),
    );
    world.folder.tenant("other", &other);
    let app = world.start().await;
    let theirs = dead(&world, &app, "other", OTHER_SECRET).await;

    for kind in ["retry", "dismiss"] {
        assert_eq!(answered(&world, world.wordpress.ask(kind, &theirs)).await, "refused");
        assert_eq!(
            answered(&world, world.wordpress.ask(kind, "job_0193a7d4c1e87cc0a3f0c5d6e7f80999")).await,
            "refused"
        );
    }
    assert_eq!(answered(&world, world.wordpress.ask("self_test", "")).await, "done");
    assert!(!world.wordpress.states().contains_key(&theirs));
    assert_eq!(audited(&world.folder, &theirs).await, []);
    assert_eq!(app.get(&format!("/api/v1/jobs/{theirs}")).await["job"]["state"], "deadletter");
    app.finish().await;
}
