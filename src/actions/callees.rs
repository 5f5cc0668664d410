//! The ids of callees. They are shown in logs and metric labels: hosts and digests, never a secret.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use sluice_actors::domain::CalleeId;
use url::Url;

use super::{fetch, http_call};
use crate::{
    brokers::Endpoint,
    config::{ActionConfig, Auth, Config, Llm, Route, Tenant, WordPress},
    secrets::digits,
};

/// `llm:<host>#<digits of base URL and key>`: one id per credential, so that all lanes that share a
/// key share its limits.
pub(crate) fn llm(llm: &Llm) -> CalleeId {
    let mut digest = Sha256::new();
    digest.update(llm.base_url.as_str());
    digest.update(llm.api_key.as_ref().map_or(&[][..], |key| key.expose()));
    let digits = digits(&digest.finalize());
    CalleeId::new("llm", &format!("{}#{digits}", llm.base_url.host_str().unwrap_or_default()))
}

/// `wordpress:<host[:port]>`.
pub(crate) fn wordpress(wordpress: &WordPress) -> CalleeId {
    CalleeId::new("wordpress", &authority(&wordpress.site))
}

/// `queue:<host:port>#<digits of the URL>`: one id per credential, as for an LLM.
pub(crate) fn queue(endpoint: &Endpoint) -> CalleeId {
    CalleeId::new("queue", &format!("{}#{}", endpoint.authority(), endpoint.id().short()))
}

/// `host:<host[:port]>`.
pub(crate) fn host(url: &Url) -> CalleeId {
    CalleeId::new("host", &authority(url))
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// All that jobs of this configuration may call.
pub fn configured(config: &Config) -> BTreeSet<CalleeId> {
    let mut all = BTreeSet::new();
    for tenant in config.tenants.values() {
        for route in tenant.sources.values().flat_map(|source| &source.routes) {
            of_route(tenant, route, &mut all);
        }
    }
    all
}

fn of_route(tenant: &Tenant, route: &Route, all: &mut BTreeSet<CalleeId>) {
    let token = |auth: &Auth| match auth {
        Auth::OAuth2(oauth2) => Some(host(&oauth2.token_url)),
        Auth::None | Auth::Bearer(_) | Auth::Basic { .. } | Auth::Header { .. } => None,
    };
    if let Some(fetch) = &route.fetch {
        all.extend(fetch::callee(fetch));
        all.extend(token(&fetch.auth));
    }
    let site = || tenant.wordpress.as_ref().map(|site| wordpress(site));
    match &route.action {
        ActionConfig::SummarizeAndPublish { .. } => {
            all.extend(tenant.llm.as_ref().map(|settings| llm(settings)));
            all.extend(site());
        }
        ActionConfig::WordpressPublish { .. } => all.extend(site()),
        ActionConfig::HttpCall(call) => {
            all.extend(http_call::callee(call));
            all.extend(token(&call.auth));
        }
        ActionConfig::HttpForward(forward) => {
            all.insert(host(&forward.url));
        }
        ActionConfig::QueuePublish(publish) => {
            all.insert(queue(&publish.endpoint));
        }
        ActionConfig::Log => {}
    }
}
