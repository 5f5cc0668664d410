//! `sluice backup`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::json;
use tokio::signal::ctrl_c;

use super::{Global, output};
use crate::{app::database, config::Input};

/// Write all that the SQLite database holds to a file, while the gateway runs.
///
/// The file is there whole or not at all, was checked, and only its owner can read it. It holds
/// everything that was acknowledged before the backup began; configuration and secrets are not in it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice backup /var/backups/sluice.db\n  sluice backup --force nightly.db && rsync nightly.db elsewhere:"
)]
pub(super) struct Backup {
    /// Where to
    file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

impl Backup {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { file, force } = self;
        let database = Input::read(&global.config)?.database()?;
        let bar = output::bytes_bar("backing up");
        let tell = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let backed_up = tokio::select! {
            backed_up = database::backup(&database, &file, force, &tell) => Some(backed_up),
            _ = ctrl_c() => None,
        };
        bar.finish_and_clear();
        let Some(backed_up) = backed_up else { anyhow::bail!("interrupted; no backup was written") };
        let held = backed_up?;
        if global.json {
            let (events, jobs, schema, bytes) = (held.events, held.jobs, held.schema, held.bytes);
            output::json(&json!({ "file": file, "events": events, "jobs": jobs, "schema": schema, "bytes": bytes }))?;
        } else {
            output::line(&format!(
                "{}: {} events and {} jobs in {}, checked",
                file.display(),
                held.events,
                held.jobs,
                output::size(held.bytes)
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
