//! `sluice encryption`.

use std::{
    io::{self, BufRead, IsTerminal},
    process::ExitCode,
};

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use sluice_actors::domain::TenantName;

use super::{
    Global,
    client::{Api, Client, Reason},
    output,
};
use crate::api::encryption::{EncryptionView, KeyMade, KeysChanged, Seal as Asked, SealStep};

#[derive(Debug, Subcommand)]
pub(super) enum Encryption {
    Status(Status),
    Seal(Seal),
    Rewrap(Rewrap),
    Rotate(Rotate),
    Erase(Erase),
}

/// Say by which keys what is kept is sealed, and which of them may go
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sluice encryption status\n  sluice encryption status --rows --json")]
pub(super) struct Status {
    /// Also count the rows that are sealed and those that are plain: reads through all of them
    #[arg(long)]
    rows: bool,
    #[command(flatten)]
    api: Api,
}

/// Which tenant, and why.
#[derive(Debug, Args)]
struct Which {
    /// The tenant
    tenant: TenantName,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    api: Api,
}

impl Which {
    fn path(&self, verb: &str) -> String {
        format!("tenants/{}/encryption/{verb}", self.tenant)
    }
}

/// Seal what was stored before the tenant had a key
///
/// A small part at a time, while the gateway works on. It may be broken off and run again: what is sealed stays so.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sluice encryption seal acme\n  sluice encryption seal acme --dry-run --json")]
pub(super) struct Seal {
    #[command(flatten)]
    which: Which,
    /// Only say how much
    #[arg(long)]
    dry_run: bool,
}

/// Wrap a tenant's data keys by its newest wrapping key
///
/// A start and a reload of the gateway do so by themselves. Payloads are not touched.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sluice encryption rewrap acme")]
pub(super) struct Rewrap {
    #[command(flatten)]
    which: Which,
}

/// Make a new data key for what a tenant's vendors send from now on
///
/// What is there stays sealed by the keys before, which are kept.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sluice encryption rotate acme --reason 'yearly'")]
pub(super) struct Rotate {
    #[command(flatten)]
    which: Which,
}

/// Erase a tenant's data keys, and by that all that is sealed by them, for good
///
/// Payloads, headers, forms, checkpoints and results read as erased from then on, on every node; artifacts and uploads
/// are removed. Backups from before hold the wrapped keys: for those, destroy the wrapping key at its provider too.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice encryption erase acme\n  sluice encryption erase acme --yes --reason 'contract ended'"
)]
pub(super) struct Erase {
    #[command(flatten)]
    which: Which,
    /// Do it without asking: it cannot be undone
    #[arg(long)]
    yes: bool,
    /// Although rows of the tenant are plain, which stay readable
    #[arg(long)]
    leave_plain: bool,
}

/// Rows of a tenant.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Rows {
    sealed: u64,
    plain: u64,
}

impl Encryption {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Status(command) => command.run(global).await,
            Self::Seal(command) => command.run(global).await,
            Self::Rewrap(Rewrap { which }) => {
                let client = Client::connect(&which.api, global)?;
                let done: KeysChanged = client.post(&which.path("rewrap"), &which.reason).await?;
                say(global, &done, &format!("{} data keys were wrapped by the newest key", done.keys))
            }
            Self::Rotate(Rotate { which }) => {
                let client = Client::connect(&which.api, global)?;
                let made: KeyMade = client.post(&which.path("rotate"), &which.reason).await?;
                say(global, &made, &format!("the data key {} seals from now on", made.id))
            }
            Self::Erase(command) => command.run(global).await,
        }
    }
}

fn say(global: &Global, answer: &impl Serialize, words: &str) -> anyhow::Result<ExitCode> {
    if global.json {
        output::json(answer)?;
    } else {
        output::line(words);
    }
    Ok(ExitCode::SUCCESS)
}

/// Goes through all rows of a tenant.
async fn walk(client: &Client, path: &str, dry_run: bool, reason: &Reason) -> anyhow::Result<Rows> {
    let bar = output::bar(0);
    bar.set_message(if dry_run { "counting rows" } else { "sealing rows" });
    let mut asked = Asked { cursor: None, dry_run, reason: reason.reason.clone() };
    let mut rows = Rows::default();
    loop {
        let step: SealStep = client.post(path, &asked).await?;
        bar.set_length(step.total);
        bar.set_position(step.done);
        if dry_run {
            rows.sealed += step.sealed;
            rows.plain += step.plain;
        } else {
            rows.sealed += step.newly_sealed;
        }
        let Some(next) = step.next else { break };
        asked.cursor = Some(next);
    }
    bar.finish_and_clear();
    Ok(rows)
}

impl Status {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let client = Client::connect(&self.api, global)?;
        let views: Vec<EncryptionView> = client.get("encryption", &json!({})).await?;
        let mut counted = Vec::new();
        for view in &views {
            let path = format!("tenants/{}/encryption/seal", view.tenant);
            counted.push(if self.rows { Some(walk(&client, &path, true, &Reason::default()).await?) } else { None });
        }
        if global.json {
            let all = views.iter().zip(&counted).map(|(view, rows)| json!({ "keys": view, "rows": rows }));
            output::json(&all.collect::<Vec<_>>())?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut lines = Vec::new();
        for (view, rows) in views.iter().zip(&counted) {
            for (nth, key) in view.wrapping_keys.iter().enumerate() {
                let role = match (nth, key.safe_to_remove) {
                    (0, _) => "wraps",
                    (_, true) => "safe to remove",
                    (_, false) => "still needed",
                };
                let (tenant, wraps) = (view.tenant.clone(), key.wraps.to_string());
                let rows = rows.map(|rows| format!("{} sealed, {} plain", rows.sealed, rows.plain));
                lines.push(vec![
                    tenant,
                    if view.seals { "sealing" } else { "off" }.to_owned(),
                    key.reference.clone(),
                    key.fingerprint.clone(),
                    wraps,
                    role.to_owned(),
                    output::or_dash(rows.filter(|_| nth == 0)),
                ]);
            }
            let erased = view.data_keys.iter().filter(|key| key.erased_at.is_some()).count();
            if erased > 0 {
                output::note(&format!("{}: {} erased", view.tenant, output::count(erased, "data key")));
            }
        }
        let header = ["TENANT", "NEW ROWS", "KEY", "FINGERPRINT", "DATA KEYS", "", "ROWS"];
        output::table(&header, lines, "no tenant has [encryption] (docs/encryption.md)");
        Ok(ExitCode::SUCCESS)
    }
}

impl Seal {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { which, dry_run } = self;
        let client = Client::connect(&which.api, global)?;
        let rows = walk(&client, &which.path("seal"), dry_run, &which.reason).await?;
        let words = if dry_run {
            format!("{} rows are plain and {} are sealed; nothing was changed", rows.plain, rows.sealed)
        } else {
            format!("{} rows were sealed", rows.sealed)
        };
        say(global, &rows, &words)
    }
}

impl Erase {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { which, yes, leave_plain } = self;
        let client = Client::connect(&which.api, global)?;
        let tenant = &which.tenant;
        if !leave_plain {
            let views: Vec<EncryptionView> = client.get("encryption", &json!({})).await?;
            // Of a tenant whose file is gone nothing can be sealed any more.
            if views.iter().any(|view| view.tenant == tenant.as_str()) {
                let rows = walk(&client, &which.path("seal"), true, &which.reason).await?;
                if rows.plain > 0 {
                    bail!(
                        "{} rows of {tenant} are not sealed and would stay readable: run `sluice encryption seal {tenant}` \
                         first, or pass --leave-plain",
                        rows.plain
                    );
                }
            }
        }
        if !yes && !is_confirmed(tenant)? {
            bail!("nothing was erased");
        }
        let done: KeysChanged = client.post(&which.path("erase"), &which.reason).await?;
        let words = format!(
            "{} data keys of {tenant} are erased, and all that they sealed; its artifacts go; backups from before hold them still (docs/encryption.md)",
            done.keys
        );
        say(global, &done, &words)
    }
}

/// Asks the person at the terminal to type the tenant's name.
fn is_confirmed(tenant: &TenantName) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("pass --yes: nobody is here to confirm");
    }
    output::note(&format!(
        "this cannot be undone; type `{tenant}` to erase all that is sealed of it, and its artifacts"
    ));
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed)?;
    Ok(typed.trim() == tenant.as_str())
}
