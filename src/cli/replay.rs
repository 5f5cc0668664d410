//! `sluice replay`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use sluice_actors::domain::{LaneKey, RouteName};

use super::{
    Global,
    client::{Api, Client},
    filter::More,
    lanes, output,
};
use crate::api::events;

/// Events that the gateway looks at before it says how far it is.
const STEP: u64 = 5000;

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
        let mut ask = events::Replay {
            tenant: lane.tenant.clone(),
            source: lane.source.clone(),
            route: route.clone(),
            filter: which.filter(),
            dry_run,
            step: Some(STEP),
            reason,
        };
        let spinner = output::spinner(format!("looking through the events of {lane}"));
        let mut answer = events::Replayed::default();
        loop {
            let step =
                client.post::<events::Replayed>("replay", &ask).await.inspect_err(|_| spinner.finish_and_clear());
            let step = step.with_context(|| {
                let done = answer.matched;
                format!("stopped after {done} events that match; the same command goes on, for nothing runs twice")
            })?;
            answer.matched += step.matched;
            answer.new_jobs += step.new_jobs;
            let Some(next) = step.next else { break };
            ask.filter.cursor = Some(next);
            spinner.set_message(format!("{} events of {lane} match so far", answer.matched));
        }
        spinner.finish_and_clear();
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
