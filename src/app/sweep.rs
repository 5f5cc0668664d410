//! Retention: small batches with pauses between them, so that deliveries never wait for it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use sluice_actors::ports::Clock;

use crate::{
    api::records::{Records, Retention, Swept},
    config::{self, Config},
    telemetry::metrics::Metrics,
};

/// How long the sweeper rests when nothing is left to do.
const REST: Duration = Duration::from_mins(5);
/// How long it lets others write between two batches.
const PAUSE: Duration = Duration::from_millis(200);

/// Sweeps until it is dropped.
pub(super) async fn run(records: Arc<dyn Records>, config: config::Live, clock: Arc<dyn Clock>, metrics: Metrics) {
    loop {
        let retention = Retention { live_secrets: live_secrets(&config.load()), ..Retention::default() };
        // A panic must not end retention for good: the store would fill up without a word.
        let swept = AssertUnwindSafe(records.sweep(&retention, clock.now())).catch_unwind().await;
        let Ok(swept) = swept else {
            tracing::error!("retention panicked, tries again later");
            tokio::time::sleep(REST).await;
            continue;
        };
        match swept {
            Ok(swept) if swept == Swept::default() => tokio::time::sleep(REST).await,
            Ok(swept) => {
                count(&metrics, &swept);
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "retention waits for the store");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// The labels of the secrets that still verify, lane by lane.
fn live_secrets(config: &Config) -> Vec<(sluice_actors::domain::LaneKey, Vec<Arc<str>>)> {
    config
        .tenants
        .values()
        .flat_map(|tenant| tenant.sources.values())
        .map(|source| (source.lane.clone(), source.keys.iter().map(|key| key.version.clone()).collect()))
        .collect()
}

fn count(metrics: &Metrics, swept: &Swept) {
    let Swept { payloads, events, dead_letters, other } = swept;
    for (kind, rows) in [("payloads", payloads), ("events", events), ("dead_letters", dead_letters), ("other", other)] {
        metrics.retention_swept_total.with_label_values(&[kind]).inc_by(*rows);
    }
    tracing::info!(payloads, events, dead_letters, other, "retention removed rows");
}
