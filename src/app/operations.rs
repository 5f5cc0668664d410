//! What the API asks of the composition: reload, readiness.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use sluice_actors::{handle::Gateway, ports::Clock};
use tokio::sync::Mutex;

use crate::{
    api,
    config::{self, Config},
    http_client::HttpClient,
    telemetry::{
        logs::Logs,
        metrics::{Metrics, NONE},
    },
};

/// What a reload reads and changes besides the configuration itself.
pub(super) struct Reloading {
    /// Where it is read from.
    pub(super) path: PathBuf,
    /// The running log.
    pub(super) logs: Option<Logs>,
    /// The client whose allowed private addresses change.
    pub(super) client: HttpClient,
}

/// The composition as the API sees it.
pub(super) struct Operations {
    live: config::Live,
    gateway: Gateway,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    accepting: Arc<AtomicBool>,
    reloading: Option<Mutex<Reloading>>,
}

impl Operations {
    pub(super) fn new(
        live: config::Live,
        gateway: Gateway,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        accepting: Arc<AtomicBool>,
        reloading: Option<Reloading>,
    ) -> Self {
        let operations = Self { live, gateway, metrics, clock, accepting, reloading: reloading.map(Mutex::new) };
        operations.in_force();
        operations
    }

    /// The running configuration was read now.
    fn in_force(&self) {
        self.metrics.config_last_reload_successful.with_label_values(NONE).set(1);
        let now = self.clock.now().as_millis() as f64 / 1000.0;
        self.metrics.config_last_reload_timestamp_seconds.with_label_values(NONE).set(now);
    }

    fn apply(&self, fresh: Config, reloading: &Reloading) {
        for key in needs_restart(&self.live.load(), &fresh) {
            tracing::warn!(key, "changed, but takes effect only after a restart");
        }
        if let Some(logs) = &reloading.logs
            && let Err(error) = logs.set_filter(&fresh.telemetry.filter)
        {
            tracing::warn!(key = "telemetry.filter", %error, "log filter stays as it was");
        }
        reloading.client.set_allow_private(fresh.outbound.allow_private.clone());
        self.live.store(Arc::new(fresh));
        self.gateway.reload();
        self.in_force();
        tracing::info!("configuration reloaded");
    }
}

/// Keys whose change a running process cannot follow.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = [
        ("edge.listen", old.edge.listen != new.edge.listen),
        ("edge.tls", old.edge.tls.is_some() != new.edge.tls.is_some()),
        ("edge.trusted_proxies", old.edge.trusted_proxies != new.edge.trusted_proxies),
        ("admin.listen", old.admin.listen != new.admin.listen),
        ("admin.tls", old.admin.tls.is_some() != new.admin.tls.is_some()),
        ("admin.trusted_proxies", old.admin.trusted_proxies != new.admin.trusted_proxies),
        ("database.url", !old.database.is_same_as(&new.database)),
        ("limits.concurrency", old.limits.concurrency != new.limits.concurrency),
        ("limits.metric_lanes", old.limits.metric_lanes != new.limits.metric_lanes),
        ("telemetry.format", old.telemetry.format != new.telemetry.format),
    ];
    changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

#[async_trait]
impl api::Operations for Operations {
    async fn reload(&self) -> Result<(), String> {
        let Some(reloading) = &self.reloading else {
            return Err("this gateway was not started from a file".to_owned());
        };
        // One at a time: the newest file wins.
        let reloading = reloading.lock().await;
        let path = reloading.path.clone();
        let read = tokio::task::spawn_blocking(move || config::load(&path)).await;
        match read {
            Ok(Ok(fresh)) => {
                self.apply(fresh, &reloading);
                Ok(())
            }
            Ok(Err(errors)) => {
                self.metrics.config_last_reload_successful.with_label_values(NONE).set(0);
                for error in &errors.0 {
                    tracing::error!(%error, "configuration refused, the running one stays in force");
                }
                Err(errors.to_string())
            }
            Err(panic) => Err(format!("the configuration could not be read: {panic}")),
        }
    }

    fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Relaxed)
    }
}
