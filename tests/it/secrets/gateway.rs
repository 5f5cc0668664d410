//! The running gateway and its secrets: nothing valid is refused while they change, nothing retired is
//! taken afterwards, nothing is taken that nobody can vouch for.

use std::{
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::json;
use sluice::clock::SystemClock;
use sluice_actors::ports::Clock as _;
use tokio::time::Instant;

use super::{
    fake::{FakeVault, TOKEN},
    sending::{FOREVER, Sending, demand},
};
use crate::harness::{App, Folder, PATIENCE, Process, Sender, eventually, series};

const OLD: &str = "canaryhunter51-old-secret";
const NEW: &str = "canaryhunter52-new-secret";

/// Tests send faster than vendors do.
const FAST: &str = "limits = { inbound = { per_second = 5000, burst = 5000 } }\n";

fn folder(vault: &FakeVault, more: &str, secrets: &str) -> Folder {
    let folder = Folder::new();
    folder.secret("vault.token", TOKEN);
    folder.main(&vault.section(more, "token = 'file:vault.token'"));
    folder.tenant("acme", &format!("[sources.pay]\nvendor = 'generic'\nsecrets = [{secrets}]\n{FAST}"));
    folder
}

/// Sends one that was never sent.
async fn send(sender: &Sender) -> u16 {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let id = format!("evt_{}", SENT.fetch_add(1, Ordering::Relaxed));
    sender.sample(&id).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_refuses_nothing_valid_and_takes_nothing_retired() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "pay": OLD }));
    let overlap = Duration::from_secs(8);
    let secrets = "{ ref = 'vault:secret/data/acme#pay', overlap = '8s' }";
    let folder = folder(&vault, "refresh = '1s'\nmax_age = '1m'", secrets);
    let app = App::start(&folder).await;
    let (old, new) = (app.sender("acme", "pay", "generic", OLD), app.sender("acme", "pay", "generic", NEW));
    let begun = SystemClock.now();
    let with_old = Sending::begin(&old);
    with_old.past(begun).await;
    // Whatever the gateway is asking just now. The version is made between these two moments; the overlap is counted from there.
    let earliest = SystemClock.now();
    vault.put("acme", json!({ "pay": NEW }));
    let latest = SystemClock.now();
    // The vendor is switched once the gateway knows the new secret. Nothing else is promised of when: by the refresh.
    eventually("the new secret verifies", || async { (send(&new).await == 200).then_some(()) }).await;
    let known = SystemClock.now();
    let with_new = Sending::begin(&new);
    // Who knows the new version knows when the one before it ends: after that there is no lateness.
    let over = latest.plus(overlap).max(known);
    with_old.past(over).await;
    with_new.past(over).await;
    let (with_old, with_new) = (with_old.end().await, with_new.end().await);
    demand("the old secret until its end", &with_old, begun, earliest.plus(overlap), 200);
    demand("the old secret after its end", &with_old, over, FOREVER, 401);
    demand("the new secret", &with_new, known, FOREVER, 200);
    let sources = app.get("/api/v1/sources").await;
    let versions: Vec<&str> =
        sources["items"][0]["secrets"].as_array().unwrap().iter().map(|it| it["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["vault:secret/data/acme#pay", "vault:secret/data/acme?version=previous#pay"]);
    let scrape = app.scrape().await;
    assert!(series(&scrape, "sluice_secrets_refresh_total", &["provider=\"vault\"", "outcome=\"ok\""]) >= 2);
    assert_eq!(series(&scrape, "sluice_secrets_refresh_total", &["outcome=\"failed\""]), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_does_not_verify_makes_the_gateway_look_once_after_its_answer() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "pay": OLD }));
    // One question waits longer than this test does.
    let folder = folder(&vault, "refresh = '1h'\ntimeout = '1m'", "'vault:secret/data/acme#pay'");
    let app = App::start(&folder).await;
    let (reads, asked) = (|| vault.state().reads, || vault.state().asked);
    assert_eq!((reads(), asked()), (1, 1));
    vault.put("acme", json!({ "pay": NEW }));
    vault.hang();
    let new = app.sender("acme", "pay", "generic", NEW);
    let answered = async || tokio::time::timeout(PATIENCE, send(&new)).await.expect("nobody waits for the provider");
    assert_eq!(answered().await, 401);
    eventually("the gateway looks", || async { (asked() > 1).then_some(()) }).await;
    assert_eq!(answered().await, 401, "while it looks");
    assert_eq!((reads(), asked()), (1, 2), "it was told nothing yet");
    vault.answer();
    eventually("the new secret is known", || async { (send(&new).await == 200).then_some(()) }).await;
    assert_eq!((reads(), asked()), (2, 2));
    // Who forges does not choose how often the provider is asked.
    let forger = app.sender("acme", "pay", "generic", "forged");
    let began = Instant::now();
    for _ in 3..100 {
        assert_eq!(send(&forger).await, 401);
    }
    assert!(reads() <= 2 + (began.elapsed().as_secs() / 30) as usize, "{}", reads());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_away_for_too_long_closes_its_sources_and_no_others() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "pay": OLD }));
    let folder = folder(&vault, "refresh = '1s'\nmax_age = '8s'", "'vault:secret/data/acme#pay'");
    folder.secret("beta.secret", NEW);
    folder.tenant("beta", "[sources.pay]\nvendor = 'generic'\nsecrets = ['file:beta.secret']\n");
    let app = App::start(&folder).await;
    let (acme, beta) = (app.sender("acme", "pay", "generic", OLD), app.sender("beta", "pay", "generic", NEW));
    vault.state().outage = Some(503);
    let down = Instant::now();
    assert_eq!(send(&acme).await, 200, "the last good one is used meanwhile");
    eventually("it is closed", || async {
        // The sender is told to come again: 503 and not 401.
        match send(&acme).await {
            200 => None,
            status => {
                assert_eq!(status, 503);
                Some(())
            }
        }
    })
    .await;
    assert!(down.elapsed() > Duration::from_secs(1), "{:?}", down.elapsed());
    assert_eq!(send(&beta).await, 200);
    let scrape = app.scrape().await;
    assert!(series(&scrape, "sluice_secrets_refresh_total", &["outcome=\"failed\""]) > 0);
    let rejected = series(&scrape, "sluice_webhook_rejections_total", &["reason=\"stale_secret\""]);
    assert!(rejected > 0);
    vault.state().outage = None;
    eventually("it is open again", || async { (send(&acme).await == 200).then_some(()) }).await;
    app.stop().await;
}

/// A folder as Kubernetes mounts secrets: the keys are links through `..data`, which is swapped.
fn mount(dir: &Path, generation: &str, key: &str, value: &str) {
    let versions = dir.join(format!("..{generation}"));
    std::fs::create_dir_all(&versions).unwrap();
    std::fs::write(versions.join(key), value).unwrap();
    let fresh = dir.join("..data_tmp");
    symlink(format!("..{generation}"), &fresh).unwrap();
    std::fs::rename(&fresh, dir.join("..data")).unwrap();
    if !dir.join(key).exists() {
        symlink(format!("..data/{key}"), dir.join(key)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_folder_is_followed_and_no_secret_is_ever_logged() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "pay": OLD }));
    let folder = folder(&vault, "refresh = '1s'\nmax_age = '1m'", "'vault:secret/data/acme#pay'");
    let main = std::fs::read_to_string(folder.config()).unwrap().replace("info,sluice=debug", "trace");
    std::fs::write(folder.config(), main).unwrap();
    mount(&folder.path().join("mounted"), "1", "beta", OLD);
    folder.tenant("beta", "[sources.pay]\nvendor = 'generic'\nsecrets = ['file:mounted#beta']\n");
    // Two tenants may not share a secret.
    let refused = crate::harness::sluice(folder.path(), &["check"]).await;
    assert!(refused.status == 78 && refused.stderr.contains("is the same secret as one of tenant"), "{refused:#?}");
    assert!(!refused.stderr.contains("canaryhunter"), "{refused:#?}");
    mount(&folder.path().join("mounted"), "2", "beta", "canaryhunter53-mounted");

    let process = Process::start(&folder).await;
    let beta = Sender::new(&process.runtime.public, "beta", "pay", "generic", "canaryhunter53-mounted");
    assert_eq!(send(&beta).await, 200);
    mount(&folder.path().join("mounted"), "3", "beta", "canaryhunter54-mounted");
    let next = beta.with_secret("canaryhunter54-mounted");
    eventually("the swapped folder is read", || async { (send(&next).await == 200).then_some(()) }).await;
    vault.put("acme", json!({ "pay": NEW }));
    let acme = Sender::new(&process.runtime.public, "acme", "pay", "generic", NEW);
    eventually("the new secret is known", || async { (send(&acme).await == 200).then_some(()) }).await;
    process.terminate();
    let (status, lines) = process.ended().await;
    assert!(status.success());
    assert!(lines.len() > 100, "the log is at TRACE");
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("canaryhunter")).collect();
    assert!(told.is_empty(), "{told:#?}");
    for (path, bytes) in folder.stored_bytes() {
        assert!(!bytes.windows(12).any(|window| window == b"canaryhunter"), "{}", path.display());
    }
}
