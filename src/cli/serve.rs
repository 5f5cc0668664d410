//! `sluice serve`.

use std::process::ExitCode;

use clap::Args;

use super::Global;
use crate::app;

/// Run the gateway.
///
/// It runs until a signal ends it: SIGTERM or SIGINT drain it, a second one ends it at
/// once, SIGHUP reads the configuration again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sluice serve --config /etc/sluice/sluice.toml")]
pub(super) struct Serve {}

impl Serve {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self {} = self;
        app::serve(&global.config).await?;
        Ok(ExitCode::SUCCESS)
    }
}
