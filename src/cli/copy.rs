//! `sluice copy`.

use std::{path::Path, process::ExitCode};

use clap::Args;
use serde_json::json;
use tokio::signal::ctrl_c;

use super::{Global, output};
use crate::{
    app::database,
    config::Database,
    store::copy::{Copied, Progress},
};

/// Move all that one database holds to another: from SQLite to Postgres, back, or to one of the same
/// kind.
///
/// No gateway may serve either meanwhile, and the target must be empty. A copy that was cut off goes
/// on when the same command is run again. At the end both are read again and compared, and only then
/// a gateway starts on the target.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice copy --from sqlite://sluice.db --to 'postgres:///sluice?host=/run/postgresql'\n  sluice copy --from sqlite://sluice.db --to file:database.url\n\nA URL with a password stands in a file or in the environment, as in sluice.toml. Relative paths start\nat the folder of the call."
)]
pub(super) struct Copy {
    /// The database with the data: its URL, or a reference to that
    #[arg(long, value_name = "URL")]
    from: String,
    /// The empty one
    #[arg(long, value_name = "URL")]
    to: String,
}

/// Exit status of a command line that does not fit.
const USAGE: u8 = 2;

impl Copy {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { from, to } = self;
        let here = std::path::absolute(Path::new("."))?;
        let named = |option: &str, text: &str| {
            // Not by clap: its error would repeat the value, which may hold a password.
            Database::named(text, &here).map_err(|error| output::complain(&format!("{option}: {error}")))
        };
        let (Ok(from), Ok(to)) = (named("--from", &from), named("--to", &to)) else {
            return Ok(ExitCode::from(USAGE));
        };
        let bar = output::bar(0);
        let tell = |progress| match progress {
            Progress::Begun { rows, done } => {
                bar.set_length(rows);
                bar.set_position(done);
            }
            Progress::Copying(table) => bar.set_message(format!("rows copied: {table}")),
            Progress::Comparing { rows } => {
                bar.set_message("rows compared");
                bar.set_length(rows);
                bar.set_position(0);
            }
            Progress::Copied(rows) | Progress::Compared(rows) => bar.inc(rows),
        };
        let copied = tokio::select! {
            copied = database::copy(&from, &to, &tell) => Some(copied),
            _ = ctrl_c() => None,
        };
        bar.finish_and_clear();
        let Some(copied) = copied else {
            anyhow::bail!("interrupted; run the same command again and it goes on where it was")
        };
        let copied = copied?;
        print(&copied, &database::shown(&from), &database::shown(&to), global)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn print(copied: &Copied, from: &str, to: &str, global: &Global) -> anyhow::Result<()> {
    let rows: u64 = copied.tables.iter().map(|table| table.rows).sum();
    if global.json {
        let tables =
            copied.tables.iter().map(|table| json!({ "name": table.name, "rows": table.rows, "digest": table.digest }));
        return output::json(&json!({
            "from": from,
            "to": to,
            "rows": rows,
            "resumed": copied.resumed,
            "tables": tables.collect::<Vec<_>>(),
        }));
    }
    let shown = copied
        .tables
        .iter()
        .map(|table| vec![table.name.to_owned(), table.rows.to_string(), table.digest[..16].to_owned()]);
    output::table(&["TABLE", "ROWS", "DIGEST"], shown.collect(), "");
    output::line("");
    if let Some(resumed) = copied.resumed {
        output::line(&format!("went on after {resumed} rows of a run that was cut off"));
    }
    output::line(&format!("{to} holds all {rows} rows of {from}: counts and digests of both sides are equal"));
    output::note("set [database] url to it and start the gateway; keep the old database until you are content");
    Ok(())
}
