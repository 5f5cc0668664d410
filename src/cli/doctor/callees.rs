//! Whom the gateway calls: whether they answer, and what time they think it is.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use http::{Method, header};
use sluice_actors::{domain::Timestamp, ports::Clock};
use url::Url;

use super::Finding;
use crate::{
    clock::SystemClock,
    config::Config,
    http_client::{Call, CallError, HttpClient},
};

/// What the callees answered.
#[derive(Default)]
pub(super) struct Reached {
    pub(super) findings: Vec<Finding>,
    /// Of each that told one: its time, and ours at that moment.
    pub(super) dates: Vec<(Timestamp, Timestamp)>,
}

const CHECK: &str = "callees";
/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// No more of them are asked.
const MOST: usize = 50;

/// Asks every LLM and every WordPress site of the configuration whether it answers: one HEAD of its
/// root, without a credential.
pub(super) async fn reach(config: &Config) -> Reached {
    let callees = callees(config);
    if callees.is_empty() {
        return Reached {
            findings: vec![Finding::ok(CHECK, "no LLM and no WordPress site are configured")],
            dates: Vec::new(),
        };
    }
    let client = match HttpClient::new(config.outbound.allow_private.clone()) {
        Ok(client) => client,
        Err(error) => {
            return Reached { findings: vec![Finding::bad(CHECK, error.to_string(), "")], dates: Vec::new() };
        }
    };
    let client = &client;
    let asked = callees.iter().take(MOST).map(|(origin, what)| async move {
        let Ok(url) = origin.parse::<Url>() else { return (None, None) };
        let mut call = Call::new(Method::HEAD, url);
        call.timeout = PATIENCE;
        match client.send(call).await {
            Ok(answer) if answer.status.is_server_error() => {
                let detail = format!("{what} at {origin} answers {}", answer.status);
                (Some(Finding::warn(CHECK, detail, "jobs are held by its breaker until it is well again")), None)
            }
            Ok(answer) => {
                let date = answer.headers.get(header::DATE).and_then(|date| date.to_str().ok()).and_then(date);
                let finding = Finding::ok(CHECK, format!("{what} at {origin} answers"));
                (Some(finding), date.map(|date| (date, SystemClock.now())))
            }
            Err(error) => (Some(Finding::bad(CHECK, format!("{what} at {origin}: {error}"), cure(&error))), None),
        }
    });
    let mut reached = Reached::default();
    for (finding, date) in join_all(asked).await {
        reached.findings.extend(finding);
        reached.dates.extend(date);
    }
    if callees.len() > MOST {
        reached.findings.push(Finding::warn(CHECK, format!("{} more were not asked", callees.len() - MOST), ""));
    }
    reached
}

/// Origins of callees, and what each is.
fn callees(config: &Config) -> BTreeMap<String, &'static str> {
    let tenants = || config.tenants.values();
    let llms =
        tenants().filter_map(|tenant| tenant.llm.as_ref()).chain(&config.llm).map(|llm| (&llm.base_url, "the LLM"));
    let sites = tenants().filter_map(|tenant| tenant.wordpress.as_ref()).map(|site| (&site.site, "WordPress"));
    llms.chain(sites).map(|(url, what)| (url.origin().ascii_serialization(), what)).collect()
}

const fn cure(error: &CallError) -> &'static str {
    match error {
        CallError::RefusedAddress(_) => "add its network to `outbound.allow_private` if it is meant",
        CallError::RefusedUrl(_) => "write the https URL of the callee",
        CallError::Tls(_) => "its certificate must be valid for that name, and this machine's clock right",
        CallError::Timeout(_)
        | CallError::Connect(_)
        | CallError::Broken
        | CallError::TooLarge
        | CallError::Compressed => "correct the URL, or let this machine reach it (name resolution, firewall)",
    }
}

fn date(text: &str) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_millis(date.timestamp().as_millisecond()))
}

/// Before this no release of Sluice was made: 2026-01-01.
const EARLIEST: Timestamp = Timestamp::from_secs(1_767_225_600);
/// Seconds that a `Date` header and a slow answer explain.
const USUAL: u64 = 10;
/// Seconds off at which deliveries are refused.
const TOLERANCE: u64 = 300;

/// Our clock, against those of the callees.
pub(super) fn clock(dates: &[(Timestamp, Timestamp)]) -> Finding {
    const CHECK: &str = "clock";
    const CURE: &str = "set the clock (`timedatectl set-ntp true`): signatures carry a time";
    let now = SystemClock.now();
    if now < EARLIEST {
        return Finding::bad(CHECK, format!("it is {now} by this machine"), CURE);
    }
    // The nearest: one callee with a wrong clock does not blame ours.
    let off = dates.iter().map(|(theirs, ours)| theirs.since(*ours).max(ours.since(*theirs)).as_secs()).min();
    match off {
        None => Finding::ok(CHECK, format!("{now}; no callee told its time to compare with")),
        Some(off) if off <= USUAL => Finding::ok(CHECK, format!("{now}; agrees with those of the callees")),
        Some(off) if off < TOLERANCE => {
            Finding::warn(CHECK, format!("{now} is {off} s off those of the callees"), CURE)
        }
        Some(off) => Finding::bad(CHECK, format!("{now} is {off} s off those of the callees"), CURE),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn a_clock_is_blamed_only_where_no_other_agrees_with_it() {
        let now = SystemClock.now();
        let off = |seconds: u64| (now.minus(Duration::from_secs(seconds)), now);
        let status = |dates: &[(Timestamp, Timestamp)]| clock(dates).status;
        assert_eq!(status(&[]), Status::Ok);
        assert_eq!(status(&[off(10)]), Status::Ok);
        assert_eq!(status(&[off(11)]), Status::Warn);
        assert_eq!(status(&[off(300)]), Status::Bad);
        assert_eq!(status(&[off(300), off(2)]), Status::Ok);
        assert_eq!(status(&[(now.plus(Duration::from_mins(6)), now)]), Status::Bad);
    }

    #[test]
    fn a_date_is_read_as_http_writes_it() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp::from_secs(784_111_777)));
        assert_eq!(date("yesterday"), None);
    }
}
