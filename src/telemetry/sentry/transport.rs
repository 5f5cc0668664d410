//! The way to Sentry: a short queue that refuses instead of waiting, and a task that sends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use prometheus::IntCounter;
use sentry::{Envelope, types::Dsn};
use sluice_actors::domain::Timestamp;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::SentryError;
use crate::http_client::{Call, HttpClient};

/// Reports that may wait to be sent.
const QUEUE: usize = 64;
/// One report may take this long.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing is sent after Sentry asked for less without saying for how long.
const PAUSE: Duration = Duration::from_secs(60);

/// The queue.
pub(super) struct Transport {
    queue: mpsc::Sender<Bytes>,
    state: Arc<State>,
}

struct State {
    waiting: AtomicUsize,
    drained: Notify,
    dropped: IntCounter,
}

impl Transport {
    /// A queue to the project of `dsn`, wherever the operator has it: private addresses are no
    /// exception.
    pub(super) fn start(dsn: &Dsn, dropped: IntCounter) -> Result<Self, SentryError> {
        let client = HttpClient::for_operators(None)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-sentry-envelope"));
        let agent = concat!("sluice/", env!("CARGO_PKG_VERSION"));
        let mut auth = HeaderValue::from_str(&dsn.to_auth(Some(agent)).to_string()).map_err(|_| SentryError::Dsn)?;
        auth.set_sensitive(true);
        headers.insert("x-sentry-auth", auth);
        let mut call = Call::new(Method::POST, dsn.envelope_api_url());
        (call.headers, call.timeout) = (headers, TIMEOUT);
        let (queue, reports) = mpsc::channel(QUEUE);
        let state = Arc::new(State { waiting: AtomicUsize::new(0), drained: Notify::new(), dropped });
        tokio::spawn(send(client, call, reports, state.clone()));
        Ok(Self { queue, state })
    }

    /// Until nothing waits.
    pub(super) async fn drained(&self) {
        loop {
            let drained = self.state.drained.notified();
            if self.state.waiting.load(Ordering::Acquire) == 0 {
                return;
            }
            drained.await;
        }
    }
}

impl sentry::Transport for Transport {
    fn send_envelope(&self, envelope: Envelope) {
        let mut bytes = Vec::new();
        let written = envelope.to_writer(&mut bytes).is_ok();
        self.state.waiting.fetch_add(1, Ordering::AcqRel);
        if !written || self.queue.try_send(bytes.into()).is_err() {
            self.state.dropped.inc();
            self.state.over();
        }
    }
}

impl State {
    fn over(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.drained.notify_waiters();
    }
}

async fn send(client: HttpClient, call: Call, mut reports: mpsc::Receiver<Bytes>, state: Arc<State>) {
    let mut quiet_until = Instant::now();
    let mut was_taken = true;
    while let Some(report) = reports.recv().await {
        let mut is_taken = false;
        if Instant::now() >= quiet_until {
            let answer = client.send(Call { body: Some(report), ..call.clone() }).await;
            let why = match &answer {
                Ok(answer) if answer.status.is_success() => None,
                Ok(answer) => Some(format!("it answered {}", answer.status.as_u16())),
                Err(error) => Some(error.to_string()),
            };
            if let Ok(answer) = &answer
                && answer.status.as_u16() == 429
            {
                // A date in it does not matter here: what is not seconds is the default.
                quiet_until = Instant::now() + answer.retry_after(Timestamp::from_secs(0)).unwrap_or(PAUSE);
            }
            is_taken = why.is_none();
            // A warning, so that it is not reported itself; only changes are logged.
            if let Some(why) = why.filter(|_| was_taken) {
                tracing::warn!(why, "Sentry does not take reports, they are dropped and counted");
            }
            was_taken = is_taken;
        }
        if !is_taken {
            state.dropped.inc();
        }
        state.over();
    }
}
