//! What all remote providers have in common: one question, one kind of answer, one set of errors.

use std::{borrow::Cow, collections::BTreeMap};

use async_trait::async_trait;
use serde_json::value::RawValue;
use sluice_actors::domain::Timestamp;
use zeroize::Zeroizing;

use super::{Secret, reference::Location};

pub use super::rewrite::Change;

/// Who keeps secrets elsewhere.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Reads what is at `location`, in the version that it names. Called for several locations at
    /// once; the caller sets the deadline.
    async fn read(&self, location: &Location) -> Result<Document, RemoteError>;

    /// Makes a new current version of what is at `location`, with `change` done to the one that is
    /// current now; fails where that one is replaced meanwhile.
    async fn write(&self, location: &Location, change: Change<'_>) -> Result<(), RemoteError>;
}

/// What is at a location.
#[derive(Debug, Clone)]
pub struct Document {
    /// The secret itself, or a JSON object of several.
    pub content: Secret,
    /// When this version was made, by the provider's clock.
    pub created: Option<Timestamp>,
}

impl Document {
    /// The text under `field` of the JSON object, or all of it.
    ///
    /// # Errors
    /// It is no such object, or has no such text in it.
    pub fn field(&self, field: Option<&str>) -> Result<Secret, RemoteError> {
        let Some(field) = field else { return Ok(self.content.clone()) };
        // Only the one text is copied out of the buffer, into one that is zeroed.
        let fields: BTreeMap<Cow<'_, str>, &RawValue> =
            serde_json::from_slice(self.content.expose()).map_err(|_| RemoteError::NoObject)?;
        let raw = fields.get(field).ok_or(RemoteError::NoField)?;
        let mut text: Zeroizing<String> = serde_json::from_str(raw.get()).map_err(|_| RemoteError::NoText)?;
        Ok(Secret::new(std::mem::take(&mut *text).into_bytes()))
    }
}

/// Why a provider gave no secret. Carries nothing that it said but its status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Nobody asked yet.
    #[error("was not read from its provider")]
    NotRead,
    /// The provider is not configured.
    #[error("the provider is not configured")]
    NotConfigured,
    /// This program was built without the provider.
    #[error("this build has no AWS Secrets Manager")]
    NotBuilt,
    /// The login or the credentials were refused.
    #[error("the provider refuses our credentials ({0})")]
    Credentials(String),
    /// The credentials do not reach this secret.
    #[error("the provider does not let us read it ({0})")]
    Denied(String),
    /// The credentials may not change this secret.
    #[error("the provider does not let us write it ({0})")]
    ReadOnly(String),
    /// Not what was read before.
    #[error("somebody else changed it meanwhile")]
    Changed,
    /// Nothing there.
    #[error("the provider knows no such secret")]
    NotFound,
    /// This version was deleted or never was.
    #[error("the provider has no such version of it")]
    NoVersion,
    /// Not a JSON object.
    #[error("is no JSON object, so that it has no fields")]
    NoObject,
    /// Not in the object.
    #[error("has no such field")]
    NoField,
    /// Not a text.
    #[error("has no text in that field")]
    NoText,
    /// No answer, or one that says to come back.
    #[error("the provider cannot be reached ({0})")]
    Unavailable(String),
    /// An answer that does not fit.
    #[error("the provider answered what it should not ({0})")]
    Odd(String),
}

impl RemoteError {
    /// Whether asking again may help at once.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// What the operator does about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::NotRead => "run it where the provider can be reached",
            Self::NotConfigured => "add `[secrets.vault]` with its address and how to log in to sluice.toml",
            Self::NotBuilt => "take a build with the cargo feature `aws`",
            Self::Credentials(_) => "look at the role or token that the gateway logs in with",
            Self::Denied(_) => "let the gateway's role read this one secret",
            Self::ReadOnly(_) => "run it with credentials that may write this secret; the gateway's own need not",
            Self::Changed => "look at what it is now, then do it again",
            Self::NotFound => "correct the name, or put the secret there",
            Self::NoVersion => "name a version that is there, or none for the current one",
            Self::NoObject => "leave out `#key`, or store a JSON object",
            Self::NoField => "correct the name after `#`",
            Self::NoText => "store it as a text",
            Self::Unavailable(_) | Self::Odd(_) => "look at the provider, its address and what is between",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_text_of_the_object_and_nothing_else() {
        let document = |text: &str| Document { content: Secret::new(text.into()), created: None };
        let object = document(r#"{"stripe": "wh\u0073ec_1", "port": 5432, "deep": {"a": "b"}}"#);
        assert_eq!(object.field(Some("stripe")).unwrap().expose(), b"whsec_1");
        assert_eq!(object.field(Some("port")).unwrap_err(), RemoteError::NoText);
        assert_eq!(object.field(Some("deep")).unwrap_err(), RemoteError::NoText);
        assert_eq!(object.field(Some("a")).unwrap_err(), RemoteError::NoField);
        assert_eq!(document("whsec_1").field(Some("a")).unwrap_err(), RemoteError::NoObject);
        assert_eq!(document("[1]").field(Some("0")).unwrap_err(), RemoteError::NoObject);
        assert_eq!(document("whsec_1").field(None).unwrap().expose(), b"whsec_1");
    }
}
