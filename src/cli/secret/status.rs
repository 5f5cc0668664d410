//! `sluice secret status`.

use clap::Args;
use serde::Serialize;
use serde_json::json;
use sluice_actors::{domain::Timestamp, ports::Clock};

use super::target::{Named, SITE};
use crate::{
    api::{
        records::Page,
        secrets::{DutyView, SigningKeyView},
        sources::{SecretView, SourceView, Standing},
    },
    cli::{
        Global,
        client::{Api, Client},
        output,
    },
    clock::SystemClock,
};

/// Show which secret of a source verified what, and which can go
///
/// Asks the running gateway. Without names, of all sources and of the WordPress sites' signing keys.
/// Values are never shown.
#[derive(Debug, Args)]
pub(in crate::cli) struct Status {
    /// Only these; the signing keys of a tenant's site are TENANT/wordpress
    #[arg(value_name = "TENANT/SOURCE")]
    of: Vec<Named>,
    #[command(flatten)]
    api: Api,
}

#[derive(Debug, Serialize)]
struct Shown {
    sources: Vec<SourceSecrets>,
    signing_keys: Vec<SigningKeyView>,
}

/// The secrets of a source.
#[derive(Debug, Serialize)]
struct SourceSecrets {
    tenant: String,
    source: String,
    vendor: String,
    enabled: bool,
    secrets: Vec<SecretView>,
}

impl Status {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<()> {
        let client = Client::connect(&self.api, global)?;
        let wants = |tenant: &str, name: &str| {
            self.of.is_empty() || self.of.iter().any(|of| of.tenant.as_str() == tenant && of.name.as_str() == name)
        };
        let mut sources = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page: Page<SourceView> = client.get("sources", &json!({ "limit": 500, "cursor": cursor })).await?;
            sources.extend(page.items.into_iter().filter(|it| wants(it.tenant.as_str(), it.source.as_str())));
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let keys: Vec<SigningKeyView> = client.get("signing-keys", &json!({})).await?;
        let shown = Shown {
            sources: sources.into_iter().map(SourceSecrets::from).collect(),
            signing_keys: keys.into_iter().filter(|key| wants(key.tenant.as_str(), SITE)).collect(),
        };
        for of in &self.of {
            let is_source = shown.sources.iter().any(|it| it.tenant == of.tenant.as_str() && it.source == of.name);
            let is_site = of.name == SITE && shown.signing_keys.iter().any(|key| key.tenant == of.tenant);
            anyhow::ensure!(is_source || is_site, "the gateway has no {of} that you may see");
        }
        if global.json {
            return output::json(&shown);
        }
        let now = SystemClock.now();
        let header = ["OF", "SECRET", "BEGINS", "ENDS", "LAST USED", "USES", "STANDING"];
        let rows = shown.sources.iter().flat_map(|of| of.secrets.iter().map(move |secret| of.row(secret, now)));
        let rows: Vec<_> = rows.chain(shown.signing_keys.iter().map(key_row)).collect();
        output::table(&header, rows, "no secrets");
        Ok(())
    }
}

impl From<SourceView> for SourceSecrets {
    fn from(view: SourceView) -> Self {
        Self {
            tenant: view.tenant.to_string(),
            source: view.source.to_string(),
            vendor: view.vendor,
            enabled: view.enabled,
            secrets: view.secrets,
        }
    }
}

impl SourceSecrets {
    fn row(&self, secret: &SecretView, now: Timestamp) -> Vec<String> {
        let last = secret.last_used_at.map(|at| format!("{} ago", output::short(now.since(at))));
        vec![
            format!("{}/{}", self.tenant, self.source),
            secret.version.clone(),
            output::or_dash(secret.not_before),
            output::or_dash(secret.not_after),
            last.unwrap_or_else(|| "never".to_owned()),
            secret.uses.to_string(),
            words(secret.standing).to_owned(),
        ]
    }
}

fn key_row(key: &SigningKeyView) -> Vec<String> {
    let duty = match key.duty {
        DutyView::Published => "published, signs later",
        DutyView::Signs => "signs",
        DutyView::Retiring => "published for what it signed",
        DutyView::Retired => "ended: remove it",
    };
    vec![
        format!("{}/{SITE}", key.tenant),
        key.version.clone(),
        output::or_dash(key.signs_from),
        output::or_dash(key.not_after),
        "–".to_owned(),
        "–".to_owned(),
        duty.to_owned(),
    ]
}

fn words(standing: Standing) -> &'static str {
    match standing {
        Standing::Newest => "newest",
        Standing::AwaitsNewest => "needed: the newest verified nothing yet",
        Standing::InUse => "in use",
        Standing::Overlaps => "overlaps: may still be sent again",
        Standing::SafeToRetire => "safe to retire",
        Standing::Expired => "ended: remove it",
        Standing::Revoked => "revoked",
    }
}
