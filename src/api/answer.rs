//! What routes give.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;
use warp::{Reply, reply::Response, sse};

use super::{ApiError, error::ErrorBody, openapi::Description};

/// Nothing that the API answers is a page.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// The body of an answer.
pub(crate) enum Content {
    /// A file of the binary.
    File(&'static [u8]),
    /// Text.
    Text(String),
    /// Bytes of others.
    Bytes(Bytes),
    /// What happens, as it happens.
    Live(Events),
    /// Lines, as they are read.
    Lines(Lines),
}

/// An answer.
pub struct Answer {
    /// The status.
    pub(super) status: StatusCode,
    /// The media type.
    pub(super) content_type: &'static str,
    /// The body.
    pub(super) content: Content,
    /// Headers besides those that every answer has, or instead of them; cookies may be several.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// 200 with `content`.
    pub(crate) fn new(content_type: &'static str, content: Content) -> Self {
        Self { status: StatusCode::OK, content_type, content, headers: Vec::new() }
    }

    /// `status` with `value` as JSON.
    pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Self, ApiError> {
        let body = serde_json::to_string(value)
            .map_err(|error| ApiError::Unavailable(format!("an answer cannot be written as JSON: {error}")))?;
        Ok(Self { status, ..Self::new("application/json", Content::Text(body)) })
    }

    /// The same answer with one more header.
    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// As it is sent.
    pub(super) fn into_response(self) -> Response {
        let mut response = match self.content {
            Content::File(bytes) => http::Response::new(bytes).into_response(),
            Content::Text(text) => http::Response::new(text).into_response(),
            Content::Bytes(bytes) => http::Response::new(bytes).into_response(),
            Content::Live(events) => sse::reply(events).into_response(),
            Content::Lines(lines) => warp::reply::stream(lines).into_response(),
        };
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(API_POLICY));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers
            .insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
        for (name, value) in self.headers {
            if name == header::SET_COOKIE {
                headers.append(name, value);
            } else {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        let (status, code) = error.status();
        let body = ErrorBody { ok: false, error: code, message: error.to_string() };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let answer = Self { status, ..Self::new("application/json", Content::Text(text)) };
        match error {
            ApiError::TooManyAttempts { retry_after } => answer.with(header::RETRY_AFTER, retry_after.into()),
            _ => answer,
        }
    }
}

/// What a route gives.
pub trait Output: Send + 'static {
    /// As an answer.
    fn into_answer(self) -> Result<Answer, ApiError>;
    /// Tells of it.
    fn describe(description: &mut Description);
}

/// JSON.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize + ToSchema + Send + 'static> Output for Json<T> {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Answer::json(StatusCode::OK, &self.0)
    }

    fn describe(description: &mut Description) {
        description.gives = Some(("application/json", description.json::<T>()));
    }
}

/// An array of JSON.
#[derive(Debug)]
pub struct Rows<T>(pub Vec<T>);

impl<T: Serialize + ToSchema + Send + 'static> Output for Rows<T> {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Answer::json(StatusCode::OK, &self.0)
    }

    fn describe(description: &mut Description) {
        description.gives = Some(("application/json", description.array_of::<T>()));
    }
}

/// JSON with a status or headers of its own.
pub(super) struct Special<T> {
    pub(super) answer: Answer,
    schema: std::marker::PhantomData<fn() -> T>,
}

impl<T: Serialize> Special<T> {
    /// `value` with `status`.
    pub(super) fn json(status: StatusCode, value: &T) -> Result<Self, ApiError> {
        Ok(Self { answer: Answer::json(status, value)?, schema: std::marker::PhantomData })
    }
}

impl<T: ToSchema + 'static> Output for Special<T> {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Ok(self.answer)
    }

    fn describe(description: &mut Description) {
        description.gives = Some(("application/json", description.json::<T>()));
    }
}

/// What is no JSON.
impl Output for Answer {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Ok(self)
    }

    fn describe(description: &mut Description) {
        description.gives = None;
    }
}

/// JSON whose form is not ours to tell.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(value_type = Object)]
pub struct Free(pub serde_json::Value);

/// It is done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// Always true.
    pub ok: bool,
}

/// It is done.
pub(super) const DONE: Json<Done> = Json(Done { ok: true });

/// Events as somebody sends them.
pub(crate) struct Events(mpsc::Receiver<sse::Event>);

impl Stream for Events {
    type Item = Result<sse::Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// What comes from `events`, as it comes, until its sender is gone.
pub(super) fn live(events: mpsc::Receiver<sse::Event>) -> Answer {
    Answer::new("text/event-stream", Content::Live(Events(events)))
}

/// Lines as somebody reads them.
pub(crate) struct Lines(mpsc::Receiver<String>);

impl Stream for Lines {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|line| line.map(Ok))
    }
}

/// JSON, one value a line, as it comes from `lines`, until its sender is gone.
pub(super) fn lines(lines: mpsc::Receiver<String>) -> Answer {
    Answer::new("application/x-ndjson", Content::Lines(Lines(lines)))
}
