//! Keeps each tenant's WordPress site in the picture: states of jobs go out when they change, and what
//! editors ask for (retry, dismiss, self-test) comes back in the answers (DESIGN §7).
//!
//! Which jobs changed is a hint in memory. A start tells the newest jobs and dead letters again, so that
//! a lost hint costs nothing but time.

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use sluice_actors::{
    domain::{Job, JobId, JobState, TenantName},
    handle::Gateway,
    ports::{Clock, DeadLetterFilter, Observer, ObserverEvent},
};
use tokio::{sync::Notify, time::Instant};

use crate::{
    actions::site::{self, Answered, Door, Ending, JobReport, Kind, MAX_JOBS, Report, Request},
    api::records::{AuditEntry, JobRow, RecordFilter, Records, Scope},
    config::{self, Config, WordPress},
    http_client::HttpClient,
    ids,
    telemetry::observe::TreeObserver,
};

/// Changed jobs that are remembered for a tenant; past that the oldest are told at the next start.
const MAX_CHANGED: usize = 1000;
/// Reports in a row to one site, so that a flood of changes at one does not keep the others waiting.
const MAX_ROUNDS: usize = 5;
/// Sites that are told at once.
const AT_ONCE: usize = 8;
/// A site that does not answer is asked again no later than this.
const MAX_WAIT: Duration = Duration::from_mins(5);
/// How long a site may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Jobs that changed, by tenant.
#[derive(Default)]
pub(super) struct Changed {
    jobs: Mutex<HashMap<TenantName, BTreeSet<JobId>>>,
    news: Notify,
}

impl Changed {
    fn add(&self, tenant: &TenantName, ids: impl IntoIterator<Item = JobId>) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = jobs.entry(tenant.clone()).or_default();
        of_tenant.extend(ids);
        while of_tenant.len() > MAX_CHANGED {
            of_tenant.pop_first();
        }
        self.news.notify_one();
    }

    /// The newest first: what happens now is what editors look at.
    fn take(&self, tenant: &TenantName) -> Vec<JobId> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_tenant) = jobs.get_mut(tenant) else { return Vec::new() };
        (0..MAX_JOBS).map_while(|_| of_tenant.pop_last()).collect()
    }

    fn is_empty(&self, tenant: &TenantName) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get(tenant).is_none_or(BTreeSet::is_empty)
    }

    fn keep_only(&self, config: &Config) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|tenant, _| config.tenants.get(tenant).is_some_and(|tenant| tenant.wordpress.is_some()));
    }
}

/// Listens to the tree for jobs that changed, and passes all on.
pub(super) struct Listener {
    pub(super) tree: TreeObserver,
    pub(super) changed: Arc<Changed>,
    pub(super) config: config::Live,
}

impl Listener {
    fn changed(&self, job: &Job) {
        let tenant = &job.lane.tenant;
        let has_site = self.config.load().tenants.get(tenant).is_some_and(|tenant| tenant.wordpress.is_some());
        if has_site && concerns_a_site(&job.kind) {
            self.changed.add(tenant, [job.id]);
        }
    }
}

/// Whether jobs of this kind end on a site.
fn concerns_a_site(kind: &str) -> bool {
    matches!(kind, "summarize_and_publish" | "wordpress_publish")
}

impl Observer for Listener {
    fn observe(&self, event: &ObserverEvent<'_>) {
        if let ObserverEvent::AttemptBegan { job, .. } | ObserverEvent::AttemptEnded { job, .. } = event {
            self.changed(job);
        }
        self.tree.observe(event);
    }
}

/// What is remembered of a tenant's site.
struct Visit {
    next: Instant,
    failures: u32,
    /// Whether the newest jobs have been told since the start.
    caught_up: bool,
    answers: Vec<Answered>,
}

/// Tells sites until it is dropped.
pub(super) struct Sites {
    pub(super) config: config::Live,
    pub(super) records: Arc<dyn Records>,
    pub(super) gateway: Gateway,
    pub(super) client: HttpClient,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) changed: Arc<Changed>,
    pub(super) pace: ReportPace,
}

impl Sites {
    pub(super) async fn run(self) {
        let mut visits: HashMap<TenantName, Visit> = HashMap::new();
        loop {
            let config = self.config.load_full();
            self.changed.keep_only(&config);
            visits = self.round(&config, visits).await;
            let soonest = visits.values().map(|visit| visit.next).min();
            let rest = soonest.map_or(self.pace.idle, |next| next.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = self.changed.news.notified() => tokio::time::sleep(self.pace.settle).await,
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
                let fresh = Visit { next: Instant::now(), failures: 0, caught_up: false, answers: Vec::new() };
                let visit = visits.remove(&tenant).unwrap_or(fresh);
                (tenant, site, visit)
            })
            .collect();
        stream::iter(sites)
            .map(|(tenant, site, mut visit)| async move {
                let due = visit.next <= Instant::now() || (visit.failures == 0 && !self.changed.is_empty(&tenant));
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
        if !visit.caught_up {
            let newest = self.newest(tenant).await?;
            self.changed.add(tenant, newest);
            visit.caught_up = true;
        }
        let mut outbox_due = 0;
        for _ in 0..MAX_ROUNDS {
            let changed = self.changed.take(tenant);
            let jobs = self.reports(tenant, &changed).await;
            let sent = match jobs {
                Ok(jobs) => self.send(config, (tenant, site), Report::new(jobs, visit.answers.clone())).await,
                Err(error) => Err(error),
            };
            let reply = sent.inspect_err(|_| self.changed.add(tenant, changed))?;
            outbox_due = reply.outbox_due;
            visit.answers.clear();
            for request in &reply.requests {
                visit.answers.extend(self.answer(config, (tenant, site), request).await);
            }
            if visit.answers.is_empty() && self.changed.is_empty(tenant) {
                break;
            }
        }
        if outbox_due > 0 {
            let body = serde_json::json!({ "schema_version": 1 });
            self.call(config, (tenant, site), Door::Outbox, &body).await.map(drop)?;
        }
        Ok(())
    }

    /// The newest jobs of a tenant, and its dead letters.
    async fn newest(&self, tenant: &TenantName) -> Result<Vec<JobId>, String> {
        let scope = Scope::Tenants(vec![tenant.clone()]);
        let filter = RecordFilter { limit: Some(100), ..RecordFilter::default() };
        let jobs = self.records.jobs(&scope, &filter).await.map_err(|error| error.to_string())?;
        let dead = self.records.dead_letters(&scope, &DeadLetterFilter::default(), 100, None).await;
        let dead = dead.map_err(|error| error.to_string())?;
        let dead = dead.items.into_iter().map(|letter| letter.job);
        Ok(jobs.items.into_iter().chain(dead).filter(|job| concerns_a_site(&job.kind)).map(|job| job.id).collect())
    }

    async fn job(&self, tenant: &TenantName, id: JobId) -> Result<Option<JobRow>, String> {
        let scope = Scope::Tenants(vec![tenant.clone()]);
        let found = self.records.job(&scope, id).await.map_err(|error| error.to_string())?;
        Ok(found.map(|detail| detail.job))
    }

    async fn reports(&self, tenant: &TenantName, ids: &[JobId]) -> Result<Vec<JobReport>, String> {
        let mut reports = Vec::with_capacity(ids.len());
        for id in ids {
            reports.extend(self.job(tenant, *id).await?.map(report));
        }
        Ok(reports)
    }

    async fn send(
        &self,
        config: &Config,
        to: (&TenantName, &WordPress),
        report: Report,
    ) -> Result<site::Reply, String> {
        self.call(config, to, Door::Status, &report).await
    }

    async fn call(
        &self,
        config: &Config,
        to: (&TenantName, &WordPress),
        door: Door,
        body: &impl serde::Serialize,
    ) -> Result<site::Reply, String> {
        let mut call = site::call(config, to, door, body, (self.clock.now(), ids::nonce()))?;
        call.timeout = PATIENCE;
        site::reply(self.client.send(call).await)
    }

    /// Does what a site asks for. None: the site sees for itself, or is to ask again.
    async fn answer(
        &self,
        config: &Config,
        (tenant, site): (&TenantName, &WordPress),
        request: &Request,
    ) -> Option<Answered> {
        let done = match request.kind {
            Kind::SelfTest => {
                let body = serde_json::json!({ "schema_version": 1, "request_id": request.id });
                // The site's own door closes the request when it was called well.
                return match self.call(config, (tenant, site), Door::SelfTest, &body).await {
                    Ok(_) => None,
                    Err(error) => {
                        tracing::warn!(%tenant, error, "a self-test of the site failed");
                        Some(Answered { id: request.id, outcome: Ending::Refused })
                    }
                };
            }
            Kind::Retry => self.retry(tenant, &request.job_id).await,
            Kind::Dismiss => self.dismiss(tenant, &request.job_id).await,
            Kind::Unknown => Ok(false),
        };
        match done {
            Ok(done) => {
                let outcome = if done { Ending::Done } else { Ending::Refused };
                Some(Answered { id: request.id, outcome })
            }
            Err(error) => {
                tracing::warn!(%tenant, error, "a request of the site waits");
                None
            }
        }
    }

    /// The job of a request; none if it is of another tenant or does not concern sites.
    async fn asked_for(&self, tenant: &TenantName, id: &str) -> Result<Option<JobRow>, String> {
        let Ok(id) = id.parse() else { return Ok(None) };
        Ok(self.job(tenant, id).await?.filter(|job| concerns_a_site(&job.kind)))
    }

    /// A dead letter comes back. What is not dead (any more) is being tried already.
    async fn retry(&self, tenant: &TenantName, id: &str) -> Result<bool, String> {
        let Some(job) = self.asked_for(tenant, id).await? else { return Ok(false) };
        match job.state {
            JobState::DeadLetter => {
                let tenant_name = Some(tenant.to_string());
                let filter = DeadLetterFilter { job: Some(job.id), tenant: tenant_name, ..DeadLetterFilter::default() };
                let actor = actor(tenant);
                let matched = self.gateway.replay(filter, &actor, 10.0).await.map_err(|error| error.to_string())?;
                self.audit(actor, "dead.replay", job.id).await;
                Ok(matched > 0)
            }
            state => Ok(matches!(state, JobState::Pending | JobState::Running | JobState::Failed)),
        }
    }

    /// A job that waits is cancelled. A dead letter stays for those who run the gateway; the site's
    /// editors do not see it any more.
    async fn dismiss(&self, tenant: &TenantName, id: &str) -> Result<bool, String> {
        let Some(job) = self.asked_for(tenant, id).await? else { return Ok(false) };
        match job.state {
            JobState::Pending | JobState::Running | JobState::Failed => {
                let entry = entry(actor(tenant), "job.cancel", job.id);
                let scope = Scope::Tenants(vec![tenant.clone()]);
                let cancelled = self.records.cancel(&scope, job.id, entry).await.map_err(|error| error.to_string())?;
                self.changed.add(tenant, [job.id]);
                Ok(cancelled)
            }
            JobState::DeadLetter => {
                self.audit(actor(tenant), "dead.dismiss", job.id).await;
                Ok(true)
            }
            JobState::Cancelled => Ok(true),
            JobState::Succeeded | JobState::Superseded => Ok(false),
        }
    }

    async fn audit(&self, actor: String, action: &str, job: JobId) {
        if let Err(error) = self.records.audit(entry(actor, action, job)).await {
            tracing::warn!(%error, action, "could not be written into the audit");
        }
    }
}

fn actor(tenant: &TenantName) -> String {
    format!("site of {tenant}")
}

fn entry(actor: String, action: &str, job: JobId) -> AuditEntry {
    let reason = "an editor asked for it on the site".to_owned();
    AuditEntry { actor, action: action.to_owned(), object: job.to_string(), reason }
}

/// What a site is told of a job.
fn report(job: JobRow) -> JobReport {
    let waits = matches!(job.state, JobState::Pending | JobState::Failed);
    JobReport {
        job_id: job.id,
        kind: job.kind,
        source: job.source,
        route: job.route,
        state: job.state,
        attempts: job.attempts,
        next_run_at: waits.then_some(job.next_run_at),
        last_error: job.last_error.as_deref().map(site::told).unwrap_or_default(),
        updated_at: job.updated_at,
    }
}
