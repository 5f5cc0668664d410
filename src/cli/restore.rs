//! `sluice restore`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::{Global, output};
use crate::{
    app::database,
    config::{Database, Input},
};

/// Put a backup in the place of the SQLite database.
///
/// The gateway must not run. The backup is checked first; the database that it replaces stays beside
/// it. What was acknowledged after the backup began is lost. Postgres restores by its own means
/// (docs/backup.md); say so with --recovered before the gateway starts.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  systemctl stop sluice && sluice restore /var/backups/sluice.db\n  sluice restore --recovered"
)]
pub(super) struct Restore {
    /// A file that `sluice backup` wrote
    #[arg(required_unless_present = "recovered")]
    file: Option<PathBuf>,
    /// The database was brought back to an earlier moment already: only let callees take its next
    /// attempts for newer than any before
    #[arg(long, conflicts_with = "file")]
    recovered: bool,
}

impl Restore {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { file, recovered: _ } = self;
        let database = Input::read(&global.config)?.database()?;
        match file {
            Some(file) => restore(&database, &file, global).await,
            None => recovered(&database, global).await,
        }
    }
}

async fn restore(database: &Database, file: &std::path::Path, global: &Global) -> anyhow::Result<ExitCode> {
    let bar = output::bytes_bar("restoring");
    let tell = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let restored = database::restore(database, file, &tell).await;
    bar.finish_and_clear();
    let restored = restored?;
    let held = restored.contents;
    if global.json {
        output::json(&json!({
            "database": database::shown(database),
            "events": held.events,
            "jobs": held.jobs,
            "unfinished_jobs": restored.raised,
            "schema": held.schema,
            "replaced": restored.replaced,
        }))?;
    } else {
        output::line(&format!(
            "{}: {} events and {} jobs, {} of them not over",
            database::shown(database),
            held.events,
            held.jobs,
            restored.raised
        ));
        if let Some(replaced) = &restored.replaced {
            output::line(&format!("what was there is now {}", replaced.display()));
        }
    }
    if held.schema < held.newest {
        output::warn(&format!(
            "it has schema {}, this release needs {}; run `sluice migrate` before the gateway",
            held.schema, held.newest
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn recovered(database: &Database, global: &Global) -> anyhow::Result<ExitCode> {
    let raised = database::recovered(database).await?;
    let shown = database::shown(database);
    if global.json {
        output::json(&json!({ "database": shown, "unfinished_jobs": raised }))?;
    } else {
        output::line(&format!("{shown}: the fences of {raised} jobs that are not over were raised"));
    }
    Ok(ExitCode::SUCCESS)
}
