//! `sluice subject`.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sluice_actors::domain::TenantName;

use super::{
    Global,
    client::{Api, Client},
    output,
};
use crate::api::subjects::{Asked, Erased};

#[derive(Debug, Subcommand)]
pub(super) enum Subject {
    Export(Export),
    Erase(Erase),
}

/// Which subject, and why.
#[derive(Debug, Args)]
struct Which {
    /// The tenant
    tenant: TenantName,
    /// The subject's id, as events name it
    subject: String,
    /// Why, for the audit, which names the subject by a digest
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    api: Api,
}

impl Which {
    fn path(&self, verb: &str) -> String {
        format!("tenants/{}/subjects/{verb}", self.tenant)
    }

    fn asked(&self, dry_run: bool) -> Asked {
        Asked { subject: self.subject.clone(), dry_run, reason: self.reason.clone() }
    }
}

/// Write all that is kept of a subject, one event a line
///
/// Each line is JSON: the event, its headers and payload as they are stored (redacted), its forms, its jobs with
/// attempts and results. The last line says how many there were.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice subject export acme cus_42 --output cus_42.ndjson --reason 'request of 2026-11-28'\n  sluice subject export acme cus_42"
)]
pub(super) struct Export {
    #[command(flatten)]
    which: Which,
    /// A new file that only you may read; without it, standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Erase all that is kept of a subject, for good
///
/// Its events go, with payloads, forms, jobs, attempts, results and dead letters; jobs that could still run are
/// cancelled first. What stays is a digest of each delivery, so that a vendor's retry does not bring it back.
/// What jobs sent to others (posts, calls) is not touched, nor are backups.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice subject erase acme cus_42 --dry-run\n  sluice subject erase acme cus_42 --yes --reason 'request of 2026-11-28'"
)]
pub(super) struct Erase {
    #[command(flatten)]
    which: Which,
    /// Only say how much
    #[arg(long, required_unless_present = "yes", conflicts_with = "yes")]
    dry_run: bool,
    /// Do it: it cannot be undone
    #[arg(long)]
    yes: bool,
}

impl Subject {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Export(command) => command.run(global).await,
            Self::Erase(command) => command.run(global).await,
        }
    }
}

impl Erase {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { which, dry_run, .. } = self;
        let client = Client::connect(&which.api, global)?;
        let spinner = output::spinner("looking through the events");
        let answer: anyhow::Result<Erased> = client.post(&which.path("erase"), &which.asked(dry_run)).await;
        spinner.finish_and_clear();
        let done = answer?;
        if global.json {
            output::json(&done)?;
        } else if dry_run {
            let (events, jobs) = (done.matched, done.cancelled_jobs);
            output::line(&format!("{events} events would be erased and {jobs} jobs cancelled; nothing was changed"));
        } else {
            output::line(&format!("{} events are erased, {} jobs were cancelled", done.erased, done.cancelled_jobs));
            if done.left > 0 {
                output::warn(&format!("{} events got another job meanwhile and are left: run it again", done.left));
            }
        }
        Ok(if done.left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Export {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { which, output: file } = self;
        let client = Client::connect(&which.api, global)?;
        let mut out: Box<dyn Write + Send> = match &file {
            Some(path) => {
                let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                Box::new(created.with_context(|| format!("cannot create {}", path.display()))?)
            }
            None => Box::new(io::stdout()),
        };
        let mut last = Vec::new();
        let mut failed = None;
        let take = &mut |part: &[u8]| {
            keep_last_line(&mut last, part);
            failed = out.write_all(part).err();
            failed.is_none()
        };
        let spinner = output::spinner("reading the events");
        let answer = client.download(&which.path("export"), &which.asked(false), take).await;
        spinner.finish_and_clear();
        answer?;
        if let Some(error) = failed.or_else(|| out.flush().err()) {
            // A reader that went away (`| head`) has what it wanted.
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Ok(ExitCode::SUCCESS);
            }
            return Err(error).context("the export cannot be written");
        }
        let end: Value = serde_json::from_slice(last.trim_ascii()).unwrap_or_default();
        if end["end"] != true {
            bail!("the export broke off: {}", end["error"].as_str().unwrap_or("its last line is missing"));
        }
        if let Some(path) = file {
            let (events, path) = (end["events"].as_u64().unwrap_or_default(), path.display().to_string());
            if global.json {
                output::json(&json!({ "events": events, "file": path }))?;
            } else {
                output::line(&format!("{events} events are written to {path}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Keeps what may be the last line.
fn keep_last_line(last: &mut Vec<u8>, part: &[u8]) {
    // A line that has ended goes when another one begins.
    let body = part.strip_suffix(b"\n").unwrap_or(part);
    match body.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => *last = part[end + 1..].to_vec(),
        None => {
            if last.ends_with(b"\n") {
                last.clear();
            }
            last.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_found_however_it_is_cut() {
        let text = b"{\"a\":1}\n{\"b\":2}\n{\"end\":true}\n";
        for size in 1..=text.len() {
            let mut last = Vec::new();
            for part in text.chunks(size) {
                keep_last_line(&mut last, part);
            }
            assert_eq!(last.trim_ascii(), b"{\"end\":true}", "{size}");
        }
    }
}
