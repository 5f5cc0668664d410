//! Why a message is not published, in our own words.

use crate::http_client::CallError;

/// Why a broker may not have a message. Its texts are ours: no URL, no payload, no name that an event chose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection, or it ended, or no confirmation came in time.
    #[error("{0}")]
    Call(#[from] CallError),
    /// It does not know us, or not with this password.
    #[error("it refuses our credentials")]
    Credentials,
    /// It knows us, and we may not do that.
    #[error("its user may not {0}")]
    Forbidden(&'static str),
    /// Nothing there takes the message.
    #[error("not routed: {0}")]
    Unroutable(&'static str),
    /// It did not take the message: it is full, or not ready.
    #[error("not taken: {0}")]
    NotTaken(&'static str),
    /// The message is larger than it takes.
    #[error("the message is larger than it takes")]
    TooLarge,
    /// This build does not speak to it.
    #[error("this build has no `{0}`: it needs the cargo feature of that name")]
    NotBuilt(&'static str),
}

impl Failure {
    /// Whether the connection is of no more use: it broke, or something is stuck in it.
    pub(super) const fn is_of_connection(&self) -> bool {
        matches!(self, Self::Call(_))
    }
}
