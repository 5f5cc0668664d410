//! What the gateway tells a site of its jobs, and does when its editors ask: the same whether the gateway
//! calls the site or the site asks the gateway.

use std::{sync::Arc, time::Duration};

use sluice_actors::{
    domain::{JobId, JobState, Mandate, TenantName},
    handle::Gateway,
    ports::{Clock, DeadLetterFilter},
};

use super::changed::{Changed, concerns_a_site};
use crate::{
    actions::site::{self, Answered, Door, Ending, JobReport, Kind, Request},
    api::records::{AuditEntry, JobRow, RecordFilter, Records, Scope},
    artifacts::Artifacts,
    config::{self, Config, WordPress},
    http_client::HttpClient,
    ids,
};

/// How long a site may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Dead letters a second that come back at a site's request.
const REPLAY_RATE: f64 = 10.0;
/// Why, in the audit.
const REASON: &str = "an editor asked for it on the site";

/// Where sites' questions are answered.
pub(in crate::app) struct Desk {
    pub(in crate::app) config: config::Live,
    pub(in crate::app) records: Arc<dyn Records>,
    pub(in crate::app) gateway: Gateway,
    pub(in crate::app) client: HttpClient,
    pub(in crate::app) clock: Arc<dyn Clock>,
    pub(in crate::app) changed: Arc<Changed>,
    pub(in crate::app) artifacts: Arc<Artifacts>,
}

impl Desk {
    /// The newest jobs of a tenant that end on its site, at most so many of all its jobs.
    pub(super) async fn newest(&self, tenant: &TenantName, limit: usize) -> Result<Vec<JobRow>, String> {
        let filter = RecordFilter { limit: Some(limit), ..RecordFilter::default() };
        let jobs = self.records.jobs(&scope(tenant), &filter).await.map_err(|error| error.to_string())?;
        Ok(jobs.items.into_iter().filter(|job| concerns_a_site(&job.kind)).collect())
    }

    /// The newest dead letters of a tenant that end on its site.
    pub(super) async fn dead(&self, tenant: &TenantName, limit: usize) -> Result<Vec<JobRow>, String> {
        let dead = self.records.dead_letters(&scope(tenant), &DeadLetterFilter::default(), limit, None).await;
        let dead = dead.map_err(|error| error.to_string())?;
        Ok(dead.items.into_iter().map(|letter| letter.job).filter(|job| concerns_a_site(&job.kind)).collect())
    }

    /// What a tenant's site is told of these jobs. One of another tenant, or that ends elsewhere, is none.
    pub(super) async fn reports(&self, tenant: &TenantName, ids: &[JobId]) -> Result<Vec<JobReport>, String> {
        let mut reports = Vec::with_capacity(ids.len());
        for id in ids {
            reports.extend(self.job(tenant, *id).await?.map(report));
        }
        Ok(reports)
    }

    async fn job(&self, tenant: &TenantName, id: JobId) -> Result<Option<JobRow>, String> {
        let found = self.records.job(&scope(tenant), id).await.map_err(|error| error.to_string())?;
        Ok(found.map(|detail| detail.job).filter(|job| concerns_a_site(&job.kind)))
    }

    /// Calls a door of a tenant's site.
    pub(super) async fn call(
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
    pub(super) async fn answer(
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

    async fn asked_for(&self, tenant: &TenantName, id: &str) -> Result<Option<JobRow>, String> {
        let Ok(id) = id.parse() else { return Ok(None) };
        self.job(tenant, id).await
    }

    /// A dead letter comes back. What is not dead (any more) is being tried already.
    async fn retry(&self, tenant: &TenantName, id: &str) -> Result<bool, String> {
        let Some(job) = self.asked_for(tenant, id).await? else { return Ok(false) };
        match job.state {
            JobState::DeadLetter => {
                let tenant_name = Some(tenant.to_string());
                let filter = DeadLetterFilter { job: Some(job.id), tenant: tenant_name, ..DeadLetterFilter::default() };
                // The change itself is audited.
                let mandate = Mandate::new(actor(tenant), REASON);
                let replayed = self.gateway.replay(filter, mandate, REPLAY_RATE).await;
                let matched = replayed.map_err(|error| error.to_string())?;
                self.changed.add(tenant, [job.id]);
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
                let entry = entry(tenant, "job.cancel", job.id);
                let cancelled = self.records.cancel(&scope(tenant), job.id, entry).await;
                let cancelled = cancelled.map_err(|error| error.to_string())?;
                self.changed.add(tenant, [job.id]);
                Ok(cancelled)
            }
            JobState::DeadLetter => {
                let noted = self.records.audit(entry(tenant, "dead.dismiss", job.id)).await;
                noted.map(|()| true).map_err(|error| error.to_string())
            }
            JobState::Cancelled => Ok(true),
            JobState::Succeeded | JobState::Superseded => Ok(false),
        }
    }
}

fn scope(tenant: &TenantName) -> Scope {
    Scope::Tenants(vec![tenant.clone()])
}

fn actor(tenant: &TenantName) -> String {
    format!("site of {tenant}")
}

fn entry(tenant: &TenantName, action: &str, job: JobId) -> AuditEntry {
    AuditEntry {
        actor: actor(tenant),
        action: action.to_owned(),
        tenant: Some(tenant.to_string()),
        object: job.to_string(),
        reason: REASON.to_owned(),
    }
}

/// What a site is told of a job.
pub(super) fn report(job: JobRow) -> JobReport {
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
