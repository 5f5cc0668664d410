//! `sluice handshake`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use sluice_actors::domain::LaneKey;

use super::{
    Global,
    client::{Api, Client},
    lanes, output,
};
use crate::api::records::HandshakeRow;

#[derive(Debug, Subcommand)]
pub(super) enum Handshake {
    /// Show the token that a vendor handed over; it is shown once and then forgotten
    #[command(
        after_help = "Example:\n  sluice handshake show acme/notion\n\nThe source must wait for it: `await_handshake = true`."
    )]
    Show {
        /// The source that waited for it
        #[arg(value_name = "TENANT/SOURCE", value_parser = lanes::lane)]
        lane: LaneKey,
        #[command(flatten)]
        api: Api,
    },
}

impl Handshake {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self::Show { lane, api } = self;
        let ask = json!({ "tenant": lane.tenant, "source": lane.source });
        let row: HandshakeRow = Client::connect(&api, global)?.post("handshakes/take", &ask).await?;
        if global.json {
            output::json(&row)?;
            return Ok(ExitCode::SUCCESS);
        }
        output::line(&output::or_dash(row.token));
        output::note(&format!(
            "received {}; keep it in a file that only the gateway may read, name it under `secrets` of {lane}, and remove `await_handshake`. It will not be shown again.",
            row.at
        ));
        Ok(ExitCode::SUCCESS)
    }
}
