//! The actions against stand-ins on real sockets: what each outcome of a call makes of an attempt.

pub(crate) mod bench;
mod callback;
mod calls;
mod hostile;
mod summary;

use std::time::Duration;

use sluice::standins::Fault;
use sluice_actors::domain::{CallResult, DeadReason, HoldReason, JobResult, Outcome};

/// What an attempt must end as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// Delivered.
    Delivered,
    /// Again, after what the callee asked for.
    Retry(Option<u64>),
    /// Held: credentials.
    Unauthorized,
    /// A dead letter.
    Dead(DeadReason),
}

/// What the callee's report must be.
const WELL: CallResult = CallResult::Success;
const NEUTRAL: CallResult = CallResult::Neutral;
const ILL: CallResult = CallResult::Failure { retry_after: None };

fn ill_for(secs: u64) -> CallResult {
    CallResult::Failure { retry_after: Some(Duration::from_secs(secs)) }
}

fn kind(outcome: &Outcome) -> Expect {
    match outcome {
        Outcome::Delivered(_) => Expect::Delivered,
        Outcome::Retry { after, .. } => Expect::Retry(after.map(|after| after.as_secs())),
        Outcome::Hold { reason: HoldReason::Unauthorized(_), after } => {
            assert_eq!(*after, Some(Duration::from_mins(5)), "a refused credential is probed every 5 minutes");
            Expect::Unauthorized
        }
        Outcome::Hold { reason, .. } => panic!("held: {reason}"),
        Outcome::Dead { reason, .. } => Expect::Dead(*reason),
    }
}

fn delivered(outcome: Outcome) -> JobResult {
    match outcome {
        Outcome::Delivered(result) => result,
        other => panic!("not delivered: {other:?}"),
    }
}

/// What any API may do, with what must follow: the table that holds for `http_call`, `http_forward`,
/// `fetch` and (but for 401) the LLM.
fn api_faults() -> Vec<(Fault, Expect, CallResult)> {
    let rejected = Expect::Dead(DeadReason::Rejected);
    let again = Expect::Retry(None);
    vec![
        (Fault::status(400), rejected, NEUTRAL),
        (Fault::status(403), rejected, NEUTRAL),
        (Fault::status(404), rejected, NEUTRAL),
        (Fault::status(422), rejected, NEUTRAL),
        (Fault::status(408), again, ILL),
        (Fault::status(425), again, ILL),
        (Fault::status(429), again, ILL),
        (Fault::retry_after(429, "17"), Expect::Retry(Some(17)), ill_for(17)),
        (Fault::retry_after(429, "86400"), Expect::Retry(Some(900)), ill_for(900)),
        (Fault::retry_after(503, "Tue, 24 Nov 2026 08:00:35 GMT"), Expect::Retry(Some(30)), ill_for(30)),
        (Fault::status(500), again, ILL),
        (Fault::status(502), again, ILL),
        (Fault::page(503), again, ILL),
        (Fault::Break, again, ILL),
        (Fault::Hang, again, ILL),
        (Fault::Drip, again, ILL),
    ]
}

/// Long enough for a stand-in to answer, short enough to wait for one that does not.
fn patience(fault: &Fault) -> Duration {
    match fault {
        Fault::Hang | Fault::Drip | Fault::DoneThenHang => Duration::from_millis(2500),
        _ => Duration::from_secs(20),
    }
}
