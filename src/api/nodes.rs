//! The nodes that share the store.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sluice_actors::{
    domain::{LaneKey, Timestamp},
    handle::LaneSnapshot,
};
use utoipa::ToSchema;

use super::{
    Api, ApiError,
    access::{Allowed, SeeNode},
    answer::Rows,
    request::Call,
};

/// What the other nodes have.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// Which live node has which lane, this one included.
    pub owners: BTreeMap<LaneKey, String>,
    /// By the id of each other node that tells: its lanes that do not flow, as it told last, at most [`TOLD_LANES`].
    pub lanes: BTreeMap<String, BTreeMap<LaneKey, LaneSnapshot>>,
}

/// Lanes that do not flow of which a node tells the others, the worst first.
pub const TOLD_LANES: usize = 1000;

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
