//! `sluice release`.

use std::process::ExitCode;

use clap::Args;
use sluice_actors::domain::EventId;

use super::{
    Global,
    client::{Api, Client, Reason},
    output,
};
use crate::api::events::Released;

/// Release a quarantined event.
///
/// It is normalised anew from its stored payload, and its routes run.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice events --state quarantined\n  sluice release evt_0192f0c1a2b37def8123456789abcdef --reason 'schema was too strict'"
)]
pub(super) struct Release {
    /// The event
    event: EventId,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    api: Api,
}

impl Release {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let path = format!("events/{}/release", self.event);
        let released: Released = Client::connect(&self.api, global)?.post(&path, &self.reason).await?;
        if global.json {
            output::json(&released)?;
        } else {
            output::line(&format!("{} is released, {} jobs", self.event, released.jobs));
            if let Some(misfit) = released.misfit {
                output::warn(&format!("it still does not fit its schema: {misfit}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
