//! What goes wrong at the API, with its status and code.

use http::StatusCode;
use serde::Serialize;
use sluice_actors::{handle::GatewayError, ports::StoreUnavailable};
use utoipa::ToSchema;

/// An answer other than success: `{"ok":false,"error":"<code>","message":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Nobody we know.
    #[error("sign in, or present a token as `Authorization: Bearer …`")]
    Unauthorized,
    /// Name and password do not fit; the same for a name that does not exist.
    #[error("name or password is wrong")]
    WrongPassword,
    /// Too many attempts to sign in.
    #[error("too many attempts; try again in {retry_after} s")]
    TooManyAttempts {
        /// Seconds.
        retry_after: u64,
    },
    /// Known, but not allowed to do this.
    #[error("{0}")]
    Forbidden(String),
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

/// The body of such an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorBody {
    /// Always false.
    pub(super) ok: bool,
    /// The code, for programs.
    pub(super) error: &'static str,
    /// What went wrong, for people.
    pub(super) message: String,
}

impl ApiError {
    /// The status and the code of the answer.
    pub const fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "wrong_password"),
            Self::TooManyAttempts { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
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
