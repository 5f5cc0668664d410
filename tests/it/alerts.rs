//! Alerts out: who is told what, how often, and what a receiver cannot do to the gateway.

pub(crate) mod mailbox;

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use sluice::{
    clock::SystemClock,
    secrets::Secret,
    standins::{Fault, Seen, StandInApi},
    vendors::{self, Request},
};
use sluice_actors::ports::Clock;

use self::mailbox::Mailbox;
use crate::harness::{
    App, Cluster, Folder, PATIENCE, Process, SECRET, World, completed, eventually, series, sluice, summarising, within,
};

const SIGNING: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A gateway's folder with `acme`, whose jobs call `callee`, and `[alerts]` with what is told where.
fn folder(callee: &StandInApi, alerts: &str) -> Folder {
    let folder = Folder::new();
    configure(&folder, callee, "", alerts);
    folder
}

fn configure(folder: &Folder, callee: &StandInApi, main: &str, alerts: &str) {
    folder.secret("pay.secret", SECRET);
    folder.secret("alerts.secret", SIGNING);
    folder.main(&format!("{main}\n[alerts]\n{alerts}"));
    let source = |name: &str| {
        format!(
            r#"
[sources.{name}]
vendor = "generic"
secrets = ["file:pay.secret"]
redact_patterns = []
[sources.{name}.limits]
breaker = {{ failures = 1, ratio = 0.5, min_calls = 1, window = "60s", cooldown = "1s" }}
[[sources.{name}.routes]]
name = "call"
action = "http_call"
url = "{}"
"#,
            callee.url("/sink")
        )
    };
    folder.tenant("acme", &format!("{}{}", source("chat"), source("other")));
}

fn webhook(receiver: &StandInApi, more: &str) -> String {
    format!(
        "[[alerts.receivers]]\nname = \"hook\"\nwebhook = \"{}\"\nsecret = \"file:alerts.secret\"\n{more}\n",
        receiver.url("/alerts")
    )
}

/// The requests of a receiver at a path.
fn at(receiver: &StandInApi, path: &str) -> Vec<Seen> {
    receiver.requests().into_iter().filter(|seen| seen.path == path).collect()
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

/// The first request with an alert of this kind.
async fn told(receiver: &StandInApi, cause: &str) -> Seen {
    let kind = format!("alert.{cause}");
    // A breaker that is probed in vain rests twice as long each time.
    within(PATIENCE * 4, &kind, || async {
        at(receiver, "/alerts").into_iter().find(|seen| body(seen)["type"] == *kind)
    })
    .await
}

fn causes(receiver: &StandInApi) -> Vec<String> {
    at(receiver, "/alerts").iter().map(|seen| body(seen)["data"]["cause"].as_str().unwrap().to_owned()).collect()
}

/// As a gateway verifies its `standard` sources.
fn is_signed(seen: &Seen, body: &Bytes) -> bool {
    let standard = vendors::build("standard", &toml::Table::new()).unwrap().unwrap();
    let key = standard.key(&Secret::new(SIGNING.as_bytes().to_vec())).unwrap();
    let now = SystemClock.now();
    let request = Request { method: &Method::POST, url: "https://x/", headers: &seen.headers, body, now };
    standard.verify(&request, &[key], Duration::from_secs(300)).is_ok()
}

async fn counted(app: &App, name: &str, labels: &[&str], at_least: u64) {
    eventually(&format!("{name} {labels:?} is {at_least}"), || async {
        (series(&app.scrape().await, name, labels) >= at_least).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_that_opens_is_told_to_webhook_chat_and_mail_signed_and_redacted_and_so_is_its_closing() {
    let (callee, receiver) = (StandInApi::start().await.unwrap(), StandInApi::start().await.unwrap());
    let mailbox = Mailbox::start(&["plain"]);
    let folder = Folder::new();
    folder.secret("slack.url", receiver.url("/services/T0/B0/xyz").as_str());
    let causes = "causes = [\"breaker_opened\", \"breaker_closed\"]";
    let alerts = format!(
        "{}[[alerts.receivers]]\nname = \"chat\"\nslack = \"file:slack.url\"\n{causes}\n\
         [[alerts.receivers]]\nname = \"mail\"\n{causes}\nsample = false\n\
         email = {{ server = \"smtp://localhost:{}\", starttls = false, from = \"Sluice <sluice@example.com>\", to = [\"ops@example.com\"] }}\n",
        webhook(&receiver, causes),
        mailbox.port
    );
    configure(&folder, &callee, "", &alerts);
    let main = std::fs::read_to_string(folder.config()).unwrap();
    let main = main.replace("[admin]", "[admin]\npublic_url = \"https://sluice.example/\"");
    std::fs::write(folder.config(), main).unwrap();
    callee.fail_always(Some(Fault::status(500)));
    let app = App::start(&folder).await;
    let mut event = completed("t1", 0);
    event["data"]["answer"] = json!("mail jane.doe@example.com; card 4111 1111 1111 1111 <!channel>");
    let sent = app.acme("chat", "generic").send("e1", &event).await;

    let seen = told(&receiver, "breaker_opened").await;
    assert!(is_signed(&seen, &seen.body), "{seen:?}");
    let changed = Bytes::from(String::from_utf8_lossy(&seen.body).replace("acme", "acmf"));
    assert!(!is_signed(&seen, &changed), "a changed body is refused");
    let alert = &body(&seen)["data"];
    assert_eq!(seen.header("webhook-id"), alert["id"].as_str().unwrap());
    assert_eq!(alert["tenants"], json!(["acme"]), "{alert}");
    assert_eq!(alert["source"], "chat");
    assert_eq!(alert["failure"]["event_id"], sent.event());
    assert_eq!(alert["failure"]["event_type"], "assistant.completed");
    assert!(alert["failure"]["error"].as_str().unwrap().contains("500"), "{alert}");
    assert_eq!(alert["link"], "https://sluice.example/#/jobs?tenant=acme&source=chat");
    let sample = alert["failure"]["sample"].as_str().unwrap();
    assert!(sample.contains("t1") && sample.contains("[redacted]"), "{sample}");

    let chat = eventually("the chat", || async { at(&receiver, "/services/T0/B0/xyz").pop() }).await;
    let text = body(&chat)["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("*acme/chat*: ") && text.contains("&lt;!channel&gt;"), "{text}");
    let mail = mailbox.next();
    assert_eq!(mail["to"], json!(["ops@example.com"]));
    assert!(mail["subject"].as_str().unwrap().starts_with("[sluice] acme/chat: its breaker for host:"), "{mail}");
    assert!(mail["id"].as_str().unwrap().starts_with("<alert_"), "{mail}");
    let mail_text = mail["text"].as_str().unwrap();
    assert!(mail_text.contains(sent.event()) && !mail_text.contains("t1\""), "no sample was asked for: {mail_text}");
    for text in [seen.body.escape_ascii().to_string(), text, mail_text.to_owned()] {
        for secret in ["jane.doe", "4111 1111", SECRET, "whsec_"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }

    callee.fail_always(None);
    let closed = told(&receiver, "breaker_closed").await;
    assert_eq!(body(&closed)["data"]["source"], "chat");
    counted(&app, "sluice_alerts_sent_total", &["receiver=\"hook\""], 2).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_told_past_their_threshold_and_once_an_hour_for_each_lane() {
    let (callee, receiver) = (StandInApi::start().await.unwrap(), StandInApi::start().await.unwrap());
    let folder = folder(&callee, &format!("dead_letters = 2\n{}", webhook(&receiver, "")));
    callee.fail_always(Some(Fault::status(422)));
    let app = App::start(&folder).await;
    let dies = async |source: &str, id: &str| {
        let sent = app.acme(source, "generic").send(id, &completed(id, 0)).await;
        app.settled(sent.event()).await;
    };
    dies("chat", "e1").await;
    dies("other", "e1").await;
    dies("chat", "e2").await;
    let seen = told(&receiver, "dead_letters").await;
    assert_eq!(body(&seen)["data"]["summary"], "2 dead letters wait for a person");
    dies("chat", "e3").await;
    counted(&app, "sluice_alerts_suppressed_total", &["cause=\"dead_letters\""], 1).await;
    assert_eq!(causes(&receiver), ["dead_letters"], "the other lane has one, and this one was told");
    dies("other", "e2").await;
    eventually("the other lane is told by itself", || async { (causes(&receiver).len() == 2).then_some(()) }).await;

    // Another life of the process knows what was told.
    app.stop().await;
    let app = App::start(&folder).await;
    let sent = app.acme("chat", "generic").send("e4", &completed("e4", 0)).await;
    app.settled(sent.event()).await;
    counted(&app, "sluice_alerts_suppressed_total", &["cause=\"dead_letters\""], 1).await;
    assert_eq!(causes(&receiver).len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_credentials_are_told_and_a_receiver_that_is_down_is_asked_again_under_the_same_id() {
    let receiver = StandInApi::start().await.unwrap();
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.folder.secret("alerts.secret", SIGNING);
    world.folder.main(&format!("[alerts]\n{}", webhook(&receiver, "tenants = [\"acme\"]")));
    world.llm.fail_always(Some(Fault::status(401)));
    receiver.fail_next(Fault::status(503));
    let app = world.start().await;
    app.acme("chat", "generic").send("e1", &completed("t1", 0)).await;
    counted(&app, "sluice_alerts_sent_total", &["receiver=\"hook\""], 1).await;
    let tries = at(&receiver, "/alerts");
    assert_eq!(tries.len(), 2);
    assert_eq!(tries[0].header("webhook-id"), tries[1].header("webhook-id"));
    assert!(is_signed(&tries[1], &tries[1].body));
    assert_eq!(causes(&receiver)[0], "credentials_refused");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_or_redirects_inside_keeps_nothing_from_deliveries_jobs_and_other_receivers() {
    let callee = StandInApi::start().await.unwrap();
    let [hanging, leading, good] =
        [StandInApi::start().await.unwrap(), StandInApi::start().await.unwrap(), StandInApi::start().await.unwrap()];
    let named = |receiver: &StandInApi, name: &str| webhook(receiver, "").replace("\"hook\"", &format!("\"{name}\""));
    let alerts = [named(&hanging, "hanging"), named(&leading, "leading"), named(&good, "good")].concat();
    let folder = folder(&callee, &format!("dead_letters = 1\n{alerts}"));
    hanging.fail_always(Some(Fault::Hang));
    leading.fail_always(Some(Fault::redirect(good.url("/inside").as_str())));
    callee.fail_next(Fault::status(422));
    let app = App::start(&folder).await;
    let sender = app.acme("chat", "generic");
    sender.send("e1", &completed("t1", 0)).await;
    told(&good, "dead_letters").await;
    counted(&app, "sluice_alerts_failed_total", &["receiver=\"leading\""], 1).await;
    assert_eq!((at(&leading, "/alerts").len(), at(&good, "/inside").len()), (1, 0), "no redirect is followed");
    eventually("the hanging one is asked", || async { (!hanging.requests().is_empty()).then_some(()) }).await;
    let sent = sender.send("e2", &completed("t2", 0)).await;
    assert_eq!(app.settled(sent.event()).await[0]["job"]["state"], "succeeded");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_did_not_take_is_told_once_more_when_the_process_ends_and_one_that_hangs_holds_up_nothing() {
    let callee = StandInApi::start().await.unwrap();
    let [busy, hanging] = [StandInApi::start().await.unwrap(), StandInApi::start().await.unwrap()];
    let alerts = [webhook(&busy, ""), webhook(&hanging, "").replace("\"hook\"", "\"hanging\"")].concat();
    let folder = folder(&callee, &format!("dead_letters = 1\n{alerts}"));
    // By itself it would ask again in an hour.
    busy.fail_next(Fault::retry_after(503, "3600"));
    hanging.fail_always(Some(Fault::Hang));
    callee.fail_always(Some(Fault::status(422)));
    let app = App::start(&folder).await;
    let sent = app.acme("chat", "generic").send("e1", &completed("e1", 0)).await;
    app.settled(sent.event()).await;
    counted(&app, "sluice_alerts_retries_total", &["receiver=\"hook\""], 1).await;
    // This one is said a moment before the end.
    let sent = app.acme("other", "generic").send("e2", &completed("e2", 0)).await;
    app.settled(sent.event()).await;
    tokio::time::timeout(Duration::from_secs(30), app.stop()).await.expect("the end is not held up");
    let tries: Vec<_> = at(&busy, "/alerts").iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    assert_eq!(tries.len(), 3, "{tries:?}");
    assert_eq!(tries[0], tries[1], "the first one again");
    let sources: Vec<_> = at(&busy, "/alerts").iter().map(|seen| body(seen)["data"]["source"].clone()).collect();
    assert_eq!(sources, ["chat", "chat", "other"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_one_tells_that_a_secret_ends() {
    let (callee, receiver) = (StandInApi::start().await.unwrap(), StandInApi::start().await.unwrap());
    let cluster = Cluster::shared();
    let one = Folder::new();
    let database = one.secret("database.url", &cluster.url(&cluster.database().await));
    configure(&one, &callee, &format!("[database]\nurl = \"{database}\"\n"), &webhook(&receiver, ""));
    let path = one.path().join("tenants/acme.toml");
    let end = SystemClock.now().plus(Duration::from_secs(3 * 86_400));
    let ending = format!("secrets = [{{ ref = \"file:pay.secret\", not_after = \"{end}\" }}]");
    let text = std::fs::read_to_string(&path).unwrap().replace("secrets = [\"file:pay.secret\"]", &ending);
    std::fs::write(&path, text.split("[sources.other]").next().unwrap()).unwrap();
    let other = one.twin();
    let (first, second) = tokio::join!(App::start(&one), App::start(&other));
    let seen = told(&receiver, "secret_expiring").await;
    let summary = body(&seen)["data"]["summary"].as_str().unwrap().to_owned();
    assert!(summary.contains("file:pay.secret") && summary.contains("in 2 days"), "{summary}");
    eventually("the other one looked as well", || async {
        let mut held_back = 0;
        for app in [&first, &second] {
            held_back += series(&app.scrape().await, "sluice_alerts_suppressed_total", &["cause=\"secret_expiring\""]);
        }
        (held_back == 1).then_some(())
    })
    .await;
    assert_eq!(causes(&receiver), ["secret_expiring"]);
    first.finish().await;
    second.finish().await;
}

/// A certificate for `localhost` and the one of its issuer, in files of a folder.
pub(crate) fn certificates(folder: &Folder) -> [String; 3] {
    let mut issuer = CertificateParams::new(Vec::<String>::new()).unwrap();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer_key = KeyPair::generate().unwrap();
    let root = issuer.self_signed(&issuer_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &Issuer::from_params(&issuer, &issuer_key)).unwrap();
    [("root.pem", root.pem()), ("leaf.pem", leaf.pem()), ("leaf.key", key.serialize_pem())].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sluice_alert_test_tells_each_receiver_and_says_who_did_not_take_it() {
    let (callee, receiver) = (StandInApi::start().await.unwrap(), StandInApi::start().await.unwrap());
    let folder = Folder::new();
    let [root, cert, key] = certificates(&folder);
    folder.secret("mail.password", "correct horse");
    let tls = Mailbox::start(&["tls", &cert, &key, "sluice", "correct horse"]);
    let starttls = Mailbox::start(&["starttls", &cert, &key, "sluice", "correct horse"]);
    let mail = |name: &str, scheme: &str, port: u16, to: &str| {
        format!(
            "[[alerts.receivers]]\nname = \"{name}\"\nemail = {{ server = \"{scheme}://localhost:{port}\", user = \"sluice\", \
             password = \"file:mail.password\", from = \"sluice@example.com\", to = [\"{to}\"] }}\n"
        )
    };
    let good = [
        webhook(&receiver, ""),
        mail("tls", "smtps", tls.port, "ops@example.com"),
        mail("starttls", "smtp", starttls.port, "ops@example.com"),
    ]
    .concat();
    configure(&folder, &callee, "", &good);
    let process = Process::start_in(folder.path(), &[("SSL_CERT_FILE", &root)]).await;
    let ran = sluice(folder.path(), &["alert", "test", "--json", "--reason", "a test"]).await;
    let tried = ran.json();
    let taken: Vec<(&str, bool)> =
        tried.as_array().unwrap().iter().map(|it| (it["receiver"].as_str().unwrap(), it["taken"] == true)).collect();
    assert_eq!(taken, [("hook", true), ("tls", true), ("starttls", true)], "{tried}");
    assert!(is_signed(&at(&receiver, "/alerts")[0], &at(&receiver, "/alerts")[0].body));
    for mail in [tls.next(), starttls.next()] {
        assert_eq!((&mail["user"], &mail["tls"]), (&json!(true), &json!(true)), "{mail}");
    }

    // One that does not exist, one whose mailbox does not, and one whose certificate is of nobody's.
    drop(tls);
    let elsewhere = Folder::new();
    let [_, cert, key] = certificates(&elsewhere);
    let stranger = Mailbox::start(&["starttls", &cert, &key, "sluice", "correct horse"]);
    let bad = [
        good,
        mail("nobody", "smtp", starttls.port, "nobody@example.com"),
        mail("stranger", "smtp", stranger.port, "ops@example.com"),
    ]
    .concat();
    configure(&folder, &callee, "", &bad);
    receiver.fail_next(Fault::json(403, "no_service"));
    eventually("the new receivers are in force", || async {
        let ran = sluice(folder.path(), &["alert", "test"]).await;
        ran.stdout.contains("stranger").then_some(ran)
    })
    .await;
    receiver.fail_next(Fault::json(403, "no_service"));
    let ran = sluice(folder.path(), &["alert", "test"]).await;
    assert_eq!(ran.status, 1, "{ran:#?}");
    for (line, words) in
        [("hook", "403 Forbidden: no_service"), ("tls ", "mail server"), ("nobody", "550"), ("stranger", "")]
    {
        let found = ran.stdout.lines().find(|text| text.contains(line) && text.starts_with("bad"));
        assert!(found.is_some_and(|text| text.contains(words)), "{line}: {}", ran.stdout);
    }
    assert!(ran.stdout.lines().any(|text| text.starts_with("ok") && text.contains("starttls")), "{}", ran.stdout);
    assert!(!ran.stdout.contains("correct horse") && !ran.stdout.contains("whsec_"), "{}", ran.stdout);
    process.terminate();
    let (_, lines) = process.ended().await;
    assert!(!lines.iter().any(|line| line.contains("correct horse") || line.contains("whsec_")));

    let nobody = Folder::new();
    let process = Process::start(&nobody).await;
    let ran = sluice(nobody.path(), &["alert", "test"]).await;
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("no receiver is configured"), "{ran:#?}");
    process.terminate();
    process.ended().await;
}
