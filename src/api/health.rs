//! `/healthz`: the process lives. `/readyz`: it can do its work.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api, ApiError,
    access::{Allowed, Public},
    answer::{DONE, Done, Json, Special},
    request::Call,
};

/// How long a check may take.
const DEADLINE: Duration = Duration::from_millis(500);

/// Touches nothing but the process: a store that is down must not restart it.
pub(super) async fn healthz(_: Arc<Api>, _: Allowed<Public>, _: Call<()>) -> Result<Json<Done>, ApiError> {
    Ok(DONE)
}

/// One thing that readiness depends on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What is checked: `accepting`, `store`, `tree`.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What is wrong; empty if nothing.
    pub detail: String,
}

/// Whether deliveries can be accepted, check by check.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// All checks hold.
    pub ready: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

pub(super) async fn readyz(api: Arc<Api>, _: Allowed<Public>, _: Call<()>) -> Result<Special<Readiness>, ApiError> {
    let (store, tree) = tokio::join!(
        tokio::time::timeout(DEADLINE, api.records.ping()),
        tokio::time::timeout(DEADLINE, api.gateway.snapshot()),
    );
    let late = || format!("no answer within {} ms", DEADLINE.as_millis());
    let accepting = api.operations.is_accepting();
    let checks = vec![
        check("accepting", if accepting { Ok(()) } else { Err("the process is draining".to_owned()) }),
        check("store", store.map_err(|_| late()).and_then(|answer| answer.map_err(|error| error.to_string()))),
        check("tree", tree.map_err(|_| late()).and_then(|answer| answer.map(drop).map_err(|error| error.to_string()))),
    ];
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Special::json(status, &Readiness { ready, checks })
}

fn check(name: &str, outcome: Result<(), String>) -> Check {
    Check { name: name.to_owned(), ok: outcome.is_ok(), detail: outcome.err().unwrap_or_default() }
}
