//! `sluice dead`.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use sluice_actors::{
    domain::{DeadReason, JobId, Timestamp},
    ports::{Clock, DeadLetterFilter},
};

use super::{
    Global,
    client::{Api, Client},
    events,
    filter::moment,
    jobs, output,
};
use crate::{
    api::{
        dead_letters::{Replay, Replaying},
        records::{DeadLetterRow, Page},
    },
    clock::SystemClock,
};

#[derive(Debug, Subcommand)]
pub(super) enum Dead {
    /// List dead letters, newest first
    List {
        #[command(flatten)]
        which: Which,
        /// Rows, 1 to 500
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: Option<u16>,
        /// Where a former page ended
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
        #[command(flatten)]
        api: Api,
    },
    /// One dead letter with all its attempts
    Show {
        /// The job
        job: JobId,
        #[command(flatten)]
        api: Api,
    },
    /// Bring dead letters back; they run after fresh work
    #[command(
        after_help = "Examples:\n  sluice dead replay job_0192f0c1a2b37def8123456789abcdef\n  sluice dead replay --tenant acme --why retries_exhausted --since 2h --dry-run\n  sluice dead replay --all --per-second 5 --reason 'CRM is back'"
    )]
    Replay {
        /// One job
        job: Option<JobId>,
        #[command(flatten)]
        which: Which,
        /// Every dead letter there is
        #[arg(long, conflicts_with = "job")]
        all: bool,
        /// Only say how many
        #[arg(long)]
        dry_run: bool,
        /// At most so many a second
        #[arg(long, value_name = "N", default_value_t = 10.0)]
        per_second: f64,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        api: Api,
    },
}

/// Which dead letters.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Which {
    /// One tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// One source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// One route
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// What they died of: `retries_exhausted`, rejected, invalid, poison, gone
    #[arg(long, value_name = "REASON", value_parser = dead_reason)]
    why: Option<DeadReason>,
    /// The type of their event, or a prefix such as `invoice.*`
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// What their event is about
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// Died not before: an age such as `2h`, or a time
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,
    /// Died before: an age or a time
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Timestamp>,
}

fn dead_reason(text: &str) -> Result<DeadReason, String> {
    DeadReason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == text)
        .ok_or_else(|| format!("write one of {}", DeadReason::ALL.map(DeadReason::as_str).join(", ")))
}

impl Which {
    fn filter(self, job: Option<JobId>) -> DeadLetterFilter {
        let Self { tenant, source, route, why, event_type, subject, since, until } = self;
        DeadLetterFilter { job, tenant, source, route, reason: why, event_type, subject, since, until, scope: None }
    }

    const fn narrows(&self) -> bool {
        self.tenant.is_some()
            || self.source.is_some()
            || self.route.is_some()
            || self.why.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }
}

/// The list's query.
#[derive(Serialize)]
struct Query {
    #[serde(flatten)]
    filter: DeadLetterFilter,
    limit: Option<u16>,
    cursor: Option<String>,
}

impl Dead {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::List { which, limit, cursor, api } => {
                let query = Query { filter: which.filter(None), limit, cursor };
                list(&Client::connect(&api, global)?, &query, global).await?;
            }
            Self::Show { job, api } => jobs::show(job, &api, global).await?,
            Self::Replay { job, which, all, dry_run, per_second, reason, api } => {
                if job.is_none() && !all && !which.narrows() {
                    bail!(
                        "which dead letters? name a job, narrow with --tenant, --source, --route, --why, --since, --until, or say --all"
                    );
                }
                let replay = Replay { filter: which.filter(job), dry_run, per_second: Some(per_second), reason };
                bring_back(&Client::connect(&api, global)?, &replay, global).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, query: &Query, global: &Global) -> anyhow::Result<()> {
    let page: Page<DeadLetterRow> = client.get("dead-letters", query).await?;
    if global.json {
        return output::json(&page);
    }
    let now = SystemClock.now();
    let rows = page.items.iter().map(|dead| {
        vec![
            dead.job.id.to_string(),
            format!("{}/{}/{}", dead.job.tenant, dead.job.source, dead.job.route),
            dead.reason.clone(),
            output::age(now, dead.at),
            dead.replayed_at.map_or_else(|| "-".to_owned(), |at| output::age(now, at)),
            output::clip(&dead.detail, 80),
        ]
    });
    output::table(&["JOB", "ROUTE", "REASON", "AGE", "REPLAYED", "DETAIL"], rows.collect(), "no dead letters");
    events::more(page.next.as_deref());
    Ok(())
}

async fn bring_back(client: &Client, replay: &Replay, global: &Global) -> anyhow::Result<()> {
    let answer: Replaying = client.post("dead-letters/replay", replay).await?;
    if global.json {
        return output::json(&answer);
    }
    let matched = answer.matched;
    output::line(&match (matched, replay.dry_run) {
        (0, _) => "no dead letter matches".to_owned(),
        (_, true) => format!("{matched} would be replayed; nothing was changed"),
        (_, false) => format!(
            "{matched} are being replayed; watch them with `sluice lanes` and `sluice jobs`\n\
             the order lives in the memory of the gateway: if it is stopped first, give the order again for the rest"
        ),
    });
    Ok(())
}
