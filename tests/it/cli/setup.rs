//! From nothing to the first event: `init` and `source add`.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde_json::Value;

use super::files;
use crate::harness::{Folder, Process, SECRET, Sender, command, eventually, run, sluice};

/// The words of a printed command without the program's name.
fn arguments(printed: &str) -> Vec<&str> {
    printed.split(' ').skip(1).collect()
}

#[tokio::test]
async fn what_init_writes_passes_check_serves_and_takes_the_delivery_that_it_prints() {
    let dir = tempfile::tempdir().unwrap();
    let made = sluice(dir.path(), &["init", "gw", "--tenant", "northwind", "--json"]).await.json();
    let folder = dir.path().join("gw");
    let mode = |path: &str| fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("secrets"), mode("secrets/northwind-orders")), (0o700, 0o600));
    let config = fs::read_to_string(folder.join("tenants/northwind.toml")).unwrap();
    let secret = fs::read_to_string(folder.join("secrets/northwind-orders")).unwrap();
    assert!(secret.len() == 64 && !config.contains(&secret));
    let checked = sluice(&folder, &["check", "--strict"]).await;
    assert_eq!((checked.status, checked.stdout.as_str()), (0, "ok: 1 tenant, 1 source, 1 route\n"), "{checked:?}");

    let free = [("SLUICE_EDGE__LISTEN", "127.0.0.1:0"), ("SLUICE_ADMIN__LISTEN", "127.0.0.1:0")];
    let gateway = Process::start_in(&folder, &free).await;
    let send = made["send"].as_str().unwrap();
    // Only the port differs from what a person pastes.
    let send = send.replace("http://127.0.0.1:8080", &gateway.runtime.public);
    let sent = sluice(&folder, &arguments(&send)).await;
    assert_eq!(sent.status, 0, "{sent:?}");
    let events = sluice(&folder, &["events", "--json"]).await.json();
    assert_eq!(events["items"][0]["tenant"], "northwind", "{events:#}");
    gateway.terminate();
    gateway.ended().await;
}

#[tokio::test]
async fn two_gateways_have_no_secret_in_common() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        assert_eq!(sluice(dir.path(), &["init", name]).await.status, 0);
    }
    let secret = |name: &str| fs::read(dir.path().join(name).join("secrets/acme-orders")).unwrap();
    assert_ne!(secret("a"), secret("b"));
}

#[tokio::test]
async fn init_refuses_a_place_that_is_taken_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(sluice(dir.path(), &["init", "gw"]).await.status, 0);
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/notes.txt"), "mine").unwrap();
    fs::write(dir.path().join("file"), "mine").unwrap();
    let before = files(dir.path());
    for (place, told) in [
        ("gw", "has a sluice.toml already"),
        ("full", "is not empty"),
        ("file", "choose another folder"),
        ("file/gw", "choose another folder"),
    ] {
        let ran = sluice(dir.path(), &["init", place]).await;
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.contains(told) && ran.stderr.lines().count() == 1, "{ran:?}");
        assert_eq!(files(dir.path()), before, "{place}");
    }
    // What was written does not stay if it is not right.
    let mut overridden = command(dir.path(), &["init", "new/gw"]);
    overridden.env("SLUICE_EDGE__LISTEN", "nowhere");
    let ran = run(overridden).await;
    assert!(ran.status == 78 && ran.stderr.contains("SLUICE_EDGE__LISTEN"), "{ran:?}");
    assert!(!dir.path().join("new").exists());
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert_eq!(sluice(dir.path(), &["init", "empty"]).await.status, 0);
}

/// A folder with the source `acme/orders`.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.tenant("acme", "# mine\n[sources.orders]\nvendor = 'generic'\nsecrets = ['file:orders.secret']\n");
    folder.secret("orders.secret", SECRET);
    folder
}

fn secret(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join("secrets").join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_added_beside_a_running_gateway_is_taken_up_and_its_first_event_is_told() {
    let folder = folder();
    let gateway = Process::start(&folder).await;
    let mut adding = command(folder.path(), &["source", "add", "chat", "--vendor", "generic", "--json"]);
    let mut adding = adding.spawn().unwrap();
    let mut told = BufReader::new(adding.stderr.take().unwrap()).lines();
    let public = gateway.runtime.public.clone();
    let forger = Sender::new(&public, "acme", "chat", "generic", "another");
    eventually("a forgery is kept for the new source", || async {
        forger.sample("e0").await;
        let kept = gateway.get("/api/v1/refusals?source=chat").await;
        (!kept.as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    let sender = Sender::new(&public, "acme", "chat", "generic", &secret(folder.path(), "acme-chat"));
    let refused = told.find(|line| line.as_ref().unwrap().starts_with("refused ")).unwrap().unwrap();
    assert_eq!(
        refused,
        "refused bad_signature from 127.0.0.1: made with another secret, or over other bytes than arrived"
    );
    let answer = sender.sample("e1").await;
    let output = adding.wait_with_output().unwrap();
    let added: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(added["first_event"], answer.event(), "{added:#}");
    assert_eq!(added["url"], format!("{public}/webhooks/acme/chat"));
    assert!(added["setup"].as_str().unwrap().contains("the URL"), "{added:#}");
    assert!(
        fs::read_to_string(folder.path().join("tenants/acme.toml")).unwrap().starts_with("# mine\n[sources.orders]")
    );
    gateway.terminate();
    gateway.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_waiting_for_the_first_event_keeps_the_source() {
    let folder = folder();
    let gateway = Process::start(&folder).await;
    let mut adding = command(folder.path(), &["source", "add", "chat", "--vendor", "generic", "--json"]);
    let child = adding.spawn().unwrap();
    eventually("the gateway has the source", || async {
        let lanes = gateway.get("/api/v1/lanes").await;
        lanes["items"].as_array().unwrap().iter().any(|lane| lane["lane"]["source"] == "chat").then_some(())
    })
    .await;
    let interrupt = format!("kill -INT {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &told["first_event"]), (Some(0), &Value::Null), "{told:#}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("The source stays"));
    gateway.terminate();
    gateway.ended().await;
}

#[tokio::test]
async fn without_a_gateway_a_source_is_added_and_nobody_is_waited_for() {
    let folder = folder();
    let ran = sluice(folder.path(), &["source", "add", "payments", "--vendor", "stripe"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.contains("/webhooks/acme/payments") && ran.stdout.contains("Stripe Dashboard"), "{ran:?}");
    assert!(ran.stdout.contains("secrets/acme-payments"), "{ran:?}");
    assert!(!ran.stdout.contains("whsec_") || !ran.stdout.contains(&secret(folder.path(), "acme-payments")), "{ran:?}");
    assert!(ran.stderr.contains("start it with `sluice serve`"), "{ran:?}");
    let sample = ran.stdout.lines().find(|line| line.contains(" send stripe --url ")).unwrap().trim();
    let gateway = Process::start(&folder).await;
    let sample = sample.replace("http://127.0.0.1:0", &gateway.runtime.public);
    assert_eq!(sluice(folder.path(), &arguments(&sample)).await.status, 0, "the sample that it prints is taken");
    gateway.terminate();
    gateway.ended().await;
    assert_eq!(sluice(folder.path(), &["check"]).await.stdout, "ok: 1 tenant, 2 sources, 1 route\n");
}

#[tokio::test]
async fn a_source_that_does_not_fit_changes_nothing() {
    let folder = folder();
    let before = files(folder.path());
    for (arguments, status, told) in [
        (&["orders", "--vendor", "generic"][..], 1, "the source `orders` is there already"),
        (&["new", "--vendor", "generic", "--secret", "env:NOT_SET_ANYWHERE"][..], 78, "NOT_SET_ANYWHERE is not set"),
        (&["new", "--vendor", "hubspot"][..], 78, "edge.public_url"),
        (&["new", "--vendor", "discord"][..], 1, "--secret"),
        (&["new", "--vendor", "paypal"][..], 1, "webhook_id"),
        (&["New!", "--vendor", "generic"][..], 2, "not a valid"),
        (&["new", "--vendor", "strip"][..], 2, "'stripe'"),
    ] {
        let ran = sluice(folder.path(), &[&["source", "add"], arguments].concat()).await;
        assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{ran:?}");
        assert!(ran.stderr.contains(told), "{ran:?}");
        assert_eq!(files(folder.path()), before, "{arguments:?}");
    }
}
