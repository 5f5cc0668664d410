//! Keeps what came and what became of it in the store, once a minute, so that every node can show all
//! of it, and what was before a restart.

use std::{sync::Arc, time::Duration};

use sluice_actors::{domain::LaneKey, ports::Clock};

use crate::{
    api::{
        records::Records,
        traffic::{Counts, KEPT_MINUTES, KeptTraffic, LaneMinute, MINUTE, minute, waiting},
    },
    telemetry::traffic::{Drained, Traffic},
};

/// Lanes that have a minute of their own: those with most in it. The others are only in the whole.
const LANES: usize = 500;

/// Who keeps minutes. Clones share it.
#[derive(Clone)]
pub(super) struct Minutes {
    pub(super) traffic: Arc<Traffic>,
    pub(super) records: Arc<dyn Records>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Minutes {
    /// Keeps each minute as it ends, until it is dropped.
    pub(super) async fn run(self) {
        loop {
            let into = self.clock.now().as_millis().rem_euclid(MINUTE);
            // A little before its end: what is kept belongs to the minute in which it is kept.
            let left = u64::try_from(MINUTE - into).unwrap_or(0).saturating_sub(BEFORE_END);
            tokio::time::sleep(Duration::from_millis(if left == 0 { 1000 } else { left })).await;
            self.keep().await;
            tokio::time::sleep(Duration::from_millis(2 * BEFORE_END)).await;
        }
    }

    /// Keeps what was counted so far.
    pub(super) async fn keep(&self) {
        let now = self.clock.now();
        let at = minute(now);
        let Drained { lanes: counted, secrets } = self.traffic.drain();
        let mut whole = LaneMinute { lane: None, at, counts: Counts::default(), waiting: 0 };
        let mut lanes: std::collections::HashMap<LaneKey, LaneMinute> = std::collections::HashMap::new();
        let empty = |lane: &LaneKey| LaneMinute { lane: Some(lane.clone()), at, counts: Counts::default(), waiting: 0 };
        for (lane, counts) in counted {
            whole.counts.add(&counts);
            lanes.entry(lane).or_insert_with_key(empty).counts = counts;
        }
        for of in self.records.counts() {
            let (Ok(tenant), Ok(source)) = (of.tenant.parse(), of.source.parse()) else { continue };
            let waiting = waiting(&of);
            whole.waiting += waiting;
            if waiting > 0 {
                lanes.entry(LaneKey::new(tenant, source)).or_insert_with_key(empty).waiting = waiting;
            }
        }
        let mut minutes: Vec<LaneMinute> = lanes.into_values().collect();
        minutes.sort_by_cached_key(|of| {
            let Counts { events, refused, acks, succeeded, failed, dead, .. } = of.counts;
            std::cmp::Reverse((events + refused + acks + succeeded + failed + dead + of.waiting, of.lane.clone()))
        });
        minutes.truncate(LANES);
        minutes.push(whole);
        let forget_before = at.minus(Duration::from_secs(60 * u64::from(KEPT_MINUTES)));
        let kept = KeptTraffic { minutes, secrets: secrets.clone(), forget_before };
        if let Err(error) = self.records.keep_traffic(kept).await {
            tracing::warn!(%error, "the traffic of a minute was not kept");
            self.traffic.put_back(secrets);
        }
    }
}

/// How long before the end of a minute it is kept, in ms.
const BEFORE_END: u64 = 50;
