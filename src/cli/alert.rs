//! `sluice alert`.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::{
    Global,
    client::{Api, Client, Reason},
    output,
};
use crate::api::alerts::Tried;

#[derive(Debug, Subcommand)]
pub(super) enum Alert {
    Test(Test),
}

/// Send a test alert to each configured receiver, and say what each answered
///
/// It goes out from the running gateway, once, without retries and beside the limit of one an hour. The exit status
/// is 1 if one receiver did not take it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sluice alert test\n  sluice alert test --reason 'new on-call number' --json")]
pub(super) struct Test {
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    api: Api,
}

impl Alert {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self::Test(Test { reason, api }) = self;
        let client = Client::connect(&api, global)?;
        let spinner = output::spinner("telling the receivers");
        let answer: anyhow::Result<Vec<Tried>> = client.post("alerts/test", &reason).await;
        spinner.finish_and_clear();
        let tried = answer?;
        if tried.is_empty() {
            bail!("no receiver is configured; add one to [alerts] in sluice.toml (docs/alerts.md)");
        }
        if global.json {
            output::json(&tried)?;
        } else {
            let rows = tried.iter().map(|it| {
                let state = if it.taken { "ok" } else { "bad" };
                vec![state.to_owned(), it.receiver.clone(), it.channel.clone(), it.answer.clone()]
            });
            output::table(&["", "RECEIVER", "BY", "ANSWER"], rows.collect(), "");
        }
        Ok(if tried.iter().all(|it| it.taken) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
