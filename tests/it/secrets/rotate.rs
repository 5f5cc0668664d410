//! `sluice secret rotate` and `status`: the real command beside a gateway that runs.

use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use sluice::clock::SystemClock;
use sluice_actors::{domain::Timestamp, ports::Clock as _};

use super::{
    fake::{FakeVault, TOKEN},
    sending::{FOREVER, Sending, demand},
};
use crate::harness::{App, Folder, Ran, Sender, command, eventually, run, sluice};

const OLD: &str = "canaryhunter71-old-secret";
const NEW: &str = "canaryhunter72-new-secret";

/// Tests send faster than vendors do.
const FAST: &str = "limits = { inbound = { per_second = 5000, burst = 5000 } }\n";

fn folder(secrets: &str) -> Folder {
    let folder = Folder::new();
    folder.secret("pay.secret", OLD);
    folder.tenant("acme", &format!("[sources.pay]\nvendor = 'generic'\nsecrets = [{secrets}]\n{FAST}"));
    folder
}

/// Sends one that was never sent.
async fn send(sender: &Sender) -> u16 {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let id = format!("rot_{}", SENT.fetch_add(1, Ordering::Relaxed));
    sender.sample(&id).await.status
}

async fn rotate(folder: &Folder, more: &[&str]) -> Ran {
    sluice(folder.path(), &[&["secret", "rotate", "acme/pay", "--json"][..], more].concat()).await
}

/// A refusal by the page of rotations; nothing secret is in it.
#[track_caller]
fn refused(ran: &Ran, why: &str) {
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("SLU17") && ran.stderr.contains(why), "{why}: {ran:#?}");
    assert!(!ran.stderr.contains("canaryhunter") && !ran.stdout.contains("canaryhunter"), "{ran:#?}");
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(value.as_str().expect("a time")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_file_refuses_nothing_valid_and_takes_nothing_retired() {
    let folder = folder("'file:pay.secret'");
    let app = App::start(&folder).await;
    let old = app.sender("acme", "pay", "generic", OLD);
    let begun = SystemClock.now();
    let with_old = Sending::begin(&old);
    with_old.past(begun).await;
    // The vendor goes on sending while the command runs.
    let told = rotate(&folder, &["--overlap", "15s"]).await.json();
    let in_force = SystemClock.now();
    assert_eq!((&told["in_force"], &told["previous"]), (&json!(true), &json!("file:pay.secret.previous")));
    let new = app.sender("acme", "pay", "generic", told["secret"].as_str().expect("shown once"));
    let with_new = Sending::begin(&new);
    let ends = time(&told["previous_ends"]);
    with_old.past(ends).await;
    with_new.past(ends).await;
    let (with_old, with_new) = (with_old.end().await, with_new.end().await);
    // The gateway reads the end beside the old value: it is late by nothing, in either direction.
    demand("the old secret until its end", &with_old, begun, ends, 200);
    demand("the old secret after its end", &with_old, ends, FOREVER, 401);
    demand("the new secret beside the old one", &with_new, in_force, ends, 200);
    demand("the new secret", &with_new, in_force, FOREVER, 200);
    // Whatever is done to the files short of writing another end, it does not begin again.
    let beside = folder.path().join("pay.secret.previous");
    let kept = text(&beside);
    std::fs::remove_file(&beside).unwrap();
    std::fs::write(&beside, kept).unwrap();
    app.reload().await;
    assert_eq!((send(&old).await, send(&new).await), (401, 200));

    let status = sluice(folder.path(), &["secret", "status", "acme/pay", "--json"]).await.json();
    let secrets = &status["sources"][0]["secrets"];
    assert_eq!((&secrets[0]["standing"], &secrets[1]["standing"]), (&json!("newest"), &json!("expired")));
    let shown = sluice(folder.path(), &["secret", "status"]).await;
    assert!(shown.stdout.contains("file:pay.secret.previous") && shown.stdout.contains("ended"), "{shown:#?}");
    assert!(!shown.stdout.contains("canaryhunter"));
    assert_eq!(sluice(folder.path(), &["secret", "status", "acme/pya"]).await.status, 1, "no such source");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uses_before_a_rotation_do_not_make_the_old_secret_look_safe_to_retire() {
    let folder = folder("'file:pay.secret'");
    let app = App::start(&folder).await;
    let old = app.sender("acme", "pay", "generic", OLD);
    assert_eq!(send(&old).await, 200);
    let told = rotate(&folder, &[]).await.json();
    let standings = || async {
        let source = app.get("/api/v1/sources/acme/pay").await;
        let of = |nth: usize| source["secrets"][nth]["standing"].as_str().map(str::to_owned);
        (of(0).unwrap(), of(1).unwrap())
    };
    // The name was used by the value before: that says nothing of this one.
    assert_eq!(standings().await, ("newest".to_owned(), "awaits_newest".to_owned()));
    let new = app.sender("acme", "pay", "generic", told["secret"].as_str().unwrap());
    assert_eq!((send(&old).await, send(&new).await), (200, 200));
    assert_eq!(standings().await.0, "newest");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_writes_the_file_whole_for_its_readers_only_and_can_be_undone() {
    let folder = folder("{ ref = 'file:pay.secret', overlap = '2h' }");
    let (path, beside) = (folder.path().join("pay.secret"), folder.path().join("pay.secret.previous"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let given = folder.path().join("given");
    std::fs::write(&given, format!("{NEW}\n")).unwrap();
    let given = given.to_str().unwrap();

    let dry = rotate(&folder, &["--value-file", given, "--dry-run"]).await.json();
    assert_eq!((&dry["dry_run"], &dry["secret"]), (&json!(true), &Value::Null));
    assert!(text(&path) == OLD && !beside.exists(), "a dry run does nothing");

    let before = SystemClock.now();
    let told = rotate(&folder, &["--value-file", given]).await.json();
    assert_eq!((&told["secret"], &told["in_force"]), (&Value::Null, &json!(false)), "known already; no gateway runs");
    let overlap = time(&told["previous_ends"]).since(before);
    assert!((7195..7300).contains(&overlap.as_secs()), "of its entry: {overlap:?}");
    assert_eq!(text(&path), NEW);
    for path in [&path, &beside] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o640);
    }
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|it| { it.as_ref().unwrap().file_name().to_string_lossy().starts_with('.') })
            .count(),
        0,
        "nothing is left beside it"
    );

    // The one before is still good: another rotation would end it.
    refused(&rotate(&folder, &[]).await, "would end now");
    refused(&rotate(&folder, &["--value-file", given]).await, "is the one that acme/pay has");
    let back = rotate(&folder, &["--undo"]).await.json();
    assert_eq!((back["secret"].clone(), text(&path)), (Value::Null, OLD.to_owned()));
    assert!(text(&beside).contains(NEW), "and the other one is good as well");
    let forced = rotate(&folder, &["--force", "--overlap", "0s"]).await.json();
    assert_eq!((&forced["previous"], beside.exists()), (&Value::Null, false));
    assert_eq!(text(&path), forced["secret"].as_str().unwrap());
    refused(&rotate(&folder, &["--undo"]).await, "there is no value before");

    // As people read it.
    let shown = sluice(folder.path(), &["secret", "rotate", "acme/pay"]).await;
    assert_eq!(shown.status, 0, "{shown:#?}");
    let made = text(&path);
    assert_eq!(shown.stdout.matches(made.trim()).count(), 1, "{shown:#?}");
    assert!(shown.stdout.contains("not shown again") && shown.stdout.contains("Next:"), "{shown:#?}");
    let checked = sluice(folder.path(), &["check"]).await;
    assert_eq!((checked.status, &*checked.stdout), (0, "ok: 1 tenant, 1 source, 0 routes\n"), "{checked:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rotated_is_told_with_the_way_to_do_it_and_nothing_changes() {
    let folder = folder("'file:pay.secret'");
    folder.secret("beta.secret", "canaryhunter73-of-beta");
    folder.tenant("beta", "[sources.pay]\nvendor = 'generic'\nsecrets = ['file:beta.secret']\n");
    let tenant = |secrets: &str, vendor: &str| {
        folder.tenant("acme", &format!("[sources.pay]\nvendor = '{vendor}'\nsecrets = [{secrets}]\n"));
    };
    let value = |value: &[u8]| {
        let path = folder.path().join("value");
        std::fs::write(&path, value).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mounted = folder.path().join("mounted");
    std::fs::create_dir_all(mounted.join("..1")).unwrap();
    std::fs::write(mounted.join("..1/pay"), OLD).unwrap();
    symlink("..1", mounted.join("..data")).unwrap();
    symlink("..data/pay", mounted.join("pay")).unwrap();
    symlink("pay.secret", folder.path().join("link.secret")).unwrap();

    for (secrets, why) in [
        ("'env:SLUICE_TEST_PAY'", "environment variable SLUICE_TEST_PAY"),
        ("'file:mounted#pay'", "is mounted (Kubernetes)"),
        ("'file:link.secret'", "is a link"),
    ] {
        tenant(secrets, "generic");
        let mut rotating = command(folder.path(), &["secret", "rotate", "acme/pay"]);
        rotating.env("SLUICE_TEST_PAY", OLD);
        refused(&run(rotating).await, why);
    }
    let public = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";
    tenant(&format!("'{public}'"), "discord");
    refused(&rotate(&folder, &[]).await, "public key");

    tenant("'file:pay.secret'", "generic");
    let huge = value(&b"x".repeat(300 * 1024));
    refused(&rotate(&folder, &["--value-file", &huge]).await, "is larger than");
    let empty = value(b"\n");
    refused(&rotate(&folder, &["--value-file", &empty]).await, "is empty");
    let of_beta = value(b"canaryhunter73-of-beta");
    refused(&rotate(&folder, &["--value-file", &of_beta]).await, "is a secret of tenant `beta`");
    refused(&rotate(&folder, &["--lead", "1h"]).await, "--lead is for signing keys");
    refused(&rotate(&folder, &["--overlap", "0s"]).await, "ends at once");
    assert_eq!(rotate(&folder, &["--overlap", "soon"]).await.status, 2);
    assert_eq!(rotate(&folder, &["--undo", "--generate"]).await.status, 2);
    // The vendor makes it.
    folder.secret("pay.secret", "whsec_Y2FuYXJ5aHVudGVyNzQ=");
    tenant("'file:pay.secret'", "svix");
    refused(&rotate(&folder, &[]).await, "--value-file");
    let wrong = value(b"whsec_!");
    refused(&rotate(&folder, &["--value-file", &wrong]).await, "the new value");
    for missing in ["acme/nobody", "nobody/pay", "beta/wordpress"] {
        let ran = sluice(folder.path(), &["secret", "rotate", missing]).await;
        assert!(ran.status == 1 && ran.stderr.contains("there is no"), "{ran:#?}");
    }
    // Somebody else's file of that name is not overwritten.
    std::fs::write(folder.path().join("pay.secret.previous"), "canaryhunter75-backup").unwrap();
    refused(&rotate(&folder, &["--generate"]).await, "move it away");
    assert_eq!(text(&folder.path().join("pay.secret.previous")), "canaryhunter75-backup");
    let checked = sluice(folder.path(), &["check"]).await;
    assert!(checked.stderr.contains("file:pay.secret.previous") && checked.status == 0, "{checked:#?}");
    assert_eq!(text(&folder.path().join("pay.secret")), "whsec_Y2FuYXJ5aHVudGVyNzQ=");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_rotate_one_file_at_once_are_one_after_the_other_or_told_to_wait() {
    let folder = folder("'file:pay.secret'");
    let all = (0..4).map(|_| rotate(&folder, &[]));
    let ran = futures_util::future::join_all(all).await;
    let done: Vec<&Ran> = ran.iter().filter(|ran| ran.status == 0).collect();
    assert_eq!(done.len(), 1, "the second would end what the first keeps: {ran:#?}");
    for ran in ran.iter().filter(|ran| ran.status != 0) {
        assert!(ran.stderr.contains("somebody else") || ran.stderr.contains("would end now"), "{ran:#?}");
    }
    assert_eq!(text(&folder.path().join("pay.secret")), done[0].json()["secret"].as_str().unwrap());
    assert!(text(&folder.path().join("pay.secret.previous")).contains(OLD));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_vault_is_rotated_over_the_version_that_was_read_and_leaves_the_other_fields() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "pay": OLD, "shop": { "deep": 1 } }));
    let secrets = "{ ref = 'vault:secret/data/acme#pay', overlap = '1h' }";
    let folder = folder(secrets);
    folder.secret("vault.token", TOKEN);
    folder.main(&vault.section("refresh = '1s'\nmax_age = '1m'", "token = 'file:vault.token'"));
    let app = App::start(&folder).await;
    let old = app.sender("acme", "pay", "generic", OLD);
    assert_eq!(send(&old).await, 200);

    refused(&rotate(&folder, &["--overlap", "2h"]).await, "kept by a provider");
    // The gateway's own token may only read.
    let operator = "hvs.canaryhunter77-operator";
    vault.state().tokens.push(operator.to_owned());
    vault.state().writer = Some(operator.to_owned());
    refused(&rotate(&folder, &[]).await, "does not let us write it");
    let rotate = async |more: &[&str]| {
        let mut rotating = command(folder.path(), &[&["secret", "rotate", "acme/pay", "--json"][..], more].concat());
        rotating.env("VAULT_TOKEN", operator);
        run(rotating).await
    };
    let other = json!({ "pay": "canaryhunter76-of-another", "shop": 2 });
    vault.state().meanwhile = Some(("secret/data/acme".to_owned(), other.clone()));
    refused(&rotate(&[]).await, "somebody else changed it");
    assert_eq!(vault.versions("acme").len(), 2, "what the other wrote stays");
    vault.put("acme", json!({ "pay": OLD, "shop": { "deep": 1 } }));
    // That one is kept for an hour now.
    refused(&rotate(&[]).await, "would end now");

    let told = rotate(&["--force"]).await.json();
    assert_eq!(told["previous"], "vault:secret/data/acme?version=previous#pay");
    let made = told["secret"].as_str().unwrap();
    assert_eq!(vault.versions("acme")[3], json!({ "pay": made, "shop": { "deep": 1 } }));
    let new = app.sender("acme", "pay", "generic", made);
    eventually("the new secret is known", || async {
        assert_eq!(send(&old).await, 200, "valid all the while");
        (send(&new).await == 200).then_some(())
    })
    .await;
    let back = rotate(&["--undo"]).await.json();
    assert_eq!((back["secret"].clone(), &vault.versions("acme")[4]["pay"]), (Value::Null, &json!(OLD)));

    // Another secret of the document, of which the one before is still good: the document has one version before.
    vault.put("acme", json!({ "pay": OLD, "shop": "canaryhunter78-shop-secret-of-32b-" }));
    vault.put("acme", json!({ "pay": OLD, "shop": "canaryhunter79-shop-secret-of-32b-" }));
    folder.tenant(
        "acme",
        &format!(
            "[sources.pay]\nvendor = 'generic'\nsecrets = [{secrets}]\n{FAST}\
             [sources.shop]\nvendor = 'generic'\nsecrets = [{{ ref = 'vault:secret/data/acme#shop', overlap = '1h' }}]\n"
        ),
    );
    refused(&rotate(&[]).await, "the version before of the same document is used for acme/shop, until");
    refused(&rotate(&["--undo"]).await, "no value before");
    folder.tenant(
        "acme",
        &format!(
            "[sources.pay]\nvendor = 'generic'\nsecrets = [{secrets}]\n{FAST}\
             [sources.shop]\nvendor = 'generic'\nsecrets = ['vault:secret/data/acme?version=previous#shop']\n"
        ),
    );
    refused(&rotate(&[]).await, "is used for acme/shop, as long as it is named");

    // An entry that keeps nothing.
    folder.tenant(
        "acme",
        &format!("[sources.pay]\nvendor = 'generic'\nsecrets = ['vault:secret/data/acme#pay']\n{FAST}"),
    );
    refused(&rotate(&[]).await, "has no `overlap`");
    app.stop().await;
}
