//! Options that narrow lists of events and jobs.

use clap::Args;
use sluice_actors::{domain::Timestamp, ports::Clock};

use crate::{api::records::RecordFilter, clock::SystemClock, config::parse_duration};

/// What events (the first four) and jobs can be in.
const STATES: [&str; 11] = [
    "stored",
    "unrouted",
    "quarantined",
    "released",
    "pending",
    "running",
    "succeeded",
    "failed",
    "deadletter",
    "superseded",
    "cancelled",
];

/// Which events or jobs.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Narrow {
    /// One tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// One source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    more: More,
    /// Rows, 1 to 500
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: Option<u16>,
    /// Where a former page ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Conditions on the events themselves.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct More {
    /// An event type, or a prefix such as `invoice.*`
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// The status of an event, or the state of a job
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    state: Option<String>,
    /// What the event is about
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// The vendor's id of the event
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// A trace
    #[arg(long = "trace", value_name = "ID")]
    trace_id: Option<String>,
    /// Not before: an age such as `1h`, or a time such as `2026-11-24T08:00:00Z`
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,
    /// Before: an age or a time
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Narrow {
    pub(super) fn filter(self) -> RecordFilter {
        let Self { tenant, source, more, limit, cursor } = self;
        RecordFilter { tenant, source, limit: limit.map(usize::from), cursor, ..more.filter() }
    }
}

impl More {
    pub(super) fn filter(self) -> RecordFilter {
        let Self { event_type, state, subject, external_id, trace_id, since, until } = self;
        RecordFilter { event_type, state, subject, external_id, trace_id, since, until, ..RecordFilter::default() }
    }
}

/// An age (`1h`) or a time.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Some(age) = parse_duration(text) {
        return Ok(SystemClock.now().minus(age));
    }
    Timestamp::parse_rfc3339(text)
        .map_err(|_| "write an age such as `15m`, `1h`, `7d`, or a time such as `2026-11-24T08:00:00Z`".to_owned())
}
