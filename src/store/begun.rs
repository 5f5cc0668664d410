//! Whose the jobs are that this process runs, so that what they leave is sealed without another look at the database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sluice_actors::domain::JobId;

/// Jobs that are kept in mind. Those of attempts whose end was never written stay until then; past it all are
/// forgotten, and looked up.
const MOST: usize = 16_384;

/// The tenants of jobs.
#[derive(Debug, Default)]
pub(super) struct Begun(Mutex<HashMap<JobId, Arc<str>>>);

impl Begun {
    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job began.
    pub(super) fn add(&self, job: JobId, tenant: &str) {
        let mut jobs = self.jobs();
        if jobs.len() >= MOST {
            jobs.clear();
        }
        jobs.insert(job, tenant.into());
    }

    /// Its attempt ended.
    pub(super) fn remove(&self, job: JobId) {
        self.jobs().remove(&job);
    }

    /// Whose it is, if it is known.
    pub(super) fn tenant(&self, job: JobId) -> Option<Arc<str>> {
        self.jobs().get(&job).cloned()
    }
}
