//! The answers that the edge gives by itself, as fixed bytes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::ingest::Reply;

/// A body of known bytes.
pub(super) type FixedBody = Full<Bytes>;

/// One error answer: status, code and message as JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed {
    status: StatusCode,
    body: &'static str,
    retry_after: Option<&'static str>,
    /// The request was not read to its end: say so, and close after the answer.
    close: bool,
}

macro_rules! body {
    ($code:literal, $message:literal) => {
        concat!(r#"{"ok":false,"error":""#, $code, r#"","message":""#, $message, r#""}"#)
    };
}

const fn fixed(status: StatusCode, body: &'static str) -> Fixed {
    Fixed { status, body, retry_after: None, close: false }
}

pub(super) const NOT_FOUND: Fixed = fixed(StatusCode::NOT_FOUND, body!("not_found", "no such path"));
pub(super) const METHOD: Fixed =
    fixed(StatusCode::METHOD_NOT_ALLOWED, body!("method_not_allowed", "this path takes POST"));
pub(super) const METHOD_GET: Fixed =
    fixed(StatusCode::METHOD_NOT_ALLOWED, body!("method_not_allowed", "this path takes GET"));
pub(super) const HTTPS_REQUIRED: Fixed =
    fixed(StatusCode::FORBIDDEN, body!("https_required", "this endpoint answers over https only"));
pub(super) const MEDIA_TYPE: Fixed =
    fixed(StatusCode::UNSUPPORTED_MEDIA_TYPE, body!("unsupported_media_type", "content type or encoding not accepted"));
pub(super) const HOST: Fixed = Fixed {
    status: StatusCode::BAD_REQUEST,
    body: body!("no_host", "a request names one host"),
    retry_after: None,
    close: true,
};
pub(super) const TOO_LARGE: Fixed = Fixed {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    body: body!("payload_too_large", "the body exceeds the limit"),
    retry_after: None,
    close: true,
};
pub(super) const SLOW_BODY: Fixed = Fixed {
    status: StatusCode::REQUEST_TIMEOUT,
    body: body!("body_too_slow", "the body did not arrive in time"),
    retry_after: None,
    close: true,
};
pub(super) const BROKEN_BODY: Fixed = Fixed {
    status: StatusCode::BAD_REQUEST,
    body: body!("broken_body", "the body ended early or is not well framed"),
    retry_after: None,
    close: true,
};
pub(super) const NO_MEMORY: Fixed = Fixed {
    status: StatusCode::SERVICE_UNAVAILABLE,
    body: body!("overloaded", "too many bodies at once, try again"),
    retry_after: Some("1"),
    close: true,
};
pub(super) const TOO_LATE: Fixed = Fixed {
    status: StatusCode::SERVICE_UNAVAILABLE,
    body: body!("unavailable", "not confirmed in time, try again"),
    retry_after: Some("5"),
    close: false,
};
pub(super) const NODE_RATE: Fixed = Fixed {
    status: StatusCode::TOO_MANY_REQUESTS,
    body: body!("rate_limited", "too many deliveries, try again later"),
    retry_after: Some("1"),
    close: false,
};
pub(super) const SITE_TOKEN: Fixed = Fixed {
    status: StatusCode::UNAUTHORIZED,
    body: body!("unauthorized", "present the tenant's site_token as a bearer token"),
    retry_after: None,
    close: true,
};
pub(super) const SITE_RATE: Fixed = Fixed {
    status: StatusCode::TOO_MANY_REQUESTS,
    body: body!("rate_limited", "asked too often, try again later"),
    retry_after: Some("5"),
    close: true,
};
pub(super) const SITE_INVALID: Fixed =
    fixed(StatusCode::BAD_REQUEST, body!("invalid", "the query or body is not what this path takes"));

pub(super) const LINK_FORGED: Fixed =
    fixed(StatusCode::FORBIDDEN, body!("link_invalid", "this link is not as the gateway signed it"));
pub(super) const LINK_EXPIRED: Fixed =
    fixed(StatusCode::GONE, body!("link_expired", "this link has expired, ask for a fresh one"));
pub(super) const NO_OBJECT: Fixed = fixed(StatusCode::NOT_FOUND, body!("not_found", "it is not kept any more"));
pub(super) const BAD_RANGE: Fixed =
    fixed(StatusCode::RANGE_NOT_SATISFIABLE, body!("range_not_satisfiable", "the range lies outside"));
pub(super) const METHOD_PUT: Fixed =
    fixed(StatusCode::METHOD_NOT_ALLOWED, body!("method_not_allowed", "this path takes PUT"));
pub(super) const UPLOAD_MALFORMED: Fixed = fixed(
    StatusCode::BAD_REQUEST,
    body!("malformed", "write an object `upload` with `length`, `type` and `sha256`, and nothing else"),
);
pub(super) const UPLOAD_TOO_LARGE: Fixed =
    fixed(StatusCode::PAYLOAD_TOO_LARGE, body!("upload_too_large", "the upload would exceed the limit"));
pub(super) const UPLOADS_FULL: Fixed = Fixed {
    status: StatusCode::TOO_MANY_REQUESTS,
    body: body!("uploads_full", "the tenant's uploads take as much as they may, try again later"),
    retry_after: Some("3600"),
    close: false,
};
pub(super) const UPLOAD_ENDING: Fixed = Fixed {
    status: StatusCode::SERVICE_UNAVAILABLE,
    body: body!("upload_ending", "an upload of these bytes was erased today, try again tomorrow"),
    retry_after: Some("86400"),
    close: false,
};
pub(super) const UPLOADS_BUSY: Fixed = Fixed {
    status: StatusCode::SERVICE_UNAVAILABLE,
    body: body!("overloaded", "too many uploads at once, try again"),
    retry_after: Some("5"),
    close: true,
};
pub(super) const UPLOAD_DIFFERS: Fixed = Fixed {
    status: StatusCode::UNPROCESSABLE_ENTITY,
    body: body!("upload_differs", "length, type or bytes are not those that were promised"),
    retry_after: None,
    close: true,
};
pub(super) const UPLOAD_STORED: Fixed = fixed(StatusCode::OK, r#"{"ok":true,"stored":true}"#);
pub(super) const OBJECTS_AWAY: Fixed = Fixed {
    status: StatusCode::SERVICE_UNAVAILABLE,
    body: body!("unavailable", "not stored, try again"),
    retry_after: Some("5"),
    close: true,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

impl Fixed {
    pub(super) fn response<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = Response::new(Bytes::from_static(self.body.as_bytes()).into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            let allow = match self.body {
                body if body == METHOD_GET.body => "GET, HEAD",
                body if body == METHOD_PUT.body => "PUT",
                _ => "POST",
            };
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.close {
            headers.insert(header::CONNECTION, CLOSE);
        }
        response
    }
}

/// The HTTP form of what ingest replied.
pub(super) fn from_reply<B: From<Bytes>>(reply: Reply) -> Response<B> {
    let mut response = Response::new(reply.body.into());
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    if let Some(media_type) = reply.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    if let Some(after) = reply.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
    response
}

/// `Retry-After` takes whole seconds; rounded up, so that a client that obeys is not early.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}
