//! Minutes of traffic and uses of secrets.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_actors::domain::{LaneKey, SourceName, Timestamp};

use super::{Store, batch::Batch, jobs::ReadFailed, records::tenants_value, rows, sql::sql, value::values};
use crate::api::traffic::{KeptTraffic, LaneMinute, Minute, Whose};

/// In the order of the columns.
fn row(of: &LaneMinute) -> Value {
    let (tenant, source) = match &of.lane {
        Some(LaneKey { tenant, source }) => (tenant.as_str(), source.as_str()),
        None => ("", ""),
    };
    let counts = &of.counts;
    let mut row = vec![json!(tenant), json!(source), json!(of.at.as_millis())];
    let numbers =
        [counts.events, counts.refused, counts.succeeded, counts.failed, counts.dead, of.waiting, counts.acks];
    row.extend(numbers.into_iter().chain(counts.within).map(Value::from));
    Value::from(row)
}

/// Keeps a minute of this node.
pub(super) async fn keep(batch: &mut Batch<'_>, kept: &KeptTraffic) -> Result<(), sqlx::Error> {
    let minutes = Value::from(kept.minutes.iter().map(row).collect::<Vec<_>>()).to_string();
    let owner = batch.owner;
    batch.execute(sql!("keep_traffic"), values![minutes, owner]).await?;
    let secrets = kept.secrets.iter().map(|(lane, version, uses)| {
        let (first, last) = (uses.first.as_millis(), uses.last.as_millis());
        json!([lane.tenant.as_str(), lane.source.as_str(), version, uses.count, first, last])
    });
    let secrets = Value::from(secrets.collect::<Vec<_>>()).to_string();
    batch.execute(sql!("keep_secret_uses"), values![secrets]).await?;
    batch.execute(sql!("forget_traffic"), values![kept.forget_before]).await?;
    Ok(())
}

impl Store {
    /// The minutes since `since` in which any node ran.
    pub(super) async fn minutes(
        &self,
        whose: &Whose,
        since: Timestamp,
    ) -> Result<BTreeMap<Timestamp, Minute>, ReadFailed> {
        let whole = self.rows(sql!("traffic_whole"), values![since]).await?;
        let whole = whole.iter().map(rows::minute).collect::<Result<BTreeMap<_, _>, _>>()?;
        let Whose::Lanes(tenants, source) = whose else { return Ok(whole) };
        // A minute in which nothing of theirs came is one with zeros, not one without a gateway.
        let mut theirs: BTreeMap<_, _> = whole.into_keys().map(|at| (at, Minute::default())).collect();
        let source = source.as_ref().map(SourceName::as_str);
        let found = self.rows(sql!("traffic_of_lanes"), values![tenants_value(tenants), source, since]).await?;
        for row in &found {
            let (at, minute) = rows::minute(row)?;
            theirs.insert(at, minute);
        }
        Ok(theirs)
    }
}
