//! The lease: this node says that it lives, and takes others for dead that say so no more.

use std::{collections::HashSet, sync::Arc};

use sqlx::postgres::PgArguments;
use tokio::time::Instant;

use super::{LEASE, Task, link::arguments, lock};
use crate::store::{
    nodes::{Lease, Member, Profile},
    postgres::{failure::is_locked, wake},
    rows::Reader,
    sql::own,
};

impl Task {
    /// The first registration.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        if let Some(name) = self.name.clone() {
            self.link.ask(own!("postgres", "forget_name"), arguments![name]).await?;
        }
        self.register(self.node.first_id.clone()).await?;
        self.bury().await?;
        self.look_around().await
    }

    /// Lives under this id from now on.
    async fn register(&mut self, id: String) -> Result<(), sqlx::Error> {
        let renewed = Instant::now();
        let config = lock(&self.node.profile).config.clone();
        let arguments = arguments![
            id.clone(),
            self.name.clone(),
            env!("CARGO_PKG_VERSION"),
            i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX),
            json(&config),
        ];
        self.link.ask(own!("postgres", "register_node"), arguments).await?;
        self.node.id.store(Arc::new(id));
        self.renewed = renewed;
        Ok(())
    }

    /// Renews the lease; comes back if the others took this node for dead.
    pub(super) async fn renew(&mut self) {
        if let Err(error) = self.try_renew().await {
            tracing::warn!(%error, since_ms = self.renewed.elapsed().as_millis() as u64, "lease of this node not renewed");
        }
    }

    async fn try_renew(&mut self) -> Result<(), sqlx::Error> {
        let began = Instant::now();
        let (id, lease) = (self.node.id(), i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX));
        let renewed = self.link.ask(own!("postgres", "renew_node"), arguments![id.as_str(), lease]).await?;
        if renewed.is_empty() {
            let tenure = self.node.lease.borrow().tenure + 1;
            tracing::error!(node = %id, "the other nodes took this node for dead; it takes its lanes anew");
            // A new id: what was begun under the old one is anyone's.
            self.register(format!("{}.{tenure}", self.node.first_id)).await?;
            self.node.set_held(HashSet::clear);
            self.node.lease.send_replace(Lease { renewed: self.renewed, tenure });
            self.describe().await;
        } else {
            self.renewed = began;
            self.node.lease.send_modify(|lease| lease.renewed = began);
            if self.undescribed {
                self.describe().await;
            }
        }
        self.look_around().await
    }

    /// Reads who lives.
    async fn look_around(&mut self) -> Result<(), sqlx::Error> {
        let rows = self.link.ask(own!("postgres", "live_nodes"), PgArguments::default()).await?;
        let id = self.node.id();
        let mut members = Vec::with_capacity(rows.len());
        for row in &rows {
            let row = Reader::new(row, "nodes", "id");
            let of: String = row.get("id")?;
            members.push(Member {
                is_self: of == *id,
                id: of,
                version: row.get("version")?,
                started_at: row.time("started_at")?,
                profile: Profile { config: row.json("config")?, callees: row.json("callees")?, lanes: Vec::new() },
            });
        }
        self.node.members.send_if_modified(|now| {
            let changed = **now != members;
            if changed {
                *now = Arc::new(members);
            }
            changed
        });
        Ok(())
    }

    /// Takes nodes for dead whose lease has run out.
    pub(super) async fn bury(&mut self) -> Result<(), sqlx::Error> {
        let id = self.node.id();
        let mut dead = self.link.ask(own!("postgres", "bury_nodes"), arguments![id.as_str()]).await;
        if dead.as_ref().is_err_and(is_locked) {
            let ended = self.link.ask(own!("postgres", "end_dead_transactions"), arguments![id.as_str()]).await?;
            let is_ended = |row: &&_| Reader::new(row, "nodes", "id").get("ended").unwrap_or(false);
            let ended = ended.iter().filter(is_ended).count();
            if ended > 0 {
                tracing::warn!(transactions = ended, "ended what a dead node had under way: it kept its lanes");
            }
            dead = self.link.ask(own!("postgres", "bury_nodes"), arguments![id.as_str()]).await;
        }
        for row in dead? {
            let dead: String = Reader::new(&row, "nodes", "id").get("id")?;
            tracing::warn!(node = dead, "a node is dead: its lease has run out, its lanes and jobs are anyone's");
        }
        Ok(())
    }

    /// Tells the others of this node.
    pub(super) async fn describe(&mut self) {
        let told = self.try_describe().await;
        // The next renewal is soon enough.
        self.undescribed = told.is_err();
        if let Err(error) = told {
            tracing::warn!(%error, "the other nodes do not know of the configuration of this one yet");
        }
    }

    async fn try_describe(&mut self) -> Result<(), sqlx::Error> {
        let profile = lock(&self.node.profile).clone();
        let id = self.node.id();
        let arguments = arguments![id.as_str(), json(&profile.config), json(&profile.callees), json(&profile.lanes)];
        self.link.ask(own!("postgres", "describe_node"), arguments).await?;
        self.look_around().await
    }

    pub(super) async fn leave(&mut self) {
        let id = self.node.id();
        let left = async {
            self.link.ask(own!("postgres", "leave_node"), arguments![id.as_str()]).await?;
            Ok::<_, sqlx::Error>(())
        };
        if let Err(error) = left.await {
            tracing::warn!(%error, "the other nodes wait for the lease of this one to run out");
        }
        self.notify(wake::left(&id)).await;
        self.link.close().await;
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
