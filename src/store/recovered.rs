//! A database that was brought back to an earlier moment: by a backup, or by the server's own means.

use super::{session::Session, sql::sql, value::values};

/// By how much the fences of jobs that can still run are raised then. Attempts after that moment have
/// shown their callees higher fences than the database knows, and those would take the attempts to
/// come for older ones. Each attempt raised a fence by one; no job has had nearly so many.
const RAISE: i64 = 1 << 24;

/// Raises the fences of jobs that can still run; returns how many there are.
pub(super) async fn raise_fences(session: &mut Session<'_>) -> Result<u64, sqlx::Error> {
    session.execute(sql!("raise_fences"), values![RAISE]).await
}
