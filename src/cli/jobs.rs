//! `sluice jobs`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use sluice_actors::{domain::JobId, ports::Clock};

use super::{
    Global,
    client::{Api, Client, Reason},
    events,
    filter::Narrow,
    output,
};
use crate::{
    api::{
        Done,
        records::{JobDetail, JobRow, Page},
    },
    clock::SystemClock,
};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  sluice jobs --state failed\n  sluice jobs show job_0192f0c1a2b37def8123456789abcdef\n  sluice jobs cancel job_0192f0c1a2b37def8123456789abcdef --reason 'sent by hand'"
)]
pub(super) struct Jobs {
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    narrow: Narrow,
    #[command(flatten)]
    api: Api,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One job with its attempts and its result
    Show {
        /// The job
        id: JobId,
        #[command(flatten)]
        api: Api,
    },
    /// End a job that is not over
    Cancel {
        /// The job
        id: JobId,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        api: Api,
    },
}

impl Jobs {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self.command {
            None => list(self.list, global).await?,
            Some(Command::Show { id, api }) => show(id, &api, global).await?,
            Some(Command::Cancel { id, reason, api }) => {
                let done: Done = Client::connect(&api, global)?.post(&format!("jobs/{id}/cancel"), &reason).await?;
                output::done(global.json, &done, &format!("{id} is cancelled"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(list: List, global: &Global) -> anyhow::Result<()> {
    let page: Page<JobRow> = Client::connect(&list.api, global)?.get("jobs", &list.narrow.filter()).await?;
    if global.json {
        return output::json(&page);
    }
    table(&page.items, "no jobs");
    events::more(page.next.as_deref());
    Ok(())
}

/// Writes jobs as a table.
pub(super) fn table(jobs: &[JobRow], none: &str) {
    let now = SystemClock.now();
    let rows = jobs.iter().map(|job| {
        let next = if job.state.is_startable() { output::age(now, job.next_run_at) } else { "-".to_owned() };
        vec![
            job.id.to_string(),
            format!("{}/{}/{}", job.tenant, job.source, job.route),
            job.event_type.clone(),
            job.state.to_string(),
            job.attempts.to_string(),
            output::age(now, job.created_at),
            next,
            output::clip(&output::or_dash(job.last_error.as_ref()), 60),
        ]
    });
    output::table(&["JOB", "ROUTE", "TYPE", "STATE", "TRIES", "AGE", "NEXT", "LAST ERROR"], rows.collect(), none);
}

/// Shows one job.
pub(super) async fn show(id: JobId, api: &Api, global: &Global) -> anyhow::Result<()> {
    let detail: JobDetail = Client::connect(api, global)?.get(&format!("jobs/{id}"), &()).await?;
    if global.json {
        return output::json(&detail);
    }
    let job = &detail.job;
    let mut facts = vec![
        ("job", job.id.to_string()),
        ("event", job.event_id.to_string()),
        ("lane", format!("{}/{}", job.tenant, job.source)),
        ("route", job.route.clone()),
        ("action", job.kind.clone()),
        ("state", job.state.to_string()),
        ("attempts", job.attempts.to_string()),
        ("created", job.created_at.to_string()),
    ];
    if job.state.is_startable() {
        facts.push(("next run", job.next_run_at.to_string()));
    }
    if let Some(finished) = job.finished_at {
        facts.push(("finished", finished.to_string()));
    }
    if let Some(error) = &job.last_error {
        facts.push(("last error", error.clone()));
    }
    facts.push(("trace", job.trace_id.clone()));
    if let Some(dead) = &detail.dead_letter {
        facts.push(("died", format!("{} ({}): {}", dead.at, dead.reason, dead.detail)));
        if let Some(replayed) = dead.replayed_at {
            facts.push(("replayed", format!("{replayed} by {}", output::or_dash(dead.replayed_by.as_ref()))));
        }
    }
    output::facts(&facts);
    output::line("");
    let rows = detail.attempts.iter().map(|attempt| {
        vec![
            attempt.number.to_string(),
            attempt.started_at.to_string(),
            format!("{}ms", attempt.duration_ms),
            attempt.outcome.clone(),
            output::or_dash(attempt.error.as_ref()),
        ]
    });
    output::table(&["TRY", "STARTED", "TOOK", "OUTCOME", "ERROR"], rows.collect(), "no attempts yet");
    if let Some(result) = &detail.result {
        output::line("\nresult:");
        output::json(result)?;
    }
    Ok(())
}
