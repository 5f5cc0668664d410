//! Keeps each tenant's WordPress site in the picture: states of jobs go out when they change, and what
//! editors ask for (retry, dismiss, self-test) comes back in the answers (DESIGN §7).
//!
//! Which jobs changed is a hint in memory. A start tells the newest jobs and dead letters again, so that
//! a lost hint costs nothing but time.

mod changed;
mod desk;
mod pull;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use sluice_actors::domain::{JobId, TenantName};
use tokio::time::Instant;

use self::desk::report;
pub(super) use self::{
    changed::{Arrivals, Changed, Listener},
    desk::Desk,
    pull::Pull,
};
use crate::{
    actions::site::{Answered, Door, MAX_JOBS, Report},
    api::records::JobRow,
    config::{Config, WordPress},
};

/// Reports in a row to one site, so that a flood of changes at one does not keep the others waiting.
const MAX_ROUNDS: usize = 5;
/// Sites that are told at once.
const AT_ONCE: usize = 8;
/// A site that does not answer is asked again no later than this.
const MAX_WAIT: Duration = Duration::from_mins(5);
/// Jobs, and dead letters, that a start tells again.
const MAX_AGAIN: usize = 100;

/// How often sites are told.
#[derive(Debug, Clone, Copy)]
pub struct ReportPace {
    /// Changes are collected for so long.
    pub settle: Duration,
    /// A site without news is asked for requests that often.
    pub idle: Duration,
}

impl Default for ReportPace {
    fn default() -> Self {
        Self { settle: Duration::from_secs(1), idle: Duration::from_secs(15) }
    }
}

/// What is remembered of a tenant's site.
struct Visit {
    next: Instant,
    failures: u32,
    /// Whether the newest jobs have been told since the start.
    caught_up: bool,
    /// The newest job that was told before it began.
    newest: Option<JobId>,
    answers: Vec<Answered>,
}

/// Tells sites until it is dropped.
pub(super) struct Sites {
    pub(super) desk: Arc<Desk>,
    pub(super) pace: ReportPace,
}

impl Sites {
    pub(super) async fn run(self) {
        let mut visits: HashMap<TenantName, Visit> = HashMap::new();
        loop {
            let config = self.desk.config.load_full();
            self.desk.changed.keep_only(&config);
            visits = self.round(&config, visits).await;
            // The one that follows it is not to wait for its rest.
            drop(config);
            let soonest = visits.values().map(|visit| visit.next).min();
            let rest = soonest.map_or(self.pace.idle, |next| next.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = self.desk.changed.news.notified() => tokio::time::sleep(self.pace.settle).await,
                // A new tenant is found no later than that.
                () = tokio::time::sleep(rest.min(self.pace.idle).max(self.pace.settle)) => {}
            }
        }
    }

    /// Visits each site that is due.
    async fn round(&self, config: &Arc<Config>, mut visits: HashMap<TenantName, Visit>) -> HashMap<TenantName, Visit> {
        let sites: Vec<_> = config
            .tenants
            .values()
            .filter_map(|tenant| Some((tenant.name.clone(), tenant.wordpress.clone()?)))
            .map(|(tenant, site)| {
                let fresh =
                    Visit { next: Instant::now(), failures: 0, caught_up: false, newest: None, answers: Vec::new() };
                let visit = visits.remove(&tenant).unwrap_or(fresh);
                (tenant, site, visit)
            })
            .collect();
        stream::iter(sites)
            .map(|(tenant, site, mut visit)| async move {
                let due = visit.next <= Instant::now() || (visit.failures == 0 && !self.desk.changed.is_empty(&tenant));
                if due {
                    // A panic at one site must not silence the others for good.
                    let visited = AssertUnwindSafe(self.visit(config, &tenant, &site, &mut visit)).catch_unwind().await;
                    self.settle(&tenant, &mut visit, visited.unwrap_or_else(|_| Err("a panic".to_owned())));
                }
                (tenant, visit)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    /// When the site is visited next.
    fn settle(&self, tenant: &TenantName, visit: &mut Visit, visited: Result<(), String>) {
        let wait = match visited {
            Ok(()) => {
                if visit.failures > 0 {
                    tracing::info!(%tenant, "the site takes reports again");
                }
                visit.failures = 0;
                self.pace.idle
            }
            Err(error) => {
                if visit.failures == 0 {
                    tracing::warn!(%tenant, error, "the site takes no report; what its editors see grows old");
                }
                visit.failures = visit.failures.saturating_add(1);
                (self.pace.idle * 2u32.saturating_pow(visit.failures.min(8) - 1)).min(MAX_WAIT)
            }
        };
        visit.next = Instant::now() + wait;
    }

    async fn visit(
        &self,
        config: &Config,
        tenant: &TenantName,
        site: &WordPress,
        visit: &mut Visit,
    ) -> Result<(), String> {
        let desk = &self.desk;
        let mut stored = self.catch_up(tenant, visit).await?;
        let mut outbox_due = 0;
        for _ in 0..MAX_ROUNDS {
            let stored = std::mem::take(&mut stored);
            let (changed, reports) = if stored.is_empty() {
                let changed = desk.changed.take(tenant);
                let reports = desk.reports(tenant, &changed).await;
                (changed, reports)
            } else {
                (stored.iter().map(|job| job.id).collect(), Ok(stored.into_iter().map(report).collect()))
            };
            let sent = match reports {
                Ok(jobs) => {
                    let report = Report::new(jobs, visit.answers.clone());
                    desk.call(config, (tenant, site), Door::Status, &report).await
                }
                Err(error) => Err(error),
            };
            let reply = sent.inspect_err(|_| desk.changed.add(tenant, changed))?;
            outbox_due = reply.outbox_due;
            visit.answers.clear();
            for request in &reply.requests {
                visit.answers.extend(desk.answer(config, (tenant, site), request).await);
            }
            if visit.answers.is_empty() && desk.changed.is_unchanged(tenant) {
                break;
            }
        }
        if outbox_due > 0 {
            let body = serde_json::json!({ "schema_version": 1 });
            desk.call(config, (tenant, site), Door::Outbox, &body).await.map(drop)?;
        }
        Ok(())
    }

    /// Looks for what is to be told: after a start for what happened before it, then for what was stored
    /// meanwhile and has not begun, which is returned. Of a flood the newest are shown while they wait, the
    /// others when their attempts begin.
    async fn catch_up(&self, tenant: &TenantName, visit: &mut Visit) -> Result<Vec<JobRow>, String> {
        let desk = &self.desk;
        if !visit.caught_up {
            let jobs = desk.newest(tenant, MAX_AGAIN).await?.into_iter().chain(desk.dead(tenant, MAX_AGAIN).await?);
            desk.changed.add(tenant, jobs.map(|job| job.id));
            visit.caught_up = true;
        }
        if !desk.changed.take_stored(tenant) {
            return Ok(Vec::new());
        }
        let mut newest = desk.newest(tenant, MAX_JOBS).await.inspect_err(|_| desk.changed.stored(tenant))?;
        // Those that began are told by their attempts.
        newest.retain(|job| job.claims == 0 && Some(job.id) > visit.newest);
        visit.newest = newest.iter().map(|job| job.id).max().max(visit.newest);
        Ok(newest)
    }
}
