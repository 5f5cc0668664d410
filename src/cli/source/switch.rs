//! `sluice source disable` and `enable`.

use clap::Args;
use sluice_actors::domain::{SourceName, TenantName};

use super::super::{
    Global,
    client::{Api, Client, Reason},
    output,
};
use crate::api::Done;

/// What is switched, why, and where.
#[derive(Debug, Args)]
pub(in crate::cli) struct Switch {
    /// A source, or all of a tenant
    #[arg(value_name = "TENANT[/SOURCE]", value_parser = named)]
    name: (TenantName, Option<SourceName>),
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    api: Api,
}

fn named(text: &str) -> Result<(TenantName, Option<SourceName>), String> {
    let (tenant, source) = match text.split_once('/') {
        Some((tenant, source)) => (tenant, Some(source)),
        None => (text, None),
    };
    let tenant = tenant.parse().map_err(|error: sluice_actors::domain::InvalidId| error.to_string())?;
    let source = source.map(str::parse).transpose();
    Ok((tenant, source.map_err(|error: sluice_actors::domain::InvalidId| error.to_string())?))
}

impl Switch {
    /// Says so to the gateway.
    pub(super) async fn run(self, on: bool, global: &Global) -> anyhow::Result<()> {
        let (tenant, source) = &self.name;
        let verb = if on { "enable" } else { "disable" };
        let (path, what) = match source {
            Some(source) => (format!("sources/{tenant}/{source}/{verb}"), format!("{tenant}/{source}")),
            None => (format!("tenants/{tenant}/{verb}"), tenant.to_string()),
        };
        let done: Done = Client::connect(&self.api, global)?.post(&path, &self.reason).await?;
        output::done(global.json, &done, &format!("{what} is {verb}d"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_or_one_of_its_sources_is_named() {
        assert_eq!(named("acme").unwrap().1, None);
        assert_eq!(named("acme/pay").unwrap().1.unwrap().as_str(), "pay");
        for text in ["", "acme/", "/pay", "a/b/c", "Acme"] {
            assert!(named(text).is_err(), "{text}");
        }
    }
}
