//! What the API asks of the composition: reload, readiness.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sluice_actors::{
    domain::{CalleeId, CheckpointStage, EventEnvelope, HoldReason, LaneKey, RouteName},
    handle::Gateway,
    ports::{Clock, Fenced, Gate, Permit, StoreUnavailable},
};
use tokio::sync::{Mutex, Semaphore};

use super::{certificates::Certificates, keys, nodes::differing_tenants, revoked::Revoked};
use crate::{
    actions::{Actions, Previewed, configured_callees},
    alerts::Poster,
    api::{
        self,
        alerts::Tried,
        nodes::{Elsewhere, NodeView},
        preview::{Preview, PreviewAnswer},
        records::{Records, Revocation, Switch},
    },
    config::{self, Config, Sentry},
    http_client::HttpClient,
    ingest::Receiver,
    store::{
        KeysRefused, Store,
        nodes::{Member, Nodes},
    },
    telemetry::{
        calls::Callees,
        known,
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
    pub(super) live: config::Live,
    /// Whose keys a configuration names.
    pub(super) store: Store,
    pub(super) gateway: Gateway,
    pub(super) metrics: Metrics,
    pub(super) callees: Arc<Callees>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) accepting: Arc<AtomicBool>,
    pub(super) reloading: Option<Mutex<Reloading>>,
    pub(super) nodes: Option<Nodes>,
    /// What its listeners show.
    pub(super) certificates: Certificates,
    pub(super) receiver: Arc<Receiver>,
    pub(super) records: Arc<dyn Records>,
    pub(super) poster: Poster,
    /// What is switched off in the running configuration.
    pub(super) switched: Mutex<BTreeSet<Switch>>,
    pub(super) previews: Previews,
    pub(super) revoked: Revoked,
    /// A configuration was read and could not be taken, because the store did not answer. What watches files and
    /// providers has seen the change and will not see it again.
    pub(super) owed: AtomicBool,
}

/// Runs prompts that nobody publishes.
pub(super) struct Previews {
    actions: Arc<Actions>,
    seats: Semaphore,
}

impl Previews {
    /// Previews at once: they are for people who look.
    const SEATS: usize = 2;

    /// By the actions of jobs.
    pub(super) fn new(actions: Arc<Actions>) -> Self {
        Self { actions, seats: Semaphore::new(Self::SEATS) }
    }
}

/// The way of a preview to callees: under the limits of the lane's own jobs, and without a store.
struct PreviewGate {
    gateway: Gateway,
    lane: LaneKey,
}

#[async_trait]
impl Gate for PreviewGate {
    async fn enter(&self, callee: &CalleeId) -> Result<Box<dyn Permit>, HoldReason> {
        self.gateway.enter(&self.lane, callee).await
    }

    async fn checkpoint(&self, _: CheckpointStage, _: &serde_json::Value) -> Result<Fenced, StoreUnavailable> {
        Ok(Fenced::Applied)
    }
}

impl Operations {
    /// With a configuration that was read now.
    pub(super) fn started(self) -> Self {
        self.in_force();
        self
    }

    /// The running configuration was read now.
    fn in_force(&self) {
        let config = self.live.load();
        known::begin_at_zero(&self.metrics, &self.callees, &config, &configured_callees(&config));
        self.metrics.config_last_reload_successful.with_label_values(NONE).set(1);
        let now = self.clock.now().as_millis() as f64 / 1000.0;
        self.metrics.config_last_reload_timestamp_seconds.with_label_values(NONE).set(now);
    }

    /// Gives a configuration what the store knows of it. The keys come last: they are in force at once.
    async fn prepare(&self, fresh: &Arc<Config>) -> Result<(), String> {
        let owes = |error: StoreUnavailable| {
            self.owed.store(true, Ordering::Relaxed);
            error.to_string()
        };
        // What was switched off stays off.
        let off = self.records.switches().await.map_err(owes)?;
        fresh.switch(&off);
        // Nor does what was revoked verify for a moment.
        self.revoked.put_into(fresh).await.map_err(owes)?;
        keys::apply(&self.store, fresh).await.map_err(|error| {
            // What changed at a provider is told once: a store that was away is no reason to forget it.
            if matches!(error, KeysRefused::Unavailable(_)) {
                self.owed.store(true, Ordering::Relaxed);
            }
            error.to_string()
        })
    }

    fn apply(&self, fresh: Arc<Config>, reloading: &Reloading) {
        for key in needs_restart(&self.live.load(), &fresh) {
            tracing::warn!(key, "changed, but takes effect only after a restart");
        }
        if let Some(logs) = &reloading.logs
            && let Err(error) = logs.set_filter(&fresh.telemetry.filter)
        {
            tracing::warn!(key = "telemetry.filter", %error, "log filter stays as it was");
        }
        reloading.client.set_allow_private(fresh.outbound.allow_private.clone());
        fresh.keep.retain(&fresh.remote);
        self.certificates.follow(&self.live.load(), &fresh);
        self.live.store(fresh);
        self.receiver.follow();
        self.gateway.reload();
        self.in_force();
        self.metrics.config_reloads_total.with_label_values(&["applied"]).inc();
        tracing::info!("configuration reloaded");
    }

    fn refused(&self) {
        self.metrics.config_last_reload_successful.with_label_values(NONE).set(0);
        self.metrics.config_reloads_total.with_label_values(&["refused"]).inc();
    }
}

/// Keys whose change a running process cannot follow.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = [
        ("edge.listen", old.edge.listen != new.edge.listen),
        ("edge.tls", old.edge.tls.is_some() != new.edge.tls.is_some()),
        ("edge.trusted_proxies", old.edge.trusted_proxies != new.edge.trusted_proxies),
        ("edge.proxy_protocol", old.edge.proxy_protocol != new.edge.proxy_protocol),
        ("edge.client_certificate_header", old.edge.client_certificate_header != new.edge.client_certificate_header),
        ("edge.max_connections", old.edge.max_connections != new.edge.max_connections),
        (
            "edge.max_connections_per_address",
            old.edge.max_connections_per_address != new.edge.max_connections_per_address,
        ),
        ("admin.listen", old.admin.listen != new.admin.listen),
        ("admin.tls", old.admin.tls.is_some() != new.admin.tls.is_some()),
        ("admin.trusted_proxies", old.admin.trusted_proxies != new.admin.trusted_proxies),
        ("database.url", !old.database.is_same_as(&new.database)),
        ("artifacts.store", old.artifacts.place != new.artifacts.place),
        ("limits.concurrency", old.limits.concurrency != new.limits.concurrency),
        ("limits.metric_lanes", old.limits.metric_lanes != new.limits.metric_lanes),
        ("limits.ingest_per_second", old.limits.ingest_per_second != new.limits.ingest_per_second),
        ("limits.body_memory", old.limits.body_memory != new.limits.body_memory),
        ("telemetry.traces", old.telemetry.traces != new.telemetry.traces),
        ("telemetry.sentry", is_other_sentry(old.telemetry.sentry.as_ref(), new.telemetry.sentry.as_ref())),
        ("telemetry.format", old.telemetry.format != new.telemetry.format),
    ];
    changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

fn is_other_sentry(old: Option<&Sentry>, new: Option<&Sentry>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => old.dsn.expose() != new.dsn.expose() || old.environment != new.environment,
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

/// How often it is asked what other nodes' operators switched.
const FOLLOW: Duration = Duration::from_secs(5);

/// Follows what is switched on and off, here or through other nodes, until it is dropped.
pub(super) async fn follow(operations: Arc<Operations>) {
    let mut ticks = tokio::time::interval(FOLLOW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match api::Operations::follow_switches(&*operations).await {
            // The store answers again: what could not be taken for its sake is.
            Ok(()) if operations.owed.swap(false, Ordering::Relaxed) => {
                // Both ends of a reload are logged where it happens.
                let _ = api::Operations::reload(&*operations).await;
            }
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "what other nodes switched is not known now"),
        }
    }
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
        let keep = self.live.load().keep.clone();
        let read = tokio::task::spawn_blocking(move || config::load_keeping(&path, &keep)).await;
        match read {
            Ok(Ok(fresh)) => {
                let fresh = Arc::new(fresh);
                if let Err(error) = self.prepare(&fresh).await {
                    self.refused();
                    tracing::error!(error, "configuration refused, the running one stays in force");
                    return Err(error);
                }
                self.apply(fresh, &reloading);
                // Somebody may have revoked a secret meanwhile, into the configuration that was in force. Else the
                // next look finds it.
                let _ = self.revoked.put_into(&self.live.load_full()).await;
                Ok(())
            }
            Ok(Err(errors)) => {
                self.refused();
                for error in &errors.0 {
                    tracing::error!(%error, "configuration refused, the running one stays in force");
                }
                Err(errors.to_string())
            }
            // What a panic said is not told: it could carry a secret.
            Err(_) => {
                self.refused();
                tracing::error!("reading the configuration failed, the running one stays in force");
                Err("reading the configuration failed; the log tells where".to_owned())
            }
        }
    }

    async fn follow_switches(&self) -> Result<(), StoreUnavailable> {
        let off = self.records.switches().await?;
        let mut last = self.switched.lock().await;
        if *last != off {
            self.live.load().switch(&off);
            self.gateway.reload();
            *last = off;
        }
        Ok(())
    }

    async fn reread_secrets(&self) -> Result<(), String> {
        let config = self.live.load_full();
        if !config.remote.is_empty() {
            config.keep.fetch(&config.secrets, &config.remote).await;
        }
        self.reload().await
    }

    async fn follow_revoked(&self) -> Result<(), StoreUnavailable> {
        self.revoked.put_into(&self.live.load_full()).await
    }

    async fn revocations_of(&self, lane: &LaneKey, version: &str) -> Result<Vec<Revocation>, StoreUnavailable> {
        let all = self.records.revocations().await?;
        let config = self.live.load_full();
        let (revoked, lane, version) = (self.revoked.clone(), lane.clone(), version.to_owned());
        let compared = tokio::task::spawn_blocking(move || {
            let Some((_, source)) = config.source(&lane) else { return Vec::new() };
            let keys: Vec<_> = source.keys.iter().filter(|key| *key.version == *version).collect();
            let of_lane = all.into_iter().filter(|revocation| revocation.lane == lane);
            of_lane.filter(|revocation| keys.iter().any(|key| revoked.is_of(key, revocation))).collect()
        });
        compared.await.map_err(|_| StoreUnavailable("comparing revoked secrets failed".into()))
    }

    async fn preview(&self, event: EventEnvelope, route: RouteName, ask_model: bool) -> Result<Preview, String> {
        let busy = |_| format!("{} previews run already; try again in a moment", Previews::SEATS);
        let _seat = self.previews.seats.try_acquire().map_err(busy)?;
        let gate = PreviewGate { gateway: self.gateway.clone(), lane: event.lane.clone() };
        let gate: Option<Arc<dyn Gate>> = ask_model.then(|| Arc::new(gate) as _);
        let Previewed { model, system, user, answer } = self.previews.actions.preview(event, &route, gate).await?;
        let (answer, problem) = match answer {
            Some(Ok((title, summary, category))) => (Some(PreviewAnswer { title, summary, category }), None),
            Some(Err(problem)) => (None, Some(problem)),
            None => (None, None),
        };
        Ok(Preview { model, system, user, answer, problem, took_ms: 0 })
    }

    fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Relaxed)
    }

    async fn test_alerts(&self) -> Vec<Tried> {
        self.poster.try_all(&self.live.load_full()).await
    }

    fn nodes(&self) -> Vec<NodeView> {
        let Some(nodes) = &self.nodes else { return Vec::new() };
        let members = nodes.members().borrow().clone();
        let own = members.iter().find(|member| member.is_self).cloned();
        let view = |member: &Member| NodeView {
            id: member.id.clone(),
            is_self: member.is_self,
            version: member.version.clone(),
            started_at: member.started_at,
            differs: differing_tenants(&[own.clone().unwrap_or_else(|| member.clone()), member.clone()])
                .into_iter()
                .collect(),
        };
        members.iter().map(view).collect()
    }

    async fn elsewhere(&self) -> Result<Elsewhere, StoreUnavailable> {
        match &self.nodes {
            Some(nodes) => nodes.elsewhere().await,
            None => Ok(Elsewhere::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::{config::Input, secrets::Environment};

    fn config(main: &str) -> Config {
        let certificate = || {
            let made = generate_simple_self_signed(vec!["hooks.example.com".to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let ((cert, key), (scrape, _)) = (certificate(), certificate());
        let environment = Environment::fixed([
            ("CERT", &*cert),
            ("KEY", &*key),
            ("SCRAPE", &*scrape),
            ("DSN", "https://key@sentry.example/1"),
        ]);
        Input::new("cfg").main(main).environment(environment).resolve().unwrap()
    }

    #[test]
    fn every_key_that_a_running_process_cannot_follow_is_named() {
        let plain = config("");
        for (main, key) in [
            ("[edge]\nlisten = '127.0.0.1:1'", "edge.listen"),
            ("[edge]\ntls = { cert = 'env:CERT', key = 'env:KEY' }", "edge.tls"),
            ("[edge]\ntrusted_proxies = ['10.0.0.1']", "edge.trusted_proxies"),
            ("[edge]\nmax_connections = 1", "edge.max_connections"),
            ("[edge]\nmax_connections_per_address = 1", "edge.max_connections_per_address"),
            ("[admin]\nlisten = '127.0.0.1:1'", "admin.listen"),
            ("[admin]\ntls = { cert = 'env:CERT', key = 'env:KEY' }", "admin.tls"),
            ("[admin]\ntrusted_proxies = ['10.0.0.1']", "admin.trusted_proxies"),
            ("[database]\nurl = 'sqlite://other.db'", "database.url"),
            ("[limits]\nconcurrency = 1", "limits.concurrency"),
            ("[limits]\nmetric_lanes = 1", "limits.metric_lanes"),
            ("[limits]\ningest_per_second = 1", "limits.ingest_per_second"),
            ("[limits]\nbody_memory = '2MiB'", "limits.body_memory"),
            ("[telemetry]\nformat = 'json'", "telemetry.format"),
            ("[telemetry]\ntraces = { endpoint = 'http://127.0.0.1:1' }", "telemetry.traces"),
            ("[telemetry]\nsentry = { dsn = 'env:DSN' }", "telemetry.sentry"),
        ] {
            assert_eq!(needs_restart(&plain, &config(main)), [key], "{main}");
        }
        // Only a proxy that is trusted may say these.
        let behind = |more: &str| config(&format!("[edge]\ntrusted_proxies = ['127.0.0.1']\n{more}"));
        for (main, key) in [
            ("proxy_protocol = true", "edge.proxy_protocol"),
            ("client_certificate_header = 'X-Client-Cert'", "edge.client_certificate_header"),
        ] {
            assert_eq!(needs_restart(&behind(""), &behind(main)), [key], "{main}");
        }
        // Another certificate is followed.
        let tls = "[edge]\ntls = { cert = 'env:CERT', key = 'env:KEY' }";
        assert_eq!(needs_restart(&config(tls), &config(tls)), [] as [&str; 0]);
        // These are followed.
        let followed = "[edge]\nmax_body = '1KiB'\npublic_url = 'https://hooks.example.com'\n[admin]\n\
                        scrape_token = 'env:SCRAPE'\n[outbound]\nallow_private = ['10.0.0.0/8']\n\
                        [telemetry]\nfilter = 'debug'\n";
        assert_eq!(needs_restart(&plain, &config(followed)), [] as [&str; 0]);
    }
}
