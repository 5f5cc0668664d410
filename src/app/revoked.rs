//! Which secrets are revoked: follows what the database says, and puts it into a configuration
//! before anything verifies by it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use sluice_actors::{domain::LaneKey, ports::StoreUnavailable};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    api::records::{Records, Revocation},
    config::{self, Config, LiveKey},
    ingest::Informed,
    secrets::Fingerprint,
};

/// A revoked secret verifies on no node after this long, whatever the node can reach.
pub(super) const IN_FORCE: Duration = Duration::from_secs(5);

/// How often it is asked what other nodes' operators revoked.
const LOOK: Duration = Duration::from_secs(1);
/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A key by its digest, and a fingerprint.
type Pair = ([u8; 32], String);

/// What is revoked, as far as this node knows. Clones share it.
#[derive(Clone)]
pub(super) struct Revoked {
    records: Arc<dyn Records>,
    informed: Informed,
    /// Comparing is slow on purpose: it is done once for a key and a fingerprint.
    compared: Arc<Mutex<HashMap<Pair, bool>>>,
    /// One answer after the other: an older one must not undo what a newer one said.
    one: Arc<AsyncMutex<()>>,
}

impl Revoked {
    pub(super) fn new(records: Arc<dyn Records>, informed: Informed) -> Self {
        Self { records, informed, compared: Arc::default(), one: Arc::default() }
    }

    /// Whether this node knows it well enough to take a delivery.
    pub(super) fn informed(&self) -> Informed {
        self.informed.clone()
    }

    /// Puts into `config` what the database says now.
    pub(super) async fn put_into(&self, config: &Arc<Config>) -> Result<(), StoreUnavailable> {
        let one = self.one.clone().lock_owned().await;
        let asked = Instant::now();
        let revocations = self.records.revocations().await?;
        if revocations.is_empty() {
            each_key(config, |_, _| false);
            self.informed.saw(asked);
            return Ok(());
        }
        let (this, config) = (self.clone(), config.clone());
        let compared = tokio::task::spawn_blocking(move || {
            // Held to the end, also where nobody waits for it any more.
            let _one = one;
            this.compare(&config, &revocations);
            this.informed.saw(asked);
        });
        // What a panic said is not told: it could carry a secret.
        compared.await.map_err(|_| StoreUnavailable("comparing revoked secrets failed".into()))
    }

    /// Follows what is revoked, here or through other nodes, until it is dropped.
    pub(super) async fn follow(self, live: config::Live) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_informed = true;
        loop {
            looks.tick().await;
            let put = timeout(PATIENCE, self.put_into(&live.load_full())).await;
            let problem = match put {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            let is_informed = self.informed.is_current();
            match problem {
                Some(error) if was_informed && !is_informed => {
                    tracing::error!(error, "not known which secrets are revoked: deliveries are answered 503");
                }
                Some(error) => tracing::debug!(error, "not read which secrets are revoked"),
                None if !was_informed => tracing::info!("known again which secrets are revoked"),
                None => {}
            }
            was_informed = is_informed;
        }
    }

    fn compare(&self, config: &Config, revocations: &[Revocation]) {
        let mut of_lanes: HashMap<&LaneKey, Vec<&Revocation>> = HashMap::new();
        for revocation in revocations {
            of_lanes.entry(&revocation.lane).or_default().push(revocation);
        }
        each_key(config, |lane, key| {
            of_lanes.get(lane).is_some_and(|revoked| revoked.iter().any(|revoked| self.is_of(key, revoked)))
        });
    }

    /// Whether a key is the one that was revoked. Slow at the first time.
    pub(super) fn is_of(&self, key: &LiveKey, revocation: &Revocation) -> bool {
        let material = key.key.material();
        let pair = (Sha256::digest(&*material).into(), revocation.fingerprint.clone());
        let known = || self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        let told = known().get(&pair).copied();
        told.unwrap_or_else(|| {
            let is_it = Fingerprint::kept(revocation.fingerprint.clone()).is_of(&material);
            known().insert(pair, is_it);
            is_it
        })
    }
}

fn each_key(config: &Config, is_revoked: impl Fn(&LaneKey, &LiveKey) -> bool) {
    for source in config.tenants.values().flat_map(|tenant| tenant.sources.values()) {
        source.keys.revoke(|key| is_revoked(&source.lane, key));
    }
}
