//! What is kept of one subject: exported and erased by its tenant's admin, on both engines.

use serde_json::{Value, json};

use crate::harness::{App, Engine, World, completed, on_both_engines, sluice, summarising};

on_both_engines! {
    a_subject_is_exported_and_erased_and_a_retry_does_not_bring_it_back
}

const SUBJECT: &str = "jane.doe/42";

async fn of(app: &App, subject: &str) -> Vec<Value> {
    let url = format!("/api/v1/events?subject={}", subject.replace('/', "%2F"));
    app.get(&url).await["items"].as_array().unwrap().clone()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn a_subject_is_exported_and_erased_and_a_retry_does_not_bring_it_back(engine: Engine) {
    let world = World::on(engine, &summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    let first = sender.send("e1", &completed(SUBJECT, 0)).await;
    let other = sender.send("e2", &completed("john", 0)).await;
    app.settled(first.event()).await;
    app.settled(other.event()).await;
    app.post("/api/v1/lanes/acme/chat/pause", &json!({})).await;
    let waiting = sender.send("e3", &completed(SUBJECT, 1)).await;

    let folder = world.folder.path();
    let exported = sluice(folder, &["subject", "export", "acme", SUBJECT]).await;
    assert_eq!(exported.status, 0, "{exported:#?}");
    let all = lines(&exported.stdout);
    assert_eq!(all.len(), 3, "{exported:#?}");
    assert_eq!(all[2], json!({ "end": true, "events": 2 }));
    let of_first = all.iter().find(|line| line["event"]["id"] == first.event()).unwrap();
    assert_eq!(of_first["jobs"][0]["job"]["state"], "succeeded");
    assert!(of_first["jobs"][0]["result"].is_object(), "{of_first}");
    assert!(of_first["raw"].as_str().unwrap().contains("The order was shipped"), "{of_first}");
    assert!(!exported.stdout.contains("john"));
    let file = folder.join("jane.ndjson");
    let path = file.to_str().unwrap();
    let written = sluice(folder, &["subject", "export", "acme", SUBJECT, "--output", path, "--json"]).await.json();
    assert_eq!(written["events"], 2);
    assert_eq!(lines(&std::fs::read_to_string(&file).unwrap()).len(), 3);
    let again = sluice(folder, &["subject", "export", "acme", SUBJECT, "--output", path]).await;
    assert_eq!(again.status, 1, "an export is never written over something: {again:#?}");

    assert_eq!(sluice(folder, &["subject", "erase", "acme", SUBJECT]).await.status, 2, "neither a dry run nor meant");
    let dry = sluice(folder, &["subject", "erase", "acme", SUBJECT, "--dry-run", "--json"]).await.json();
    assert_eq!(dry, json!({ "matched": 2, "cancelled_jobs": 1, "erased": 0, "left": 0, "artifacts": 0 }));
    assert_eq!(of(&app, SUBJECT).await.len(), 2);
    let erase = ["subject", "erase", "acme", SUBJECT, "--yes", "--json", "--reason", "she asked"];
    let done = sluice(folder, &erase).await.json();
    assert_eq!(done, json!({ "matched": 2, "cancelled_jobs": 1, "erased": 2, "left": 0, "artifacts": 0 }));

    assert!(of(&app, SUBJECT).await.is_empty());
    assert_eq!(of(&app, "john").await.len(), 1);
    app.post("/api/v1/lanes/acme/chat/resume", &json!({})).await;
    for (id, second, event) in [("e1", 0, first.event()), ("e3", 1, waiting.event())] {
        let again = sender.send(id, &completed(SUBJECT, second)).await;
        assert!(again.is_duplicate(), "{again:?}");
        assert_eq!(again.event(), event);
    }
    assert!(of(&app, SUBJECT).await.is_empty());
    let audit = app.get("/api/v1/audit?limit=500").await;
    let acts = |action: &str| {
        let lines = audit["items"].as_array().unwrap().iter().filter(|line| line["action"] == action);
        lines.map(|line| (line["reason"].as_str().unwrap(), line["tenant"].as_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(acts("subject.erase"), [("she asked", "acme")]);
    assert_eq!(acts("subject.erased"), [("she asked", "acme")]);
    assert_eq!(acts("job.cancel"), [("she asked", "acme")]);
    assert_eq!(acts("subject.export").len(), 2);
    assert!(!audit.to_string().contains("jane"), "{audit}");

    for subject in ["", &"x".repeat(5000)] {
        let (status, _) = app.post("/api/v1/tenants/acme/subjects/erase", &json!({ "subject": subject })).await;
        assert_eq!(status, 400);
    }
    let nobody = sluice(folder, &["subject", "export", "acme", "nobody"]).await;
    assert_eq!(lines(&nobody.stdout), [json!({ "end": true, "events": 0 })]);
    app.finish().await;
}
