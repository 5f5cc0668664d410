//! A file of `tenants/`: the tenant, its WordPress site, its LLM.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sluice_actors::{
    domain::{SourceName, TenantName},
    ports::Rate,
};
use url::Url;

use super::Source;
use crate::secrets::Secret;

/// One tenant.
#[derive(Debug)]
pub struct Tenant {
    /// Its name: the file's stem.
    pub name: TenantName,
    /// Its WordPress site.
    pub wordpress: Option<Arc<WordPress>>,
    /// Its LLM: its own `[llm]`, or the node's.
    pub llm: Option<Arc<Llm>>,
    /// Its sources.
    pub sources: BTreeMap<SourceName, Arc<Source>>,
}

/// `[wordpress]` (DESIGN §7).
#[derive(Debug)]
pub struct WordPress {
    /// The site's origin and path, without a trailing slash.
    pub site: Url,
    /// The callback's path and query under it; default `/?rest_route=/sluice/v1/callbacks`.
    pub callback: String,
    /// The id that the plugin shows; in the token's audience.
    pub site_uuid: String,
    /// Ed25519 private key, PKCS#8 PEM.
    pub signing_key: Secret,
    /// Whether the token goes into `Authorization` too.
    pub authorization_header: bool,
}

/// `[llm]`: an OpenAI-compatible chat endpoint.
#[derive(Debug)]
pub struct Llm {
    /// The base, such as `https://api.openai.com/v1`, without a trailing slash.
    pub base_url: Url,
    /// The default model.
    pub model: String,
    /// The key.
    pub api_key: Option<Secret>,
    /// The deadline of one call.
    pub timeout: Duration,
    /// Its rate, shared by all lanes that use this credential.
    pub rate: Option<Rate>,
    /// Calls at once.
    pub concurrency: Option<u32>,
}
