//! Traces and reports of errors, against receivers that others wrote: rotel for spans, bugsink for
//! what Sentry takes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use prometheus::IntCounter;
use serde_json::{Value, json};
use sluice::{
    clock::SystemClock,
    config::{LogFormat, Sentry},
    secrets::Secret,
    standins::Fault,
    telemetry::{
        Reports,
        calls::Callees,
        lanes::Lanes,
        logs::{self, Options},
        metrics::Metrics,
        observe::TreeObserver,
        traces::Traces,
    },
    trace::{Called, Tracer},
};
use sluice_actors::{
    domain::TraceId,
    handle::{Gateway, NodeLimits},
    testing::{MemoryStore, NewJob, lane_key},
};
use tokio::net::TcpListener;

use crate::{
    actions::bench::Bench,
    canaries::search::Search,
    harness::{LLM_KEY, Process, Receiver, SECRET, World, completed, eventually, free_port, series, summarising},
};

/// What must be in no attribute: a payload, a query, a header.
const CANARIES: [&str; 4] = ["CANARY-payload", "CANARY-query", SECRET, LLM_KEY];
/// A vendor's own span.
const THEIRS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A span as rotel shows it.
#[derive(Debug, Clone, Default)]
struct Seen {
    fields: BTreeMap<String, String>,
    attributes: BTreeMap<String, String>,
    /// Trace and span of each link.
    links: Vec<(String, String)>,
}

impl Seen {
    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// The spans among the lines of rotel.
fn spans(lines: &[String]) -> Vec<Seen> {
    let mut spans: Vec<Seen> = Vec::new();
    let (mut in_span, mut in_links) = (false, false);
    for line in lines {
        let line = line.trim();
        if line.starts_with("Span #") {
            spans.push(Seen::default());
            (in_span, in_links) = (true, false);
            continue;
        }
        if line.starts_with("ResourceSpans") || line.starts_with("ScopeSpans") {
            in_span = false;
        }
        let Some(span) = spans.last_mut().filter(|_| in_span) else { continue };
        if line.starts_with("Links:") || line.starts_with("SpanLink") {
            in_links = true;
        }
        let field = line.trim_start_matches("-> ").split_once(':');
        if in_links {
            match field.map(|(name, value)| (name.trim(), value.trim().to_owned())) {
                Some(("Trace ID", trace)) => span.links.push((trace, String::new())),
                Some(("ID", id)) => span.links.last_mut().expect("the trace is told first").1 = id,
                _ => {}
            }
            continue;
        }
        if let Some(attribute) = line.strip_prefix("-> ") {
            if let Some((name, value)) = attribute.split_once(": ") {
                let value = value.split_once('(').map_or(value, |(_, value)| value.trim_end_matches(')'));
                span.attributes.insert(name.to_owned(), value.to_owned());
            }
            continue;
        }
        if let Some((name, value)) = field {
            span.fields.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    spans
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_runs_from_the_vendors_request_to_the_post() {
    let collector = Receiver::start("otlp").await;
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.folder.main(&format!("[telemetry.traces]\nendpoint = \"{}\"\n", collector.url));
    let app = world.start().await;
    let sender = app.acme("chat", "generic").traced(THEIRS, "token=CANARY-query");
    let mut body = completed("thread_1", 0);
    body["data"]["answer"] = json!("CANARY-payload");
    let answer = sender.send("e1", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let jobs = app.settled(answer.event()).await;
    let trace = jobs[0]["job"]["trace_id"].as_str().unwrap().to_owned();
    app.finish().await;

    let spans = eventually("the spans of the delivery and its job", || async {
        let of_trace: Vec<Seen> =
            spans(&collector.lines()).into_iter().filter(|span| span.get("Trace ID") == trace).collect();
        (of_trace.len() >= 5).then_some(of_trace)
    })
    .await;
    let named = |name: &str| {
        let found: Vec<&Seen> = spans.iter().filter(|span| span.get("Name") == name).collect();
        assert_eq!(found.len(), 1, "{name}: {:#?}\n{}", spans, collector.lines().join("\n"));
        found[0]
    };
    let request = named("POST /webhooks/{tenant}/{source}");
    let stored = named("send acme/chat");
    let attempt = named("process acme/chat");
    let (llm, post) = (named("POST llm"), named("POST wordpress"));
    // The vendor's own span is linked, not continued.
    assert_eq!(request.get("Parent ID"), "");
    assert_eq!(request.links, [(THEIRS[3..35].to_owned(), THEIRS[36..52].to_owned())], "{request:#?}");
    assert_eq!(request.attribute("http.response.status_code"), "200");
    assert_eq!(request.attribute("url.path"), "/webhooks/acme/chat");
    assert_eq!(stored.get("Parent ID"), request.get("ID"));
    assert_eq!(stored.attribute("messaging.message.id"), answer.event());
    assert_eq!(attempt.get("Parent ID"), stored.get("ID"));
    assert_eq!(attempt.links, [(trace.clone(), stored.get("ID").to_owned())]);
    assert_eq!(attempt.attribute("sluice.job.outcome"), "succeeded");
    for call in [llm, post] {
        assert_eq!(call.get("Parent ID"), attempt.get("ID"));
        assert_eq!(call.attribute("server.address"), "127.0.0.1");
    }
    // What the site was told is the span of this very call.
    let told = world.wordpress.requests()[0].header("traceparent").to_owned();
    assert_eq!(told, format!("00-{trace}-{}-01", post.get("ID")));
    let told = world.llm.requests()[0].header("traceparent").to_owned();
    assert_eq!(told, format!("00-{trace}-{}-01", llm.get("ID")));

    let lines = collector.lines().join("\n");
    for canary in CANARIES {
        assert!(!lines.contains(canary), "{canary} in {lines}");
    }
    // The exporter's own calls are in no span.
    assert!(!lines.contains("v1/traces"), "{lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_says_so_continues_its_vendors_trace_and_a_replay_begins_another() {
    let collector = Receiver::start("otlp").await;
    let world = World::new(&summarising("chat", "generic", "continue_trace = true")).await;
    world.folder.main(&format!("[telemetry.traces]\nendpoint = \"{}\"\n", collector.url));
    world.wordpress.fail_next(Fault::status(422));
    let app = world.start().await;
    let sender = app.acme("chat", "generic");
    let answer = sender.traced(THEIRS, "x=1").send("e1", &completed("t", 0)).await;
    let job = app.settled(answer.event()).await.remove(0);
    let id = job["job"]["id"].as_str().unwrap().to_owned();
    assert_eq!(job["job"]["trace_id"], THEIRS[3..35]);
    // A vendor that does not keep its trace decides for us as well.
    let unsampled = THEIRS.replace("-01", "-00");
    let quiet = sender.traced(&unsampled.replace("0af7", "1bf7"), "x=1").send("e2", &completed("t2", 0)).await;
    app.settled(quiet.event()).await;
    let ask = json!({ "filter": { "job": id }, "per_second": 100 });
    assert_eq!(app.post("/api/v1/dead-letters/replay", &ask).await.0, 200);
    eventually("the replayed job succeeds", || async {
        let job = app.get(&format!("/api/v1/jobs/{id}")).await;
        (job["job"]["state"] == "succeeded").then_some(())
    })
    .await;
    app.finish().await;

    let all = eventually("the spans of the replay", || async {
        let all = spans(&collector.lines());
        (all.iter().filter(|span| span.get("Name") == "process acme/chat").count() >= 2).then_some(all)
    })
    .await;
    let request = all.iter().find(|span| span.get("Name").starts_with("POST /webhooks")).expect("the request");
    assert_eq!((request.get("Trace ID"), request.get("Parent ID")), (&THEIRS[3..35], &THEIRS[36..52]));
    assert!(request.links.is_empty(), "{request:#?}");
    let stored = all.iter().find(|span| span.get("Name") == "send acme/chat").expect("the event");
    let attempts: Vec<&Seen> = all.iter().filter(|span| span.get("Name") == "process acme/chat").collect();
    let (first, replay): (Vec<&Seen>, Vec<&Seen>) =
        attempts.iter().partition(|span| span.get("Trace ID") == &THEIRS[3..35]);
    assert_eq!((first.len(), replay.len()), (1, 1), "{attempts:#?}");
    assert_eq!((first[0].get("Parent ID"), replay[0].get("Parent ID")), (stored.get("ID"), ""));
    assert_eq!(replay[0].links, [(THEIRS[3..35].to_owned(), stored.get("ID").to_owned())]);
    assert!(all.iter().all(|span| !span.get("Trace ID").starts_with("1bf7")), "{all:#?}");
}

/// A collector, as a gateway meets it.
enum Collector {
    Well(Receiver),
    /// Accepts connections and requests, never answers.
    Silent(TcpListener),
    /// Nobody listens.
    Dead(u16),
}

impl Collector {
    fn endpoint(&self) -> String {
        match self {
            Self::Well(receiver) => receiver.url.clone(),
            Self::Silent(listener) => format!("http://{}", listener.local_addr().unwrap()),
            Self::Dead(port) => format!("http://127.0.0.1:{port}"),
        }
    }
}

/// Deliveries that each of the gateways below takes, and the spans of them that are made at least.
const DELIVERIES: u64 = 50;
const SPANS: u64 = DELIVERIES * 3;

/// A gateway under `collector` takes deliveries and does their jobs; returns what it counted as lost once that
/// is at least `lost`. It ends although its collector may take two minutes to answer.
async fn gateway_under(collector: &Collector, environment: &[(&str, &str)], lost: u64) -> u64 {
    let world = World::new(&summarising("chat", "generic", "")).await;
    world.folder.main(&format!("[telemetry.traces]\nendpoint = \"{}\"\n", collector.endpoint()));
    let process = Process::start_in(world.folder.path(), environment).await;
    world.trust(&process.runtime.public).await;
    let sender = crate::harness::Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    for n in 0..DELIVERIES {
        let answer = sender.send(&format!("e{n}"), &completed(&format!("t{n}"), 0)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    eventually("all jobs are done", || async {
        let done = process.get("/api/v1/jobs?state=succeeded&limit=500").await;
        (done["items"].as_array().unwrap().len() as u64 == DELIVERIES).then_some(())
    })
    .await;
    let dropped = eventually("spans are counted as lost", || async {
        let scrape = reqwest::get(format!("{}/metrics", process.runtime.admin)).await.unwrap().text().await.unwrap();
        let dropped = series(&scrape, "sluice_telemetry_dropped_total", &["signal=\"spans\""]);
        (dropped >= lost).then_some(dropped)
    })
    .await;
    process.terminate();
    // Within a minute.
    let (status, lines) = process.ended().await;
    assert!(status.success(), "{lines:#?}");
    dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_dead_or_never_answers_costs_spans_that_are_counted_and_nothing_else() {
    let listener = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
    let (well, dead) = (Collector::Well(Receiver::start("otlp").await), Collector::Dead(free_port()));
    let (hanging, patient) = (Collector::Silent(listener().await), Collector::Silent(listener().await));
    // The exporter gives a batch up after this many milliseconds; or it never does, and what comes meanwhile finds
    // the queue full.
    let gives_up = [("OTEL_EXPORTER_OTLP_TIMEOUT", "500")];
    let waits = [("OTEL_EXPORTER_OTLP_TIMEOUT", "120000"), ("OTEL_BSP_MAX_QUEUE_SIZE", "32")];
    let (of_well, of_dead, of_hanging, of_patient) = tokio::join!(
        gateway_under(&well, &[], 0),
        gateway_under(&dead, &[], SPANS),
        gateway_under(&hanging, &gives_up, SPANS),
        gateway_under(&patient, &waits, SPANS - 32),
    );
    assert_eq!(of_well, 0, "a collector that takes them loses none");
    assert!(of_dead.min(of_hanging).min(of_patient) > 0);
    let Collector::Well(receiver) = well else { unreachable!() };
    eventually("they are there", || async { (spans(&receiver.lines()).len() as u64 >= SPANS).then_some(()) }).await;
}

/// What a panic says: it could be a payload.
const PANIC_TEXT: &str = "CANARY-panic";
/// What the panic of a lane says.
const LANE_PANIC: &str = "asked for by the test";
/// In every secret of a [`Bench`].
const OF_BENCH: &str = "PLANTED";

/// Panics when it is told of a call, in the middle of an attempt.
struct Panics;

impl Tracer for Panics {
    fn samples(&self, _trace: TraceId, _parent: Option<bool>) -> bool {
        true
    }

    fn called(&self, _call: &Called<'_>) {
        panic!("{PANIC_TEXT}");
    }
}

/// What a log wrote.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_error_and_panics_of_an_action_and_a_lane_are_reported_with_whose_they_are_and_without_what_was_sent() {
    let sentry = Receiver::start("sentry").await;

    // An error of the real binary: a job that becomes a dead letter.
    let world = World::new(&summarising("chat", "generic", "")).await;
    let dsn = world.folder.secret("sentry.dsn", &sentry.url);
    world.folder.main(&format!("[telemetry.sentry]\ndsn = \"{dsn}\"\nenvironment = \"staging\"\n"));
    let main = std::fs::read_to_string(world.folder.config()).unwrap();
    std::fs::write(world.folder.config(), main.replace("info,sluice=debug", "trace")).unwrap();
    let search = Search::of(&[&CANARIES[..], &[PANIC_TEXT, LANE_PANIC, OF_BENCH, &sentry.url]].concat());
    world.wordpress.fail_always(Some(Fault::status(422)));
    let process = Process::start(&world.folder).await;
    world.trust(&process.runtime.public).await;
    let sender = crate::harness::Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    let mut body = completed("thread_1", 0);
    body["data"]["answer"] = json!("CANARY-payload");
    let answer = sender.send("e1", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let job = eventually("the job is a dead letter", || async {
        let jobs = process.get("/api/v1/jobs?state=deadletter").await;
        jobs["items"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    // Where a receiver is slow at its first report, the end of the process does not wait for it.
    eventually("it is reported", || async { (sentry.ask("events", "EVENTS ").await != "[]").then_some(()) }).await;
    process.terminate();
    let (status, lines) = process.ended().await;
    assert!(status.success(), "{lines:#?}");
    let log = lines.join("\n");
    assert!(log.contains("\"level\":\"trace\"") && log.contains("job became a dead letter"), "{log}");
    assert_eq!(search.find(log.as_bytes()), [""; 0], "in the log of the binary");

    // Panics of an action and of a lane in the tree, while the log tells all it can and reports to the same place.
    let bench = Bench::traced(
        "[[sources.payments.routes]]\nname = 'sum'\naction = 'summarize_and_publish'\n",
        Arc::new(Panics),
    )
    .await;
    let config = Sentry { dsn: Secret::new(sentry.url.clone().into_bytes()), environment: "staging".into() };
    let reports = Reports::start(Some(&config), IntCounter::new("dropped", "lost").unwrap()).unwrap();
    let written = Written::default();
    let options = Options {
        format: LogFormat::Json,
        filter: "trace".into(),
        sink: Some(Arc::new(Mutex::new(written.clone()))),
        reports: reports.clone(),
    };
    let (subscriber, _) = logs::subscriber(options, Arc::new(SystemClock)).unwrap();
    let _log = tracing::subscriber::set_default(subscriber);
    // Of this thread only: this log is no other's.
    let (before, this) = (std::panic::take_hook(), std::thread::current().id());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == this {
            logs::log_panic(panic);
        }
        before(panic);
    }));
    let (metrics, callees, lane) = (Metrics::new(), Arc::new(Callees::new(100)), lane_key("acme/payments"));
    let lanes = Arc::new(Lanes::new(&metrics, 100));
    let store = MemoryStore::new(Arc::new(SystemClock));
    let tree = sluice_actors::handle::World {
        store: Arc::new(store.clone()),
        action: Arc::new(bench.actions),
        policies: Arc::new(bench.policies),
        observer: Arc::new(TreeObserver::new(metrics, lanes, callees, bench.config.clone(), Traces::default())),
        clock: Arc::new(SystemClock),
        seed: 7,
        limits: NodeLimits { poll: Duration::from_millis(100), ..NodeLimits::default() },
    };
    let (gateway, _) = Gateway::start(tree).await.unwrap();
    let sent = NewJob::on("acme/payments").route("sum").kind("summarize_and_publish");
    let panicking = store.insert(sent.data(json!({ "answer": "CANARY-payload" })));
    gateway.wake(&lane);
    eventually("the attempt panicked", || async { (store.job(panicking).job.attempts > 0).then_some(()) }).await;
    let panicking_id = panicking.to_string();
    gateway.panic_lane(&lane);
    let log = || String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    eventually("the lane panicked", || async { log().contains("lane panicked, restarts").then_some(()) }).await;
    gateway.drain(Duration::from_secs(5)).await;
    reports.flush(Duration::from_secs(30)).await;

    let text = eventually("all reports are there", || async {
        let text = sentry.ask("events", "EVENTS ").await;
        let events: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        (events.len() >= 3).then_some(text)
    })
    .await;
    assert_eq!(search.find(text.as_bytes()), [""; 0], "in reports");
    let events: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let of = |job: &str| {
        let found: Vec<&Value> = events.iter().filter(|event| event["tags"]["job_id"] == job).collect();
        assert_eq!(found.len(), 1, "one report of {job}: {events:#?}");
        found[0]
    };
    let of_lane: Vec<&Value> = events.iter().filter(|event| event["tags"]["job_id"].is_null()).collect();
    assert_eq!(of_lane.len(), 1, "one report of the lane: {events:#?}");
    for (event, source) in [(of(&job), "chat"), (of(&panicking_id), "payments"), (of_lane[0], "payments")] {
        assert_eq!((&event["tags"]["tenant"], &event["tags"]["source"]), (&json!("acme"), &json!(source)));
        assert_eq!(event["tags"]["vendor"], "generic");
        assert_eq!(event["release"], concat!("sluice@", env!("CARGO_PKG_VERSION")));
        assert_eq!(event["environment"], "staging");
        assert!(event.get("breadcrumbs").is_none_or(|crumbs| crumbs["values"].as_array().is_none_or(Vec::is_empty)));
        assert!(event.get("user").is_none() && event.get("server_name").is_none(), "{event:#}");
    }
    assert_eq!(of(&job)["message"].as_str(), Some("job became a dead letter"), "{:#}", of(&job));
    let panic = &of(&panicking_id)["exception"]["values"][0];
    assert_eq!(panic["type"], "panic");
    assert!(panic["value"].as_str().unwrap().contains("tests/it/telemetry.rs"), "{panic:#}");
    let frames = panic["stacktrace"]["frames"].as_array().expect("frames");
    assert!(frames.iter().any(|frame| frame["function"].as_str().is_some_and(|name| name.contains("Panics"))));
    let panic = &of_lane[0]["exception"]["values"][0];
    assert_eq!(panic["type"], "panic");
    assert!(panic["value"].as_str().unwrap().contains("src/lane.rs"), "{panic:#}");
    // The line of the log tells the same. No other line, of no library, tells more of what was sent, said or paid with.
    let log = log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let line = lines.iter().find(|line| line["message"] == "panicked").expect("the panic's line");
    assert_eq!((&line["job_id"], &line["tenant"]), (&json!(panicking_id), &json!("acme")));
    assert_eq!(line["span_id"].as_str().map(str::len), Some(16), "{line}");
    let traced = |library: &str| {
        let of = |line: &Value| {
            line["level"] == "trace" && line["target"].as_str().is_some_and(|it| it.starts_with(library))
        };
        lines.iter().any(of)
    };
    assert!(traced("hyper"), "the call of the attempt that panicked is traced: {log}");
    assert_eq!(search.find(log.as_bytes()), [""; 0], "in the log of the panics");
    // It would have been seen.
    for text in CANARIES.into_iter().chain([PANIC_TEXT, LANE_PANIC, OF_BENCH]) {
        assert_eq!(search.find(format!("{log} {text}").as_bytes()).len(), 1, "{text}");
    }
}
