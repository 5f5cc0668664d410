//! `sluice secret revoke`.

use clap::Args;
use sluice_actors::domain::LaneKey;

use crate::{
    api::{
        Done,
        secrets::{Revoke as Revoking, RevokedHere, Unrevoke},
    },
    cli::{
        Global,
        client::{Api, Client},
        lanes, output,
    },
};

/// Let a secret of a source verify nothing more, under whatever name the source has it
///
/// In force on this node before the command ends, and on every other within 5 s; over restarts,
/// and whatever the configuration says. A source that is on keeps at least one other secret that
/// verifies, unless you force it. Another source that has the very same secret keeps it: the answer names it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Revoke {
    /// The source
    #[arg(value_name = "TENANT/SOURCE", value_parser = lanes::lane)]
    lane: LaneKey,
    /// The secret, as `sluice secret status` calls it
    version: String,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Also if nothing of the source would verify then
    #[arg(long, conflicts_with = "undo")]
    force: bool,
    /// Let a revoked secret verify again
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    api: Api,
}

impl Revoke {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<()> {
        let Self { lane, version, reason, force, undo, api } = self;
        let client = Client::connect(&api, global)?;
        let reason = Some(reason);
        if undo {
            let asked = Unrevoke { version: version.clone(), reason };
            let answer: Done = client.post(&format!("sources/{lane}/secrets/unrevoke"), &asked).await?;
            return output::done(
                global.json,
                &answer,
                &format!("{version} of {lane} verifies again, within its window"),
            );
        }
        let asked = Revoking { version: version.clone(), reason, force };
        let answer: RevokedHere = client.post(&format!("sources/{lane}/secrets/revoke"), &asked).await?;
        let words = format!("{version} of {lane} is revoked: here now, on every node within 5 s");
        output::done(global.json, &answer, &words)?;
        for other in &answer.also {
            output::warn(&format!("{other} has the very same secret and still takes it: revoke it there too"));
        }
        Ok(())
    }
}
