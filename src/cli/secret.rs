//! `sluice secret`.

mod kept;
mod new_value;
mod revoke;
mod rotate;
mod status;
mod target;

use std::process::ExitCode;

use clap::Subcommand;

use self::{revoke::Revoke, rotate::Rotate, status::Status};
use super::Global;

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    #[command(
        after_help = "Examples:\n  sluice secret status\n  sluice secret status acme/payments acme/wordpress --json"
    )]
    Status(Status),
    #[command(
        after_help = "Examples:\n  sluice secret rotate acme/orders --dry-run\n  sluice secret rotate acme/payments --value-file new.secret\n  sluice secret rotate acme/wordpress\n  sluice secret rotate acme/orders --undo"
    )]
    Rotate(Rotate),
    #[command(
        after_help = "Examples:\n  sluice secret revoke acme/payments file:secrets/acme-payments.previous --reason 'it leaked'\n  sluice secret revoke acme/payments file:secrets/acme-payments.previous --undo --reason 'it did not'"
    )]
    Revoke(Revoke),
}

impl SecretCommand {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Status(status) => status.run(global).await?,
            Self::Rotate(rotate) => rotate.run(global).await?,
            Self::Revoke(revoke) => revoke.run(global).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
