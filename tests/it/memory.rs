//! What the real binary takes of memory, as the kernel counts it.

use std::{fmt::Write as _, fs, sync::Arc, time::Duration};

use futures_util::future::join_all;
use sluice::{
    clock::SystemClock,
    secrets::Secret,
    vendors::{self, Outgoing},
};
use sluice_actors::ports::Clock;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    sync::Barrier,
};

use crate::harness::{Folder, Process, SECRET, series, within};

const MIB: u64 = 1024 * 1024;

/// Sources `s0` … of a tenant, each with a route that only logs.
fn sources(count: usize, secret: &str) -> String {
    let mut text = String::new();
    for n in 0..count {
        write!(
            text,
            "[sources.s{n}]\nvendor = \"generic\"\nsecrets = [\"{secret}\"]\n\
             [[sources.s{n}.routes]]\nname = \"log\"\naction = \"log\"\n"
        )
        .unwrap();
    }
    text
}

/// A figure of `/proc/PID/status` in bytes.
fn resident(process: &Process, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.runtime.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A signed request to a source.
fn request(tenant: &str, source: &str, id: &str, secret: &str, body: &str) -> Vec<u8> {
    let vendor = vendors::build("generic", &toml::Table::new()).expect("a vendor").expect("needs no options");
    let outgoing = Outgoing { url: "", id, event_type: "bench", now: SystemClock.now(), body: body.as_bytes() };
    let headers = vendor.sign(&outgoing, &Secret::new(secret.into())).expect("signed");
    let mut request = format!(
        "POST /webhooks/{tenant}/{source} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        write!(request, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
    }
    request += "\r\n";
    request += body;
    request.into_bytes()
}

/// A body of 512 KiB: text, or what grows most when it is parsed.
fn large(n: usize) -> String {
    let mut body = format!(r#"{{"event_type":"bench","n":{n},"data":"#);
    let room = 512 * 1024 - body.len() - 4;
    if n.is_multiple_of(2) {
        body.push('[');
        body.push_str(&"0,".repeat(room / 2));
        body.push_str("0]");
    } else {
        body.push('"');
        body.push_str(&"x".repeat(room));
        body.push('"');
    }
    body.push('}');
    body
}

fn address(process: &Process) -> String {
    process.runtime.public.trim_start_matches("http://").to_owned()
}

/// How often a delivery is sent that the machine was too busy to answer in time.
const TRIES: usize = 20;

/// Sends requests one after the other over one connection, as vendors do: again after a 503.
async fn deliver_all(process: &Process, requests: impl Iterator<Item = Vec<u8>>) {
    let mut stream = BufStream::new(TcpStream::connect(address(process)).await.unwrap());
    for request in requests {
        let mut status = String::new();
        for _ in 0..TRIES {
            status = exchange(&mut stream, &request).await;
            if !status.starts_with("HTTP/1.1 503") {
                break;
            }
        }
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    }
}

/// Sends a request and reads its answer; returns the status line.
async fn exchange(stream: &mut BufStream<TcpStream>, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
    stream.read_line(&mut status).await.unwrap();
    while line != "\r\n" {
        line.clear();
        assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "the connection closed: {status}");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    status
}

/// Sends a request once all others are connected; returns the status, 0 for a broken connection.
async fn deliver(address: String, request: Vec<u8>, all: Arc<Barrier>) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    all.wait().await;
    let mut answer = [0; 12];
    // A refusal may come, and the connection close, before all is written.
    let _ = stream.write_all(&request).await;
    match stream.read_exact(&mut answer).await {
        Ok(_) => std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap(),
        Err(_) => 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a GiB of memory itself; scripts/test --long runs it"]
async fn memory_stays_bounded_while_two_thousand_large_bodies_arrive_at_once() {
    let folder = Folder::on_disk();
    folder.secret("bodies.secret", SECRET);
    folder.tenant("acme", &sources(100, "file:bodies.secret"));
    let process = Process::start(&folder).await;
    let address = address(&process);
    let all = Arc::new(Barrier::new(2000));
    let requests: Vec<_> =
        (0..2000).map(|n| request("acme", &format!("s{}", n % 100), &format!("body-{n}"), SECRET, &large(n))).collect();
    let deliveries = requests.into_iter().map(|request| tokio::spawn(deliver(address.clone(), request, all.clone())));
    let statuses: Vec<u16> = join_all(deliveries).await.into_iter().map(Result::unwrap).collect();
    let peak = resident(&process, "VmHWM");
    assert!(peak < 512 * MIB, "{} MiB", peak / MIB);
    let accepted = statuses.iter().filter(|status| **status == 200).count();
    assert!(accepted > 0);
    assert!(statuses.iter().all(|status| matches!(status, 0 | 200 | 429 | 503)), "{statuses:?}");
    let scrape = reqwest::get(format!("{}/metrics", process.runtime.admin)).await.unwrap().text().await.unwrap();
    let stored = series(&scrape, "sluice_webhook_events_total", &["outcome=\"accepted\""]);
    assert!(stored >= accepted as u64, "{stored} stored of {accepted} acknowledged");
    process.terminate();
    assert!(process.ended().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits until ten thousand lanes are put away, twice; scripts/test --long runs it"]
async fn ten_thousand_lanes_that_ran_one_job_and_went_idle_cost_no_more_than_20_mib_nor_does_it_grow() {
    const EACH: usize = 100;
    const LANES: usize = EACH * EACH;
    const WARM: usize = 16;
    let folder = Folder::on_disk();
    folder.main("[limits]\ningest_per_second = 1000000\n");
    let secret = |tenant: usize| format!("{SECRET}-{tenant}");
    for tenant in 0..EACH {
        let reference = folder.secret(&format!("{tenant}.secret"), &secret(tenant));
        folder.tenant(&format!("t{tenant}"), &sources(EACH, &reference));
    }
    let warm = folder.secret("warm.secret", &secret(EACH));
    let limits = |n| {
        format!(
            "[sources.s{n}.limits]\ninbound = {{ per_second = 100000, burst = 1000000 }}\n\
             outbound = {{ per_second = 10000, concurrency = 64 }}\n"
        )
    };
    folder.tenant("warm", &(sources(WARM, &warm) + &(0..WARM).map(limits).collect::<String>()));
    let process = Process::start_in(folder.path(), &[("SLUICE_TELEMETRY__FILTER", "warn")]).await;
    let finished = |jobs: usize| {
        let process = &process;
        within(Duration::from_mins(10), "all jobs succeed and all lanes are put away", move || async move {
            let scrape = reqwest::get(format!("{}/metrics", process.runtime.admin)).await.ok()?.text().await.ok()?;
            let done = series(&scrape, "sluice_job_attempts_total", &["outcome=\"succeeded\""]);
            let awake = process.get("/api/v1/snapshot").await["lanes"].as_array().map_or(0, Vec::len);
            (done == jobs as u64 && awake == 0).then_some(())
        })
    };

    // No two alike: signed twice in one second they were one event.
    let body = |n: usize| format!(r#"{{"event_type":"bench","data":{{"n":{n}}}}}"#);
    // Twice the same work in a few lanes before: what any load takes once, such as the page caches of
    // SQLite, is not what lanes cost.
    let before = (0..2 * LANES)
        .map(|n| request("warm", &format!("s{}", n % WARM), &format!("warm-{n}"), &secret(EACH), &body(n)));
    deliver_all(&process, before).await;
    finished(2 * LANES).await;
    let base = resident(&process, "VmRSS");
    let mut idle = Vec::new();
    for wave in 1..=2 {
        let each = (0..LANES).map(|n| {
            let (tenant, source) = (n / EACH, format!("s{}", n % EACH));
            request(&format!("t{tenant}"), &source, &format!("wave-{wave}"), &secret(tenant), &body(n))
        });
        deliver_all(&process, each).await;
        finished((2 + wave) * LANES).await;
        idle.push(resident(&process, "VmRSS"));
    }
    let [first, second] = idle[..] else { unreachable!("two waves") };
    assert!(first <= base + 20 * MIB, "{} MiB over {} MiB", first.saturating_sub(base) / MIB, base / MIB);
    assert!(second <= first + 20 * MIB, "{} MiB after {} MiB", second / MIB, first / MIB);
    process.terminate();
    assert!(process.ended().await.0.success());
}
