//! `sluice migrate`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Global, output};
use crate::{
    app::Refused,
    config::{Database, Input},
    store,
};

/// Brings the database to the form of this version, in one transaction a step. The gateway must not
/// run; copy the file first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  systemctl stop sluice && cp sluice.db sluice.db.bak && sluice migrate")]
pub(super) struct Migrate {}

impl Migrate {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self {} = self;
        let Database::Sqlite(path) = Input::read(&global.config)?.database()?;
        let spinner = output::spinner(format!("migrating {}", path.display()));
        let migrated = store::migrate(&path).await;
        spinner.finish_and_clear();
        let migrated = migrated.map_err(Refused::from)?;
        if global.json {
            output::json(&json!({ "from": migrated.from, "to": migrated.to }))?;
        } else if migrated.from == migrated.to {
            output::line(&format!("{} already has schema {}", path.display(), migrated.to));
        } else {
            output::line(&format!("{}: schema {} is now {}", path.display(), migrated.from, migrated.to));
        }
        Ok(ExitCode::SUCCESS)
    }
}
