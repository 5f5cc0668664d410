//! Secrets that operators revoked: kept and put back, each with its line of the audit.

use sluice_actors::domain::LaneKey;

use super::{
    batch::Batch,
    people,
    rows::{BadRow, Reader, Row},
    sql::sql,
    value::values,
};
use crate::api::records::{AuditEntry, Revocation};

/// Revokes a secret. `false`: another one of the source was revoked meanwhile, and nothing is written.
pub(super) async fn revoke(
    batch: &mut Batch<'_>,
    revocation: &Revocation,
    entry: &AuditEntry,
) -> Result<bool, sqlx::Error> {
    let Revocation { lane, nth, version, fingerprint, revoked_at: _ } = revocation;
    let (tenant, source) = (lane.tenant.as_str(), lane.source.as_str());
    let values = values![tenant, source, *nth, version.as_str(), fingerprint.as_str(), batch.now];
    if batch.fetch(sql!("revoke_secret"), values).await?.is_empty() {
        return Ok(false);
    }
    people::audit(batch, entry).await?;
    Ok(true)
}

/// Puts revoked secrets back into use. `false`: none of them is revoked, and nothing is written.
pub(super) async fn unrevoke(
    batch: &mut Batch<'_>,
    revocations: &[Revocation],
    entry: &AuditEntry,
) -> Result<bool, sqlx::Error> {
    let mut changed = false;
    for Revocation { lane, nth, fingerprint, .. } in revocations {
        let LaneKey { tenant, source } = lane;
        let values = values![tenant.as_str(), source.as_str(), *nth, fingerprint.as_str()];
        changed |= !batch.fetch(sql!("unrevoke_secret"), values).await?.is_empty();
    }
    if changed {
        people::audit(batch, entry).await?;
    }
    Ok(changed)
}

/// What was revoked.
pub(super) fn row(row: &Row) -> Result<Revocation, BadRow> {
    let row = Reader::new(row, "revocations", "nth");
    Ok(Revocation {
        lane: row.lane()?,
        nth: row.get("nth")?,
        version: row.get("version")?,
        fingerprint: row.get("fingerprint")?,
        revoked_at: row.time("revoked_at")?,
    })
}
