//! The store as people see it: every read is scoped in its SQL.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use sluice_actors::{
    domain::{EventId, JobId, LaneKey, TenantName, Timestamp},
    ports::{DeadLetterFilter, StoreUnavailable},
};

use super::{
    Store,
    command::Command,
    jobs::{ReadFailed, limit_value},
    pages::{MAX_PAGE, backlog},
    revoked, rows,
    sql::sql,
    value::{Values, values},
};
use crate::{
    api::{
        records::{
            AuditEntry, AuditFilter, AuditRow, DeadLetterRow, EventDetail, EventRow, HandshakeRow, JobDetail, JobRow,
            LaneBacklog, Page, RecordFilter, Records, RefusalFilter, RefusalRow, Retention, Revocation, RoutedEvent,
            Scope, SecretUse, Swept, Switch,
        },
        traffic::{KeptTraffic, Minute, Whose},
    },
    ingest::{NewForm, NewJob},
};

/// The tenants of a scope as the statements take them: a JSON array, NULL for all.
pub(super) fn scope_value(scope: &Scope) -> Option<String> {
    match scope {
        Scope::All => None,
        Scope::Tenants(tenants) => Some(tenants_value(tenants)),
    }
}

/// Tenants as the statements take them: a JSON array.
pub(super) fn tenants_value(tenants: &[TenantName]) -> String {
    serde_json::Value::from(tenants.iter().map(TenantName::as_str).collect::<Vec<_>>()).to_string()
}

#[async_trait]
impl Records for Store {
    async fn events(&self, scope: &Scope, filter: &RecordFilter) -> Result<Page<EventRow>, StoreUnavailable> {
        Ok(self.events_page(scope, filter).await?)
    }

    async fn event(&self, scope: &Scope, id: EventId) -> Result<Option<EventDetail>, StoreUnavailable> {
        Ok(self.event_detail(scope, id).await?)
    }

    async fn jobs(&self, scope: &Scope, filter: &RecordFilter) -> Result<Page<JobRow>, StoreUnavailable> {
        Ok(self.jobs_page(scope, filter).await?)
    }

    async fn job(&self, scope: &Scope, id: JobId) -> Result<Option<JobDetail>, StoreUnavailable> {
        Ok(self.job_detail(scope, id).await?)
    }

    async fn dead_letters(
        &self,
        scope: &Scope,
        filter: &DeadLetterFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<DeadLetterRow>, StoreUnavailable> {
        Ok(self.letters_page(scope, filter, limit, cursor).await?)
    }

    async fn backlog(&self) -> Result<Vec<LaneBacklog>, StoreUnavailable> {
        let due: std::collections::HashMap<LaneKey, Timestamp> = self.oldest_due().await?.into_iter().collect();
        let now = self.shared.clock.now();
        let lanes = self.shared.counters.all().into_iter();
        Ok(lanes
            .map(|(lane, jobs)| {
                let oldest_due = due.get(&lane).copied().filter(|at| *at <= now);
                backlog(lane, jobs, oldest_due)
            })
            .collect())
    }

    fn counts(&self) -> Vec<LaneBacklog> {
        self.shared.counters.all().into_iter().map(|(lane, jobs)| backlog(lane, jobs, None)).collect()
    }

    async fn keep_traffic(&self, kept: KeptTraffic) -> Result<(), StoreUnavailable> {
        let kept = Box::new(kept);
        Ok(self.shared.writer.submit(|reply| Command::KeepTraffic { kept, reply }).await?)
    }

    async fn traffic(&self, whose: &Whose, since: Timestamp) -> Result<BTreeMap<Timestamp, Minute>, StoreUnavailable> {
        Ok(self.minutes(whose, since).await?)
    }

    async fn pending(&self, tenant: &str, source: &str) -> Result<u64, StoreUnavailable> {
        let (Ok(tenant), Ok(source)) = (tenant.parse(), source.parse()) else { return Ok(0) };
        Ok(self.shared.counters.pending(&LaneKey::new(tenant, source)))
    }

    async fn refusals(
        &self,
        scope: &Scope,
        filter: &RefusalFilter,
        limit: usize,
    ) -> Result<Vec<RefusalRow>, StoreUnavailable> {
        let read = async || {
            let values = values![
                scope_value(scope),
                filter.tenant.as_deref(),
                filter.source.as_deref(),
                filter.since,
                filter.until,
                filter.before,
                limit_value(limit.clamp(1, MAX_PAGE)),
            ];
            self.refusal_rows(sql!("refusals"), values).await
        };
        Ok(read().await?)
    }

    async fn refusal(&self, scope: &Scope, id: i64) -> Result<Option<RefusalRow>, StoreUnavailable> {
        let read = async || self.refusal_rows(sql!("refusal"), values![scope_value(scope), id]).await;
        Ok(read().await?.pop())
    }

    async fn keep_refusal(&self, refusal: RefusalRow) -> Result<(), StoreUnavailable> {
        let row = Box::new(self.seal_refusal(refusal).await?);
        Ok(self.shared.writer.submit(|reply| Command::KeepRefusal { row, reply }).await?)
    }

    async fn keep_handshake(&self, row: HandshakeRow) -> Result<(), StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::KeepHandshake { row, reply }).await?)
    }

    async fn take_handshake(
        &self,
        tenant: &str,
        source: &str,
        audit: AuditEntry,
    ) -> Result<Option<HandshakeRow>, StoreUnavailable> {
        let (tenant, source) = (tenant.to_owned(), source.to_owned());
        Ok(self.shared.writer.submit(|reply| Command::TakeHandshake { tenant, source, audit, reply }).await?)
    }

    async fn record_jobs(&self, events: Vec<RoutedEvent>, audit: AuditEntry) -> Result<u64, StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::RecordJobs { events, audit, reply }).await?)
    }

    async fn erase(&self, events: Vec<EventId>, audit: AuditEntry) -> Result<u64, StoreUnavailable> {
        if events.is_empty() {
            return Ok(0);
        }
        Ok(self.shared.writer.submit(|reply| Command::Erase { events, audit, reply }).await?)
    }

    async fn release(
        &self,
        event: EventId,
        form: NewForm,
        jobs: Vec<NewJob>,
        audit: AuditEntry,
    ) -> Result<bool, StoreUnavailable> {
        let form = self.seal_form(event, form).await?;
        Ok(self.shared.writer.submit(|reply| Command::Release { event, form, jobs, audit, reply }).await?)
    }

    async fn switches(&self) -> Result<BTreeSet<Switch>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("switches"), Values::default()).await?;
            Ok(rows.iter().map(rows::switch).collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn switch(&self, switch: Switch, on: bool, audit: AuditEntry) -> Result<bool, StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::Switch { switch, on, audit, reply }).await?)
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            // With the connections of the tree: no search of people's keeps it waiting.
            let rows = self.worker_rows(sql!("revocations"), Values::default()).await?;
            Ok(rows.iter().map(revoked::row).collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn revoke(&self, revocation: Revocation, audit: AuditEntry) -> Result<bool, StoreUnavailable> {
        let revocation = Box::new(revocation);
        Ok(self.shared.writer.submit(|reply| Command::Revoke { revocation, audit, reply }).await?)
    }

    async fn unrevoke(&self, revocations: Vec<Revocation>, audit: AuditEntry) -> Result<bool, StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::Unrevoke { revocations, audit, reply }).await?)
    }

    async fn cancel(&self, scope: &Scope, job: JobId, audit: AuditEntry) -> Result<bool, StoreUnavailable> {
        let read = async || self.rows(sql!("job"), values![scope_value(scope), job]).await;
        if read().await?.is_empty() {
            return Ok(false);
        }
        Ok(self.shared.writer.submit(|reply| Command::Cancel { job, audit, reply }).await?)
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreUnavailable> {
        Ok(self.shared.writer.submit(|reply| Command::Audit { entry, reply }).await?)
    }

    async fn secret_uses(&self, scope: &Scope) -> Result<Vec<SecretUse>, StoreUnavailable> {
        let read = async || -> Result<_, ReadFailed> {
            let rows = self.rows(sql!("secret_uses"), values![scope_value(scope)]).await?;
            Ok(rows.iter().map(rows::secret_use).collect::<Result<_, _>>()?)
        };
        Ok(read().await?)
    }

    async fn audit_page(&self, scope: &Scope, filter: &AuditFilter) -> Result<Page<AuditRow>, StoreUnavailable> {
        Ok(self.audit_lines(scope, filter).await?)
    }

    async fn sweep(&self, retention: &Retention, now: Timestamp) -> Result<Swept, StoreUnavailable> {
        self.sweep_once(retention, now).await
    }

    async fn ping(&self) -> Result<(), StoreUnavailable> {
        let read = async || self.rows(sql!("ping"), Values::default()).await;
        read().await?;
        Ok(self.shared.writer.submit(|reply| Command::Ping { reply }).await?)
    }
}
