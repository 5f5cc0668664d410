//! The one JSON parser of foreign text: strict where `serde_json` is lenient.

use serde_json::Value;

/// Nesting deeper than this is refused (DESIGN §10).
pub const MAX_DEPTH: usize = 64;

/// Why a text is not the JSON we accept. Carries no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all, or bytes after the value.
    #[error("not JSON")]
    Syntax,
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// One object names a key twice; readers disagree which one counts.
    #[error("duplicate key")]
    DuplicateKey,
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested too deep")]
    TooDeep,
}

/// Parses `bytes` as one JSON value; refuses duplicate keys, depth over [`MAX_DEPTH`], bad UTF-8
/// and trailing bytes.
pub fn parse_strict(_bytes: &[u8]) -> Result<Value, JsonError> {
    todo!("vendors helper")
}
