//! Revoking a secret at one gateway: at once, under whatever name its source has it, over restarts, and back.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::{App, Engine, Folder, Sender, World, on_both_engines, sluice};

const OLD: &str = "canaryhunter81-old-secret";
const NEW: &str = "canaryhunter82-new-secret";

on_both_engines! {
    a_revoked_secret_verifies_nowhere_and_never_until_it_is_put_back
}

async fn send(sender: &Sender) -> u16 {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let id = format!("rev_{}", SENT.fetch_add(1, Ordering::Relaxed));
    sender.sample(&id).await.status
}

fn sources(secrets: &str) -> String {
    format!(
        "[sources.pay]\nvendor = 'generic'\nsecrets = [{secrets}]\n[sources.other]\nvendor = 'generic'\nsecrets = ['file:old.secret']\n"
    )
}

async fn standings(app: &App) -> Vec<String> {
    let source = app.get("/api/v1/sources/acme/pay").await;
    source["secrets"].as_array().unwrap().iter().map(|it| it["standing"].as_str().unwrap().to_owned()).collect()
}

async fn revoke(app: &App, verb: &str, body: &Value) -> (u16, String) {
    let (status, answer) = app.post(&format!("/api/v1/sources/acme/pay/secrets/{verb}"), body).await;
    (status, answer["message"].as_str().map_or_else(|| answer.to_string(), str::to_owned))
}

async fn a_revoked_secret_verifies_nowhere_and_never_until_it_is_put_back(engine: Engine) {
    let world = World::on(engine, &sources("'file:new.secret', 'file:old.secret'")).await;
    for (name, value) in [("old.secret", OLD), ("new.secret", NEW), ("copy.secret", OLD)] {
        world.folder.secret(name, value);
    }
    let app = App::start(&world.folder).await;
    let at = |app: &App, secret: &str| app.sender("acme", "pay", "generic", secret);
    let other = |app: &App| app.sender("acme", "other", "generic", OLD);
    assert_eq!((send(&at(&app, OLD)).await, send(&at(&app, NEW)).await), (200, 200));

    let old = json!({ "version": "file:old.secret", "reason": "it leaked" });
    let (status, told) = revoke(&app, "revoke", &old).await;
    assert!(status == 200 && told.contains(r#""also":["acme/other"]"#), "{status} {told}");
    // Before the answer, and of this source alone.
    assert_eq!((send(&at(&app, OLD)).await, send(&at(&app, NEW)).await, send(&other(&app)).await), (401, 200, 200));
    assert_eq!(standings(&app).await, ["newest", "revoked"]);
    assert!(revoke(&app, "revoke", &old).await.1.contains("revoked already"));
    let (status, message) = revoke(&app, "revoke", &json!({ "version": "file:nobody" })).await;
    assert!(status == 404 && message.contains("file:new.secret"), "{message}");
    // The last one that is good.
    let new = json!({ "version": "file:new.secret", "reason": "a slip" });
    let (status, message) = revoke(&app, "revoke", &new).await;
    assert!(status == 409 && message.contains("no other secret"), "{status} {message}");
    assert_eq!(send(&at(&app, NEW)).await, 200);

    // Under another name, and first.
    world.sources(&sources("'file:copy.secret', 'file:new.secret'"));
    app.reload().await;
    assert_eq!((send(&at(&app, OLD)).await, send(&at(&app, NEW)).await), (401, 200));
    assert_eq!(standings(&app).await, ["revoked", "newest"]);
    app.stop().await;
    let app = App::start(&world.folder).await;
    assert_eq!((send(&at(&app, OLD)).await, send(&at(&app, NEW)).await), (401, 200), "after a restart");

    let forced = json!({ "version": "file:new.secret", "reason": "all of it leaked", "force": true });
    assert_eq!(revoke(&app, "revoke", &forced).await.0, 200);
    assert_eq!(send(&at(&app, NEW)).await, 401);

    // By the name that it has now.
    let (status, message) = revoke(&app, "unrevoke", &json!({ "version": "file:old.secret" })).await;
    assert_eq!(status, 404, "{message}");
    let copy = json!({ "version": "file:copy.secret", "reason": "it did not leak" });
    assert_eq!(revoke(&app, "unrevoke", &copy).await.0, 200);
    assert_eq!((send(&at(&app, OLD)).await, send(&at(&app, NEW)).await), (200, 401));
    assert!(revoke(&app, "unrevoke", &copy).await.1.contains("is not revoked"));

    let audit = app.get("/api/v1/audit?action=secret.revoke").await;
    let lines: Vec<_> = audit["items"].as_array().unwrap().iter().map(|it| (&it["object"], &it["reason"])).collect();
    assert_eq!(
        lines,
        [
            (&json!("acme/pay file:new.secret"), &json!("all of it leaked")),
            (&json!("acme/pay file:old.secret"), &json!("it leaked")),
        ],
        "what was refused left no line"
    );
    assert_eq!(app.get("/api/v1/audit?action=secret.unrevoke").await["items"].as_array().unwrap().len(), 1);
    for (path, bytes) in world.folder.stored_bytes() {
        assert!(!bytes.windows(12).any(|window| window == b"canaryhunter"), "{}", path.display());
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rotation_took_out_is_revoked_by_its_present_name_even_before_the_gateway_saw_it() {
    let folder = Folder::new();
    folder.secret("pay.secret", OLD);
    folder.tenant("acme", "[sources.pay]\nvendor = 'generic'\nsecrets = ['file:pay.secret']\n");
    let app = App::start(&folder).await;
    let sender = |secret: &str| app.sender("acme", "pay", "generic", secret);
    let run = async |words: &[&str]| sluice(folder.path(), words).await;
    let first = run(&["secret", "rotate", "acme/pay", "--json"]).await.json();
    let (first, previous) = (first["secret"].as_str().unwrap().to_owned(), "file:pay.secret.previous");
    // Twice, and nobody told the gateway: the name leads to another value than the one it knows.
    let second = run(&["secret", "rotate", "acme/pay", "--force", "--json"]).await.json();
    let second = second["secret"].as_str().unwrap().to_owned();
    let third = "canaryhunter83-by-hand";
    let head = std::fs::read_to_string(folder.path().join("pay.secret.previous")).unwrap();
    let head = head.lines().next().unwrap();
    std::fs::write(folder.path().join("pay.secret.previous"), format!("{head}\n{second}\n")).unwrap();
    std::fs::write(folder.path().join("pay.secret"), third).unwrap();

    let no_reason = run(&["secret", "revoke", "acme/pay", previous]).await;
    assert_eq!(no_reason.status, 2, "{no_reason:#?}");
    let revoked = run(&["secret", "revoke", "acme/pay", previous, "--reason", "it leaked"]).await;
    assert!(revoked.status == 0 && revoked.stdout.contains("is revoked"), "{revoked:#?}");
    assert_eq!((send(&sender(&second)).await, send(&sender(third)).await), (401, 200));
    assert_eq!(send(&sender(&first)).await, 401, "that one ended with its file");
    let status = run(&["secret", "status", "acme/pay"]).await;
    assert!(status.stdout.contains("revoked"), "{status:#?}");
    let back = run(&["secret", "revoke", "acme/pay", previous, "--undo", "--reason", "it did not"]).await;
    assert_eq!(back.status, 0, "{back:#?}");
    assert_eq!(send(&sender(&second)).await, 200);

    // While the files are not right, a name is nobody's for sure.
    folder.tenant("acme", "[sources.pay]\nvendor = 'generic'\nsecrets = ['file:nobody.secret']\n");
    let unsure = run(&["secret", "revoke", "acme/pay", previous, "--reason", "x"]).await;
    assert!(unsure.status == 1 && unsure.stderr.contains("cannot be told"), "{unsure:#?}");
    let forced = run(&["secret", "revoke", "acme/pay", previous, "--reason", "x", "--force"]).await;
    assert_eq!(forced.status, 0, "{forced:#?}");
    assert_eq!((send(&sender(&second)).await, send(&sender(third)).await), (401, 200));
    app.stop().await;
}
