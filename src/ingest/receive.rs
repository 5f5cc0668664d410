//! The pipeline of one delivery.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

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
