//! A bare `warp::serve` app with nothing of ours in it: the generic scheme's headers as filters, one
//! HMAC, a parse to `Value`, one SHA-256, a fixed answer. What Sluice reaches is given as a share of
//! what this reaches on the same machine in the same run (`docs/performance.md`).
//!
//! `cargo bench --bench ceiling -- --listen 127.0.0.1:9090 --secret KEY [--seconds N]` prints its
//! URL and serves until the seconds have passed or its input ends. Under `cargo bench` without
//! `--listen` it only checks itself.

use std::{io::Read, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use warp::{Filter, Reply, http::StatusCode, reply};

const ANSWER: &str = r#"{"ok":true,"duplicate":false,"event_id":"evt_00000000000000000000000000000000"}"#;

fn app(secret: Arc<[u8]>) -> impl Filter<Extract = (impl Reply,), Error = warp::Rejection> + Clone {
    warp::post()
        .and(warp::path!("webhooks" / String / String))
        .and(warp::header::<String>("x-signature"))
        .and(warp::header::<String>("x-timestamp"))
        .and(warp::header::<String>("x-event-id"))
        .and(warp::body::bytes())
        .then(move |_tenant, _source, signature: String, timestamp: String, id: String, body: Bytes| {
            let secret = secret.clone();
            async move { receive(&secret, &signature, &timestamp, &id, &body) }
        })
}

fn receive(secret: &[u8], signature: &str, timestamp: &str, id: &str, body: &[u8]) -> reply::WithStatus<&'static str> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("an HMAC takes a key of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let expected = hex::encode(mac.finalize().into_bytes());
    let sent = signature.strip_prefix("sha256=").unwrap_or(signature);
    if !bool::from(expected.as_bytes().ct_eq(sent.as_bytes())) {
        return reply::with_status("", StatusCode::UNAUTHORIZED);
    }
    let Ok(payload) = serde_json::from_slice::<serde_json::Value>(body) else {
        return reply::with_status("", StatusCode::BAD_REQUEST);
    };
    // What dedup needs at least; kept from being optimised away.
    std::hint::black_box((Sha256::digest(body), payload, id));
    reply::with_status(ANSWER, StatusCode::OK)
}

/// The value after `--name`.
fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret: Arc<[u8]> = option("--secret").unwrap_or_else(|| "ceiling".into()).into_bytes().into();
    let Some(listen) = option("--listen") else { return check(secret).await };
    let seconds: Option<u64> = option("--seconds").map(|text| text.parse()).transpose()?;
    let listener = tokio::net::TcpListener::bind(listen.parse::<SocketAddr>()?).await?;
    let address = listener.local_addr()?;
    #[expect(clippy::print_stdout, reason = "the URL is this program's output")]
    {
        println!("http://{address}/webhooks/bench/ceiling");
    }
    let (ended, end) = oneshot::channel();
    match seconds {
        Some(seconds) => drop(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            ended.send(()).ok();
        })),
        None => drop(std::thread::spawn(move || {
            std::io::stdin().read_to_end(&mut Vec::new()).ok();
            ended.send(()).ok();
        })),
    }
    warp::serve(app(secret)).incoming(listener).graceful(async { drop(end.await) }).run().await;
    Ok(())
}

/// One good and one bad request through the filters.
async fn check(secret: Arc<[u8]>) -> Result<(), Box<dyn std::error::Error>> {
    let body = br#"{"event_type":"assistant.completed","data":{}}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret)?;
    mac.update(b"1.");
    mac.update(body);
    let good = hex::encode(mac.finalize().into_bytes());
    let app = app(secret);
    for (signature, status) in [(good.as_str(), StatusCode::OK), ("00", StatusCode::UNAUTHORIZED)] {
        let answer = warp::test::request()
            .method("POST")
            .path("/webhooks/bench/ceiling")
            .header("x-signature", signature)
            .header("x-timestamp", "1")
            .header("x-event-id", "a")
            .body(body)
            .reply(&app)
            .await;
        assert_eq!(answer.status(), status);
    }
    Ok(())
}
