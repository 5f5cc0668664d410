//! The answers of ingest: the table of DESIGN §6, from the signature on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;

use super::{EventStatus, NewEvent, Recorded};
use crate::vendors::{Answer, Malformed};

/// The answer to a delivery.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The media type of the body; none without a body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

const UNAUTHORIZED: &str = r#"{"ok":false,"error":"unauthorized","message":"the delivery could not be verified"}"#;
const MEDIA_TYPE: &str =
    r#"{"ok":false,"error":"unsupported_media_type","message":"content type or encoding not accepted"}"#;
const SOURCE_RATE: &str =
    r#"{"ok":false,"error":"rate_limited","message":"this source's rate is used up, try again later"}"#;
const BACKLOG: &str =
    r#"{"ok":false,"error":"backlog_full","message":"too many jobs of this source are waiting, try again later"}"#;
const UNAVAILABLE: &str = r#"{"ok":false,"error":"unavailable","message":"not stored, try again"}"#;

const BACKLOG_RETRY: Duration = Duration::from_secs(30);
const STORE_RETRY: Duration = Duration::from_secs(5);

impl Reply {
    fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: Some("application/json"), body: body.into(), retry_after: None }
    }

    fn later(status: StatusCode, body: &'static str, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::json(status, body) }
    }

    /// The one answer to all that is not authentic.
    pub(super) fn unauthorized() -> Self {
        Self::json(StatusCode::UNAUTHORIZED, UNAUTHORIZED)
    }

    pub(super) fn media_type() -> Self {
        Self::json(StatusCode::UNSUPPORTED_MEDIA_TYPE, MEDIA_TYPE)
    }

    pub(super) fn source_rate(after: Duration) -> Self {
        Self::later(StatusCode::TOO_MANY_REQUESTS, SOURCE_RATE, after)
    }

    pub(super) fn backlog() -> Self {
        Self::later(StatusCode::TOO_MANY_REQUESTS, BACKLOG, BACKLOG_RETRY)
    }

    pub(super) fn unavailable() -> Self {
        Self::later(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, STORE_RETRY)
    }

    pub(super) fn malformed(malformed: &Malformed) -> Self {
        let message = serde_json::Value::from(malformed.0.as_ref());
        Self::json(StatusCode::BAD_REQUEST, format!(r#"{{"ok":false,"error":"malformed","message":{message}}}"#))
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { status: answer.status, content_type: answer.content_type, body: answer.body.into(), retry_after: None }
    }
}

/// What is told of an event after the store took it away.
pub(super) struct Told {
    pub(super) event_type: String,
    pub(super) status: EventStatus,
    /// The actions of its jobs.
    pub(super) jobs: Vec<Arc<str>>,
}

impl Told {
    pub(super) fn of(event: &NewEvent) -> Self {
        let jobs = event.jobs.iter().map(|job| job.kind.clone()).collect();
        Self { event_type: event.event_type.clone(), status: event.status, jobs }
    }
}

/// The answer to what is stored. A batch is a duplicate only if all of it is; all ids are listed.
pub(super) fn success(status: StatusCode, told: &[Told], recorded: &[Recorded]) -> Reply {
    if status == StatusCode::NO_CONTENT {
        return Reply { status, content_type: None, body: Bytes::new(), retry_after: None };
    }
    let duplicate = !recorded.is_empty() && recorded.iter().all(|r| matches!(r, Recorded::Duplicate { .. }));
    let mut body = String::with_capacity(96 + recorded.len() * 40);
    body.push_str(if duplicate { r#"{"ok":true,"duplicate":true,"# } else { r#"{"ok":true,"duplicate":false,"# });
    if told.iter().any(|told| told.status == EventStatus::Quarantined) {
        body.push_str(r#""quarantined":true,"#);
    }
    if let [only] = recorded {
        body.push_str(r#""event_id":""#);
        body.push_str(&only.event_id().to_string());
        body.push_str("\"}");
    } else {
        body.push_str(r#""event_ids":["#);
        for (n, recorded) in recorded.iter().enumerate() {
            body.push_str(if n == 0 { "\"" } else { ",\"" });
            body.push_str(&recorded.event_id().to_string());
            body.push('"');
        }
        body.push_str("]}");
    }
    Reply::json(status, body)
}
