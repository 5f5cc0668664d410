//! Sites that ask by themselves, at `/site/v1/{tenant}/…`: the same answers as in the reports that the
//! gateway pushes, for a site that its calls do not reach.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use sluice_actors::domain::{ArtifactId, JobId, TenantName};
use subtle::ConstantTimeEq;

use super::desk::{Desk, report};
use crate::{
    actions::{
        jwks_of,
        site::{Answered, Ending, Kind, MAX_JOBS, Request},
    },
    artifacts,
    config::{Config, WordPress},
    edge::site::{SiteAsk, SiteDesk, SiteRefusal},
    ids,
    json::parse_strict,
};

/// Requests that are answered at once.
const MAX_REQUESTS: usize = 20;

/// Answers sites.
pub(in crate::app) struct Pull {
    desk: Arc<Desk>,
    /// What the token of a tenant without one is compared with.
    nobody: [u8; 32],
    tests: Arc<Mutex<Tests>>,
}

/// The self-test of each site that is under way, or has failed and is to be asked about again.
type Tests = HashMap<TenantName, (u64, Option<Ending>)>;

#[derive(Deserialize)]
struct Asked {
    schema_version: u32,
    requests: Vec<Request>,
}

impl Pull {
    pub(in crate::app) fn new(desk: Arc<Desk>) -> Self {
        Self { desk, nobody: ids::secret_bytes(), tests: Arc::default() }
    }

    /// The newest jobs, and those that the site still sees in motion.
    async fn jobs(&self, tenant: &TenantName, ids: Vec<JobId>) -> Result<Bytes, SiteRefusal> {
        let jobs = async {
            let newest = self.desk.newest(tenant, MAX_JOBS).await?;
            let more: Vec<JobId> = ids.into_iter().filter(|id| newest.iter().all(|job| job.id != *id)).collect();
            let more = self.desk.reports(tenant, &more).await?;
            Ok::<_, String>(newest.into_iter().map(report).chain(more).collect::<Vec<_>>())
        };
        let jobs = jobs.await.map_err(|error| {
            tracing::warn!(%tenant, error, "a site that asks gets no answer");
            SiteRefusal::Unavailable
        })?;
        Ok(json_bytes(&json!({ "ok": true, "schema_version": 1, "jobs": jobs })))
    }

    /// A fresh URL of one of the tenant's artifacts. Archived payloads are for those who run the gateway.
    async fn artifact(&self, tenant: &TenantName, id: ArtifactId) -> Result<Bytes, SiteRefusal> {
        let away = |error: &dyn std::fmt::Display| {
            tracing::warn!(%tenant, %error, "a site that asks for an artifact gets no answer");
            SiteRefusal::Unavailable
        };
        let artifacts = &self.desk.artifacts;
        let found = artifacts.find(tenant, id).await.map_err(|error| away(&error))?;
        let found = found.filter(|found| found.kind != artifacts::Kind::Payload).ok_or(SiteRefusal::NotFound)?;
        let link = artifacts.link(&found).await.map_err(|error| away(&error))?;
        Ok(json_bytes(&json!({ "ok": true, "schema_version": 1, "url": link.url, "expires_at": link.expires_at })))
    }

    async fn requests(
        &self,
        config: Arc<Config>,
        (tenant, site): (&TenantName, Arc<WordPress>),
        body: &[u8],
    ) -> Result<Bytes, SiteRefusal> {
        let asked = parse_strict(body).ok().and_then(|value| Asked::deserialize(value).ok());
        let asked = asked.filter(|asked| asked.schema_version == 1 && asked.requests.len() <= MAX_REQUESTS);
        let mut answers: Vec<Answered> = Vec::new();
        for request in asked.ok_or(SiteRefusal::Invalid)?.requests {
            answers.extend(match request.kind {
                Kind::SelfTest => self.test(config.clone(), (tenant, site.clone()), request),
                _ => self.desk.answer(&config, (tenant, &site), &request).await,
            });
        }
        Ok(json_bytes(&json!({ "ok": true, "schema_version": 1, "jobs": [], "answers": answers })))
    }

    /// Begins a self-test, or says how the one that was begun ended. It runs by itself: a site that waits
    /// for this answer may have nobody free to take the call.
    fn test(
        &self,
        config: Arc<Config>,
        (tenant, site): (&TenantName, Arc<WordPress>),
        request: Request,
    ) -> Option<Answered> {
        let mut tests = self.tests.lock().unwrap_or_else(PoisonError::into_inner);
        match tests.get(tenant) {
            Some((id, None)) if *id == request.id => return None,
            Some((id, Some(ending))) if *id == request.id => {
                let answered = Answered { id: request.id, outcome: *ending };
                tests.remove(tenant);
                return Some(answered);
            }
            _ => {}
        }
        tests.insert(tenant.clone(), (request.id, None));
        let (desk, tests, tenant) = (self.desk.clone(), self.tests.clone(), tenant.clone());
        tokio::spawn(async move {
            let failed = desk.answer(&config, (&tenant, &site), &request).await;
            let mut tests = tests.lock().unwrap_or_else(PoisonError::into_inner);
            match failed {
                Some(failed) => tests.insert(tenant, (failed.id, Some(failed.outcome))),
                // The site's own door closed it.
                None => tests.remove(&tenant),
            };
        });
        None
    }
}

#[async_trait]
impl SiteDesk for Pull {
    fn admits(&self, tenant: &TenantName, token: &[u8]) -> bool {
        let config = self.desk.config.load();
        let site = config.tenants.get(tenant).and_then(|tenant| tenant.wordpress.as_deref());
        let known = site.and_then(|site| site.site_token.as_ref());
        let expected = known.map_or(&self.nobody[..], |token| token.expose());
        // Digests are of one length, whatever was presented.
        let same = Sha256::digest(token).ct_eq(&Sha256::digest(expected));
        bool::from(same) && known.is_some()
    }

    async fn answer(&self, tenant: &TenantName, ask: SiteAsk) -> Result<Bytes, SiteRefusal> {
        let config = self.desk.config.load_full();
        let site = config.tenants.get(tenant).and_then(|tenant| tenant.wordpress.clone());
        // A reload took it away between two looks.
        let site = site.ok_or(SiteRefusal::Unavailable)?;
        match ask {
            SiteAsk::Keys => Ok(json_bytes(&jwks_of([site.as_ref()], self.desk.clock.now()))),
            SiteAsk::Jobs(ids) => self.jobs(tenant, ids).await,
            SiteAsk::Artifact(id) => self.artifact(tenant, id).await,
            SiteAsk::Requests(body) => self.requests(config, (tenant, site), &body).await,
        }
    }
}

fn json_bytes(value: &serde_json::Value) -> Bytes {
    value.to_string().into()
}
