//! `sluice replay`.

use std::process::ExitCode;

use clap::Args;
use sluice_actors::domain::{LaneKey, RouteName};

use super::{
    Global,
    client::{Api, Client},
    filter::More,
    lanes, output,
};
use crate::api::events;

/// Run past events through a route.
///
/// Stored, unrouted and released events can run, quarantined ones not. An event that already has a job for the
/// route keeps it; nothing runs twice.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice replay acme/payments invoices --state unrouted --since 7d --dry-run\n  sluice replay acme/payments invoices --type 'invoice.*' --reason 'route added late'"
)]
pub(super) struct Replay {
    /// The source whose events run again
    #[arg(value_name = "TENANT/SOURCE", value_parser = lanes::lane)]
    lane: LaneKey,
    /// The route they run through
    route: RouteName,
    #[command(flatten)]
    which: More,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    api: Api,
}

impl Replay {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { lane, route, which, dry_run, reason, api } = self;
        let client = Client::connect(&api, global)?;
        let ask = events::Replay {
            tenant: lane.tenant.clone(),
            source: lane.source.clone(),
            route: route.clone(),
            filter: which.filter(),
            dry_run,
            reason,
        };
        let spinner = output::spinner(format!("looking through the events of {lane}"));
        let answer: anyhow::Result<events::Replayed> = client.post("replay", &ask).await;
        spinner.finish_and_clear();
        let answer = answer?;
        if global.json {
            output::json(&answer)?;
        } else if dry_run {
            let (matched, new) = (answer.matched, answer.new_jobs);
            output::line(&format!("{matched} events match `{route}`, {new} jobs would be new; nothing was changed"));
        } else {
            output::line(&format!("{} events match, {} new jobs", answer.matched, answer.new_jobs));
        }
        Ok(ExitCode::SUCCESS)
    }
}
