//! `sluice events`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use sluice_actors::{domain::EventId, ports::Clock};

use super::{
    Global,
    client::{Api, Client},
    filter::Narrow,
    jobs, output,
};
use crate::{
    api::records::{EventDetail, EventRow, Page},
    clock::SystemClock,
};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  sluice events --tenant acme --since 1h\n  sluice events --state quarantined --json\n  sluice events show evt_0192f0c1a2b37def8123456789abcdef"
)]
pub(super) struct Events {
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
    /// One event with its forms and jobs
    Show {
        /// The event
        id: EventId,
        #[command(flatten)]
        api: Api,
    },
}

impl Events {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self.command {
            None => list(self.list, global).await?,
            Some(Command::Show { id, api }) => show(id, &api, global).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(list: List, global: &Global) -> anyhow::Result<()> {
    let page: Page<EventRow> = Client::connect(&list.api, global)?.get("events", &list.narrow.filter()).await?;
    if global.json {
        return output::json(&page);
    }
    let now = SystemClock.now();
    let rows = page.items.iter().map(|event| {
        vec![
            event.id.to_string(),
            format!("{}/{}", event.tenant, event.source),
            event.event_type.clone(),
            output::clip(&output::or_dash(event.subject_id.as_ref()), 32),
            event.status.clone(),
            output::age(now, event.received_at),
        ]
    });
    output::table(&["EVENT", "LANE", "TYPE", "SUBJECT", "STATUS", "AGE"], rows.collect(), "no events");
    more(page.next.as_deref());
    Ok(())
}

/// Says that there is a next page.
pub(super) fn more(next: Option<&str>) {
    if let Some(next) = next {
        output::note(&format!("more: add --cursor {next}"));
    }
}

async fn show(id: EventId, api: &Api, global: &Global) -> anyhow::Result<()> {
    let detail: EventDetail = Client::connect(api, global)?.get(&format!("events/{id}"), &()).await?;
    if global.json {
        return output::json(&detail);
    }
    let event = &detail.event;
    let mut facts = vec![
        ("event", event.id.to_string()),
        ("lane", format!("{}/{}", event.tenant, event.source)),
        ("vendor", event.vendor.clone()),
        ("type", event.event_type.clone()),
        ("subject", output::or_dash(event.subject_id.as_ref())),
        ("external id", event.external_id.clone()),
        ("status", event.status.clone()),
        ("occurred", event.occurred_at.to_string()),
        ("received", event.received_at.to_string()),
        ("verified by", event.secret_version.clone()),
        ("trace", event.trace_id.clone()),
    ];
    if let Some(revises) = event.revises {
        facts.push(("revises", revises.to_string()));
    }
    if let Some(reason) = &detail.quarantine_reason {
        facts.push(("quarantined", format!("{reason}; release it with `sluice release {}`", event.id)));
    }
    output::facts(&facts);
    if let Some((version, form)) = detail.forms.first() {
        output::line(&format!("\nform, schema version {version}:"));
        output::json(form)?;
    }
    output::line("");
    jobs::table(&detail.jobs, "no jobs");
    Ok(())
}
