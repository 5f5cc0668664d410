//! Who asks for a change.

/// Who asks for a change and why, for the audit that the store writes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mandate {
    /// Who: a user, a token, a site.
    pub by: String,
    /// Why, in their words; may be empty.
    pub reason: String,
}

impl Mandate {
    /// Of `by`, who gives `reason`.
    pub fn new(by: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { by: by.into(), reason: reason.into() }
    }
}
