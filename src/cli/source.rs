//! `sluice source`.

mod addition;
mod first;
mod switch;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use sluice_actors::{
    domain::{EventId, SourceName, TenantName},
    ports::Clock,
};
use tokio::signal::unix::{SignalKind, signal};

use self::{addition::Addition, first::First, switch::Switch};
use super::{
    Global,
    client::{Api, Client},
    files, output,
};
use crate::{clock::SystemClock, vendors};

#[derive(Debug, Subcommand)]
pub(super) enum SourceCommand {
    #[command(
        after_help = "Examples:\n  sluice source add payments --tenant acme --vendor stripe\n  sluice source add chat --tenant acme --vendor slack --secret env:SLACK_SECRET --no-wait\n  sluice source add bot --tenant acme --vendor discord --secret file:secrets/discord-public-key\n  sluice source add money --tenant acme --vendor paypal --secret file:chain.pem --options 'webhook_id = \"8PT597110X687430LKGECATA\"'"
    )]
    Add(Add),
    /// Take nothing more for a source or a tenant, and run none of its jobs; what came stays
    #[command(
        after_help = "Examples:\n  sluice source disable acme/payments --reason 'its secret leaked'\n  sluice source disable acme"
    )]
    Disable(Switch),
    /// Undo it
    #[command(after_help = "Example:\n  sluice source enable acme/payments --reason 'rotated'")]
    Enable(Switch),
}

/// Add a source to a tenant's file, and wait for its first event.
///
/// It goes to the end of `tenants/TENANT.toml`, with a route that logs its events. What stands there
/// is not changed, and nothing is if the result would not be right. A gateway that runs takes it up
/// by itself.
///
/// Without --secret a file with a fresh secret is made. For a vendor that gives you its own, write
/// that one over it.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// The source's name; it ends the URL
    name: SourceName,
    /// Whose; may be left out where there is only one tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    /// Who sends
    #[arg(long, value_parser = vendors::NAMES)]
    vendor: String,
    /// Where its secret is: `file:PATH` or `env:NAME`; a public key may be written out
    #[arg(long, value_name = "REFERENCE")]
    secret: Option<String>,
    /// The vendor's own keys of the source, as TOML: `webhook_id = "…"`, `scheme = { … }`
    #[arg(long, value_name = "TOML")]
    options: Option<String>,
    /// Do not wait for the first event
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    api: Api,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Added {
    tenant: TenantName,
    source: SourceName,
    vendor: String,
    /// What the vendor calls.
    url: String,
    /// Where that goes in the vendor's settings.
    setup: &'static str,
    /// The tenant's file.
    file: String,
    /// The reference of its secret; none while it waits for one.
    secret: Option<String>,
    /// The first event, if it was waited for and came.
    first_event: Option<EventId>,
}

impl SourceCommand {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => return add.run(global).await,
            Self::Disable(switch) => switch.run(false, global).await?,
            Self::Enable(switch) => switch.run(true, global).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { name, tenant, vendor, secret, options, no_wait, api } = self;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let addition = Addition { name, tenant, vendor, secret, options };
        let since = SystemClock.now();
        let done = addition.make(&global.config)?;
        // Without a gateway there is nobody to wait for.
        let client = Client::connect(&api, global);
        let origin = match (&done.public_url, &client) {
            (None, Ok(Client { public: Some(listens), .. })) => listens.clone(),
            _ => done.origin.clone(),
        };
        let mut added = Added {
            url: format!("{origin}/webhooks/{}/{}", done.tenant, done.name),
            tenant: done.tenant,
            source: done.name,
            vendor: done.vendor,
            setup: done.setup,
            file: done.file.display().to_string(),
            secret: done.secret,
            first_event: None,
        };
        if !global.json {
            for warning in &done.warnings {
                output::warn(warning);
            }
            told(&added, done.new_tenant);
            output::line(&format!("  {}", done.about_secret));
            // What `custom` signs with stands in the tenant's file, where `send` does not look.
            if let Some(path) = done.made_secret.filter(|_| added.vendor != "custom") {
                let (program, secret) = (files::program(), files::quoted(&path));
                output::line(&format!(
                    "\n  Until then, a sample from another terminal:\n  {program} send {} --url {} --secret file:{secret}",
                    added.vendor, added.url
                ));
            }
            if done.public_url.is_none() {
                output::note(
                    "\nVendors on the internet cannot call this address: set `edge.public_url` to the one that leads here.",
                );
            }
        }
        match client {
            Ok(client) => {
                let first = First {
                    client: &client,
                    tenant: &added.tenant,
                    source: &added.source,
                    since,
                    interrupt: &mut interrupt,
                };
                if first.taken_up().await && !no_wait {
                    added.first_event = first.event().await?;
                }
            }
            Err(error) => output::note(&format!("\n{error:#}")),
        }
        if global.json {
            output::json(&added)?;
        } else if let Some(event) = added.first_event {
            output::line(&format!("\nThe first event came: {event}. `sluice events show {event}` shows it."));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(added: &Added, new_tenant: bool) {
    let Added { tenant, source, url, setup, file, .. } = added;
    let whose = if new_tenant { " (a new tenant)" } else { "" };
    output::line(&format!("{tenant}/{source} is in {file}{whose}.\n\n  {url}\n\n  {setup}"));
}
