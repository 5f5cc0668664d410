//! Reads again, from time to time, what remote providers keep; a value that changed is a reload as a
//! changed file is, one that grew too old closes what depends on it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::operations::Operations;
use crate::{
    api::Operations as _,
    config,
    ingest::{self, IngestEvent},
    secrets::{Keep, Providers, Refreshed, reference::RemoteReference},
    telemetry::metrics::Metrics,
    vendors::Refusal,
};

/// After one refresh for deliveries that did not verify, the next may not follow sooner: senders must
/// not choose how often a provider is asked.
const NOT_SOONER: Duration = Duration::from_secs(30);
/// The part of the interval that chance adds or takes: nodes must not ask all at once.
const JITTER: f64 = 0.1;

/// Tells of deliveries that may not have verified because a secret changed at its provider; passes all
/// on. The answer to the sender does not wait for it.
pub(super) struct Doubting<O> {
    pub(super) live: config::Live,
    pub(super) doubt: Arc<Notify>,
    pub(super) next: O,
}

impl<O: ingest::Observer> ingest::Observer for Doubting<O> {
    fn observe(&self, event: &IngestEvent<'_>) {
        if let IngestEvent::Refused {
            place: Some(place), reason: Refusal::BadSignature | Refusal::NoLiveSecret, ..
        } = event
            && self.live.load().source(place.lane).is_some_and(|(_, source)| !source.staleness.is_empty())
        {
            self.doubt.notify_one();
        }
        self.next.observe(event);
    }
}

/// What refreshing needs.
pub(super) struct Refresh {
    pub(super) operations: Arc<Operations>,
    pub(super) keep: Keep,
    pub(super) metrics: Metrics,
    pub(super) doubt: Arc<Notify>,
    pub(super) seed: u64,
}

impl Refresh {
    /// Refreshes until it is dropped.
    pub(super) async fn run(self) {
        let mut chance = StdRng::seed_from_u64(self.seed);
        let (mut last, mut not_sooner) = (Instant::now(), Instant::now());
        self.tell_start();
        loop {
            let providers = self.operations.live.load().secrets.clone();
            let interval = providers.refresh.mul_f64(1.0 + chance.random_range(-JITTER..JITTER));
            let expiry = self.keep.expiry(providers.max_age);
            let expired = async {
                match expiry {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let doubted = async {
                self.doubt.notified().await;
                sleep_until(not_sooner).await;
            };
            tokio::select! {
                () = sleep_until(last + interval) => {}
                () = expired => {
                    self.close(&providers);
                    continue;
                }
                () = doubted => not_sooner = Instant::now() + NOT_SOONER,
            }
            last = Instant::now();
            self.refresh(providers).await;
        }
    }

    async fn refresh(&self, providers: Providers) {
        let config = self.operations.live.load_full();
        if config.remote.is_empty() {
            return;
        }
        // A task of its own: a panic in a provider's client is an error of it.
        let keep = self.keep.clone();
        let (asked, wanted) = (providers.clone(), config.remote.clone());
        let Ok(refreshed) = tokio::spawn(async move { keep.fetch(&asked, &wanted).await }).await else {
            for kind in kinds(&config.remote) {
                self.metrics.secrets_refresh_total.with_label_values(&[kind, "failed"]).inc();
            }
            tracing::error!("reading secrets from their providers failed, the last good ones stay");
            self.close(&providers);
            return;
        };
        self.tell(&config.remote, &refreshed);
        self.close(&providers);
        if refreshed.changed {
            tracing::info!("a secret changed at its provider");
            // Both ends of a reload are logged where it happens.
            drop(self.operations.reload().await);
        }
    }

    /// Takes what is too old out of use.
    fn close(&self, providers: &Providers) {
        let expired = self.keep.expire(providers.max_age);
        for reference in &expired {
            tracing::error!(
                %reference,
                max_age_s = providers.max_age.as_secs(),
                "a secret was not read from its provider for too long: what needs it is closed"
            );
        }
        if !expired.is_empty() {
            self.operations.gateway.reload();
        }
    }

    /// What was read while the gateway started was read now.
    fn tell_start(&self) {
        let config = self.operations.live.load();
        for kind in kinds(&config.remote) {
            for outcome in ["ok", "failed"] {
                self.metrics.secrets_refresh_total.with_label_values(&[kind, outcome]).inc_by(0);
            }
            self.succeeded(kind);
        }
    }

    fn tell(&self, asked: &BTreeSet<RemoteReference>, refreshed: &Refreshed) {
        for (reference, error) in &refreshed.failed {
            tracing::warn!(%reference, %error, cure = error.cure(), "a secret was not read, the last good one stays");
        }
        let succeeded: Vec<_> = refreshed.succeeded.iter().map(|kind| kind.as_str()).collect();
        for kind in kinds(asked) {
            let outcome = if succeeded.contains(&kind) { "ok" } else { "failed" };
            self.metrics.secrets_refresh_total.with_label_values(&[kind, outcome]).inc();
            if outcome == "ok" {
                self.succeeded(kind);
            }
        }
    }

    fn succeeded(&self, kind: &str) {
        let now = self.operations.clock.now().as_millis() as f64 / 1000.0;
        self.metrics.secrets_last_success_timestamp_seconds.with_label_values(&[kind]).set(now);
    }
}

fn kinds(references: &BTreeSet<RemoteReference>) -> BTreeSet<&'static str> {
    references.iter().map(|reference| reference.location.kind.as_str()).collect()
}
