//! Keeps the data keys of this node in step with those of the database: what another node erased is dropped here.

use std::{sync::Arc, time::Duration};

use sluice_actors::ports::Clock;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Refused;
use crate::{
    config::Config,
    error_code::ErrorCode,
    store::{KeysRefused, Store},
};

/// How often the database is asked.
const FOLLOW: Duration = Duration::from_secs(2);
/// A node that cannot ask for so long forgets all data keys.
const TRUST: Duration = Duration::from_secs(10);

/// Puts the keys of a configuration into force.
pub(super) async fn apply(store: &Store, config: &Config) -> Result<(), KeysRefused> {
    let tenants = config.tenants.iter().map(|(name, tenant)| (name.to_string(), tenant.encryption.clone()));
    store.use_keys(tenants.collect()).await
}

impl From<KeysRefused> for Refused {
    fn from(error: KeysRefused) -> Self {
        let code = match &error {
            KeysRefused::NoKeys { .. } | KeysRefused::Locked(_) => ErrorCode::Encryption,
            KeysRefused::Unavailable(_) => ErrorCode::StoreUnreachable,
        };
        Self::new(code, error.to_string())
    }
}

/// Follows other nodes until it is dropped.
pub(super) async fn follow(store: Store, clock: Arc<dyn Clock>) {
    let mut ticks = interval(FOLLOW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut since, mut asked, mut forgotten) = (clock.now(), Instant::now(), false);
    loop {
        ticks.tick().await;
        if !store.has_keys() {
            continue;
        }
        let now = clock.now();
        match store.follow_keys(since).await {
            Ok(()) => (since, asked, forgotten) = (now, Instant::now(), false),
            Err(error) if asked.elapsed() >= TRUST && !forgotten => {
                store.forget_keys();
                forgotten = true;
                tracing::warn!(%error, "data keys are forgotten until the store answers: nobody can say which were erased");
            }
            Err(error) => tracing::debug!(%error, "data keys of other nodes wait for the store"),
        }
    }
}
