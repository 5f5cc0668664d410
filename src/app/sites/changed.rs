//! Which jobs of which tenants a site is to be told of: hints in memory.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use sluice_actors::{
    domain::{Job, JobId, TenantName},
    ports::{Observer, ObserverEvent},
};
use tokio::sync::Notify;

use crate::{
    actions::site::MAX_JOBS,
    config::{self, Config},
    ingest::{self, IngestEvent, Recorded},
    telemetry::{deliveries::IngestObserver, observe::TreeObserver},
};

/// Changed jobs that are remembered for a tenant; past that the oldest are told at the next start.
const MAX_CHANGED: usize = 1000;

/// Jobs that changed, by tenant.
#[derive(Default)]
pub(in crate::app) struct Changed {
    jobs: Mutex<HashMap<TenantName, BTreeSet<JobId>>>,
    /// Tenants with jobs that nobody was told of yet. One word for any number of deliveries: which jobs
    /// they are is read when it is told.
    fresh: Mutex<HashSet<TenantName>>,
    pub(super) news: Notify,
}

impl Changed {
    pub(super) fn add(&self, tenant: &TenantName, ids: impl IntoIterator<Item = JobId>) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = jobs.entry(tenant.clone()).or_default();
        of_tenant.extend(ids);
        while of_tenant.len() > MAX_CHANGED {
            of_tenant.pop_first();
        }
        self.news.notify_one();
    }

    /// Jobs of a tenant were stored.
    pub(super) fn stored(&self, tenant: &TenantName) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if !fresh.contains(tenant) {
            fresh.insert(tenant.clone());
            self.news.notify_one();
        }
    }

    /// Whether jobs of a tenant were stored since this was asked last.
    pub(super) fn take_stored(&self, tenant: &TenantName) -> bool {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant)
    }

    /// The newest first: what happens now is what editors look at.
    pub(super) fn take(&self, tenant: &TenantName) -> Vec<JobId> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_tenant) = jobs.get_mut(tenant) else { return Vec::new() };
        (0..MAX_JOBS).map_while(|_| of_tenant.pop_last()).collect()
    }

    /// Whether there is anything to tell of a tenant.
    pub(super) fn is_empty(&self, tenant: &TenantName) -> bool {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).contains(tenant);
        !fresh && self.is_unchanged(tenant)
    }

    /// Whether no job of a tenant changed that it would be told of.
    pub(super) fn is_unchanged(&self, tenant: &TenantName) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get(tenant).is_none_or(BTreeSet::is_empty)
    }

    pub(super) fn keep_only(&self, config: &Config) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).retain(|tenant, _| has_site(config, tenant));
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).retain(|tenant| has_site(config, tenant));
    }
}

fn has_site(config: &Config, tenant: &TenantName) -> bool {
    config.tenants.get(tenant).is_some_and(|tenant| tenant.wordpress.is_some())
}

/// Whether jobs of this kind end on a site.
pub(super) fn concerns_a_site(kind: &str) -> bool {
    matches!(kind, "summarize_and_publish" | "wordpress_publish")
}

/// Listens to the tree for jobs that changed, and passes all on.
pub(in crate::app) struct Listener {
    pub(in crate::app) tree: TreeObserver,
    pub(in crate::app) changed: Arc<Changed>,
    pub(in crate::app) config: config::Live,
}

impl Listener {
    fn changed(&self, job: &Job) {
        let tenant = &job.lane.tenant;
        if concerns_a_site(&job.kind) && has_site(&self.config.load(), tenant) {
            self.changed.add(tenant, [job.id]);
        }
    }
}

impl Observer for Listener {
    fn observe(&self, event: &ObserverEvent<'_>) {
        if let ObserverEvent::AttemptBegan { job, .. } | ObserverEvent::AttemptEnded { job, .. } = event {
            self.changed(job);
        }
        self.tree.observe(event);
    }
}

/// Listens to ingest for new jobs, and passes all on.
pub(in crate::app) struct Arrivals {
    pub(in crate::app) ingest: IngestObserver,
    pub(in crate::app) changed: Arc<Changed>,
    pub(in crate::app) config: config::Live,
}

impl ingest::Observer for Arrivals {
    fn observe(&self, event: &IngestEvent<'_>) {
        if let IngestEvent::Recorded { place, recorded: Recorded::New(_), jobs: [_, ..], .. } = event
            && has_site(&self.config.load(), &place.lane.tenant)
        {
            self.changed.stored(&place.lane.tenant);
        }
        self.ingest.observe(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids;
    use sluice_actors::domain::Timestamp;

    #[test]
    fn any_number_of_new_jobs_is_one_word_to_tell() {
        let (changed, tenant): (Changed, TenantName) = (Changed::default(), "acme".parse().unwrap());
        assert!(changed.is_empty(&tenant));
        for _ in 0..10_000 {
            changed.stored(&tenant);
        }
        assert!(!changed.is_empty(&tenant));
        assert_eq!((changed.take_stored(&tenant), changed.take_stored(&tenant)), (true, false));
        assert!(changed.is_empty(&tenant));
    }

    #[test]
    fn of_more_changes_than_can_be_kept_the_newest_are() {
        let (changed, tenant): (Changed, TenantName) = (Changed::default(), "acme".parse().unwrap());
        let ids: Vec<JobId> = (0..=MAX_CHANGED).map(|_| ids::job_id(Timestamp::from_millis(1))).collect();
        changed.add(&tenant, ids.iter().copied());
        let first = changed.take(&tenant);
        assert_eq!((first.len(), first[0]), (MAX_JOBS, ids[MAX_CHANGED]));
        let all: BTreeSet<JobId> =
            std::iter::repeat_with(|| changed.take(&tenant)).take(50).flatten().chain(first).collect();
        assert_eq!(all, ids[1..].iter().copied().collect());
    }
}
