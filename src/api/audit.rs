//! Who did what, and why.

use std::sync::Arc;

use super::{
    Api, ApiError,
    access::{Allowed, SeeAudit},
    answer::Json,
    records::{AuditFilter, AuditRow, Page},
    request::{Call, Query},
};

pub(super) async fn list(
    api: Arc<Api>,
    who: Allowed<SeeAudit>,
    call: Call<Query<AuditFilter>>,
) -> Result<Json<Page<AuditRow>>, ApiError> {
    Ok(Json(api.records.audit_page(who.scope(), &call.input.0).await?))
}
