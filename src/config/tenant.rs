//! A file of `tenants/`: the tenant, its WordPress site, its LLM.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sluice_actors::{
    domain::{SourceName, TenantName},
    ports::Rate,
};
use url::Url;

use super::{
    Outbound, SigningKeys, Source,
    finding::Problem,
    section::Section,
    server::Edge,
    units::{self, FromItem},
};
use crate::{seal::Encryption, secrets::Secret};

/// What a tenant file needs to know of the node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) edge: &'a Edge,
    pub(super) outbound: &'a Outbound,
    pub(super) llm: Option<&'a Arc<Llm>>,
}

/// One tenant.
#[derive(Debug)]
pub struct Tenant {
    /// Its name: the file's stem.
    pub name: TenantName,
    /// Its WordPress site.
    pub wordpress: Option<Arc<WordPress>>,
    /// Its LLM: its own `[llm]`, or the node's.
    pub llm: Option<Arc<Llm>>,
    /// How what is kept of it is sealed; none: it is not.
    pub encryption: Option<Arc<Encryption>>,
    /// Its sources.
    pub sources: BTreeMap<SourceName, Arc<Source>>,
}

impl Tenant {
    pub(super) fn read(name: TenantName, mut section: Section<'_>, node: Node<'_>) -> Self {
        // Before the mark: a wrapping key whose provider is away closes no source, for data keys are unwrapped already.
        let encryption = section.table("encryption").and_then(Encryption::read).map(Arc::new);
        let mark = section.ctx.mark();
        let own = section.has("llm");
        let llm = section.table("llm").map(|table| Arc::new(Llm::read(table, node.outbound)));
        let has_wordpress = section.has("wordpress");
        let wordpress =
            section.table("wordpress").and_then(|table| WordPress::read(table, node.outbound)).map(Arc::new);
        let staleness = section.ctx.staleness_since(mark);
        let has_llm = own || node.llm.is_some();
        let around = super::source::Around { tenant: &name, node, has_llm, has_wordpress, staleness };
        let mut sources = BTreeMap::new();
        for (key, spot, item) in section.named("sources") {
            let source: SourceName = match key.parse() {
                Ok(source) => source,
                Err(error) => {
                    let problem = Problem::new(error.to_string(), "rename the table");
                    section.ctx.error(&spot.place, &spot.key, problem);
                    continue;
                }
            };
            if let Some(table) = section.as_table(spot, item)
                && let Some(read) = Source::read(source.clone(), table, &around)
            {
                sources.insert(source, Arc::new(read));
            }
        }
        if sources.is_empty() {
            section.warn(
                "sources",
                "names no source: this tenant receives nothing",
                "add one with `sluice source add`",
            );
        }
        section.finish();
        let llm = if own { llm } else { node.llm.cloned() };
        Self { name, wordpress, llm, encryption, sources }
    }
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
    /// What its requests are signed with.
    pub signing: SigningKeys,
    /// Whether the token goes into `Authorization` too.
    pub authorization_header: bool,
    /// What the site presents where it asks by itself, at `/site/v1/{tenant}/…`; none: nobody may.
    pub site_token: Option<Secret>,
}

/// The fewest bytes of a `site_token`: it is ours to choose, and nobody shall guess it.
const MIN_SITE_TOKEN: usize = 32;

/// The callback's default path and query: it works with and without pretty permalinks.
const DEFAULT_CALLBACK: &str = "/?rest_route=/sluice/v1/callbacks";

impl WordPress {
    fn read(mut section: Section<'_>, outbound: &Outbound) -> Option<Self> {
        let site: Option<Url> = section.required("site", "write the site's URL such as \"https://blog.example.com\"");
        if let Some(site) = &site
            && let Err(problem) = outbound.check(site)
        {
            section.problem("site", problem);
        }
        let callback = section.parsed("callback", |item| {
            let text = String::from_item(item)?;
            if text.starts_with('/') && !text.starts_with("//") && !text.contains(['#', ' ']) {
                Ok(text)
            } else {
                Err(Problem::new("is not a path of the site", format!("write one such as \"{DEFAULT_CALLBACK}\"")))
            }
        });
        let site_uuid: Option<String> =
            section.required("site_uuid", "copy it from Settings → Sluice of the WordPress site");
        if let Some(text) = &site_uuid
            && uuid::Uuid::try_parse(text).is_err()
        {
            section.error("site_uuid", "is not a UUID", "copy it from Settings → Sluice of the WordPress site");
        }
        let signing = SigningKeys::read(&mut section);
        let authorization_header = section.get("authorization_header", true);
        let site_token = section.secret("site_token");
        if site_token.as_ref().is_some_and(|token| token.expose().len() < MIN_SITE_TOKEN) {
            section.error(
                "site_token",
                format!("has fewer than {MIN_SITE_TOKEN} bytes"),
                "make one with `openssl rand -hex 32`",
            );
        }
        section.finish();
        Some(Self {
            site: site?,
            callback: callback.unwrap_or_else(|| DEFAULT_CALLBACK.to_owned()),
            site_uuid: site_uuid?.to_lowercase(),
            signing: signing?,
            authorization_header,
            site_token,
        })
    }
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

const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

impl Llm {
    /// A tenant's own section stands alone: nothing of the node's is inherited, so that the node's
    /// key never goes to an endpoint that a tenant file names.
    pub(super) fn read(mut section: Section<'_>, outbound: &Outbound) -> Self {
        let base_url = section
            .opt("base_url")
            .unwrap_or_else(|| units::base_url(DEFAULT_BASE_URL).expect("the default URL is a URL"));
        if let Err(problem) = outbound.check(&base_url) {
            section.problem("base_url", problem);
        }
        let model: Option<String> = section.required("model", "write the model's name such as \"gpt-5-mini\"");
        let llm = Self {
            base_url,
            model: model.unwrap_or_default(),
            api_key: section.secret("api_key"),
            timeout: section
                .duration("timeout", Duration::from_secs(1)..=Duration::from_mins(2))
                .unwrap_or(Duration::from_secs(15)),
            rate: section
                .positive("per_second", 10_000.0)
                .map(|per_second| Rate { per_second, burst: per_second.ceil().max(1.0) as u32 }),
            concurrency: section.opt_number("concurrency", 1..=1_000),
        };
        section.finish();
        llm
    }
}
