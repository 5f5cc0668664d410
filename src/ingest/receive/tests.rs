use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

mod fuzz;

use super::*;
use crate::{
    ingest::{
        RecordError,
        heavy::HEAVY,
        testing::{BOT_SEED, NOON, TENANT, World, body, config},
    },
    secrets::Secret,
    vendors::{InvalidKey, Key, Outgoing, Profile, Sample, Vendor},
};

fn inbound(source: &str, headers: HeaderMap, body: impl Into<Bytes>) -> Inbound {
    Inbound {
        method: Method::POST,
        target: format!("/webhooks/acme/{source}").parse().expect("a target"),
        headers,
        body: body.into(),
        client: "203.0.113.7".parse().expect("an address"),
        certificate: None,
    }
}

impl World {
    async fn receive(&self, source: &str, headers: HeaderMap, body: impl Into<Bytes>) -> Reply {
        let door = self.receiver.door(&"acme".parse().expect("a name"), &source.parse().expect("a name"));
        self.receiver.receive(&door, inbound(source, headers, body)).await
    }

    async fn send(&self, source: &str, id: &str, body: &str) -> Reply {
        self.receive(source, self.signed(source, id, body.as_bytes()), body.to_owned()).await
    }
}

fn text(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).expect("text")
}

#[tokio::test]
async fn a_new_delivery_is_stored_answered_with_its_id_and_wakes_its_lane() {
    let world = World::new();
    let reply = world.send("app", "e1", &body(1)).await;
    let id = world.store.events.lock().unwrap()[0].id;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.content_type, Some("application/json"));
    assert_eq!(text(&reply), format!(r#"{{"ok":true,"duplicate":false,"event_id":"{id}"}}"#));
    assert_eq!(world.woken.lock().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(), ["acme/app"]);
    assert_eq!(
        world.seen.take(),
        ["verified app env:KEY_APP Some(0)", "recorded app new=true assistant.completed stored jobs=1"]
    );
}

#[tokio::test]
async fn a_duplicate_gets_the_first_id_and_wakes_nobody() {
    let world = World::new();
    let first = world.send("app", "e1", &body(1)).await;
    world.woken.lock().unwrap().clear();
    let again = world.send("app", "e1", &body(1)).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(text(&again), text(&first).replace(r#""duplicate":false"#, r#""duplicate":true"#));
    assert_eq!(world.store.count(), 1);
    assert!(world.woken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_lists_all_ids_and_is_a_duplicate_only_as_a_whole() {
    let world = World::new();
    let item = |n: u32| {
        format!(
            r#"{{"eventId":{n},"subscriptionId":1,"portalId":2,"appId":3,"occurredAt":1767268700000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":{n}}}"#
        )
    };
    let ids = |reply: &Reply| {
        let json: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(json["ok"], true);
        let ids = json["event_ids"].as_array().expect("ids").iter().map(|id| id.as_str().expect("an id").to_owned());
        (json["duplicate"].as_bool().expect("a flag"), ids.collect::<Vec<_>>())
    };
    let (duplicate, first) = ids(&world.send("crm", "", &format!("[{},{}]", item(1), item(2))).await);
    assert!(!duplicate);
    let (duplicate, second) = ids(&world.send("crm", "", &format!("[{},{}]", item(2), item(3))).await);
    assert!(!duplicate, "one of them is new");
    assert_eq!(second[0], first[1]);
    let (duplicate, third) = ids(&world.send("crm", "", &format!("[{},{}]", item(1), item(3))).await);
    assert!(duplicate);
    assert_eq!(third, [first[0].clone(), second[1].clone()]);
}

#[tokio::test]
async fn what_no_route_wants_is_stored_and_wakes_nobody() {
    let world = World::new();
    let reply = world.send("app", "e1", &body(1).replace("assistant.completed", "other.thing")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(world.woken.lock().unwrap().is_empty());
    assert_eq!(world.seen.take()[1], "recorded app new=true other.thing unrouted jobs=0");
}

#[tokio::test]
async fn an_unusable_envelope_is_400_and_not_stored() {
    let world = World::new();
    for broken in ["", "[]", "{", r#"{"a":1,"a":2}"#, r#"{"data":{}}"#, "\u{feff}{}"] {
        let reply = world.send("app", "e1", broken).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{broken:?}");
        let json: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!((json["ok"].as_bool(), json["error"].as_str()), (Some(false), Some("malformed")));
    }
    assert_eq!(world.store.count(), 0);
}

#[tokio::test]
async fn whatever_is_not_authentic_gets_the_same_answer() {
    let world = World::new();
    let good = body(1);
    let signed = |key: &str| world.signed_with("app", key, "e1", good.as_bytes());
    let without = |name: &str| {
        let mut headers = signed("app-secret");
        headers.remove(name);
        headers
    };
    let at = |seconds: i64| {
        *world.clock.0.lock().unwrap() = Timestamp::from_secs(NOON.as_secs() + seconds);
        let headers = signed("app-secret");
        *world.clock.0.lock().unwrap() = NOON;
        headers
    };
    let cases = [
        ("app", signed("another-secret"), "bad_signature"),
        ("app", without("x-signature"), "missing_signature"),
        ("app", without("x-timestamp"), "missing_signature"),
        ("app", at(-301), "stale_timestamp"),
        ("app", at(301), "future_timestamp"),
        ("off", signed("app-secret"), "disabled"),
        ("nothing", signed("app-secret"), "unknown_endpoint"),
        ("pages", signed("app-secret"), "no_live_secret"),
    ];
    let mut answers = Vec::new();
    for (source, headers, reason) in cases {
        let reply = world.receive(source, headers, good.clone()).await;
        assert!(world.seen.take()[0].ends_with(reason), "{reason}");
        answers.push((reply.status, reply.content_type, reply.retry_after, reply.body));
    }
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.store.count(), 0);
}

#[tokio::test]
async fn the_time_window_is_300_seconds_each_way() {
    let world = World::new();
    for (offset, status) in [(-301, 401), (-300, 200), (-299, 200), (299, 200), (300, 200), (301, 401)] {
        let sent = body(u32::try_from(offset + 1000).expect("positive"));
        *world.clock.0.lock().unwrap() = Timestamp::from_secs(NOON.as_secs() + offset);
        let headers = world.signed("app", "e1", sent.as_bytes());
        *world.clock.0.lock().unwrap() = NOON;
        assert_eq!(world.receive("app", headers, sent).await.status, status, "{offset} s");
    }
}

#[tokio::test]
async fn a_secret_verifies_until_its_end_and_not_after() {
    let world = World::new();
    let end = Timestamp::parse_rfc3339("2026-01-02T00:00:00Z").expect("a time");
    for (n, now, status) in [(1, end.minus(Duration::from_secs(1)), 200), (2, end, 401)] {
        *world.clock.0.lock().unwrap() = now;
        let headers = world.signed_with("app", "app-secret-before", "e", body(n).as_bytes());
        assert_eq!(world.receive("app", headers, body(n)).await.status, status);
    }
    assert_eq!(world.seen.take()[0], "verified app env:KEY_APP_OLD Some(0)");
}

#[tokio::test]
async fn a_reload_is_seen_by_the_next_delivery() {
    let world = World::new();
    assert_eq!(world.send("app", "e1", &body(1)).await.status, StatusCode::OK);
    let headers = world.signed("app", "e2", body(2).as_bytes());
    world.config.store(Arc::new(config(&TENANT.replace("[sources.app]", "[sources.app]\nenabled = false"))));
    assert_eq!(world.receive("app", headers, body(2)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_source_has_its_rate_and_only_authentic_deliveries_use_it() {
    let world = World::new();
    *world.records.pending.lock().unwrap() = 0;
    for _ in 0..10 {
        let forged = world.signed_with("small", "forged", "e", body(1).as_bytes());
        assert_eq!(world.receive("small", forged, body(1)).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.send("small", "e1", &body(1)).await.status, StatusCode::OK);
    assert_eq!(world.send("small", "e2", &body(2)).await.status, StatusCode::OK);
    let limited = world.send("small", "e3", &body(3)).await;
    assert_eq!((limited.status, limited.retry_after), (StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(1))));
    assert_eq!(world.send("app", "e3", &body(3)).await.status, StatusCode::OK, "another source has its own");
}

#[tokio::test(start_paused = true)]
async fn a_full_backlog_is_429_until_the_store_counts_less() {
    let world = World::new();
    *world.records.pending.lock().unwrap() = 1;
    assert_eq!(world.send("small", "e1", &body(1)).await.status, StatusCode::OK);
    let full = world.send("small", "e2", &body(2)).await;
    assert_eq!((full.status, full.retry_after), (StatusCode::TOO_MANY_REQUESTS, Some(Duration::from_secs(30))));
    assert!(text(&full).contains("backlog_full"));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(world.send("small", "e2", &body(2)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_store_that_cannot_confirm_is_503_and_says_when_to_come_again() {
    let world = World::new();
    for error in [RecordError::Unavailable("locked".into()), RecordError::Unknown("lost".into())] {
        *world.store.failing.lock().unwrap() = Some(error);
        let reply = world.send("app", "e1", &body(1)).await;
        assert_eq!((reply.status, reply.retry_after), (StatusCode::SERVICE_UNAVAILABLE, Some(Duration::from_secs(5))));
        assert!(!text(&reply).contains("lock"), "the store's words stay inside");
    }
    *world.store.failing.lock().unwrap() = None;
    assert_eq!(world.send("app", "e1", &body(1)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_vendors_media_types_are_checked_after_its_signature() {
    let world = World::new();
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    let mut headers = world.signed("app", "e1", body(1).as_bytes());
    headers.insert(http::header::CONTENT_TYPE, form.clone());
    assert_eq!(world.receive("app", headers, body(1)).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut forged = world.signed_with("app", "forged", "e1", body(1).as_bytes());
    forged.insert(http::header::CONTENT_TYPE, form);
    assert_eq!(world.receive("app", forged, body(1)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_handshake_is_answered_after_its_signature_and_never_deduplicated() {
    let world = World::new();
    let challenge = r#"{"type":"url_verification","token":"t","challenge":"c0ffee"}"#;
    for n in 1..=2 {
        let reply = world.send("chat", "", challenge).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(text(&reply).contains("c0ffee"));
        assert_eq!(world.records.handshakes.lock().unwrap().len(), n);
    }
    let forged = world.signed_with("chat", "forged", "", challenge.as_bytes());
    assert_eq!(world.receive("chat", forged, challenge).await.status, StatusCode::UNAUTHORIZED);
    *world.records.failing.lock().unwrap() = true;
    assert_eq!(world.send("chat", "", challenge).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.store.count(), 0);
}

#[tokio::test]
async fn a_sender_that_reads_the_answer_gets_its_own_and_only_once_the_event_is_stored() {
    let world = World::new();
    let command = "command=%2Fdeploy&text=now&trigger_id=1.2.3";
    let mut headers = world.signed("chat", "", command.as_bytes());
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    *world.store.failing.lock().unwrap() = Some(RecordError::Unavailable("full".into()));
    let refused = world.receive("chat", headers.clone(), command).await;
    assert_eq!((refused.status, refused.body.is_empty()), (StatusCode::SERVICE_UNAVAILABLE, false));
    *world.store.failing.lock().unwrap() = None;
    for _ in 0..2 {
        let reply = world.receive("chat", headers.clone(), command).await;
        assert_eq!((reply.status, reply.content_type, text(&reply)), (StatusCode::OK, None, ""));
        assert_eq!(world.store.count(), 1);
    }
}

#[tokio::test]
async fn a_token_is_taken_only_by_a_source_that_waits_for_one() {
    let world = World::new();
    let offer = r#"{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}"#;
    let token = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl";
    let headers = world.signed_with("pages", token, "", offer.as_bytes());
    assert_eq!(world.receive("pages", headers.clone(), offer).await.status, StatusCode::OK);
    let kept = world.records.handshakes.lock().unwrap()[0].token.clone();
    assert_eq!(kept.as_deref(), Some(token));

    let with_secret = "await_handshake = true\nsecrets = [\"env:KEY_PAGES\"]";
    let holding = World::with(config(&TENANT.replace("await_handshake = true", with_secret)));
    assert_eq!(
        holding.receive("pages", headers, offer).await.status,
        StatusCode::UNAUTHORIZED,
        "never over a live secret"
    );
    assert!(holding.records.handshakes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_vendors_trace_is_linked_or_continued_as_the_source_says() {
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (continued, tenant) in
        [(false, TENANT.to_owned()), (true, TENANT.replace("[sources.app]", "[sources.app]\ncontinue_trace = true"))]
    {
        let world = World::with(config(&tenant));
        let mut headers = world.signed("app", "e1", body(1).as_bytes());
        headers.insert("traceparent", HeaderValue::from_static(theirs));
        world.receive("app", headers, body(1)).await;
        let event = world.store.events.lock().unwrap()[0].clone();
        assert_eq!(event.trace_link.as_deref(), Some(theirs));
        assert_eq!(event.trace_id.to_string() == theirs[3..35], continued);
    }
}

#[tokio::test]
async fn a_refused_delivery_is_kept_redacted_with_a_hint() {
    let world = World::new();
    let sent = body(1).replace(r#"{"n":1}"#, r#"{"email":"jane@example.com","note":"hi"}"#);
    let headers = world.signed("app", "e1", sent.as_bytes());
    assert_eq!(world.receive("app", headers, format!("{sent}\n")).await.status, StatusCode::UNAUTHORIZED);
    world.records.refused.notified().await;
    let kept = world.records.refusals.lock().unwrap()[0].clone();
    assert_eq!((kept.reason.as_str(), kept.request.as_str()), ("bad_signature", "POST /webhooks/acme/app"));
    assert_eq!((kept.peer.as_str(), kept.body_bytes), ("203.0.113.7", sent.len() as u64 + 1));
    assert!(kept.body.contains("assistant.completed") && !kept.body.contains("jane@"), "{}", kept.body);
    assert!(kept.hint.contains("ends with white space that was not signed"), "{}", kept.hint);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refusals_keeps_ten_a_second_and_none_of_unknown_paths() {
    let world = World::new();
    for _ in 0..100 {
        world.receive("app", HeaderMap::new(), "{}").await;
        world.receive("nothing", HeaderMap::new(), "{}").await;
    }
    // Each is followed by a rest of the keeper: virtual time passes meanwhile.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.records.refusals.lock().unwrap().len(), 10);
}

#[tokio::test]
async fn a_path_that_leads_nowhere_has_the_cap_of_some_source_and_always_the_same() {
    let world = World::new();
    let cap = |source: &str| {
        world.receiver.door(&"acme".parse().expect("a name"), &source.parse().expect("a name")).max_body()
    };
    let caps: std::collections::BTreeSet<usize> = (0..200).map(|n| cap(&format!("nothing{n}"))).collect();
    assert_eq!(caps.into_iter().collect::<Vec<_>>(), [1024, 512 * 1024]);
    assert!((0..20).all(|_| cap("nothing1") == cap("nothing1")));
}

#[tokio::test]
async fn a_dropped_future_cancels_no_write_that_the_store_has() {
    let world = World::new();
    world.store.hang();
    let headers = world.signed("app", "e1", body(1).as_bytes());
    let door = world.receiver.door(&"acme".parse().expect("a name"), &"app".parse().expect("a name"));
    {
        let receiving = world.receiver.receive(&door, inbound("app", headers, body(1)));
        tokio::select! {
            _ = receiving => panic!("answered before the commit"),
            () = world.store.entered.notified() => {}
        }
    }
    world.store.go_on();
    world.store.committed.notified().await;
    assert_eq!(world.store.count(), 1);
}

#[tokio::test]
async fn jobs_are_woken_and_told_at_the_commit_even_if_nobody_waits_for_the_answer() {
    let world = World::new();
    world.store.hang();
    let headers = world.signed("app", "e1", body(1).as_bytes());
    let door = world.receiver.door(&"acme".parse().expect("a name"), &"app".parse().expect("a name"));
    {
        let receiving = world.receiver.receive(&door, inbound("app", headers, body(1)));
        tokio::select! {
            _ = receiving => panic!("answered before the commit"),
            () = world.store.entered.notified() => {}
        }
    }
    assert!(world.woken.lock().unwrap().is_empty(), "nothing is committed yet");
    world.store.go_on();
    world.store.committed.notified().await;
    settle().await;
    assert_eq!(world.woken.lock().unwrap().len(), 1);
    assert_eq!(world.seen.take().last().unwrap(), "recorded app new=true assistant.completed stored jobs=1");
}

/// Lets all tasks run that can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_authentic_delivery_that_is_unusable_is_kept_redacted_with_its_fault() {
    let world = World::new();
    let sent = r#"{"event_type":"assistant.completed","note":"ask jane@example.com","note":2}"#;
    let headers = world.signed("app", "e1", sent.as_bytes());
    let reply = world.receive("app", headers, sent).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    world.records.refused.notified().await;
    let kept = world.records.refusals.lock().unwrap()[0].clone();
    assert_eq!((kept.reason.as_str(), kept.request.as_str()), ("malformed", "POST /webhooks/acme/app"));
    assert!(kept.body.contains("assistant.completed") && !kept.body.contains("jane@"), "{}", kept.body);
    assert!(!kept.hint.is_empty() && text(&reply).contains(&kept.hint), "{} in {}", kept.hint, text(&reply));
    assert!(!kept.headers.to_string().contains(headers_signature(&world, sent).as_str()), "{}", kept.headers);
}

fn headers_signature(world: &World, sent: &str) -> String {
    world.signed("app", "e1", sent.as_bytes())["x-signature"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn nothing_of_a_large_refused_body_is_kept_or_tried() {
    let world = World::new();
    let sent = format!("{}{}", body(1), " ".repeat(300 * 1024));
    let headers = world.signed("app", "e1", body(1).as_bytes());
    assert_eq!(world.receive("app", headers, sent.clone()).await.status, StatusCode::UNAUTHORIZED);
    world.records.refused.notified().await;
    let kept = world.records.refusals.lock().unwrap()[0].clone();
    assert_eq!((kept.body.as_str(), kept.body_bytes), ("", sent.len() as u64));
    assert_eq!(kept.hint, "made with another secret, or over other bytes than arrived");
}

/// A vendor that counts what it verifies, and may hold up large bodies.
#[derive(Debug)]
struct Watched {
    vendor: Arc<dyn Vendor>,
    verified: AtomicUsize,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Vendor for Watched {
    fn name(&self) -> &'static str {
        self.vendor.name()
    }

    fn profile(&self) -> &Profile {
        self.vendor.profile()
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        self.vendor.key(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        self.verified.fetch_add(1, Relaxed);
        if request.body.len() >= HEAVY
            && let Some(gate) = self.gate.lock().unwrap().take()
        {
            gate.recv_timeout(Duration::from_secs(20)).expect("the light delivery is answered meanwhile");
        }
        self.vendor.verify(request, keys, tolerance)
    }

    fn read(&self, request: &Request<'_>, verified: &Verified, keys: &[Key]) -> Result<Reading, Malformed> {
        self.vendor.read(request, verified, keys)
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        self.vendor.sign(sample, secret)
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        self.vendor.sample(id, now)
    }
}

/// A world whose one source is watched.
fn watched(enabled: bool) -> (World, Arc<Watched>) {
    let mut config =
        config("[sources.app]\nvendor = \"generic\"\nsecrets = [\"env:KEY_APP\"]\nlimits = { max_body = \"1MiB\" }\n");
    let tenant = Arc::get_mut(config.tenants.values_mut().next().expect("a tenant")).expect("not shared yet");
    let source = Arc::get_mut(tenant.sources.values_mut().next().expect("a source")).expect("not shared yet");
    let watched =
        Arc::new(Watched { vendor: source.vendor.clone(), verified: AtomicUsize::new(0), gate: Mutex::default() });
    source.vendor = watched.clone();
    source.enabled = enabled;
    (World::with(config), watched)
}

#[tokio::test]
async fn every_cause_of_a_401_costs_one_verification() {
    for (enabled, path) in [(true, "app"), (true, "nothing"), (false, "app")] {
        let (world, watched) = watched(enabled);
        for key in ["app-secret", "another-secret"] {
            let headers = world.signed_with("app", key, "e1", body(1).as_bytes());
            let taken = enabled && path == "app" && key == "app-secret";
            let reply = world.receive(path, headers, body(1)).await;
            assert_eq!(reply.status == StatusCode::OK, taken, "{enabled} {path} {key}");
        }
        assert_eq!(watched.verified.load(Relaxed), 2, "{enabled} {path}");
    }
}

#[tokio::test]
async fn a_large_body_does_not_hold_up_a_small_one() {
    let (world, watched) = watched(true);
    let (go, gate) = mpsc::channel();
    *watched.gate.lock().unwrap() = Some(gate);
    let large = body(1).replacen('{', &format!("{{{}", " ".repeat(HEAVY)), 1);
    let small = async {
        tokio::task::yield_now().await;
        let reply = world.send("app", "e2", &body(2)).await;
        go.send(()).expect("the large body still waits");
        reply
    };
    let (large, small) = tokio::join!(world.send("app", "e1", &large), small);
    assert_eq!((large.status, small.status), (StatusCode::OK, StatusCode::OK));
}
