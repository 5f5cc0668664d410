//! The nodes that share the store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_actors::domain::Timestamp;
use utoipa::ToSchema;

use super::{
    Api, ApiError,
    access::{Allowed, SeeNode},
    answer::Rows,
    request::Call,
};

/// A live node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Of this life of its process.
    pub id: String,
    /// Whether it is the one that answers.
    pub is_self: bool,
    /// Its release.
    pub version: String,
    /// By the clock of the database.
    pub started_at: Timestamp,
    /// Tenants that it has configured otherwise than the node that answers.
    pub differs: Vec<String>,
}

pub(super) async fn list(api: Arc<Api>, _: Allowed<SeeNode>, _: Call<()>) -> Result<Rows<NodeView>, ApiError> {
    Ok(Rows(api.operations.nodes()))
}
