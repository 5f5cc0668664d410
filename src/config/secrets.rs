//! `[secrets]` of `sluice.toml`: the remote providers, and how long what they said is good.

use std::time::Duration;

use super::{finding::Problem, section::Section, units};
use crate::secrets::{
    Providers,
    vault::{Login, VaultSettings},
};

const REFRESH: Duration = Duration::from_mins(5);
const MAX_AGE: Duration = Duration::from_hours(24);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

impl Providers {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let refresh = section.duration("refresh", Duration::from_secs(1)..=Duration::from_hours(24)).unwrap_or(REFRESH);
        let max_age = section.duration("max_age", Duration::from_secs(2)..=Duration::from_hours(24 * 30));
        let providers = Self {
            refresh,
            max_age: max_age.unwrap_or(MAX_AGE),
            timeout: section.duration("timeout", Duration::from_secs(1)..=Duration::from_mins(1)).unwrap_or(TIMEOUT),
            vault: section.table("vault").and_then(VaultSettings::read),
        };
        if providers.max_age < refresh * 2 {
            section.error(
                "max_age",
                "is less than two refreshes: one that fails would close sources",
                "write a longer one, or a shorter `refresh`",
            );
        }
        section.finish();
        providers
    }
}

impl VaultSettings {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let address: Option<url::Url> =
            section.required("address", "write its URL such as \"https://vault.example.com:8200\"");
        if let Some(address) = &address
            && address.scheme() == "http"
            && !units::is_loopback(address)
        {
            section.error(
                "address",
                "is http outside loopback: the token would travel in the clear",
                "write its https URL",
            );
        }
        let namespace = section.opt("namespace");
        let ca = section.local_secret("ca");
        let login = Login::read(&mut section);
        section.finish();
        Some(Self { address: address?, namespace, ca, login: login? })
    }
}

impl Login {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let mut found = Vec::new();
        if section.has("token") {
            found.push(section.local_secret("token").map(Self::Token));
        }
        if let Some(mut table) = section.table("approle") {
            let mount = mount(&mut table, "approle");
            let role_id = table.required("role_id", "write the role's id");
            let has_secret = table.has("secret_id");
            let secret_id = table.local_secret("secret_id");
            if !has_secret {
                table.error("secret_id", "is missing", "write a reference such as \"file:PATH\" or \"env:NAME\"");
            }
            table.finish();
            found.push((|| Some(Self::AppRole { mount: mount?, role_id: role_id?, secret_id: secret_id? }))());
        }
        if let Some(mut table) = section.table("kubernetes") {
            let mount = mount(&mut table, "kubernetes");
            let role = table.required("role", "write the role's name");
            let token_file: String = table.get("token_file", SERVICE_ACCOUNT_TOKEN.to_owned());
            let token_file = table.ctx.secrets.dir.join(token_file);
            table.finish();
            found.push((|| Some(Self::Kubernetes { mount: mount?, role: role?, token_file }))());
        }
        if found.len() == 1 {
            return found.remove(0);
        }
        let spot = section.here();
        let problem = Problem::new(
            format!("names {} ways to log in", found.len()),
            "write one of `token`, `[secrets.vault.approle]`, `[secrets.vault.kubernetes]`",
        );
        section.ctx.error(&spot.place, &spot.key, problem);
        None
    }
}

/// Where a method is mounted: words between slashes.
fn mount(section: &mut Section<'_>, default: &str) -> Option<String> {
    let mount: String = section.get("mount", default.to_owned());
    let is_word = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if mount.split('/').all(is_word) {
        return Some(mount);
    }
    section.error("mount", "is no path of a mount", format!("write one such as \"{default}\""));
    None
}
