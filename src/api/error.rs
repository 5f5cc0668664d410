//! What goes wrong at the API, with its status and code.

use http::StatusCode;
use sluice_actors::{handle::GatewayError, ports::StoreUnavailable};

/// An answer other than success: `{"ok":false,"error":"<code>","message":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No token, or not ours.
    #[error("present the token of runtime.json as `Authorization: Bearer …`")]
    Unauthorized,
    /// No such route or object.
    #[error("{0}")]
    NotFound(String),
    /// The route exists for other methods.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// A parameter or the body is not what it should be.
    #[error("{0}")]
    Invalid(String),
    /// The body is longer than any request of the API.
    #[error("the body is longer than {} bytes", super::request::MAX_BODY)]
    TooLarge,
    /// The object's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The store or the tree does not answer now.
    #[error("{0}")]
    Unavailable(String),
}

impl ApiError {
    /// The status and the code of the answer.
    pub const fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }
}

impl From<StoreUnavailable> for ApiError {
    fn from(error: StoreUnavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<GatewayError> for ApiError {
    fn from(error: GatewayError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
