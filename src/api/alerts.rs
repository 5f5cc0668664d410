//! Alerts: try whether they arrive.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api, ApiError,
    access::{Allowed, Configure},
    answer::Rows,
    events::Reason,
    request::{Body, Call},
};

/// What a receiver said to a test.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = TriedReceiver)]
pub struct Tried {
    /// Its name.
    pub receiver: String,
    /// `webhook`, `slack` or `email`.
    pub channel: String,
    /// Whether it took the alert.
    pub taken: bool,
    /// What it answered, or why there is no answer.
    pub answer: String,
}

pub(super) async fn test(
    api: Arc<Api>,
    who: Allowed<Configure>,
    call: Call<Body<Reason>>,
) -> Result<Rows<Tried>, ApiError> {
    api.records.audit(who.acts("alert.test", None, "alerts", call.input.0.text())).await?;
    Ok(Rows(api.operations.test_alerts().await))
}
