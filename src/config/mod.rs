//! The configuration: read, resolved and validated once; what the rest of the program sees is
//! already right. One section per file; the file's form (`deny_unknown_fields`) stays inside.

mod route;
mod server;
mod source;
mod tenant;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use sluice_actors::domain::{LaneKey, TenantName};

pub use route::{
    ActionConfig, Auth, Fetch, Filter, HttpCall, HttpForward, OAuth2, Prompt, Publish, Route, TypePattern,
};
pub use server::{Admin, Database, Edge, Limits, LogFormat, Outbound, Telemetry, Tls};
pub use source::{LiveKey, PiiPattern, RedactMethod, RedactRule, Source, SourceLimits};
pub use tenant::{Llm, Tenant, WordPress};

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
    /// Node-wide limits.
    pub limits: Limits,
    /// Calls to others.
    pub outbound: Outbound,
    /// Logs and traces.
    pub telemetry: Telemetry,
    /// The tenants.
    pub tenants: BTreeMap<TenantName, Arc<Tenant>>,
}

impl Config {
    /// The source of a lane with its tenant.
    pub fn source(&self, lane: &LaneKey) -> Option<(&Arc<Tenant>, &Arc<Source>)> {
        let tenant = self.tenants.get(&lane.tenant)?;
        Some((tenant, tenant.sources.get(&lane.source)?))
    }
}
