//! The key that requests to a WordPress site are signed with, rotated while the gateway publishes.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sluice::clock::SystemClock;
use sluice_actors::{domain::Timestamp, ports::Clock as _};

use crate::harness::{App, PATIENCE, World, completed, sluice, summarising, within};

async fn published(app: &App) -> Vec<String> {
    let keys: Value =
        reqwest::get(format!("{}/.well-known/jwks.json", app.public())).await.unwrap().json().await.unwrap();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The key that the last request to the site was signed with.
fn signed_by(world: &World) -> String {
    let seen = world.wordpress.requests();
    let token = seen.last().unwrap().headers["x-sluice-authorization"].to_str().unwrap().to_owned();
    let head = token.strip_prefix("Bearer ").unwrap().split('.').next().unwrap();
    let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
    head["kid"].as_str().unwrap().to_owned()
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(value.as_str().expect("a time")).unwrap()
}

async fn until(moment: Timestamp) {
    let left = moment.since(SystemClock.now()) + Duration::from_millis(50);
    tokio::time::sleep(left).await;
}

/// Publishes an event; the site took it.
async fn publish(app: &App, nth: u32) {
    let id = format!("signed-{nth}");
    let answer = app.acme("chat", "generic").send(&id, &completed(&id, nth)).await;
    let jobs = app.settled(answer.event()).await;
    assert_eq!(jobs[0]["job"]["state"], "succeeded", "{jobs:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_signing_key_is_published_before_it_signs_and_the_old_one_ends_after_it() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    let app = world.start().await;
    let folder = world.folder.path();
    let [old] = published(&app).await.try_into().unwrap();
    publish(&app, 0).await;
    assert_eq!(signed_by(&world), old);

    let refused = sluice(folder, &["secret", "rotate", "acme/wordpress", "--lead", "2h", "--overlap", "1h"]).await;
    assert!(refused.status == 1 && refused.stderr.contains("SLU17"), "{refused:#?}");
    let rotating = ["secret", "rotate", "acme/wordpress", "--lead", "8s", "--overlap", "16s", "--json"];
    let told = sluice(folder, &rotating).await.json();
    assert_eq!(told["secret"], Value::Null, "nobody needs to see a private key");
    let new = told["kid"].as_str().unwrap().to_owned();
    let (signs_from, ends) = (time(&told["signs_from"]), time(&told["previous_ends"]));

    // Published from now on, and the site learns it; the old one still signs.
    let mut both = vec![old.clone(), new.clone()];
    both.sort();
    assert_eq!(published(&app).await, both);
    world.trust(&app.public()).await;
    publish(&app, 1).await;
    assert!(SystemClock.now() >= signs_from || signed_by(&world) == old);
    let status = sluice(folder, &["secret", "status", "acme/wordpress"]).await;
    assert!(status.stdout.contains("file:acme-wordpress.pem.previous"), "{status:#?}");
    assert!(SystemClock.now() >= signs_from || status.stdout.contains("published, signs later"), "{status:#?}");
    until(signs_from).await;
    publish(&app, 2).await;
    assert_eq!(signed_by(&world), new);
    if SystemClock.now() < ends {
        assert_eq!(published(&app).await, both, "what the old one signed may still be on its way");
    }
    until(ends).await;
    assert_eq!(published(&app).await, std::slice::from_ref(&new), "without a reload");
    world.trust(&app.public()).await;
    publish(&app, 3).await;
    assert_eq!(signed_by(&world), new);
    let view = app.get("/api/v1/signing-keys").await;
    let duties: Vec<&str> = view.as_array().unwrap().iter().map(|key| key["duty"].as_str().unwrap()).collect();
    assert_eq!(duties, ["signs", "retired"]);
    assert!(world.wordpress.refusals().is_empty(), "{:?}", world.wordpress.refusals());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_keys_signs_with_the_newest_that_has_begun() {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.folder.signing_key("next.pem");
    let at = |seconds| SystemClock.now().plus(Duration::from_secs(seconds)).to_string();
    let tenant = world.folder.path().join("tenants/acme.toml");
    let text = std::fs::read_to_string(&tenant).unwrap();
    let begins = at(20);
    let list =
        format!("signing_key = [{{ ref = 'file:next.pem', not_before = '{begins}' }}, 'file:acme-wordpress.pem']");
    std::fs::write(&tenant, text.replace("signing_key = \"file:acme-wordpress.pem\"", &list)).unwrap();
    let app = world.start().await;
    let keys = published(&app).await;
    assert_eq!(keys.len(), 2);
    publish(&app, 0).await;
    let first = signed_by(&world);
    within(PATIENCE * 2, "the next one signs", || async {
        let id = format!("s{}", SystemClock.now().as_millis());
        let answer = app.acme("chat", "generic").send(&id, &completed(&id, 1)).await;
        app.settled(answer.event()).await;
        (signed_by(&world) != first).then_some(())
    })
    .await;
    assert!(SystemClock.now() >= Timestamp::parse_rfc3339(&begins).unwrap(), "not before its time");
    assert!(keys.contains(&signed_by(&world)) && world.wordpress.refusals().is_empty());
    app.finish().await;
}
