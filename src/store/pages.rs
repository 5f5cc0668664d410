//! Pages of what is kept: every read is bounded in what it looks at.

use sluice_actors::{
    domain::{DeadReason, EventId, JobId, JobState, LaneKey, Timestamp, TraceId, type_fits},
    ports::DeadLetterFilter,
};

use super::{
    Store,
    jobs::{ReadFailed, limit_value},
    records::scope_value,
    rows::{self, BadRow, Reader, Row},
    sealing::form_row,
    sql::{Statement, sql},
    value::{Values, values},
};
use crate::{
    api::records::{
        AuditFilter, AuditRow, DeadLetterRow, EventDetail, EventRow, JobDetail, JobRow, LaneBacklog, Page,
        RecordFilter, RefusalRow, Scope,
    },
    seal::{Column, Opened, Place},
};

/// Rows of a page where none are asked for, and at most.
const PAGE: usize = 50;
pub(super) const MAX_PAGE: usize = 500;

/// Rows that one query looks at, and queries that one page may cost. A filter that matches little
/// gives a short page with a cursor instead of a read of the whole table.
const WINDOW: i64 = 20_000;
const WINDOWS: usize = 50;

/// Rows by one external id that are looked at.
const SAME_EXTERNAL_ID: i64 = 1000;

fn page_size(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE).clamp(1, MAX_PAGE)
}

/// Where a page begins. A cursor that is not ours begins at the newest.
fn before(cursor: Option<&str>) -> i64 {
    cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(i64::MAX)
}

/// A trace id as it is stored; text that is none matches nothing.
fn trace_value(text: Option<&String>) -> Option<Vec<u8>> {
    text.map(|text| text.parse::<TraceId>().map_or_else(|_| Vec::new(), |id| id.as_bytes().to_vec()))
}

/// The text of a redacted body, where it is text.
fn text_of(raw: Option<Vec<u8>>) -> Option<String> {
    raw.and_then(|raw| String::from_utf8(raw).ok())
}

impl Store {
    /// Rows of a read of people.
    pub(super) async fn rows(&self, statement: &'static Statement, values: Values<'_>) -> Result<Vec<Row>, ReadFailed> {
        Ok(self.readers().people.rows(statement, values).await?)
    }

    pub(super) async fn bounds(&self, statement: &'static Statement) -> Result<(i64, i64), ReadFailed> {
        let rows = self.rows(statement, Values::default()).await?;
        match rows.first() {
            Some(row) => {
                let row = Reader::new(row, "sequence", "first");
                Ok((row.get("first")?, row.get("last")?))
            }
            None => Ok((0, -1)),
        }
    }

    /// Walks back over windows of a table until a page is full. `values` gets the bounds of a window
    /// (before, from) and how many rows are still wanted.
    pub(super) async fn walk<'v, T>(
        &self,
        (first, last): (i64, i64),
        (limit, cursor): (Option<usize>, Option<&str>),
        statement: &'static Statement,
        values: impl Fn(i64, i64, i64) -> Values<'v>,
        read: impl Fn(&Row) -> Result<T, BadRow>,
    ) -> Result<Page<T>, ReadFailed> {
        let wanted = page_size(limit);
        let mut before = before(cursor).min(last.saturating_add(1));
        let mut items = Vec::new();
        for _ in 0..WINDOWS {
            if before <= first {
                return Ok(Page { items, next: None });
            }
            let from = before.saturating_sub(WINDOW);
            let missing = wanted - items.len();
            let rows = self.rows(statement, values(before, from, limit_value(missing))).await?;
            before = from;
            for row in &rows {
                items.push(read(row)?);
                if items.len() == wanted {
                    before = Reader::new(row, "sequence", "seq").get("seq")?;
                }
            }
            if items.len() == wanted {
                break;
            }
        }
        let next = (before > first).then(|| before.to_string());
        Ok(Page { items, next })
    }

    pub(super) async fn events_page(&self, scope: &Scope, filter: &RecordFilter) -> Result<Page<EventRow>, ReadFailed> {
        if filter.external_id.is_some() {
            return self.events_by_external_id(scope, filter).await;
        }
        let scope = scope_value(scope);
        let bounds = self.bounds(sql!("event_seqs")).await?;
        let values = |before: i64, from: i64, limit: i64| {
            values![
                scope.as_deref(),
                filter.tenant.as_deref(),
                filter.source.as_deref(),
                filter.event_type.as_deref(),
                filter.state.as_deref(),
                filter.subject.as_deref(),
                trace_value(filter.trace_id.as_ref()),
                filter.since,
                filter.until,
                before,
                from,
                limit,
            ]
        };
        self.walk(bounds, filter.page(), sql!("events_window"), values, rows::event_row).await
    }

    /// Few events share an external id, so the rest of the filter is applied to them here.
    pub(super) async fn events_by_external_id(
        &self,
        scope: &Scope,
        filter: &RecordFilter,
    ) -> Result<Page<EventRow>, ReadFailed> {
        let values = values![
            scope_value(scope),
            filter.external_id.as_deref(),
            filter.tenant.as_deref(),
            filter.source.as_deref(),
            before(filter.cursor.as_deref()),
            SAME_EXTERNAL_ID,
        ];
        let found = self.rows(sql!("events_by_external_id"), values).await?;
        let wanted = page_size(filter.limit);
        let mut items = Vec::new();
        let mut next = None;
        for row in &found {
            let event = rows::event_row(row)?;
            if !matches(filter, &event) {
                continue;
            }
            if items.len() == wanted {
                let last: &Row = row;
                next = Some((Reader::new(last, "events", "seq").get::<i64>("seq")? + 1).to_string());
                break;
            }
            items.push(event);
        }
        Ok(Page { items, next })
    }

    pub(super) async fn event_detail(&self, scope: &Scope, id: EventId) -> Result<Option<EventDetail>, ReadFailed> {
        let found = self.rows(sql!("event"), values![scope_value(scope), id]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let event = rows::event_row(row)?;
        let columns = Reader::new(row, "events", "id");
        let bound = id.as_uuid();
        let place = Place { tenant: &event.tenant, column: Column::Raw, row: bound.as_bytes() };
        let mut erased = false;
        let raw = match columns.opt::<Vec<u8>>("raw")? {
            Some(raw) => {
                let raw = self.open_bytes(&place, raw).await?;
                erased |= raw == Opened::Erased;
                raw.plain()
            }
            None => None,
        };
        let headers = match columns.opt("headers")? {
            Some(headers) => {
                let headers = self.open_json(&Place { column: Column::Headers, ..place }, headers).await?;
                erased |= headers == Opened::Erased;
                headers.plain()
            }
            None => None,
        };
        let mut forms = Vec::new();
        for row in &self.rows(sql!("event_forms"), values![columns.get::<i64>("seq")?]).await? {
            let row = Reader::new(row, "forms", "schema_version");
            let version = row.number("schema_version")?;
            let bound = form_row(id.as_uuid(), version);
            match self.open_json(&Place { column: Column::Form, row: &bound, ..place }, row.get("form")?).await? {
                Opened::Plain(form) => forms.push((version, form)),
                Opened::Erased => erased = true,
            }
        }
        let jobs = self.rows(sql!("event_jobs"), values![id]).await?;
        Ok(Some(EventDetail {
            headers,
            raw: text_of(raw),
            redacted: columns.opt("redacted")?.unwrap_or(false),
            withheld: false,
            erased,
            forms,
            quarantine_reason: columns.opt("quarantine_reason")?,
            jobs: jobs.iter().map(rows::job_row).collect::<Result<_, _>>()?,
            event,
        }))
    }

    pub(super) async fn jobs_page(&self, scope: &Scope, filter: &RecordFilter) -> Result<Page<JobRow>, ReadFailed> {
        let scope = scope_value(scope);
        let bounds = self.bounds(sql!("job_seqs")).await?;
        let values = |before: i64, from: i64, limit: i64| {
            values![
                scope.as_deref(),
                filter.tenant.as_deref(),
                filter.source.as_deref(),
                filter.event_type.as_deref(),
                filter.state.as_deref(),
                filter.subject.as_deref(),
                filter.external_id.as_deref(),
                trace_value(filter.trace_id.as_ref()),
                filter.since,
                filter.until,
                before,
                from,
                limit,
            ]
        };
        self.walk(bounds, filter.page(), sql!("jobs_window"), values, rows::job_row).await
    }

    pub(super) async fn job_detail(&self, scope: &Scope, id: JobId) -> Result<Option<JobDetail>, ReadFailed> {
        let found = self.rows(sql!("job"), values![scope_value(scope), id]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let job = rows::job_row(row)?;
        let attempts = self.rows(sql!("job_attempts"), values![id]).await?;
        let result = self.rows(sql!("job_result"), values![id]).await?;
        let letter = self.rows(sql!("job_dead_letter"), values![id]).await?;
        let result = match result.first() {
            Some(row) => {
                let bound = id.as_uuid();
                let place = Place { tenant: &job.tenant, column: Column::Result, row: bound.as_bytes() };
                let text = Reader::new(row, "results", "result").get("result")?;
                Some(self.open_json(&place, text).await?)
            }
            None => None,
        };
        Ok(Some(JobDetail {
            attempts: attempts.iter().map(rows::attempt_row).collect::<Result<_, _>>()?,
            erased: result == Some(Opened::Erased),
            result: result.and_then(Opened::plain),
            dead_letter: match letter.first() {
                Some(row) => Some(rows::dead_letter_row(row, job.clone())?),
                None => None,
            },
            job,
        }))
    }

    pub(super) async fn audit_lines(&self, scope: &Scope, filter: &AuditFilter) -> Result<Page<AuditRow>, ReadFailed> {
        let scope = scope_value(scope);
        let bounds = self.bounds(sql!("audit_seqs")).await?;
        let values = |before: i64, from: i64, limit: i64| {
            values![
                scope.as_deref(),
                filter.tenant.as_deref(),
                filter.actor.as_deref(),
                filter.action.as_deref(),
                filter.object.as_deref(),
                filter.since,
                filter.until,
                before,
                from,
                limit,
            ]
        };
        let page = (filter.limit, filter.cursor.as_deref());
        self.walk(bounds, page, sql!("audit_window"), values, rows::audit_row).await
    }

    pub(super) async fn letters_page(
        &self,
        scope: &Scope,
        filter: &DeadLetterFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<DeadLetterRow>, ReadFailed> {
        let wanted = limit.clamp(1, MAX_PAGE);
        let values = values![
            scope_value(scope),
            filter.job,
            filter.tenant.as_deref(),
            filter.source.as_deref(),
            filter.route.as_deref(),
            filter.reason.map(DeadReason::as_str),
            filter.since,
            filter.until,
            before(cursor),
            limit_value(wanted + 1),
            filter.event_type.as_deref(),
            filter.subject.as_deref(),
        ];
        let found = self.rows(sql!("dead_letters_page"), values).await?;
        let items = found.iter().take(wanted).map(|row| rows::dead_letter_row(row, rows::job_row(row)?));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let next = match found.get(wanted - 1) {
            Some(last) if found.len() > wanted => {
                Some(Reader::new(last, "dead_letters", "letter").get::<i64>("letter")?.to_string())
            }
            _ => None,
        };
        Ok(Page { items, next })
    }

    /// Every lane with a startable job and when its earliest is due: one seek per group.
    pub(super) async fn oldest_due(&self) -> Result<Vec<(LaneKey, Timestamp)>, ReadFailed> {
        let rows = self.rows(sql!("lanes_due"), values!["", "", i64::MAX, None::<String>]).await?;
        let due = rows.iter().map(|row| {
            let row = Reader::new(row, "jobs", "next_run_at");
            Ok::<_, BadRow>((row.lane()?, row.time("next_run_at")?))
        });
        Ok(due.collect::<Result<_, _>>()?)
    }

    pub(super) async fn refusal_rows(
        &self,
        statement: &'static Statement,
        values: Values<'_>,
    ) -> Result<Vec<RefusalRow>, ReadFailed> {
        let mut refusals = Vec::new();
        for row in &self.rows(statement, values).await? {
            refusals.push(self.open_refusal(rows::refusal_row(row)?).await?);
        }
        Ok(refusals)
    }
}

pub(super) fn backlog(lane: LaneKey, jobs: Vec<(JobState, u64)>, oldest_due: Option<Timestamp>) -> LaneBacklog {
    LaneBacklog { tenant: lane.tenant.into(), source: lane.source.into(), jobs, oldest_due }
}

/// Whether the event fits the parts of the filter that its statement did not ask for.
fn matches(filter: &RecordFilter, event: &EventRow) -> bool {
    filter.event_type.as_ref().is_none_or(|pattern| type_fits(pattern, &event.event_type))
        && filter.state.as_ref().is_none_or(|state| event.status == *state)
        && filter.subject.as_ref().is_none_or(|subject| event.subject_id.as_ref() == Some(subject))
        && filter.trace_id.as_ref().is_none_or(|trace| event.trace_id == *trace)
        && filter.since.is_none_or(|since| event.received_at >= since)
        && filter.until.is_none_or(|until| event.received_at < until)
}
