//! `sluice lanes`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use sluice_actors::{
    domain::{JobState, LaneKey, Timestamp},
    handle::LaneSnapshot,
    ports::{BreakerState, Clock},
};

use super::{
    Global,
    client::{Api, Client, Reason},
    output,
};
use crate::{
    api::{
        Done,
        lanes::{Filter, LaneView},
        records::Page,
    },
    clock::SystemClock,
};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  sluice lanes\n  sluice lanes pause acme/payments --reason 'CRM is being moved'\n  sluice lanes probe acme/payments"
)]
pub(super) struct Lanes {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin nothing until the lane is resumed; deliveries are still taken
    Pause(Verb),
    /// Undo a pause or a parking
    Resume(Verb),
    /// Let the next call go to every callee whose breaker is open
    Probe(Verb),
}

#[derive(Debug, Args)]
struct Verb {
    /// The lane
    #[arg(value_name = "TENANT/SOURCE", value_parser = lane)]
    lane: LaneKey,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    api: Api,
}

/// Parses `tenant/source`.
pub(super) fn lane(text: &str) -> Result<LaneKey, String> {
    let (tenant, source) = text.split_once('/').ok_or("write TENANT/SOURCE, such as acme/payments")?;
    let tenant = tenant.parse().map_err(|error: sluice_actors::domain::InvalidId| error.to_string())?;
    let source = source.parse().map_err(|error: sluice_actors::domain::InvalidId| error.to_string())?;
    Ok(LaneKey::new(tenant, source))
}

impl Lanes {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self.command {
            None => list(&self.api, global).await?,
            Some(Command::Pause(verb)) => act("pause", "paused", &verb, global).await?,
            Some(Command::Resume(verb)) => act("resume", "resumed", &verb, global).await?,
            Some(Command::Probe(verb)) => act("probe", "asked to probe", &verb, global).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn act(verb: &str, done: &str, of: &Verb, global: &Global) -> anyhow::Result<()> {
    let path = format!("lanes/{}/{verb}", of.lane);
    let answer: Done = Client::connect(&of.api, global)?.post(&path, &of.reason).await?;
    output::done(global.json, &answer, &format!("{} is {done}", of.lane))
}

/// All lanes, page by page.
pub(super) async fn all(client: &Client) -> anyhow::Result<Vec<LaneView>> {
    let mut lanes: Vec<LaneView> = Vec::new();
    let mut filter = Filter { limit: Some(500), ..Filter::default() };
    loop {
        let page: Page<LaneView> = client.get("lanes", &filter).await?;
        lanes.extend(page.items);
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => return Ok(lanes),
        }
    }
}

async fn list(api: &Api, global: &Global) -> anyhow::Result<()> {
    let lanes = all(&Client::connect(api, global)?).await?;
    if global.json {
        return output::json(&lanes);
    }
    let header =
        ["LANE", "VENDOR", "STATUS", "SINCE", "BREAKERS", "RUN", "PENDING", "FAILED", "DEAD", "OLDEST", "NODE", "WHY"];
    output::table(&header, lanes.iter().map(row).collect(), "no lanes");
    Ok(())
}

fn row(view: &LaneView) -> Vec<String> {
    let now = SystemClock.now();
    let snapshot = view.snapshot.as_ref();
    let jobs = |wanted: JobState| {
        let counts = view.backlog.as_ref().map(|backlog| backlog.jobs.as_slice()).unwrap_or_default();
        counts.iter().find(|(state, _)| *state == wanted).map_or(0, |(_, count)| *count).to_string()
    };
    let oldest = view.backlog.as_ref().and_then(|backlog| backlog.oldest_due).filter(|due| *due <= now);
    vec![
        view.lane.to_string(),
        view.vendor.to_string(),
        word(&view.state),
        output::or_dash(snapshot.map(|lane| output::age(now, lane.since))),
        snapshot.map_or_else(|| "-".to_owned(), |lane| breakers(lane, now)),
        snapshot.map_or(0, |lane| lane.in_flight.len()).to_string(),
        jobs(JobState::Pending),
        jobs(JobState::Failed),
        jobs(JobState::DeadLetter),
        output::or_dash(oldest.map(|due| output::age(now, due))),
        output::or_dash(view.owner.as_ref().map(|owner| owner.chars().take(8).collect::<String>())),
        output::or_dash(snapshot.and_then(|lane| lane.reason.as_ref())),
    ]
}

/// The first of the lane's breakers that is not closed, with whose it is and when it is probed.
fn breakers(lane: &LaneSnapshot, now: Timestamp) -> String {
    let not_closed = lane.breakers.iter().find(|breaker| breaker.state != BreakerState::Closed);
    match (not_closed, lane.breakers.is_empty()) {
        (Some(breaker), _) => {
            let probe = breaker.probe_at.map(|at| format!(", probe {}", output::age(now, at.max(now))));
            format!("{} {}{}", breaker.state.as_str(), breaker.callee, probe.unwrap_or_default())
        }
        (None, false) => "closed".to_owned(),
        (None, true) => "-".to_owned(),
    }
}

/// A unit variant's word on the wire.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_written_as_tenant_and_source() {
        assert_eq!(lane("acme/payments").unwrap().to_string(), "acme/payments");
        for text in ["acme", "acme/", "/payments", "acme/pay/ments", "Acme/payments"] {
            assert!(lane(text).is_err(), "{text}");
        }
    }
}
