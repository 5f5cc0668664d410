//! `sluice user`.

use std::{io::Read, process::ExitCode};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use sluice_actors::domain::TenantName;
use zeroize::Zeroizing;

use super::{
    Global,
    client::{Api, Client, Reason},
    output,
};
use crate::{
    api::{Done, access::Role, accounts::UserRow},
    ids,
};

/// Bytes of standard input that are read as a password.
const MAX_PASSWORD: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a user
    #[command(
        after_help = "Examples:\n  sluice user add ada --role operator\n  sluice user add bob --role viewer --tenant acme --password-stdin\n\nWithout --password-stdin a password is made and shown once."
    )]
    Add {
        /// 1 to 64 of letters, digits and `. _ @ -`
        name: String,
        #[command(flatten)]
        rights: Rights,
        /// Read the password from standard input; at least 12 characters
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        api: Api,
    },
    /// List users
    List {
        #[command(flatten)]
        api: Api,
    },
    /// Lock a user out and end their sessions
    ///
    /// Who signs in with a provider comes back as a new user after `remove`; who is disabled does not.
    #[command(after_help = "Example:\n  sluice user disable oidc:ada --reason 'left the company'")]
    Disable {
        /// The user
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        api: Api,
    },
    /// Let a user in again who was disabled
    Enable {
        /// The user
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        api: Api,
    },
    /// Remove a user and end their sessions
    #[command(after_help = "Example:\n  sluice user remove ada --reason 'left the company'")]
    Remove {
        /// The user
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        api: Api,
    },
}

/// What an account may do.
#[derive(Debug, Args)]
pub(super) struct Rights {
    /// What they may do
    #[arg(long, value_enum)]
    pub(super) role: RoleWord,
    /// A tenant they see; without any they see all
    #[arg(long = "tenant", value_name = "TENANT")]
    tenants: Vec<TenantName>,
}

impl Rights {
    /// The tenants as the API takes them.
    pub(super) fn tenants(self) -> Option<Vec<TenantName>> {
        (!self.tenants.is_empty()).then_some(self.tenants)
    }
}

/// A role by its word.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum RoleWord {
    /// A WordPress site: reads jobs, asks for another try
    Site,
    /// Sees all but payloads
    Viewer,
    /// Also sees payloads, pauses, replays, releases, cancels
    Operator,
    /// Also decides who else may
    Admin,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Site => Self::Site,
            RoleWord::Viewer => Self::Viewer,
            RoleWord::Operator => Self::Operator,
            RoleWord::Admin => Self::Admin,
        }
    }
}

impl User {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add { name, rights, password_stdin, reason, api } => {
                let client = Client::connect(&api, global)?;
                let (password, made) = if password_stdin { (read_password()?, false) } else { (made_password(), true) };
                let role = Role::from(rights.role);
                let tenants = rights.tenants();
                let ask = json!({
                    "name": name, "password": *password, "role": role, "tenants": tenants, "reason": reason.reason,
                });
                let user: UserRow = client.post("users", &ask).await?;
                match (global.json, made) {
                    (true, true) => output::json(&json!({ "user": user, "password": *password }))?,
                    (true, false) => output::json(&json!({ "user": user }))?,
                    (false, true) => {
                        output::line(&password);
                        output::note(&format!("{name} is {role}; the password above is not shown again"));
                    }
                    (false, false) => output::line(&format!("{name} is {role}")),
                }
            }
            Self::List { api } => {
                let users: Vec<UserRow> = Client::connect(&api, global)?.get("users", &()).await?;
                if global.json {
                    output::json(&users)?;
                } else {
                    let row = |user: &UserRow| {
                        vec![
                            user.name.clone(),
                            user.role.to_string(),
                            sees(user.tenants.as_deref()),
                            user.created_at.to_string(),
                            user.disabled_at.map_or_else(String::new, |at| at.to_string()),
                        ]
                    };
                    output::table(
                        &["NAME", "ROLE", "TENANTS", "ADDED", "DISABLED"],
                        users.iter().map(row).collect(),
                        "no users",
                    );
                }
            }
            Self::Disable { name, reason, api } => {
                let done: Done = Client::connect(&api, global)?.post(&format!("users/{name}/disable"), &reason).await?;
                output::done(global.json, &done, &format!("{name} is locked out"))?;
            }
            Self::Enable { name, reason, api } => {
                let done: Done = Client::connect(&api, global)?.post(&format!("users/{name}/enable"), &reason).await?;
                output::done(global.json, &done, &format!("{name} may sign in again"))?;
            }
            Self::Remove { name, reason, api } => {
                let done: Done = Client::connect(&api, global)?.delete(&format!("users/{name}"), &reason).await?;
                output::done(global.json, &done, &format!("{name} is removed"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The tenants of an account, for people.
pub(super) fn sees(tenants: Option<&[TenantName]>) -> String {
    tenants.map_or_else(
        || "all".to_owned(),
        |tenants| tenants.iter().map(TenantName::as_str).collect::<Vec<_>>().join(","),
    )
}

fn made_password() -> Zeroizing<String> {
    Zeroizing::new(hex::encode(ids::nonce()))
}

fn read_password() -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(MAX_PASSWORD).read_to_string(&mut text).context("no password on standard input")?;
    let password = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    ensure!(!password.is_empty(), "no password on standard input");
    Ok(password)
}
