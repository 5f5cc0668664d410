//! `sluice migrate`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Global, output};
use crate::{
    app::database,
    config::{Database, Input},
};

/// Bring the database to this version's form.
///
/// Each step is one transaction. Back the database up first. On SQLite the gateway must not run. On
/// Postgres nodes may go on, of this version's predecessor too, while steps only add (their names begin
/// with `expand`); before any other, all nodes must have ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice migrate --dry-run\n  sluice backup before.db && systemctl stop sluice && sluice migrate"
)]
pub(super) struct Migrate {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Migrate {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { dry_run } = self;
        let database = Input::read(&global.config)?.database()?;
        if dry_run {
            return dry(&database, global).await;
        }
        let name = database::shown(&database);
        let spinner = output::spinner(format!("migrating {name}"));
        let migrated = database::migrate(&database).await;
        spinner.finish_and_clear();
        let migrated = migrated?;
        if global.json {
            output::json(&json!({ "from": migrated.from, "to": migrated.to }))?;
        } else if migrated.from == migrated.to {
            output::line(&format!("{name} already has schema {}", migrated.to));
        } else {
            output::line(&format!("{name}: schema {} is now {}", migrated.from, migrated.to));
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn dry(database: &Database, global: &Global) -> anyhow::Result<ExitCode> {
    let found = database::inspect(database).await?;
    if global.json {
        let missing: Vec<_> =
            found.missing.iter().map(|(number, name)| json!({ "number": number, "name": name })).collect();
        output::json(&json!({ "from": found.found, "to": found.newest, "missing": missing }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = database::shown(database);
    if found.missing.is_empty() {
        output::line(&format!("{shown} already has schema {}", found.found));
    } else {
        output::line(&format!("{shown}: schema {} would become {}; nothing was changed", found.found, found.newest));
        for (number, name) in &found.missing {
            output::line(&format!("  {number}  {name}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
