//! What an answer or an error of a callee means: one table for APIs, one for WordPress (DESIGN §7,
//! §10). Everything else in `actions` asks here.

use std::time::Duration;

use http::StatusCode;
use sluice_actors::domain::{CallResult, CalleeId, DeadReason, HoldReason, Outcome, Timestamp};

use super::run::End;
use crate::{
    brokers::Failure,
    http_client::{Answer, CallError, CallOutcome},
};

/// A callee that refuses our credentials is asked again after this (DESIGN §7).
pub(crate) const UNAUTHORIZED_PROBE: Duration = Duration::from_mins(5);

/// What becomes of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The call did what it should.
    Done,
    /// It may work later.
    Retry,
    /// Never as it is.
    Reject,
    /// Not before a person changed credentials.
    Unauthorized,
    /// Not before a person changed the configuration.
    Misconfigured,
}

/// What the call says about the callee's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Well.
    Well,
    /// Ill: counts for the breaker.
    Ill,
    /// Says nothing.
    Unknown,
}

/// The table for any callee but WordPress.
pub(crate) fn of_status(status: StatusCode) -> (Fate, Health) {
    match status.as_u16() {
        200..=299 => (Fate::Done, Health::Well),
        408 | 425 | 429 | 500..=599 => (Fate::Retry, Health::Ill),
        // Redirects are not followed: they would carry credentials to another host.
        _ => (Fate::Reject, Health::Unknown),
    }
}

/// The table for an LLM. As [`of_status`], but a refused key holds every job of that key: it is the
/// operator's to mend and says nothing about one event.
pub(crate) fn of_llm_status(status: StatusCode) -> (Fate, Health) {
    match status {
        StatusCode::UNAUTHORIZED => (Fate::Unauthorized, Health::Unknown),
        other => of_status(other),
    }
}

/// The table for calls without a usable answer.
pub(crate) fn of_error(error: &CallError) -> (Fate, Health) {
    match error {
        CallError::Timeout(_)
        | CallError::Connect(_)
        | CallError::Tls(_)
        | CallError::Broken
        | CallError::TooLarge
        | CallError::Compressed => (Fate::Retry, Health::Ill),
        // Nothing was sent.
        CallError::RefusedAddress(_) | CallError::RefusedUrl(_) => (Fate::Misconfigured, Health::Unknown),
    }
}

/// The table for brokers. A user that may not publish there is the operator's to mend, and one message that
/// goes nowhere says nothing of the broker.
pub(crate) fn of_failure(failure: &Failure) -> (Fate, Health) {
    match failure {
        Failure::Call(error) => of_error(error),
        Failure::Credentials => (Fate::Unauthorized, Health::Unknown),
        Failure::Forbidden(_) | Failure::NotBuilt(_) => (Fate::Misconfigured, Health::Unknown),
        Failure::Unroutable(_) => (Fate::Retry, Health::Unknown),
        Failure::NotTaken(_) => (Fate::Retry, Health::Ill),
        Failure::TooLarge => (Fate::Reject, Health::Unknown),
    }
}

/// What metrics are told of a publishing.
pub(crate) fn seen<T>(published: &Result<T, Failure>) -> CallOutcome {
    match published {
        Ok(_) => CallOutcome::Success,
        Err(Failure::Call(error)) => CallOutcome::of_error(error),
        Err(Failure::Credentials | Failure::Forbidden(_)) => CallOutcome::Unauthorized,
        Err(Failure::Unroutable(_) | Failure::NotTaken(_) | Failure::TooLarge) => CallOutcome::NotTaken,
        Err(Failure::NotBuilt(_)) => CallOutcome::NotAllowed,
    }
}

/// Judges a publishing.
pub(crate) fn by_failure<T>(published: Result<T, Failure>, callee: &CalleeId) -> Judged<T> {
    match published {
        Ok(value) => Judged::done(value),
        Err(failure) => {
            let (fate, health) = of_failure(&failure);
            Judged::ends(fate, health, callee, &failure.to_string(), None)
        }
    }
}

/// What the body of a WordPress answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// JSON of the plugin that echoes this attempt's `job_id` and `fence`.
    Echo,
    /// JSON with the error code that WordPress gives an unknown route (plugin off or updating).
    NoRoute,
    /// Other JSON.
    OtherJson,
    /// Not JSON: a page of a firewall, a cache, a fatal error.
    NotJson,
}

/// The table for the WordPress callback (DESIGN §7).
pub(crate) fn of_wordpress(status: StatusCode, body: Body) -> (Fate, Health) {
    match (status.as_u16(), body) {
        (200 | 201, Body::Echo) => (Fate::Done, Health::Well),
        (202, Body::Echo | Body::OtherJson) => (Fate::Retry, Health::Well),
        (409, Body::Echo | Body::OtherJson) => (Fate::Retry, Health::Unknown),
        (401 | 403, _) => (Fate::Unauthorized, Health::Unknown),
        (413 | 422, _) => (Fate::Reject, Health::Unknown),
        // A success that does not echo, a redirect, a page instead of JSON: somebody else answered.
        (200..=399 | 408 | 425 | 429 | 500..=599, _) | (_, Body::NoRoute | Body::NotJson) => (Fate::Retry, Health::Ill),
        _ => (Fate::Reject, Health::Unknown),
    }
}

/// The outcome of an attempt that ends with this call, in an operator's words.
pub(crate) fn outcome(fate: Fate, callee: &CalleeId, what: &str, retry_after: Option<Duration>) -> Outcome {
    match fate {
        Fate::Done | Fate::Retry => Outcome::Retry { after: retry_after, error: format!("{callee}: {what}") },
        Fate::Reject => Outcome::Dead { reason: DeadReason::Rejected, detail: format!("{callee}: {what}") },
        Fate::Unauthorized => {
            Outcome::Hold { reason: HoldReason::Unauthorized(callee.clone()), after: Some(UNAUTHORIZED_PROBE) }
        }
        Fate::Misconfigured => Outcome::Hold {
            reason: HoldReason::NotConfigured(format!("a way to call {callee} ({what})")),
            after: Some(UNAUTHORIZED_PROBE),
        },
    }
}

/// The report on the callee.
pub(crate) fn call_result(health: Health, retry_after: Option<Duration>) -> CallResult {
    match health {
        Health::Well => CallResult::Success,
        Health::Ill => CallResult::Failure { retry_after },
        Health::Unknown => CallResult::Neutral,
    }
}

/// What a call came to: the report on the callee, and a value or the end of the attempt.
pub(crate) struct Judged<T> {
    pub(crate) report: CallResult,
    pub(crate) step: Result<T, End>,
}

impl<T> Judged<T> {
    /// The call did what it should.
    pub(crate) fn done(value: T) -> Self {
        Self { report: CallResult::Success, step: Ok(value) }
    }

    /// The attempt ends here.
    pub(crate) fn ends(fate: Fate, health: Health, callee: &CalleeId, what: &str, wait: Option<Duration>) -> Self {
        Self { report: call_result(health, wait), step: Err(End::from(outcome(fate, callee, what, wait))) }
    }

    /// The attempt ends with an error of the call.
    pub(crate) fn error(error: &CallError, callee: &CalleeId) -> Self {
        let (fate, health) = of_error(error);
        Self::ends(fate, health, callee, &error.to_string(), None)
    }
}

/// Judges an answer by its status alone.
pub(crate) fn by_status(
    answer: Result<Answer, CallError>,
    now: Timestamp,
    callee: &CalleeId,
    table: fn(StatusCode) -> (Fate, Health),
) -> Judged<Answer> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Judged::error(&error, callee),
    };
    match table(answer.status) {
        (Fate::Done, _) => Judged::done(answer),
        (fate, health) => {
            Judged::ends(fate, health, callee, &format!("answered {}", answer.status), answer.retry_after(now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Body::*, Fate::*, Health::*, *};

    #[test]
    fn the_table_of_statuses() {
        let table = [
            (200, Done, Well),
            (201, Done, Well),
            (204, Done, Well),
            (301, Reject, Unknown),
            (307, Reject, Unknown),
            (400, Reject, Unknown),
            (401, Reject, Unknown),
            (403, Reject, Unknown),
            (404, Reject, Unknown),
            (408, Retry, Ill),
            (409, Reject, Unknown),
            (413, Reject, Unknown),
            (422, Reject, Unknown),
            (425, Retry, Ill),
            (429, Retry, Ill),
            (500, Retry, Ill),
            (502, Retry, Ill),
            (503, Retry, Ill),
            (504, Retry, Ill),
            (599, Retry, Ill),
        ];
        for (code, fate, health) in table {
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(of_status(status), (fate, health), "{code}");
            if code != 401 {
                assert_eq!(of_llm_status(status), (fate, health), "{code} of an LLM");
            }
        }
        assert_eq!(of_llm_status(StatusCode::UNAUTHORIZED), (Unauthorized, Unknown));
    }

    #[test]
    fn the_table_of_errors() {
        let table = [
            (CallError::Timeout(Duration::from_secs(15)), Retry, Ill),
            (CallError::Connect("connection refused"), Retry, Ill),
            (CallError::Tls("the certificate has expired".into()), Retry, Ill),
            (CallError::Broken, Retry, Ill),
            (CallError::TooLarge, Retry, Ill),
            (CallError::Compressed, Retry, Ill),
            (CallError::RefusedAddress([10, 0, 0, 1].into()), Misconfigured, Unknown),
            (CallError::RefusedUrl("it must begin with https://"), Misconfigured, Unknown),
        ];
        for (error, fate, health) in table {
            assert_eq!(of_error(&error), (fate, health), "{error}");
        }
    }

    #[test]
    fn the_table_of_brokers() {
        let table = [
            (Failure::Call(CallError::Timeout(Duration::from_secs(1))), Retry, Ill, CallOutcome::Timeout),
            (Failure::Call(CallError::Connect("refused")), Retry, Ill, CallOutcome::ConnectError),
            (Failure::Call(CallError::Tls("expired".into())), Retry, Ill, CallOutcome::ConnectError),
            (Failure::Call(CallError::Broken), Retry, Ill, CallOutcome::Broken),
            (
                Failure::Call(CallError::RefusedAddress([10, 0, 0, 1].into())),
                Misconfigured,
                Unknown,
                CallOutcome::NotAllowed,
            ),
            (Failure::Call(CallError::RefusedUrl("plain")), Misconfigured, Unknown, CallOutcome::NotAllowed),
            (Failure::Credentials, Unauthorized, Unknown, CallOutcome::Unauthorized),
            (Failure::Forbidden("write"), Misconfigured, Unknown, CallOutcome::Unauthorized),
            (Failure::Unroutable("no queue"), Retry, Unknown, CallOutcome::NotTaken),
            (Failure::NotTaken("full"), Retry, Ill, CallOutcome::NotTaken),
            (Failure::TooLarge, Reject, Unknown, CallOutcome::NotTaken),
            (Failure::NotBuilt("redis"), Misconfigured, Unknown, CallOutcome::NotAllowed),
        ];
        for (failure, fate, health, outcome) in table {
            assert_eq!(of_failure(&failure), (fate, health), "{failure}");
            assert_eq!(seen::<()>(&Err(failure.clone())), outcome, "{failure}");
        }
        assert_eq!(seen(&Ok(())), CallOutcome::Success);
    }

    #[test]
    fn the_table_of_wordpress() {
        let table = [
            (200, Echo, Done, Well),
            (201, Echo, Done, Well),
            (200, OtherJson, Retry, Ill),
            (200, NotJson, Retry, Ill),
            (201, NotJson, Retry, Ill),
            (202, Echo, Retry, Well),
            (202, NotJson, Retry, Ill),
            (204, NotJson, Retry, Ill),
            (301, NotJson, Retry, Ill),
            (400, OtherJson, Reject, Unknown),
            (400, NotJson, Retry, Ill),
            (401, OtherJson, Unauthorized, Unknown),
            (401, NotJson, Unauthorized, Unknown),
            (403, OtherJson, Unauthorized, Unknown),
            (403, NotJson, Unauthorized, Unknown),
            (404, NoRoute, Retry, Ill),
            (404, OtherJson, Reject, Unknown),
            (404, NotJson, Retry, Ill),
            (408, OtherJson, Retry, Ill),
            (409, Echo, Retry, Unknown),
            (409, OtherJson, Retry, Unknown),
            (413, NotJson, Reject, Unknown),
            (422, OtherJson, Reject, Unknown),
            (425, OtherJson, Retry, Ill),
            (429, NotJson, Retry, Ill),
            (500, OtherJson, Retry, Ill),
            (500, Echo, Retry, Ill),
            (503, NotJson, Retry, Ill),
        ];
        for (code, body, fate, health) in table {
            assert_eq!(of_wordpress(StatusCode::from_u16(code).unwrap(), body), (fate, health), "{code} {body:?}");
        }
    }

    #[test]
    fn a_fate_becomes_an_outcome_and_a_wait_is_passed_on() {
        let callee = CalleeId::new("wordpress", "blog.example");
        let wait = Some(Duration::from_secs(7));
        assert!(matches!(
            outcome(Retry, &callee, "answered 429", wait),
            Outcome::Retry { after, error } if after == wait && error == "wordpress:blog.example: answered 429"
        ));
        assert!(matches!(outcome(Reject, &callee, "x", None), Outcome::Dead { reason: DeadReason::Rejected, .. }));
        assert!(matches!(
            outcome(Unauthorized, &callee, "x", None),
            Outcome::Hold { reason: HoldReason::Unauthorized(c), after: Some(UNAUTHORIZED_PROBE) } if c == callee
        ));
        assert_eq!(call_result(Ill, wait), CallResult::Failure { retry_after: wait });
        assert_eq!(call_result(Well, wait), CallResult::Success);
        assert_eq!(call_result(Unknown, wait), CallResult::Neutral);
    }
}
