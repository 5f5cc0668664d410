//! The composition root: the one place where the parts are put together.

pub mod runtime;

use crate::error_code::ErrorCode;

/// Why the gateway cannot start or a command cannot do its work; an operator reads it.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refused {
    /// Which page explains it; also the exit status.
    pub code: ErrorCode,
    /// What is wrong and what to do about it, in one line.
    pub message: String,
}

impl Refused {
    /// A refusal with its page.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
