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
pub(super) struct Serve {
    /// Let the kernel write core dumps of this process, and debuggers of its user attach: both show its secrets
    #[arg(long)]
    pub(super) allow_core_dumps: bool,
}

impl Serve {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        // Whether they are allowed was settled before anything was read.
        let Self { allow_core_dumps: _ } = self;
        app::serve(&global.config).await?;
        Ok(ExitCode::SUCCESS)
    }
}
