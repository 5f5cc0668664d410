//! `sluice check`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Global, output};
use crate::config::{self, Config, Input};

/// Check the configuration and say what is wrong or odd.
///
/// It is read as `serve` would read it, secrets included; with `--offline`, without asking their
/// providers. What is wrong ends it with status 78; what is odd is a warning.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sluice check\n  sluice check --config /etc/sluice --json")]
pub(super) struct Check {
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Ask no provider of secrets: what it keeps is a warning
    #[arg(long)]
    offline: bool,
}

impl Check {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let read = |input: Input| if self.offline { input.offline() } else { input };
        let config = match Input::read(&global.config).and_then(|input| read(input).resolve()) {
            Ok(config) => config,
            Err(errors) if global.json => {
                let told: Vec<_> = errors.0.iter().map(finding).collect();
                output::json(&json!({ "ok": false, "errors": told }))?;
                return Ok(ExitCode::from(crate::error_code::ErrorCode::Configuration.exit_status()));
            }
            Err(errors) => return Err(errors.into()),
        };
        if global.json {
            let warnings: Vec<_> = config.warnings.iter().map(finding).collect();
            output::json(&json!({ "ok": true, "warnings": warnings }))?;
        } else {
            for warning in &config.warnings {
                output::warn(&warning.to_string());
            }
            output::line(&format!("ok: {}", summary(&config)));
        }
        let failed = self.strict && !config.warnings.is_empty();
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn finding(error: &config::Error) -> serde_json::Value {
    json!({
        "code": error.code.as_str(),
        "place": error.place.to_string(),
        "key": error.key,
        "reason": error.reason,
        "cure": error.cure,
    })
}

/// What it holds: `2 tenants, 3 sources, 3 routes`.
pub(super) fn summary(config: &Config) -> String {
    let sources = || config.tenants.values().flat_map(|tenant| tenant.sources.values());
    let routes: usize = sources().map(|source| source.routes.len()).sum();
    format!(
        "{}, {}, {}",
        output::count(config.tenants.len(), "tenant"),
        output::count(sources().count(), "source"),
        output::count(routes, "route")
    )
}
