//! The ids of callees. They are shown in logs and metric labels: hosts and digests, never a secret.

use sha2::{Digest, Sha256};
use sluice_actors::domain::CalleeId;
use url::Url;

use crate::config::{Llm, WordPress};

/// `llm:<host>#<digest of base URL and key>`: one id per credential, so that all lanes that share a
/// key share its limits.
pub(crate) fn llm(llm: &Llm) -> CalleeId {
    let mut digest = Sha256::new();
    digest.update(llm.base_url.as_str());
    digest.update(llm.api_key.as_ref().map_or(&[][..], |key| key.expose()));
    let digest = hex::encode(digest.finalize());
    CalleeId::new("llm", &format!("{}#{}", llm.base_url.host_str().unwrap_or_default(), &digest[..8]))
}

/// `wordpress:<host[:port]>`.
pub(crate) fn wordpress(wordpress: &WordPress) -> CalleeId {
    CalleeId::new("wordpress", &authority(&wordpress.site))
}

/// `host:<host[:port]>`.
pub(crate) fn host(url: &Url) -> CalleeId {
    CalleeId::new("host", &authority(url))
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
