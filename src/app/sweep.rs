//! Retention: small batches with pauses between them, so that deliveries never wait for it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use sluice_actors::ports::Clock;

use crate::{
    api::records::{Records, Retention, Swept},
    artifacts::{ArtifactError, Artifacts},
    config::{self, Config},
    telemetry::metrics::Metrics,
};

/// How long the sweeper rests when nothing is left to do.
const REST: Duration = Duration::from_mins(5);
/// How long it lets others write between two batches.
const PAUSE: Duration = Duration::from_millis(200);

/// What the sweeper is given.
pub(super) struct Sweeper {
    pub(super) records: Arc<dyn Records>,
    pub(super) artifacts: Arc<Artifacts>,
    pub(super) config: config::Live,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
}

/// Sweeps until it is dropped.
pub(super) async fn run(sweeper: Sweeper) {
    loop {
        // A panic must not end retention for good: the store would fill up without a word.
        let more = AssertUnwindSafe(sweeper.once()).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!("retention panicked, tries again later");
            false
        });
        tokio::time::sleep(if more { PAUSE } else { REST }).await;
    }
}

impl Sweeper {
    /// One batch of each kind; whether there may be more.
    async fn once(&self) -> bool {
        let config = self.config.load_full();
        let archive = config.artifacts.archive;
        let live_secrets = live_secrets(&config);
        let retention = Retention { live_secrets, archive: archive.is_some(), ..Retention::default() };
        let swept = match self.records.sweep(&retention, self.clock.now()).await {
            Ok(swept) => swept,
            Err(error) => {
                tracing::warn!(%error, "retention waits for the store");
                return false;
            }
        };
        let archived = match archive {
            Some(keep_for) if !swept.to_archive.is_empty() => self.artifacts.archive(&swept.to_archive, keep_for).await,
            _ => Ok(0),
        };
        let removed = self.artifacts.sweep(self.clock.now()).await.map_err(ArtifactError::from);
        let (archived, removed) = match (archived, removed) {
            (Ok(archived), Ok(removed)) => (archived, removed),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "retention of artifacts waits");
                count(&self.metrics, &swept, (0, 0));
                return false;
            }
        };
        if let Some(error) = &removed.failed {
            tracing::warn!(%error, "some objects are not removed yet");
        }
        if swept != Swept::default() || archived + removed.rows > 0 {
            count(&self.metrics, &swept, (archived, removed.rows));
        }
        swept != Swept::default() || archived > 0 || removed.more
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

fn count(metrics: &Metrics, swept: &Swept, (archived, artifacts): (u64, u64)) {
    let Swept { payloads, events, dead_letters, other, to_archive: _ } = swept;
    for (kind, rows) in [
        ("payloads", payloads),
        ("events", events),
        ("dead_letters", dead_letters),
        ("artifacts", &artifacts),
        ("archived", &archived),
        ("other", other),
    ] {
        metrics.retention_swept_total.with_label_values(&[kind]).inc_by(*rows);
    }
    tracing::info!(payloads, events, dead_letters, artifacts, archived, other, "retention removed rows");
}
