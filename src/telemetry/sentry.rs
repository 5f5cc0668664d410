//! Sentry: what is logged as an error, panics among it, becomes a report there with whose it is.
//!
//! A report has the words of the line, the names and ids in `TAGS`, and as free text only the
//! line's `error` and `place`, scrubbed: no payload, no header, no breadcrumb, no data on persons.
//! Reports never wait for their receiver. One kind of error of a lane is reported once in
//! [`PER_KIND`]; more than [`BURST`] of them within a minute, and what Sentry does not take, are
//! counted and lost.

mod limit;
mod transport;

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::IntCounter;
use sentry::{
    Client, ClientOptions,
    integrations::backtrace::current_stacktrace,
    protocol::{Event, Exception, Level, Mechanism},
    types::Dsn,
};
use serde_json::Value;
use tokio::time::Instant;

use self::{limit::Limit, transport::Transport};
use crate::{config, http_client::ClientError, redact};

pub use self::limit::{BURST, PER_KIND};

/// The words of a line that tells of a panic.
pub(super) const PANICKED: &str = "panicked";

/// Fields that are names or ids of ours: never a sender's text.
const TAGS: [&str; 15] = [
    "tenant", "source", "vendor", "route", "event_id", "job_id", "attempt", "trace_id", "span_id", "state", "callee",
    "code", "node", "doing", "signal",
];
/// Fields that are text: scrubbed, and not to search by.
const TEXTS: [&str; 2] = ["error", "place"];
/// What the text of a field is cut to, in bytes.
const MAX_TEXT: usize = 1024;

/// Sentry cannot be used as it is configured; an operator reads it.
#[derive(Debug, thiserror::Error)]
pub enum SentryError {
    /// The DSN is not one. Does not repeat it.
    #[error("telemetry.sentry.dsn is not a DSN")]
    Dsn,
    /// The client cannot start.
    #[error("telemetry.sentry: {0}")]
    Client(#[from] ClientError),
}

/// Where errors are reported; clones share it. By default nowhere.
#[derive(Clone, Default)]
pub struct Reports(Option<Arc<On>>);

struct On {
    client: Client,
    transport: Arc<Transport>,
    limit: Mutex<Limit>,
    dropped: IntCounter,
}

impl Reports {
    /// Where `config` says, from the runtime that this is called in. What is lost is counted in
    /// `dropped`.
    ///
    /// # Errors
    /// What does not fit.
    pub fn start(config: Option<&config::Sentry>, dropped: IntCounter) -> Result<Self, SentryError> {
        let Some(config) = config else { return Ok(Self::default()) };
        let dsn: Dsn = config.dsn.expose_str().and_then(|dsn| dsn.parse().ok()).ok_or(SentryError::Dsn)?;
        let transport = Arc::new(Transport::start(&dsn, dropped.clone())?);
        let mut options = ClientOptions::new()
            .release(concat!("sluice@", env!("CARGO_PKG_VERSION")))
            .environment(config.environment.clone())
            .default_integrations(false)
            .send_default_pii(false)
            .max_breadcrumbs(0)
            .transport(transport.clone())
            .before_send(|event| Some(scrubbed(event)));
        options.dsn = Some(dsn);
        let limit = Mutex::new(Limit::new(Instant::now()));
        Ok(Self(Some(Arc::new(On { client: options.into(), transport, limit, dropped }))))
    }

    /// Reports a line that was logged as an error.
    pub(super) fn error(&self, message: &str, target: &str, fields: &[(Cow<'static, str>, Value)]) {
        let Some(on) = &self.0 else { return };
        let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| shown(value));
        let known = |name| field(name).unwrap_or_default();
        let kind = [message, target, &known("tenant"), &known("source"), &known("place")].join("\n");
        let limited = on.limit.lock().unwrap_or_else(PoisonError::into_inner).pass(&kind, Instant::now());
        let repeated = match limited {
            limit::Passed::Report { repeated } => repeated,
            limit::Passed::Repeats => return,
            limit::Passed::TooMany => return on.dropped.inc(),
        };
        let mut event = Event {
            level: Level::Error,
            logger: Some(target.to_owned()),
            tags: TAGS.iter().filter_map(|tag| Some(((*tag).to_owned(), field(tag)?))).collect(),
            extra: TEXTS.iter().filter_map(|name| Some(((*name).to_owned(), Value::from(field(name)?)))).collect(),
            ..Event::default()
        };
        if repeated > 0 {
            event.extra.insert("repeated".into(), repeated.into());
        }
        if message == PANICKED {
            let mechanism = Mechanism { ty: "panic".into(), handled: Some(true), ..Mechanism::default() };
            // What a panic says could carry a payload: only where it happened is told.
            event.exception.values.push(Exception {
                ty: "panic".into(),
                value: field("place"),
                stacktrace: current_stacktrace(),
                mechanism: Some(mechanism),
                ..Exception::default()
            });
        } else {
            event.message = Some(message.to_owned());
        }
        on.client.capture_event(event, None);
    }

    /// Waits until what was reported is sent, as long as it may take.
    pub async fn flush(&self, within: Duration) {
        if let Some(on) = &self.0
            && tokio::time::timeout(within, on.transport.drained()).await.is_err()
        {
            tracing::warn!("reports to Sentry were not taken in time and are lost");
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The event with its free text scrubbed, and nothing of this machine or of persons.
fn scrubbed(mut event: Event<'static>) -> Event<'static> {
    event.message = event.message.map(|text| scrub(&text));
    for value in event.extra.values_mut() {
        if let Value::String(text) = value {
            *text = scrub(text);
        }
    }
    for exception in &mut event.exception.values {
        exception.value = exception.value.take().map(|text| scrub(&text));
    }
    event.breadcrumbs.values.clear();
    (event.user, event.request, event.server_name) = (None, None, None);
    event
}

fn scrub(text: &str) -> String {
    let mut text = redact::text(text).into_owned();
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_text_is_scrubbed_and_persons_and_machines_are_left_out() {
        let event = Event {
            message: Some("from jane@example.com".into()),
            extra: [("error".to_owned(), Value::from("key sk_live_4eC39HqLyjWDarjtT1zdp7dc"))].into(),
            server_name: Some("host".into()),
            user: Some(sentry::protocol::User::default()),
            ..Event::default()
        };
        let event = scrubbed(event);
        let text = serde_json::to_string(&event).unwrap();
        assert!(!text.contains("jane@") && !text.contains("4eC39H"), "{text}");
        assert!(event.server_name.is_none() && event.user.is_none());
        assert!(scrub(&"é".repeat(MAX_TEXT)).len() <= MAX_TEXT + "…".len());
    }
}
