//! The admin listener: API, metrics, health.
//!
//! To add a route, write a handler in the file of its topic and add one line to [`routes`]. The
//! handler takes an [`access::Allowed`] of the permission it needs, and what it takes and gives by
//! type; permissions, `OpenAPI` and the tests of every route for every role follow from that.

pub mod access;
pub mod accounts;
pub mod alerts;
pub mod answer;
mod artifacts;
mod audit;
pub mod backlog;
pub mod dead_letters;
mod door;
mod drafts;
pub mod encryption;
pub mod error;
pub mod events;
pub mod health;
pub mod jobs;
pub mod lanes;
pub mod live;
pub mod marks;
pub mod nodes;
pub mod openapi;
pub mod people;
pub mod preview;
mod provider;
pub mod records;
mod refusals;
pub mod request;
pub mod scrape;
pub mod secrets;
mod server;
pub mod session;
pub mod sources;
pub mod subjects;
mod throttle;
pub mod traffic;

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use sluice_actors::{
    domain::{EventEnvelope, LaneKey, RouteName},
    handle::Gateway,
    ports::{Clock, JobStore, StoreUnavailable},
};

pub use answer::Done;
pub use door::Door;
pub use error::ApiError;
pub use server::serve;

use self::{
    access::{Allowed, Configure},
    answer::{DONE, Json},
    backlog::Backlogs,
    encryption::DataKeys,
    events::Reason,
    nodes::Elsewhere,
    preview::Preview,
    records::Records,
    request::{Body, Call, Route, route},
    scrape::Scrape,
};
use crate::{artifacts::Artifacts, config, oidc::Provider, telemetry::traffic::Traffic};

/// What the API asks of the rest of the program.
#[async_trait]
pub trait Operations: Send + Sync + 'static {
    /// Reads the configuration again. `Err` says in an operator's words why the running one stays.
    async fn reload(&self) -> Result<(), String>;

    /// Puts into force what operators switched on and off.
    async fn follow_switches(&self) -> Result<(), StoreUnavailable>;

    /// Asks providers of secrets and reads the configuration again. `Err` as of [`Operations::reload`].
    async fn reread_secrets(&self) -> Result<(), String>;

    /// Puts into force which secrets are revoked.
    async fn follow_revoked(&self) -> Result<(), StoreUnavailable>;

    /// The revocations of the secret that is called `version` now.
    async fn revocations_of(&self, lane: &LaneKey, version: &str)
    -> Result<Vec<records::Revocation>, StoreUnavailable>;

    /// What a route makes of an event, without publishing. `Err` says why not.
    async fn preview(&self, event: EventEnvelope, route: RouteName, ask_model: bool) -> Result<Preview, String>;

    /// Whether new deliveries are accepted (not while the process drains).
    fn is_accepting(&self) -> bool;

    /// Tells each receiver of alerts once, to try it.
    async fn test_alerts(&self) -> Vec<alerts::Tried>;

    /// The live nodes that share the store; none where nobody can share it.
    fn nodes(&self) -> Vec<nodes::NodeView>;

    /// Which node has which lane, and how those of the others are, where several can share the store.
    async fn elsewhere(&self) -> Result<Elsewhere, StoreUnavailable>;
}

/// What the API is given.
pub struct Api {
    /// The way into the tree.
    pub gateway: Gateway,
    /// What people read of the store.
    pub records: Arc<dyn Records>,
    /// The truth about jobs, to count dead letters.
    pub jobs: Arc<dyn JobStore>,
    /// The keys by which what is kept is sealed.
    pub keys: Arc<dyn DataKeys>,
    /// The running configuration.
    pub config: config::Live,
    /// The series and what refreshes them.
    pub scrape: Scrape,
    /// Reload, readiness.
    pub operations: Arc<dyn Operations>,
    /// What pages are shown of the backlog.
    pub backlogs: Backlogs,
    /// What the minute that runs brought.
    pub traffic: Arc<Traffic>,
    /// Sealings that are under way.
    pub sealing: encryption::Sealing,
    /// What pages are told.
    pub changes: live::Changes,
    /// Who is let in.
    pub door: Door,
    /// Artifacts.
    pub artifacts: Arc<Artifacts>,
    /// The way to whom people sign in with.
    pub provider: Provider,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

/// Every route of the admin listener.
pub fn routes() -> Vec<Route> {
    let (get, post, delete) = (&Method::GET, &Method::POST, &Method::DELETE);
    vec![
        route(get, "/healthz", "Health: the process lives", health::healthz),
        route(get, "/readyz", "Health: the gateway can do its work", health::readyz),
        route(get, "/metrics", "Metrics in Prometheus' text format", scrape::metrics),
        route(get, "/api/v1/openapi.json", "This document", openapi::show),
        route(post, "/api/v1/session", "Sign in", session::open),
        route(get, "/api/v1/session", "Who calls", session::show),
        route(delete, "/api/v1/session", "Sign out", session::close),
        route(get, "/api/v1/session/provider", "Whom people may sign in with", provider::offered),
        route(get, "/api/v1/session/provider/begin", "Go to the provider and sign in there", provider::begin),
        route(get, config::CALLBACK_PATH, "Come back from the provider", provider::finish),
        route(post, "/api/v1/session/password", "Change one's own password", people::set_password),
        route(get, "/api/v1/events", "Events, newest first", events::list),
        route(get, "/api/v1/events/{id}", "An event with its payload, its forms and its jobs", events::show),
        route(post, "/api/v1/events/{id}/release", "Release a quarantined event", events::release),
        route(post, "/api/v1/events/{id}/preview", "What a route's prompt makes of an event", preview::preview),
        route(post, "/api/v1/replay", "Run past events through a route", events::replay),
        route(get, "/api/v1/jobs", "Jobs, newest first", jobs::list),
        route(get, "/api/v1/jobs/{id}", "A job with its history", jobs::show),
        route(get, "/api/v1/jobs/{id}/attempts", "The attempts of a job, oldest first", jobs::attempts),
        route(get, "/api/v1/jobs/{id}/result", "What a job produced", jobs::result),
        route(post, "/api/v1/jobs/{id}/retry", "Bring the dead letter of a job back", jobs::retry),
        route(post, "/api/v1/jobs/{id}/cancel", "Cancel a job", jobs::cancel),
        route(get, "/api/v1/artifacts/{id}", "Go to a fresh URL of an artifact", artifacts::open),
        route(get, "/api/v1/dead-letters", "Dead letters, newest first", dead_letters::list),
        route(post, "/api/v1/dead-letters/replay", "Bring dead letters back", dead_letters::replay),
        route(get, "/api/v1/lanes", "Lanes, worst first", lanes::list),
        route(post, "/api/v1/lanes/{tenant}/{source}/pause", "Begin nothing more of a lane", lanes::pause),
        route(post, "/api/v1/lanes/{tenant}/{source}/resume", "Undo a pause or a parking", lanes::resume),
        route(post, "/api/v1/lanes/{tenant}/{source}/probe", "Let the next call of a lane go", lanes::probe),
        route(get, "/api/v1/sources", "Sources, their routes and when their secrets were used", sources::list),
        route(get, "/api/v1/sources/{tenant}/{source}", "A source", sources::show),
        route(post, "/api/v1/sources/{tenant}/{source}/disable", "Take nothing more for a source", sources::disable),
        route(post, "/api/v1/sources/{tenant}/{source}/enable", "Undo it", sources::enable),
        route(post, "/api/v1/tenants/{tenant}/disable", "Take nothing more for a tenant", sources::disable_tenant),
        route(post, "/api/v1/tenants/{tenant}/enable", "Undo it", sources::enable_tenant),
        route(post, "/api/v1/sources/{tenant}/{source}/secrets/revoke", "Take a secret out of use", secrets::revoke),
        route(post, "/api/v1/sources/{tenant}/{source}/secrets/unrevoke", "Undo it", secrets::unrevoke),
        route(get, "/api/v1/signing-keys", "The keys that WordPress sites verify by", secrets::signing_keys),
        route(get, "/api/v1/vendors", "Vendors, and how a source of each comes to its secret", drafts::vendors),
        route(get, "/api/v1/source-draft", "What to write for a new source", drafts::draft),
        route(get, "/api/v1/traffic", "Rates, acknowledgements and backlog, minute by minute", traffic::show),
        route(get, "/api/v1/live", "What changes, as server-sent events", live::stream),
        route(get, "/api/v1/refusals", "Refused deliveries, newest first", refusals::list),
        route(get, "/api/v1/refusals/{id}", "A refused delivery", refusals::show),
        route(post, "/api/v1/handshakes/take", "Show what a vendor handed over, once", refusals::take_handshake),
        route(get, "/api/v1/audit", "Who did what, newest first", audit::list),
        route(get, "/api/v1/users", "Users", people::users),
        route(post, "/api/v1/users", "Add a user", people::add_user),
        route(post, "/api/v1/users/{name}/disable", "Lock a user out and end their sessions", people::disable_user),
        route(post, "/api/v1/users/{name}/enable", "Undo it", people::enable_user),
        route(delete, "/api/v1/users/{name}", "Remove a user and end their sessions", people::remove_user),
        route(get, "/api/v1/tokens", "Tokens of the API", people::tokens),
        route(post, "/api/v1/tokens", "Make a token; its secret is shown this once", people::add_token),
        route(delete, "/api/v1/tokens/{id}", "Revoke a token", people::revoke_token),
        route(get, "/api/v1/nodes", "The nodes that share the store", nodes::list),
        route(get, "/api/v1/callees", "Whom this node calls", lanes::callees),
        route(get, "/api/v1/snapshot", "What this node does now", lanes::snapshot),
        route(get, "/api/v1/drift", "Fields that vendors changed", scrape::drift),
        route(post, "/api/v1/tenants/{tenant}/subjects/export", "All that is kept of a subject", subjects::export),
        route(post, "/api/v1/tenants/{tenant}/subjects/erase", "Erase all that is kept of a subject", subjects::erase),
        route(get, "/api/v1/encryption", "By which keys what is kept is sealed", encryption::list),
        route(
            post,
            "/api/v1/tenants/{tenant}/encryption/seal",
            "Seal what is plain, a part at a time",
            encryption::seal,
        ),
        route(
            post,
            "/api/v1/tenants/{tenant}/encryption/rewrap",
            "Wrap data keys by the newest key",
            encryption::rewrap,
        ),
        route(post, "/api/v1/tenants/{tenant}/encryption/rotate", "Make a new data key", encryption::rotate),
        route(
            post,
            "/api/v1/tenants/{tenant}/encryption/erase",
            "Erase all that is sealed, for good",
            encryption::erase,
        ),
        route(post, "/api/v1/alerts/test", "Try whether alerts arrive", alerts::test),
        route(post, "/api/v1/reload", "Read the configuration again", reload),
    ]
}

async fn reload(api: Arc<Api>, who: Allowed<Configure>, call: Call<Body<Reason>>) -> Result<Json<Done>, ApiError> {
    // The files are no rows: the line says that it was asked for, the log what became of it.
    api.records.audit(who.acts("config.reload", None, "configuration", call.input.0.text())).await?;
    api.operations.reload().await.map_err(ApiError::Conflict)?;
    Ok(DONE)
}
