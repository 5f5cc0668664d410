//! The server under every stand-in.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use warp::{Filter as _, Reply as _, reply::Response};

use super::fault::{Fault, Faults};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The raw query; empty without one.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Seen {
    /// A header's value as text; empty if it is missing or not text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What a stand-in does with a request.
pub(super) trait Work: Send + Sync + 'static {
    fn answer(&self, seen: &Seen) -> Response;

    /// Answers what is beside the point: it meets no fault and is not remembered.
    fn aside(&self, _seen: &Seen) -> Option<Response> {
        None
    }
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) faults: Arc<Faults>,
    ledger: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Running {
    /// Every request so far, whatever became of it.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `work` on a free loopback port.
pub(super) async fn serve(work: Arc<dyn Work>) -> io::Result<Running> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let faults = Arc::new(Faults::default());
    let ledger = Arc::new(Mutex::new(Vec::new()));
    let (next, log) = (Arc::clone(&faults), Arc::clone(&ledger));
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let filter = warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::bytes())
        .then(move |method, path: warp::path::FullPath, query, headers, body| {
            let seen = Seen { method, path: path.as_str().to_owned(), query, headers, body };
            let (work, next, log) = (Arc::clone(&work), Arc::clone(&next), Arc::clone(&log));
            async move {
                if let Some(answer) = work.aside(&seen) {
                    return answer;
                }
                log.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
                respond(work, next.take(), seen).await
            }
        });
    let task = tokio::spawn(warp::serve(filter).incoming(listener).run());
    Ok(Running { address, faults, ledger, task })
}

async fn respond(work: Arc<dyn Work>, fault: Option<Fault>, seen: Seen) -> Response {
    match fault {
        None => work.answer(&seen),
        Some(Fault::Answer { status, headers, body }) => {
            let mut response = body.into_response();
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            for (name, value) in headers {
                if let Ok(value) = value.parse() {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
        Some(Fault::Late(delay)) => {
            tokio::time::sleep(delay).await;
            work.answer(&seen)
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::DoneThenHang) => {
            let _ = work.answer(&seen);
            std::future::pending().await
        }
        Some(Fault::DoneThenBreak) => {
            let _ = work.answer(&seen);
            broken()
        }
        Some(Fault::Drip) => drip(),
        Some(Fault::Huge) => huge(),
        Some(Fault::Break) => broken(),
    }
}

fn broken() -> Response {
    let chunks: [Result<&'static str, io::Error>; 2] = [Ok("{\"half\":"), Err(io::ErrorKind::BrokenPipe.into())];
    warp::reply::stream(stream::iter(chunks)).into_response()
}

fn huge() -> Response {
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    let chunks = stream::repeat_with(move || Ok::<Bytes, Infallible>(chunk.clone()));
    warp::reply::stream(chunks).into_response()
}

fn drip() -> Response {
    let bytes = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok::<&'static str, Infallible>(" "), ()))
    });
    warp::reply::stream(bytes).into_response()
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    warp::reply::with_status(warp::reply::json(body), status).into_response()
}
