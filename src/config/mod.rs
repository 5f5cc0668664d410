//! The configuration: read, resolved and validated once; what the rest of the program sees is
//! already right. One section per file; the file's form (`deny_unknown_fields`) stays inside.

mod access;
mod action;
mod alerts;
mod artifacts;
mod auth;
pub mod draft;
mod encryption;
mod finding;
mod input;
mod keys;
mod limits;
mod oidc;
mod queue;
mod route;
mod secrets;
mod section;
mod server;
mod signing;
mod source;
mod telemetry;
mod tenant;
mod tls;
mod tree;
mod units;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};

use sluice_actors::domain::{LaneKey, SourceName, TenantName};

use crate::secrets::{Keep, Providers, reference::RemoteReference};

pub use access::{Access, ClientCertificate, Fingerprint};
pub use action::{ActionConfig, Fetch, HttpCall, HttpForward, Prompt, Publish, PublishMode};
pub use alerts::{Alerts, Cause, Channel, Mail, MailSecurity, Receiver, Target};
pub use artifacts::{ArtifactPlace, Artifacts, Bucket};
pub use auth::{Auth, OAuth2};
pub use finding::{Error, Errors, Place};
pub use input::Input;
pub(crate) use keys::LONGEST_OVERLAP;
pub use keys::{Keys, LiveKey};
pub use limits::SourceLimits;
pub use oidc::{CALLBACK_PATH, Oidc, OidcRole, RoleRule};
pub use queue::{QueueBody, QueuePublish};
pub use route::{Filter, Route, TypePattern};
pub use server::{Admin, Database, Edge, Limits, Outbound};
pub(crate) use signing::DEFAULT_LEAD;
pub use signing::{Duty, SigningKeys, SiteKey};
pub use source::{Off, PiiPattern, RedactMethod, RedactRule, Source};
pub use telemetry::{LogFormat, Sentry, Telemetry, Traces};
pub use tenant::{Llm, Tenant, WordPress};
pub use tls::{Authorities, Tls, TlsProblem};
pub(crate) use units::parse_duration;
pub use watch::{Before, Watch};

/// The whole configuration, resolved. Cheap to share (`Arc`), replaced as a whole on reload.
#[derive(Debug)]
pub struct Config {
    /// The folder that relative paths start at.
    pub dir: PathBuf,
    /// Public listener.
    pub edge: Edge,
    /// Admin listener.
    pub admin: Admin,
    /// The store.
    pub database: Database,
    /// Artifacts.
    pub artifacts: Artifacts,
    /// Node-wide limits.
    pub limits: Limits,
    /// Calls to others.
    pub outbound: Outbound,
    /// Logs, traces, Sentry.
    pub telemetry: Telemetry,
    /// Who is told what happens.
    pub alerts: Alerts,
    /// The node's LLM, for tenants without their own.
    pub llm: Option<Arc<Llm>>,
    /// The tenants.
    pub tenants: BTreeMap<TenantName, Arc<Tenant>>,
    /// What is odd but not wrong.
    pub warnings: Vec<Error>,
    /// Every file it was read from, secrets included.
    pub files: Vec<PathBuf>,
    /// The remote providers of secrets.
    pub secrets: Providers,
    /// What of them it was resolved with.
    pub remote: BTreeSet<RemoteReference>,
    /// What they said.
    pub keep: Keep,
}

/// The configuration in force, replaced as a whole on reload.
pub type Live = Arc<ArcSwap<Config>>;

/// Reads, resolves and validates the configuration at `path`: `sluice.toml` or its folder.
pub fn load(path: &Path) -> Result<Config, Errors> {
    Input::read(path)?.resolve()
}

/// [`load`], with what remote providers said before: they are asked only for what is new.
pub fn load_keeping(path: &Path, keep: &Keep) -> Result<Config, Errors> {
    Input::read(path)?.keep(keep.clone()).resolve()
}

impl Config {
    /// The source of a lane with its tenant.
    pub fn source(&self, lane: &LaneKey) -> Option<(&Arc<Tenant>, &Arc<Source>)> {
        let tenant = self.tenants.get(&lane.tenant)?;
        Some((tenant, tenant.sources.get(&lane.source)?))
    }

    /// Whether some source asks for client certificates, so that the public listener does.
    pub fn asks_for_certificates(&self) -> bool {
        let mut sources = self.tenants.values().flat_map(|tenant| tenant.sources.values());
        sources.any(|source| source.access.certificate.is_some())
    }

    /// Switches off what operators switched off, a source or all of a tenant (`None`), and all else on.
    pub fn switch(&self, off: &BTreeSet<(TenantName, Option<SourceName>)>) {
        for source in self.tenants.values().flat_map(|tenant| tenant.sources.values()) {
            let LaneKey { tenant, source: name } = &source.lane;
            let is_off = off.contains(&(tenant.clone(), None)) || off.contains(&(tenant.clone(), Some(name.clone())));
            source.off.0.store(is_off, Ordering::Relaxed);
        }
    }

    /// Of each tenant a digest of what its configuration means, for nodes that share a store to
    /// compare.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let digest = |(name, tenant): (&TenantName, &Arc<Tenant>)| {
            // What is shown of a configuration is all of it but its secrets.
            let digest = Sha256::digest(format!("{tenant:?}"));
            (name.to_string(), hex::encode(&digest[..8]))
        };
        self.tenants.iter().map(digest).collect()
    }
}
