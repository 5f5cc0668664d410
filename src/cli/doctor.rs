//! `sluice doctor`.

mod brokers;
mod callees;
mod gateway;
mod local;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{
    Global,
    client::{Api, Client},
    output,
};
use crate::config::Input;

/// Say what is wrong with this gateway and its surroundings.
///
/// It looks at the configuration, its secrets, the data folder, the database, the ports, the clock,
/// the object store of artifacts (by a probe that it removes again), whom the gateway calls, and the
/// running gateway itself, and changes nothing.
///
/// Callees are only asked whether they answer, without any credential; brokers are signed in to, and asked
/// whether the stream or exchange is there.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice doctor\n  sluice doctor --config /etc/sluice --json\n\nThe status is 1 if something is bad; what is only odd is a warning."
)]
pub(super) struct Doctor {
    #[command(flatten)]
    api: Api,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    status: Status,
    check: &'static str,
    detail: String,
    /// What to do; empty where nothing is to be done.
    cure: String,
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { status: Status::Ok, check, detail: detail.into(), cure: String::new() }
    }

    fn warn(check: &'static str, detail: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { status: Status::Warn, check, detail: detail.into(), cure: cure.into() }
    }

    fn bad(check: &'static str, detail: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { status: Status::Bad, check, detail: detail.into(), cure: cure.into() }
    }

    fn print(&self) {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Bad => "bad",
        };
        let Self { check, detail, cure, .. } = self;
        let cure = if cure.is_empty() { String::new() } else { format!("; {cure}") };
        output::state_line(status, &format!("{check:<13}  {detail}{cure}"));
    }
}

impl Doctor {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let spinner = output::spinner("looking around");
        let findings = self.look(global).await;
        spinner.finish_and_clear();
        let is_bad = findings.iter().any(|finding| finding.status == Status::Bad);
        if global.json {
            output::json(&json!({ "ok": !is_bad, "checks": findings }))?;
        } else {
            for finding in &findings {
                finding.print();
            }
        }
        Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    async fn look(&self, global: &Global) -> Vec<Finding> {
        let (config, mut findings) = local::configuration(&global.config);
        let client = Client::connect(&self.api, global).ok();
        let health = match &client {
            Some(client) => gateway::health(client).await,
            None => gateway::Health::None,
        };
        let database = Input::read(&global.config).and_then(|input| input.database());
        if let Ok(database) = &database {
            findings.extend(local::data_folder(database));
            findings.extend(local::database(database, health.answers()).await);
        }
        if let Some(config) = &config {
            findings.push(local::artifacts(config).await);
            if !health.answers() {
                findings.extend(local::ports(config).await);
            }
            let reached = callees::reach(config).await;
            findings.extend(reached.findings);
            findings.extend(brokers::reach(config).await);
            findings.push(callees::clock(&reached.dates));
        }
        findings.extend(gateway::findings(client.as_ref(), health).await);
        findings
    }
}
