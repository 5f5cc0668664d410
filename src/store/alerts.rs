//! When somebody was last told of what.

use std::borrow::Cow;

use async_trait::async_trait;
use sluice_actors::{domain::Timestamp, ports::StoreUnavailable};

use super::{
    Store,
    batch::Batch,
    command::Command,
    jobs::{ReadFailed, limit_value},
    rows::Reader,
    sql::sql,
    value::values,
};
use crate::api::marks::{HeldAlert, Marks, Raise, Raised};

#[async_trait]
impl Marks for Store {
    async fn raise(&self, raise: Raise) -> Result<Raised, StoreUnavailable> {
        let raise = Box::new(raise);
        Ok(self.shared.writer.submit(|reply| Command::RaiseAlert { raise, reply }).await?)
    }

    async fn held_alerts(&self, told_before: Timestamp, limit: usize) -> Result<Vec<HeldAlert>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("held_alerts"), values![told_before, limit_value(limit)]).await?;
            let mut held = Vec::with_capacity(rows.len());
            for row in &rows {
                let row = Reader::new(row, "alert_marks", "place");
                held.push(HeldAlert {
                    mark: (row.get("tenant")?, row.get("place")?, row.get("cause")?),
                    told_at: row.time("told_at")?,
                    suppressed: row.number("suppressed")?,
                    alert: row.get("held")?,
                });
            }
            Ok(held)
        };
        Ok(read().await?)
    }

    async fn take_held_alert(&self, held: &HeldAlert) -> Result<bool, StoreUnavailable> {
        let held = Box::new(held.clone());
        Ok(self.shared.writer.submit(|reply| Command::TakeHeldAlert { held, reply }).await?)
    }
}

/// Decides whether an alert is told.
pub(super) async fn raise(batch: &mut Batch<'_>, raise: &Raise) -> Result<Raised, sqlx::Error> {
    let (tenant, place, cause) = (raise.mark.tenant.as_str(), raise.mark.place.as_str(), raise.mark.cause);
    let now = batch.now;
    let count = i64::from(raise.counts);
    let noted = batch.fetch(sql!("note_alert"), values![tenant, place, cause, count, raise.hold.as_deref()]).await?;
    let Some(row) = noted.first() else { return Ok(Raised::Suppressed) };
    let row = Reader::new(row, "alert_marks", "cause");
    let again = row.opt::<Cow<'_, str>>("told")?.is_some_and(|told| told == raise.id);
    // A clock that was set back must not silence anything for longer than it is far.
    let told_at = row.time_or_none("told_at")?.filter(|at| *at <= now);
    if !again && told_at.is_some_and(|at| now.since(at) < raise.every) {
        return Ok(Raised::Suppressed);
    }
    let suppressed = row.number::<u64>("suppressed")?.saturating_sub(u64::from(raise.counts));
    batch.execute(sql!("tell_alert"), values![tenant, place, cause, now, raise.id.as_str()]).await?;
    Ok(Raised::Tell { suppressed })
}

/// Takes what is held.
pub(super) async fn take_held(batch: &mut Batch<'_>, held: &HeldAlert) -> Result<bool, sqlx::Error> {
    let (tenant, place, cause) = &held.mark;
    let suppressed = i64::try_from(held.suppressed).unwrap_or(i64::MAX);
    let values = values![tenant.as_str(), place.as_str(), cause.as_str(), held.told_at, suppressed, batch.now];
    Ok(!batch.fetch(sql!("take_held_alert"), values).await?.is_empty())
}
