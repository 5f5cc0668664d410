//! This process as one of the nodes that share a database.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use sluice_actors::{
    domain::{LaneKey, Timestamp},
    handle::LaneSnapshot,
    ports::{StoreUnavailable, Told},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    counters::Counters,
    jobs::ReadFailed,
    postgres::node,
    rows::{BadRow, Reader},
    session::Readers,
    sql::{Statement, own},
    value::{Values, values},
};
use crate::api::nodes::Elsewhere;

/// When this node was last known to be alive.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Before the database was told so for the last time.
    pub renewed: Instant,
    /// Raised when the others took this node for dead and it came back: without a lane.
    pub tenure: u64,
}

/// What a node tells the others of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// A digest of what is configured for each tenant.
    pub config: BTreeMap<String, String>,
    /// Whom its lanes call.
    pub callees: Vec<String>,
    /// Its lanes that do not flow, without what changes all the time. Only told: [`Nodes::elsewhere`] reads them.
    pub lanes: Vec<LaneSnapshot>,
}

/// A live node.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Of this life of its process.
    pub id: String,
    /// Whether it is this one.
    pub is_self: bool,
    /// Its release.
    pub version: String,
    /// By the clock of the database.
    pub started_at: Timestamp,
    /// What it tells of itself.
    pub profile: Profile,
}

/// What the others say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Of lanes of this node.
    Lanes(Told, Vec<LaneKey>),
    /// Many lanes have.
    MuchWork,
    /// A node left, and all it had is anyone's.
    Left,
}

/// This node. Clones share it.
#[derive(Clone)]
pub struct Nodes {
    pub(super) node: Arc<node::Node>,
    pub(super) counters: Arc<Counters>,
    pub(super) readers: Arc<ArcSwap<Readers>>,
}

impl Nodes {
    /// Its lease.
    pub fn lease(&self) -> watch::Receiver<Lease> {
        self.node.lease()
    }

    /// The live nodes, by id. Read anew with every renewal.
    pub fn members(&self) -> watch::Receiver<Arc<Vec<Member>>> {
        self.node.members()
    }

    /// What the others are to know of this node.
    pub fn describe(&self, profile: Profile) {
        self.node.describe(profile);
    }

    /// What the others tell; the first who asks hears it.
    pub fn hints(&self) -> Option<mpsc::Receiver<Hint>> {
        self.node.hints()
    }

    /// Which node has which lane, and how those of the others are that do not flow.
    pub async fn elsewhere(&self) -> Result<Elsewhere, StoreUnavailable> {
        static OWNERS: Statement = Statement { sqlite: "", postgres: own!("postgres", "lane_owners") };
        static LANES: Statement = Statement { sqlite: "", postgres: own!("postgres", "lanes_of_nodes") };
        let read = async || -> Result<_, ReadFailed> {
            let people = self.readers.load_full();
            let rows = people.people.rows(&OWNERS, Values::default()).await?;
            let owners = rows.iter().map(|row| {
                let row = Reader::new(row, "lanes", "source");
                Ok::<_, BadRow>((row.lane()?, row.get("owner")?))
            });
            let owners = owners.collect::<Result<_, _>>()?;
            let rows = people.people.rows(&LANES, values![self.node.id().as_str()]).await?;
            let told = rows.iter().map(|row| {
                let row = Reader::new(row, "nodes", "id");
                // A later release may tell of a lane what this one does not know: then it is as if it were not told.
                let lanes: Vec<serde_json::Value> = row.json("lanes")?;
                let known = lanes.into_iter().filter_map(|lane| serde_json::from_value::<LaneSnapshot>(lane).ok());
                Ok::<_, BadRow>((row.get("id")?, known.map(|snapshot| (snapshot.lane.clone(), snapshot)).collect()))
            });
            Ok(Elsewhere { owners, lanes: told.collect::<Result<_, _>>()? })
        };
        Ok(read().await?)
    }

    /// Begins, checkpoints and ends of this node that were refused, because the job or the lane was
    /// not its own any more.
    pub fn refused(&self) -> u64 {
        self.counters.refused()
    }
}
