//! What metrics are told of calls: how each ended, how long it took, how long it waited before.

use std::time::Duration;

use http::StatusCode;
use sluice_actors::domain::{CallResult, CalleeId, HoldReason};

use super::{Answer, CallError};

/// Is told of calls. Must return at once.
pub trait CallObserver: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &CallEvent<'_>);
}

/// What a [`CallObserver`] hears. Nothing in it comes from an answer's text.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallEvent<'a> {
    /// An attempt got leave to call, or was told that it may not now.
    Waited {
        /// Whom it wants to call.
        callee: &'a CalleeId,
        /// How long that took.
        waited: Duration,
    },
    /// A call ended, or was not made.
    Ended {
        /// Who was to be called.
        callee: &'a CalleeId,
        /// How.
        outcome: CallOutcome,
        /// From its first step to the last byte of the answer; none where nothing was sent.
        took: Option<Duration>,
    },
    /// An LLM told what an answer cost.
    Tokens {
        /// The LLM.
        callee: &'a CalleeId,
        /// The model, as configured.
        model: &'a str,
        /// What it cost.
        tokens: Tokens,
    },
}

/// Tokens of one answer of an LLM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the question.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// The callee did what it should.
    Success,
    /// 3xx; redirects are not followed.
    Http3xx,
    /// 4xx, but those below.
    Http4xx,
    /// 429: it asks us to go slower.
    Http429,
    /// 5xx.
    Http5xx,
    /// A success that is none: without the echo, not of the API's form, too large, compressed.
    BadAnswer,
    /// A broker did not take the message: not routed, full, too large.
    NotTaken,
    /// The deadline passed.
    Timeout,
    /// No connection, or its TLS failed.
    ConnectError,
    /// The connection ended before the answer did.
    Broken,
    /// Our own rules forbid the URL or its address; nothing was sent.
    NotAllowed,
    /// A breaker is open; nothing was sent.
    BreakerOpen,
    /// The callee's bucket or concurrency is used up; nothing was sent.
    RateLimited,
    /// It refuses our credentials (401, 403), or is held because it did; nothing is sent then.
    Unauthorized,
}

impl CallOutcome {
    /// All outcomes.
    pub const ALL: [Self; 14] = [
        Self::Success,
        Self::Http3xx,
        Self::Http4xx,
        Self::Http429,
        Self::Http5xx,
        Self::BadAnswer,
        Self::NotTaken,
        Self::Timeout,
        Self::ConnectError,
        Self::Broken,
        Self::NotAllowed,
        Self::BreakerOpen,
        Self::RateLimited,
        Self::Unauthorized,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Http3xx => "http_3xx",
            Self::Http4xx => "http_4xx",
            Self::Http429 => "http_429",
            Self::Http5xx => "http_5xx",
            Self::BadAnswer => "bad_answer",
            Self::NotTaken => "not_taken",
            Self::Timeout => "timeout",
            Self::ConnectError => "connect_error",
            Self::Broken => "broken",
            Self::NotAllowed => "not_allowed",
            Self::BreakerOpen => "breaker_open",
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
        }
    }

    /// What an answer, or the lack of one, is by itself.
    pub fn of(answer: &Result<Answer, CallError>) -> Self {
        match answer {
            Ok(answer) => match answer.status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Unauthorized,
                StatusCode::TOO_MANY_REQUESTS => Self::Http429,
                status if status.is_server_error() => Self::Http5xx,
                status if status.is_client_error() => Self::Http4xx,
                status if status.is_redirection() => Self::Http3xx,
                _ => Self::Success,
            },
            Err(error) => Self::of_error(error),
        }
    }

    /// What the lack of an answer is.
    pub const fn of_error(error: &CallError) -> Self {
        match error {
            CallError::Timeout(_) => Self::Timeout,
            CallError::Connect(_) | CallError::Tls(_) => Self::ConnectError,
            CallError::Broken => Self::Broken,
            CallError::TooLarge | CallError::Compressed => Self::BadAnswer,
            CallError::RefusedAddress(_) | CallError::RefusedUrl(_) => Self::NotAllowed,
        }
    }

    /// What it is once the action has looked at the answer.
    #[must_use]
    pub fn judged(self, report: CallResult) -> Self {
        match (self, report) {
            (_, CallResult::Success) => Self::Success,
            (Self::Success, _) => Self::BadAnswer,
            (seen, _) => seen,
        }
    }

    /// Why a call is not made; `None` where that says nothing about the callee.
    pub fn withheld(reason: &HoldReason) -> Option<Self> {
        match reason {
            HoldReason::BreakerOpen(_) => Some(Self::BreakerOpen),
            HoldReason::CalleeBusy(_) => Some(Self::RateLimited),
            HoldReason::Unauthorized(_) => Some(Self::Unauthorized),
            HoldReason::NotConfigured(_) | HoldReason::Draining | HoldReason::OutOfTouch => None,
        }
    }
}
