//! The limits of lanes and callees, read from the configuration in force.

use std::time::Duration;

use sluice_actors::{
    domain::{CalleeId, LaneKey},
    ports::{BreakerPolicy, CalleePolicy, LanePolicy, Policies},
};

use super::{callees, run::MARGIN};
use crate::{
    config::{ActionConfig, Auth, Config, Live, Route, Tenant},
    http_client::CALL_TIMEOUT,
};

/// Jobs a lane holds in memory (DESIGN §10).
const LANE_QUEUE: usize = 256;
/// Calls at once to one WordPress site (DESIGN §10): its PHP workers are few.
const WORDPRESS_CONCURRENCY: u32 = 2;
/// What an attempt may take beyond its calls: waiting for callees, writing checkpoints.
const SLACK: Duration = Duration::from_secs(10);

/// The breaker of a callee above the lanes (DESIGN §10).
const CALLEE_BREAKER: BreakerPolicy = BreakerPolicy {
    failures: 5,
    ratio: 0.5,
    min_calls: 10,
    window: Duration::from_mins(1),
    cooldown: Duration::from_secs(30),
    max_cooldown: Duration::from_mins(15),
    ramp: Duration::from_secs(30),
};

/// [`Policies`] over the live configuration.
pub struct ConfigPolicies {
    config: Live,
}

impl ConfigPolicies {
    /// Follows `config` through its reloads.
    pub fn new(config: Live) -> Self {
        Self { config }
    }
}

impl Policies for ConfigPolicies {
    fn lane(&self, lane: &LaneKey) -> Option<LanePolicy> {
        let config = self.config.load();
        let (tenant, source) = config.source(lane)?;
        source.is_on().then(|| LanePolicy {
            vendor: source.vendor.name().into(),
            rate: source.limits.outbound,
            concurrency: source.limits.concurrency,
            queue: LANE_QUEUE,
            breaker: source.limits.breaker,
            attempt_timeout: source
                .routes
                .iter()
                .map(|route| attempt_timeout(&config, tenant, route))
                .max()
                .unwrap_or(CALL_TIMEOUT),
        })
    }

    fn callee(&self, callee: &CalleeId) -> CalleePolicy {
        let unlimited =
            CalleePolicy { rate: None, concurrency: None, breaker: CALLEE_BREAKER, joining: Duration::ZERO };
        match callee.as_str().split(':').next() {
            Some("llm") => {
                let config = self.config.load();
                let llm = config.tenants.values().filter_map(|tenant| tenant.llm.as_ref());
                match llm.into_iter().find(|llm| callees::llm(llm) == *callee) {
                    Some(llm) => CalleePolicy { rate: llm.rate, concurrency: llm.concurrency, ..unlimited },
                    None => unlimited,
                }
            }
            Some("wordpress") => CalleePolicy { concurrency: Some(WORDPRESS_CONCURRENCY), ..unlimited },
            _ => unlimited,
        }
    }
}

/// The deadlines of all calls an attempt of `route` may make, and some slack.
fn attempt_timeout(config: &Config, tenant: &Tenant, route: &Route) -> Duration {
    let api = |auth: &Auth| match auth {
        Auth::OAuth2(_) => CALL_TIMEOUT * 2,
        Auth::None | Auth::Bearer(_) | Auth::Basic { .. } | Auth::Header { .. } => CALL_TIMEOUT,
    };
    let wordpress = tenant.wordpress.as_ref().map_or(Duration::ZERO, |_| CALL_TIMEOUT);
    let action = match &route.action {
        ActionConfig::SummarizeAndPublish { .. } => {
            tenant.llm.as_ref().map_or(Duration::ZERO, |llm| llm.timeout) + wordpress
        }
        ActionConfig::WordpressPublish { .. } => wordpress,
        ActionConfig::HttpCall(call) => api(&call.auth),
        ActionConfig::HttpForward(_) | ActionConfig::QueuePublish(_) => CALL_TIMEOUT,
        ActionConfig::Log => Duration::ZERO,
    };
    let fetch = route.fetch.as_ref().map_or(Duration::ZERO, |fetch| api(&fetch.auth));
    let transcript = config.artifacts.transcripts && matches!(route.action, ActionConfig::SummarizeAndPublish { .. });
    let objects = u32::from(transcript) + u32::from(!route.attachments.is_empty());
    fetch + action + CALL_TIMEOUT * objects + SLACK + MARGIN
}
