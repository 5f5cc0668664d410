//! The whole: a secret of every kind, traffic of every kind, everything that can be seen.

use reqwest::{Client, Method, redirect::Policy};
use serde_json::{Value, json};
use sluice::clock::SystemClock;
use sluice_actors::ports::Clock as _;

use super::{
    echo,
    memory::cores,
    planted::{self, GIVEN, MARK},
    search::Search,
    stage::{Caller, Stage, all_tried, bodies, sender},
};
use crate::{
    harness::{Answer, Engine, Process, Sender, completed, eventually, on_both_engines, run},
    oidc::browser::Browser,
};

on_both_engines! {
    no_secret_comes_out_whatever_is_sent_answered_and_asked_and_a_crash_leaves_no_core
}

/// Routes that an event of an echo's tenant takes, and of `acme/chat` beside those to brokers.
const ROUTES: usize = 6;

async fn no_secret_comes_out_whatever_is_sent_answered_and_asked_and_a_crash_leaves_no_core(engine: Engine) {
    let stage = Stage::set(engine).await;
    let process = stage.gateway().await;
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    let People { callers, secrets, answers } = people(&stage, &process, &client).await;
    seen.extend(answers);
    seen.extend(deliveries(&stage, &process, &client).await);
    seen.extend(rotated(&stage, &process).await);
    let published = if planted::PUBLISHES { planted::BROKERS.len() } else { 0 };
    all_tried(&process, ROUTES * (1 + echo::ANSWERS.len()) + published + SEALED).await;
    // A broker that was never told a password tells nothing of it.
    for password in planted::BROKERS.iter().take(published) {
        assert!(stage.brokers.know(password), "{password}");
    }
    let transcripts = stage.transcripts();
    assert!(!transcripts.is_empty(), "what the model said is kept");
    seen.extend(asked(&process, &client, &callers, &transcripts).await);
    seen.extend(commands(&stage).await);

    let mails: Vec<Value> = (0..3).map(|_| stage.mailbox.next()).collect();
    seen.push(("mails".to_owned(), json!(mails).to_string().into_bytes()));
    eventually("alerts are told", || async { (stage.alerts.requests().len() >= 6).then_some(()) }).await;
    seen.extend(bodies("alerts", &stage.alerts.requests()));
    seen.extend(bodies("llm", &stage.llm.requests()));
    seen.extend(bodies("site", &stage.site.requests()));
    seen.extend(bodies("api", &stage.api.requests()));
    let reports = eventually("errors are reported", || async {
        let reports = stage.sentry.ask("events", "EVENTS ").await;
        (reports.len() > 2).then_some(reports)
    })
    .await;
    seen.push(("reports to Sentry".to_owned(), reports.into_bytes()));
    eventually("spans are there", || async {
        stage.collector.lines().iter().any(|line| line.contains("POST llm")).then_some(())
    })
    .await;
    seen.push(("spans".to_owned(), stage.collector.lines().join("\n").into_bytes()));

    process.signal("ABRT");
    let (status, lines) = process.gone().await;
    assert!(!status.success());
    assert_eq!(cores(stage.folder.path()), Vec::<std::path::PathBuf>::new(), "a core dump");
    let log = lines.join("\n");
    // It is the log of all that happened, by all libraries, and not of nothing.
    for word in ["\"level\":\"trace\"", "delivery refused", "hyper", "aws", "job became a dead letter"] {
        assert!(log.contains(word), "the log has no {word}");
    }
    seen.push(("the log".to_owned(), log.into_bytes()));
    seen.extend(stage.stored());

    let needles: Vec<&str> = [MARK].into_iter().chain(GIVEN).chain(secrets.iter().map(String::as_str)).collect();
    let search = Search::of(&needles);
    let found: Vec<String> = seen
        .iter()
        .flat_map(|(place, bytes)| search.find(bytes).into_iter().map(move |text| format!("{place}: {text}")))
        .collect();
    assert!(found.is_empty(), "{} places:\n{}", found.len(), found.join("\n"));
    // It would have been seen: each place, with a canary in it, is no longer clean.
    for (place, bytes) in &seen {
        let stained = [bytes, format!(" {}", planted::VENDOR).as_bytes()].concat();
        assert_eq!(search.find(&stained).len(), 1, "{place}");
    }
}

/// Who asks, the secrets that were made for them, and what they were answered that is no such secret.
struct People {
    callers: Vec<Caller>,
    secrets: Vec<String>,
    answers: Vec<(String, Vec<u8>)>,
}

async fn people(stage: &Stage, process: &Process, client: &Client) -> People {
    let admin = &process.runtime.admin;
    let owner = Caller::bearer("data folder", &process.runtime.token);
    let mut secrets = vec![process.runtime.token.clone()];
    let mut answers = Vec::new();
    let user = json!({ "name": "root", "password": planted::USER, "role": "admin" });
    answers.push(owner.ask(client, Method::POST, &format!("{admin}/api/v1/users"), Some(&user)).await);
    let mut callers = vec![Caller { name: "a stranger".to_owned(), headers: Vec::new() }];
    for role in ["admin", "operator", "viewer", "site"] {
        let ask = json!({ "name": role, "role": role, "tenants": (role == "site").then_some(["acme"]), "days": 1 });
        let made = client.post(format!("{admin}/api/v1/tokens")).bearer_auth(&process.runtime.token).json(&ask);
        let made: Value = made.send().await.unwrap().json().await.unwrap();
        let secret = made["secret"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        callers.push(Caller::bearer(role, &secret));
        secrets.push(secret);
    }
    // With a password, and with the provider.
    let ask = json!({ "name": "root", "password": planted::USER });
    let signed = client.post(format!("{admin}/api/v1/session")).json(&ask).send().await.unwrap();
    let set = signed.headers()["set-cookie"].to_str().unwrap().to_owned();
    let cookie = set.split(';').next().unwrap().to_owned();
    secrets.push(cookie.split_once('=').unwrap().1.to_owned());
    callers.push(Caller { name: "a session".to_owned(), headers: vec![("cookie", cookie)] });
    let mut browser = Browser::new();
    let begin = format!("{admin}/api/v1/session/provider/begin?return_to=/events");
    let mut page = browser.open(&begin, None).await;
    // A busy machine may keep the provider from answering in time at first.
    for _ in 0..TRIES {
        if page.status != 502 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        page = browser.open(&begin, None).await;
    }
    let page = browser.authenticate(page, "u1", None).await;
    assert_eq!(browser.who(admin).await.unwrap()["actor"], "user:oidc:grace", "{page:?}");
    let jar = browser.cookies.values().flatten().find(|(name, _)| name.as_str() == "__Host-sluice");
    secrets.push(jar.unwrap().1.clone());
    assert!(stage.provider.issuer.starts_with("http"));
    // What people mistype, and where.
    let wrong = Caller::bearer("a wrong token", "canaryhunter-wrong-token");
    let site = format!("{}/site/v1/acme/jobs", process.runtime.public);
    for (name, password) in [("root", "canaryhunter-mistyped"), ("canaryhunter-typed-as-name", "another password")] {
        let ask = json!({ "name": name, "password": password });
        answers.push(callers[0].ask(client, Method::POST, &format!("{admin}/api/v1/session"), Some(&ask)).await);
    }
    for url in [format!("{admin}/api/v1/lanes"), format!("{admin}/metrics"), site.clone()] {
        answers.push(wrong.ask(client, Method::GET, &url, None).await);
    }
    let of_site = Caller::bearer("the site", planted::SITE_TOKEN);
    let told = of_site.ask(client, Method::GET, &site, None).await;
    assert!(told.starts_with("200"), "{told}");
    answers.push(told);
    let scraper = Caller::bearer("Prometheus", planted::SCRAPE);
    callers.push(scraper);
    let answers = answers.into_iter().map(|text| ("an answer to people".to_owned(), text.into_bytes())).collect();
    People { callers, secrets, answers }
}

/// How often a sender that is told to come again does.
const TRIES: usize = 20;

/// The answer of a sender that comes again while it is told to: a log of everything takes its time.
async fn taken(sender: &Sender, id: &str, body: &Value) -> Answer {
    let mut sent = sender.send(id, body).await;
    for _ in 1..TRIES {
        if sent.status != 503 {
            break;
        }
        sent = sender.send(id, body).await;
    }
    sent
}

/// Deliveries: good, forged, unreadable, huge, with a credential where none belongs.
async fn deliveries(stage: &Stage, process: &Process, client: &Client) -> Vec<(String, Vec<u8>)> {
    let public = &process.runtime.public;
    let mut answers = Vec::new();
    let mut body = completed("thread_1", 0);
    body["data"]["customer"] = json!("jane");
    let chat = sender(process, "acme", "chat", "generic", planted::VENDOR);
    let sent = taken(&chat, "e1", &body).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    eventually("the site has it", || async { (!stage.site.requests().is_empty()).then_some(()) }).await;
    for (source, secret) in [("vaulted", planted::VAULTED), ("cloud", planted::CLOUD)] {
        assert_eq!(taken(&sender(process, "acme", source, "generic", secret), "e1", &body).await.status, 200);
    }
    let forged = chat.with_secret("canaryhunter-guessed-secret-of-32-b");
    answers.push(format!("{:?}", forged.send("e2", &body).await));
    answers.push(format!("{:?}", chat.send("e3", &json!("no object")).await));
    answers.push(format!("{:?}", chat.send_at(SystemClock.now(), "e4", &json!("x".repeat(600 * 1024))).await));
    let slack = sender(process, "acme", "slack", "slack", planted::SLACK);
    let hello = json!({ "type": "url_verification", "challenge": "c", "token": "old" });
    let hello = taken(&slack, "e1", &hello).await;
    assert_eq!(hello.status, 200, "{hello:?}");
    // A static token comes with each delivery; this one, and one that cannot be read.
    for (text, status) in [("{\"a\":1}", 200), ("no json", 400)] {
        let mut tries = 0;
        let answer = loop {
            let request = client.post(format!("{public}/webhooks/acme/token"));
            let request = request.header("x-sender-token", planted::STATIC).header("x-event", "e1");
            let answer = request.header("content-type", "application/json").body(text).send().await.unwrap();
            tries += 1;
            if answer.status() != 503 || tries == TRIES {
                break answer;
            }
        };
        assert_eq!(answer.status().as_u16(), status);
        answers.push(answer.text().await.unwrap());
    }
    // Somebody takes the secret for the signature, or for a password.
    for (name, value) in [
        ("x-signature", planted::VENDOR.to_owned()),
        ("authorization", format!("Bearer {}", planted::VENDOR)),
        ("x-api-key", planted::VENDOR.to_owned()),
        ("cookie", format!("session={}", planted::VENDOR)),
    ] {
        let request = client.post(format!("{public}/webhooks/acme/chat?secret={}", planted::VENDOR));
        let request = request.header(name, value).header("x-timestamp", "1").header("x-event-id", "e9");
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
        answers.push(format!("{} {:?} {}", answer.status(), answer.headers().clone(), answer.text().await.unwrap()));
    }
    let nowhere = client.post(format!("{public}/webhooks/acme/{}", planted::VENDOR)).body("{}").send().await.unwrap();
    answers.push(nowhere.text().await.unwrap());
    for answer in echo::ANSWERS {
        let secret = format!("{}-{answer}", planted::VENDOR);
        let sent = taken(&sender(process, &format!("echo-{answer}"), "chat", "generic", &secret), "e1", &body).await;
        assert_eq!(sent.status, 200, "{answer}: {sent:?}");
    }
    answers.into_iter().map(|text| ("an answer to a vendor".to_owned(), text.into_bytes())).collect()
}

/// Deliveries of `sealed/chat`, each of which is a job.
const SEALED: usize = 3;

/// A secret is rotated while the gateway runs: the one before lies beside it from then on, and is good as well.
async fn rotated(stage: &Stage, process: &Process) -> Vec<(String, Vec<u8>)> {
    // Three bodies: the same one within the same second is a replay, whatever its id.
    let [first, second, third] = ["thread_2", "thread_3", "thread_4"].map(|thread| completed(thread, 0));
    let old = sender(process, "sealed", "chat", "generic", planted::ROTATED);
    assert_eq!(taken(&old, "s1", &first).await.status, 200);
    stage.folder.secret("given", planted::NEXT);
    let given = stage.folder.path().join("given");
    let rotate = ["secret", "rotate", "sealed/chat", "--value-file", given.to_str().unwrap()];
    let ran = run(stage.command(&rotate)).await;
    assert_eq!(ran.status, 0, "{ran:#?}");
    let kept = std::fs::read_to_string(stage.folder.path().join("rotated.previous")).unwrap();
    assert!(kept.contains(planted::ROTATED), "the one before is kept");
    let new = old.with_secret(planted::NEXT);
    eventually("the new one is good", || async { (new.send("s2", &second).await.status == 200).then_some(()) }).await;
    assert_eq!(taken(&old, "s3", &third).await.status, 200, "so is the one before");
    vec![(rotate[..2].join(" "), format!("{}\n{}", ran.stdout, ran.stderr).into_bytes())]
}

/// Everything that can be read, as each caller; and what is refused.
async fn asked(
    process: &Process,
    client: &Client,
    callers: &[Caller],
    transcripts: &[String],
) -> Vec<(String, Vec<u8>)> {
    let admin = &process.runtime.admin;
    let document = process.get("/api/v1/openapi.json").await;
    let first = async |path: &str| {
        let page = process.get(path).await;
        let items = page["items"].as_array().or(page.as_array()).unwrap_or_else(|| panic!("{path}: {page}")).clone();
        items.iter().map(|item| item["id"].as_str().map_or(item["id"].to_string(), str::to_owned)).collect::<Vec<_>>()
    };
    let (events, jobs) = (first("/api/v1/events?limit=500").await, first("/api/v1/jobs?limit=500").await);
    let jobs: Vec<String> = jobs.into_iter().step_by(4).collect();
    let refusals = eventually("refused deliveries are kept", || async {
        let refusals = first("/api/v1/refusals").await;
        (refusals.len() >= 2).then_some(refusals)
    })
    .await;
    let (none, transcripts) = (vec![String::new()], transcripts.to_vec());
    let mut urls = vec![format!("{admin}/metrics"), format!("{admin}/nothing"), admin.clone()];
    for path in document["paths"].as_object().unwrap().iter().filter(|(_, item)| !item["get"].is_null()).map(|it| it.0)
    {
        // It has no end; it tells ids.
        if path.ends_with("/live") {
            continue;
        }
        let ids = match path {
            path if path.contains("/events/{") => &events,
            path if path.contains("/jobs/{") => &jobs,
            path if path.contains("/refusals/{") => &refusals,
            path if path.contains("/artifacts/{") => &transcripts,
            _ => &none,
        };
        let list = if path.contains('{') { "" } else { "?limit=500" };
        urls.extend(ids.iter().map(|id| {
            let path = path.replace("{id}", id).replace("{tenant}", "acme").replace("{source}", "chat");
            format!("{admin}{path}{list}")
        }));
    }
    let mut seen = Vec::new();
    for caller in callers {
        for url in &urls {
            let text = caller.ask(client, Method::GET, url, None).await;
            seen.push((format!("{url} for {}", caller.name), text.into_bytes()));
        }
    }
    let scraped = seen.iter().any(|(place, bytes)| place.contains("/metrics for Prom") && bytes.starts_with(b"200"));
    assert!(scraped, "the metrics were read");
    // A change that is refused tells why.
    let broken = json!({ "name": 7, "password": planted::USER });
    for path in ["users", "tokens", "session", "alerts/test", "reload"] {
        for caller in callers {
            let text = caller.ask(client, Method::POST, &format!("{admin}/api/v1/{path}"), Some(&broken)).await;
            seen.push((format!("POST {path} for {}", caller.name), text.into_bytes()));
        }
    }
    seen
}

/// What commands say, of a good configuration and of one with values where references belong.
async fn commands(stage: &Stage) -> Vec<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut says = async |words: &[&str]| {
        let ran = run(stage.command(words)).await;
        seen.push((words.join(" "), format!("{}\n{}", ran.stdout, ran.stderr).into_bytes()));
        ran.status
    };
    assert_eq!(says(&["check"]).await, 0);
    says(&["doctor"]).await;
    assert_eq!(says(&["alert", "test"]).await, 0);
    assert_eq!(says(&["secret", "status"]).await, 0);
    assert_eq!(says(&["encryption", "status", "--rows"]).await, 0);
    let echo = "tenants/echo-200.toml";
    let mut broken = vec![
        (echo, "api_key = \"file:llm-200\"", format!("api_key = \"{}\"", planted::LLM)),
        (echo, "secrets = [\"file:vendor-200\"]", format!("secrets = [\"{}\"]", planted::VENDOR)),
        (echo, "signing_key = \"file:key-1\"", "signing_key = \"file:forward\"".to_owned()),
        (echo, "secret = \"file:forward-200\"", "secret = \"file:vendor\"".to_owned()),
        (echo, "secrets = [\"file:vendor-200\"]", "secrets = [\"file:vendor\"]".to_owned()),
        (echo, "url = \"http://", format!("url = \"http://user:{}@", planted::VENDOR)),
        ("tenants/sealed.toml", "\"file:wrapping\"", format!("\"{}\"", planted::wrapping_key())),
        ("tenants/sealed.toml", "\"file:wrapping\"", "\"file:rotated\"".to_owned()),
    ];
    if planted::PUBLISHES {
        let [redis, ..] = stage.brokers.urls();
        broken.push(("tenants/acme.toml", "'file:redis.url'", format!("'{redis}'")));
        broken.push(("tenants/acme.toml", "'file:redis.url'", "'file:nats.url'".to_owned()));
    }
    for (file, from, to) in broken {
        let path = stage.folder.path().join(file);
        let good = std::fs::read_to_string(&path).unwrap();
        assert!(good.contains(from), "{from}");
        std::fs::write(&path, good.replacen(from, &to, 1)).unwrap();
        assert_ne!(says(&["check"]).await, 0, "{from}");
        std::fs::write(&path, good).unwrap();
    }
    seen
}
