//! `why` and `doctor`: what they find, and what they leave alone.

use std::{fs, path::PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use sluice::vendors;

use crate::harness::{Folder, Ran, World, completed, eventually, free_port, run, sluice, summarising};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vendors")
}

/// What is used of `<vendor>/source.toml`.
#[derive(Deserialize)]
struct Fixture {
    now: i64,
    secret: String,
    #[serde(default)]
    options: toml::Table,
}

/// A folder with a source for every vendor's fixtures, named as the vendor; and when they arrived.
fn every_vendor() -> (Folder, Vec<(&'static str, String)>) {
    let folder = Folder::new();
    let main = fs::read_to_string(folder.config()).unwrap();
    let main = main.replacen("[edge]", "[edge]\npublic_url = \"https://hooks.example.com\"", 1);
    fs::write(folder.config(), main).unwrap();
    let mut sources = Vec::new();
    let mut arrived = Vec::new();
    for name in vendors::NAMES {
        let path = fixtures().join(name).join("source.toml");
        let Fixture { now, secret, mut options } = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        if let Some(toml::Value::Array(certificates)) = options.get_mut("certificates") {
            for (n, certificate) in certificates.iter_mut().enumerate() {
                let reference = folder.secret(&format!("{name}-{n}.pem"), certificate.as_str().unwrap());
                *certificate = toml::Value::String(reference);
            }
        }
        let secret = folder.secret(&format!("{name}.secret"), &secret);
        let options: String = options.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        sources.push(format!("[sources.{name}]\nvendor = \"{name}\"\nsecrets = [\"{secret}\"]\n{options}"));
        arrived.push((name, sluice_actors::domain::Timestamp::from_secs(now).to_string()));
    }
    folder.tenant("acme", &sources.concat());
    (folder, arrived)
}

async fn why(folder: &Folder, vendor: &str, request: &str, at: &str) -> Ran {
    let path = fixtures().join(vendor).join(format!("{request}.http"));
    let of = ["--tenant", "acme", "--source", vendor, "--at", at, "--json"];
    sluice(folder.path(), &[&["why", path.to_str().unwrap()], &of[..]].concat()).await
}

#[tokio::test]
async fn a_saved_request_of_every_vendor_verifies_and_a_tampered_one_does_not() {
    let (folder, arrived) = every_vendor();
    for (vendor, at) in arrived {
        let genuine = why(&folder, vendor, "genuine", &at).await.json();
        assert_eq!((&genuine["accepted"], &genuine["reason"]), (&json!(true), &Value::Null), "{vendor}: {genuine:#}");
        let tampered = why(&folder, vendor, "tampered", &at).await;
        let told: Value = serde_json::from_str(&tampered.stdout).unwrap();
        assert_eq!((tampered.status, &told["reason"]), (1, &json!("bad_signature")), "{vendor}: {told:#}");
    }
}

#[tokio::test]
async fn a_saved_request_that_is_taken_as_new_is_told_to_be_old() {
    let (folder, _) = every_vendor();
    let path = fixtures().join("stripe/genuine.http");
    let ran = sluice(folder.path(), &["why", path.to_str().unwrap()]).await;
    assert!(ran.status == 1 && ran.stdout.contains("the signature is right, but its time lies"), "{ran:?}");
    assert!(ran.stderr.contains("--at"), "{ran:?}");
    let text = fs::read_to_string(path).unwrap();
    let mut piped = crate::harness::command(folder.path(), &["why", "-", "--tenant", "acme", "--source", "nothing"]);
    fs::write(folder.path().join("request"), text).unwrap();
    piped.stdin(fs::File::open(folder.path().join("request")).unwrap());
    let ran = run(piped).await;
    assert!(ran.status == 1 && ran.stderr.contains("no source acme/nothing"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_deliveries_are_listed_by_source_and_explained() {
    let sources = summarising("chat", "generic", "") + &summarising("pay", "generic", "");
    let world = World::new(&sources).await;
    let app = world.start().await;
    let folder = world.folder.path();
    assert_eq!(sluice(folder, &["why", "--json"]).await.json(), json!([]));
    let nothing = sluice(folder, &["why"]).await;
    assert!(nothing.status == 0 && nothing.stderr.contains("no refused deliveries"), "{nothing:?}");

    let forger = app.acme("chat", "generic").with_secret("another");
    forger.send("e1", &completed("a", 0)).await;
    // Authentic, and no usable event: answered 400.
    app.acme("pay", "generic").send("e2", &json!({ "n": 1 })).await;
    let rows = eventually("both are kept", || async {
        let rows = sluice(folder, &["why", "--json"]).await.json();
        (rows.as_array().unwrap().len() == 2).then_some(rows)
    })
    .await;
    let of = |source: &str| rows.as_array().unwrap().iter().find(|row| row["source"] == source).unwrap();
    assert_eq!((&of("chat")["reason"], &of("pay")["reason"]), (&json!("bad_signature"), &json!("malformed")));
    let number = of("chat")["id"].to_string();
    let shown = sluice(folder, &["why", &number]).await;
    assert!(shown.stdout.starts_with("why     made with another secret"), "{shown:?}");
    assert!(shown.stdout.contains("POST /webhooks/acme/chat"), "{shown:?}");
    assert_eq!(sluice(folder, &["why", &number, "--json"]).await.json()["reason"], "bad_signature");
    let of_one = sluice(folder, &["why", "--tenant", "acme", "--source", "pay", "--json"]).await.json();
    assert_eq!(of_one.as_array().unwrap().len(), 1);
    forger.send("e3", &completed("a", 0)).await;
    let newest = eventually("the second forgery is kept", || async {
        let rows = sluice(folder, &["why", "--limit", "1", "--json"]).await.json();
        (rows[0]["source"] == "chat").then_some(rows)
    })
    .await;
    assert_eq!(newest.as_array().unwrap().len(), 2, "the newest of each source: {newest:#}");
    assert_eq!(sluice(folder, &["why", "99999"]).await.status, 1);
    app.finish().await;
}

/// Status and detail of each line about `check`.
fn about(report: &Value, check: &str) -> Vec<(String, String)> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|found| found["check"] == check);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    checks.map(|found| (text(&found["status"]), text(&found["detail"]))).collect()
}

async fn doctor(world: &World) -> (i32, Value) {
    let ran = sluice(world.folder.path(), &["doctor", "--json"]).await;
    (ran.status, serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_well_is_found_well_and_callees_are_asked_without_credentials() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let (status, report) = eventually("it is ready", || async {
        let (status, report) = doctor(&world).await;
        (!report.to_string().contains("is not ready")).then_some((status, report))
    })
    .await;
    assert_eq!((status, &report["ok"]), (0, &json!(true)), "{report:#}");
    for check in ["configuration", "secrets", "data folder", "database", "callees", "clock", "gateway", "refusals"] {
        let found = about(&report, check);
        assert!(!found.is_empty() && found.iter().all(|(status, _)| status == "ok"), "{check}: {report:#}");
    }
    let asked = world.llm.requests().into_iter().chain(world.wordpress.requests());
    let asked: Vec<_> = asked.filter(|seen| seen.method == "HEAD").collect();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|seen| seen.header("authorization").is_empty() && seen.path == "/"), "{asked:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_an_operator_is_a_warning_with_its_command() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.wordpress.fail_next(sluice::standins::Fault::status(422));
    let app = world.start().await;
    let answer = app.acme("chat", "generic").send("e1", &completed("a", 0)).await;
    app.settled(answer.event()).await;
    app.acme("chat", "generic").with_secret("another").send("e2", &completed("a", 0)).await;
    app.post("/api/v1/lanes/acme/chat/pause", &json!({})).await;
    let report = eventually("the refusal is kept", || async {
        let (status, report) = doctor(&world).await;
        assert!(status == 0 || report.to_string().contains("is not ready"), "{report:#}");
        (status == 0 && about(&report, "refusals")[0].0 == "warn").then_some(report)
    })
    .await;
    let cures: Vec<&str> = report["checks"].as_array().unwrap().iter().map(|c| c["cure"].as_str().unwrap()).collect();
    for cure in ["`sluice lanes resume acme/chat`", "`sluice dead list`", "`sluice why "] {
        assert!(cures.iter().any(|told| told.contains(cure)), "{cure}: {report:#}");
    }
    app.post("/api/v1/lanes/acme/chat/resume", &json!({})).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_gateway_from_starting_or_working_is_bad() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let (status, report) = doctor(&world).await;
    assert_eq!(status, 0, "a gateway that does not run yet is no fault: {report:#}");
    assert_eq!(about(&report, "gateway")[0].0, "warn");
    assert_eq!(about(&report, "ports").len(), 2);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let main = fs::read_to_string(world.folder.config()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fs::write(world.folder.config(), main.replacen("127.0.0.1:0", &address, 1)).unwrap();
    fs::write(world.folder.path().join("sluice.db"), "not a database").unwrap();
    let tenant = world.folder.path().join("tenants/acme.toml");
    let text = fs::read_to_string(&tenant).unwrap();
    fs::write(&tenant, text.replace(world.llm.base_url().as_str(), &format!("http://127.0.0.1:{}/v1", free_port())))
        .unwrap();
    let (status, report) = doctor(&world).await;
    assert_eq!((status, &report["ok"]), (1, &json!(false)));
    let bad = |check: &str| about(&report, check).into_iter().find(|(status, _)| status == "bad").map(|(_, d)| d);
    assert!(bad("ports").unwrap().contains("edge.listen"), "{report:#}");
    assert!(bad("database").unwrap().contains("sluice.db"), "{report:#}");
    assert!(bad("callees").unwrap().contains("the LLM"), "{report:#}");

    fs::remove_file(world.folder.path().join("pay.secret")).unwrap();
    let (status, report) = doctor(&world).await;
    assert_eq!(status, 1);
    assert!(about(&report, "secrets")[0].1.contains("SLU02"), "{report:#}");
}
