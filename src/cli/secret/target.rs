//! What is rotated: the newest secret of a source, or the key that requests to a site are signed with.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{anyhow, bail};
use sluice_actors::domain::{LaneKey, SourceName, TenantName};

use crate::{
    app::Refused,
    config::{Config, Error, Errors, Input, LiveKey, Source},
    error_code::ErrorCode,
    secrets::{Reference, Secret},
    vendors::Key,
};

/// How the keys of a tenant's site are called.
pub(super) const SITE: &str = "wordpress";

/// `TENANT/SOURCE`, or `TENANT/wordpress`.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) tenant: TenantName,
    pub(super) name: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let LaneKey { tenant, source } = crate::cli::lanes::lane(text)?;
        Ok(Self { tenant, name: source.to_string() })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}

/// What is rotated, as the configuration has it.
pub(super) struct Target<'c> {
    pub(super) named: Named,
    pub(super) kind: Kind<'c>,
    /// Of the newest secret.
    pub(super) reference: Reference,
    pub(super) overlap: Option<Duration>,
    pub(super) lead: Option<Duration>,
    pub(super) config: &'c Config,
}

/// Which of both.
pub(super) enum Kind<'c> {
    Source(&'c Source),
    Site,
}

/// A refusal to rotate, with its page.
pub(super) fn refused(message: impl Into<String>) -> anyhow::Error {
    Refused::new(ErrorCode::Rotation, message).into()
}

/// The configuration, though not every secret can be read by who runs this.
pub(super) fn read(config: &std::path::Path) -> anyhow::Result<(Config, Vec<Error>)> {
    Ok(Input::read(config)?.resolve_what_can_be_read()?)
}

impl<'c> Target<'c> {
    /// Finds it. `site`: the tenant's site, though a source is called so too.
    pub(super) fn find(config: &'c Config, unread: &[Error], named: Named, site: bool) -> anyhow::Result<Self> {
        let tenant = config.tenants.get(&named.tenant).ok_or_else(|| anyhow!("there is no tenant {}", named.tenant))?;
        let source = named.name.parse::<SourceName>().ok().and_then(|name| tenant.sources.get(&name));
        let is_site = site || (named.name == SITE && source.is_none());
        let missing = || match unread {
            [] => anyhow!("there is no {named}"),
            // It is left out for what could not be read.
            unread => Errors(unread.to_vec()).into(),
        };
        if is_site {
            let site = tenant.wordpress.as_deref().ok_or_else(missing)?;
            let newest = site.signing.newest();
            return Ok(Self {
                reference: reference(&named, &newest.version)?,
                overlap: newest.overlap,
                lead: newest.lead,
                kind: Kind::Site,
                named,
                config,
            });
        }
        let source = source.ok_or_else(missing)?;
        let newest: &LiveKey = match source.keys.first() {
            Some(key) => key,
            None if unread.is_empty() => bail!("{named} has no secret yet"),
            None => return Err(Errors(unread.to_vec()).into()),
        };
        Ok(Self {
            reference: reference(&named, &newest.version)?,
            overlap: newest.overlap,
            lead: None,
            kind: Kind::Source(source),
            named,
            config,
        })
    }

    /// Whether the text is a secret of this kind.
    pub(super) fn check(&self, value: &Secret) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Site => match crate::actions::SigningKey::parse(value) {
                Ok(_) => Ok(()),
                Err(error) => Err(refused(format!("the new value is {error}"))),
            },
            Kind::Source(source) => {
                let key = source.vendor.key(value).map_err(|error| refused(format!("the new value: {error}")))?;
                match self.owner(&key) {
                    Some(tenant) => Err(refused(format!(
                        "the new value is a secret of tenant `{tenant}`: with a shared one, either can forge the other's deliveries; take one of its own"
                    ))),
                    None => Ok(()),
                }
            }
        }
    }

    /// Another tenant that has the key already.
    fn owner(&self, key: &Key) -> Option<&TenantName> {
        let Key::Symmetric(_) = key else { return None };
        let material = key.material();
        let others = self.config.tenants.values().filter(|tenant| tenant.name != self.named.tenant);
        let mut found = others.filter(|tenant| {
            tenant.sources.values().flat_map(|source| source.keys.iter()).any(|key| *key.key.material() == *material)
        });
        found.next().map(|tenant| &tenant.name)
    }
}

fn reference(named: &Named, version: &str) -> anyhow::Result<Reference> {
    version.parse().map_err(|_| {
        refused(format!(
            "{named} verifies with a public key that stands in its tenant's file; write the vendor's new one there"
        ))
    })
}
