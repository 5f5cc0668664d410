//! `sluice token`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use sluice_actors::{domain::TokenId, ports::Clock};

use super::{
    Global,
    client::{Api, Client, Reason},
    output,
    user::{Rights, sees},
};
use crate::{
    api::{Done, access::Role, accounts::TokenRow, people::MadeToken},
    clock::SystemClock,
};

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token; its secret is shown once
    #[command(
        after_help = "Examples:\n  sluice token add ci --role operator --tenant acme --days 30\n  sluice token add blog --role site --tenant acme"
    )]
    Add {
        /// What it is for; 1 to 64 of letters, digits and `. _ @ -`
        name: String,
        #[command(flatten)]
        rights: Rights,
        /// How long it lasts, 1 to 3650 days
        #[arg(long, value_name = "DAYS", default_value_t = 90)]
        days: u32,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        api: Api,
    },
    /// List tokens
    List {
        #[command(flatten)]
        api: Api,
    },
    /// Revoke a token at once
    #[command(
        after_help = "Example:\n  sluice token revoke tok_0192f0c1a2b37def8123456789abcdef --reason 'was in a log'"
    )]
    Revoke {
        /// The token's id, as the list shows it
        id: TokenId,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        api: Api,
    },
}

impl Token {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add { name, rights, days, reason, api } => {
                let role = Role::from(rights.role);
                let ask = json!({
                    "name": name, "role": role, "tenants": rights.tenants(), "days": days, "reason": reason.reason,
                });
                let made: MadeToken = Client::connect(&api, global)?.post("tokens", &ask).await?;
                if global.json {
                    output::json(&made)?;
                } else {
                    output::line(&made.secret);
                    let id = made.token.id;
                    output::note(&format!("{id}: {role} for {days} days; the secret above is not shown again"));
                }
            }
            Self::List { api } => {
                let tokens: Vec<TokenRow> = Client::connect(&api, global)?.get("tokens", &()).await?;
                if global.json {
                    output::json(&tokens)?;
                } else {
                    let header = ["ID", "NAME", "ROLE", "TENANTS", "ENDS"];
                    output::table(&header, tokens.iter().map(row).collect(), "no tokens");
                }
            }
            Self::Revoke { id, reason, api } => {
                let done: Done = Client::connect(&api, global)?.delete(&format!("tokens/{id}"), &reason).await?;
                output::done(global.json, &done, &format!("{id} is revoked"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(token: &TokenRow) -> Vec<String> {
    let now = SystemClock.now();
    let ends = match (token.revoked_at, token.expires_at) {
        (Some(_), _) => "revoked".to_owned(),
        (None, Some(at)) if at <= now => "over".to_owned(),
        (None, Some(at)) => output::age(now, at),
        (None, None) => "never".to_owned(),
    };
    vec![token.id.to_string(), token.name.clone(), token.role.to_string(), sees(token.tenants.as_deref()), ends]
}
