//! What an operator can mend before the gateway starts, with its page.

use crate::{error_code::ErrorCode, store::OpenError};

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

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        Self::new(code(&error), format!("database.url: {}", with_causes(&error)))
    }
}

/// The page of a store that does not open.
pub(super) fn code(error: &OpenError) -> ErrorCode {
    match error {
        OpenError::Url(_) | OpenError::PostgresUrl(_) => ErrorCode::Configuration,
        OpenError::HalfCopied { .. } => ErrorCode::Copy,
        OpenError::SchemaOlder { .. } => ErrorCode::StoreOlder,
        OpenError::SchemaNewer { .. } | OpenError::SchemaDiffers { .. } => ErrorCode::StoreNewer,
        OpenError::InUse { .. } | OpenError::Served { .. } | OpenError::Claimed { .. } => ErrorCode::StoreHeld,
        OpenError::Unreachable { .. } => ErrorCode::StoreUnreachable,
        OpenError::Unsafe { .. } | OpenError::Unsuitable { .. } => ErrorCode::StoreUnsafe,
        OpenError::Library { .. } | OpenError::NotDurable { .. } => ErrorCode::SqliteVersion,
        OpenError::File { .. } | OpenError::Foreign { .. } | OpenError::Migrate { .. } | OpenError::Sqlite { .. } => {
            ErrorCode::NotWritable
        }
    }
}

/// An error and what caused it, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        // Some errors repeat their cause in their own words.
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}
