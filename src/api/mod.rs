//! The admin listener: API, metrics, health. Everything but `/metrics`, `/healthz` and `/readyz`
//! needs the token that `serve` writes into its data folder.
//!
//! To add a route, write a handler in the file of its topic and add one line to [`routes`]; the
//! test of all routes then asks it without a token.

pub mod dead_letters;
pub mod error;
pub mod events;
pub mod health;
pub mod jobs;
pub mod lanes;
pub mod nodes;
pub mod records;
pub mod request;
pub mod scrape;
mod server;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use http::Method;
use sluice_actors::{
    domain::LaneKey,
    handle::Gateway,
    ports::{Clock, JobStore, StoreUnavailable},
};

pub use error::ApiError;
pub use server::serve;

use self::{
    records::{AuditEntry, Records},
    request::{Access, Answer, Call, Route, route},
    scrape::Scrape,
};
use crate::{config, secrets::Secret};

/// What the API asks of the rest of the program.
#[async_trait]
pub trait Operations: Send + Sync + 'static {
    /// Reads the configuration again. `Err` says in an operator's words why the running one stays.
    async fn reload(&self) -> Result<(), String>;

    /// Whether new deliveries are accepted (not while the process drains).
    fn is_accepting(&self) -> bool;

    /// The live nodes that share the store; none where nobody can share it.
    fn nodes(&self) -> Vec<nodes::NodeView>;

    /// Which node has which lane, where several can share the store.
    async fn owners(&self) -> Result<BTreeMap<LaneKey, String>, StoreUnavailable>;
}

/// What the API is given.
pub struct Api {
    /// The way into the tree.
    pub gateway: Gateway,
    /// What people read of the store.
    pub records: Arc<dyn Records>,
    /// The truth about jobs, to count dead letters.
    pub jobs: Arc<dyn JobStore>,
    /// The running configuration.
    pub config: config::Live,
    /// The series and what refreshes them.
    pub scrape: Scrape,
    /// Reload, readiness.
    pub operations: Arc<dyn Operations>,
    /// What a caller presents.
    pub token: Secret,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

impl Api {
    /// Writes an audit line; the act itself has happened.
    async fn audit(&self, action: &str, object: String, reason: String) {
        if let Err(error) = self.records.audit(entry(action, object, reason)).await {
            tracing::error!(action, %error, "audit line lost");
        }
    }
}

/// The holder of the data folder's token, as the audit names them.
const ACTOR: &str = "data-folder-token";

fn entry(action: &str, object: String, reason: String) -> AuditEntry {
    AuditEntry { actor: ACTOR.to_owned(), action: action.to_owned(), object, reason }
}

/// Every route of the admin listener.
pub fn routes() -> Vec<Route> {
    let (get, post) = (Method::GET, Method::POST);
    let (open, token) = (Access::Open, Access::Token);
    vec![
        route(&get, "/healthz", open, health::healthz),
        route(&get, "/readyz", open, health::readyz),
        route(&get, "/metrics", Access::Scrape, scrape::metrics),
        route(&get, "/api/v1/events", token, events::list),
        route(&get, "/api/v1/events/{id}", token, events::show),
        route(&post, "/api/v1/events/{id}/release", token, events::release),
        route(&post, "/api/v1/replay", token, events::replay),
        route(&get, "/api/v1/jobs", token, jobs::list),
        route(&get, "/api/v1/jobs/{id}", token, jobs::show),
        route(&post, "/api/v1/jobs/{id}/cancel", token, jobs::cancel),
        route(&get, "/api/v1/dead-letters", token, dead_letters::list),
        route(&post, "/api/v1/dead-letters/replay", token, dead_letters::replay),
        route(&get, "/api/v1/lanes", token, lanes::list),
        route(&post, "/api/v1/lanes/{tenant}/{source}/pause", token, lanes::pause),
        route(&post, "/api/v1/lanes/{tenant}/{source}/resume", token, lanes::resume),
        route(&post, "/api/v1/lanes/{tenant}/{source}/probe", token, lanes::probe),
        route(&get, "/api/v1/nodes", token, nodes::list),
        route(&get, "/api/v1/callees", token, lanes::callees),
        route(&get, "/api/v1/snapshot", token, lanes::snapshot),
        route(&get, "/api/v1/drift", token, scrape::drift),
        route(&get, "/api/v1/refusals", token, events::refusals),
        route(&get, "/api/v1/refusals/{id}", token, events::refusal),
        route(&post, "/api/v1/handshakes/take", token, events::take_handshake),
        route(&post, "/api/v1/reload", token, reload),
    ]
}

async fn reload(api: Arc<Api>, _call: Call) -> Result<Answer, ApiError> {
    api.operations.reload().await.map_err(ApiError::Conflict)?;
    api.audit("config.reload", "configuration".to_owned(), String::new()).await;
    Answer::json(&serde_json::json!({ "ok": true }))
}
